"""Means over rows that come in groups, with the error that groups give them; many quantities at once.

Axes: N rows, G groups, M quantities.

Source: Cochran, Sampling Techniques, 1977, section 6.4: a ratio of sums over groups and its linearised variance, with
the factor G / (G - 1); its quotient by the error is taken as Student's t of G - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.student import t_above

Doubles = NDArray[np.float64]


class ClusterMeans(NamedTuple):
    """Each [M]; ``value`` is NaN where nothing was counted, ``error`` with fewer than two groups."""

    value: Doubles
    error: Doubles
    groups: NDArray[np.int64]  # that counted anything


def cluster_means(sums_NM: Doubles, counts_NM: Doubles, groups: Sequence[str]) -> ClusterMeans:
    """Sum over count of each quantity, and its standard error over groups."""
    names, group_N = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    totals = []
    for values in (sums_NM, counts_NM):
        of_group = np.zeros((len(names), values.shape[1]))
        np.add.at(of_group, group_N, values)
        totals.append(of_group)
    sums_GM, counts_GM = totals
    count_M = counts_GM.sum(axis=0)
    value = _quotient(sums_GM.sum(axis=0), count_M)
    n_M = (counts_GM > 0).sum(axis=0)
    residual_GM = np.where(counts_GM > 0, sums_GM - np.nan_to_num(value) * counts_GM, 0.0)
    variance = _quotient(n_M * (residual_GM**2).sum(axis=0), n_M - 1.0)
    return ClusterMeans(value, _quotient(np.sqrt(variance), count_M), n_M)


def above_p(found: ClusterMeans, bound: float = 0.0) -> Doubles:
    """One-sided p of "the mean is at most ``bound``", [M]; 0 or 1 without any scatter, NaN without an error."""
    excess = found.value - bound
    is_sure = found.error == 0
    t = np.divide(excess, found.error, out=np.full(excess.shape, np.nan), where=found.error > 0)
    p = t_above(t, np.maximum(found.groups - 1.0, 1.0))
    return np.asarray(np.where(is_sure, np.where(excess > 0, 0.0, 1.0), p))


def _quotient(above: Doubles, below: Doubles) -> Doubles:
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))
