"""Is one model better than another on the same images? Differences, tests, and correction for asking often.

Both models get the same weights in each draw, so what is hard for both cancels. Axes: B draws, N rows, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.bootstrap import (
    ScoreFn,
    count_groups,
    draw_scores,
    generator,
    left_out_scores,
    point_scores,
)
from sapiens_bench.stats.ends import ends, jackknife_error, p_value
from sapiens_bench.stats.student import t_above
from sapiens_bench.stats.sums import DrawCounts

_EXACT_UP_TO_GROUPS = 12  # all 2**12 sign patterns are tried up to here
_ROUNDING = 1e-12  # of a difference: an error below is no scatter
_SLACK = 1e-12  # a pattern ties with the observed difference when rounding alone sets them apart


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """``b - a`` of one score, b the candidate."""

    a: float
    b: float
    difference: float
    low: float  # two-sided interval (stats/ends.py); NaN when it cannot be computed
    high: float
    upper: float  # upper end of the one-sided interval of the same level
    lower: float  # lower end of the one-sided interval
    p_value: float  # two-sided, by inverting the bootstrap interval; NaN when it cannot be computed
    level: float
    n_groups: int


def paired_differences(
    score_a: ScoreFn,
    score_b: ScoreFn,
    weights: DrawCounts,
    level: float = 0.95,
    keys: Sequence[str] | None = None,
    n_groups: int | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, PairedDifference]:
    """Bootstrap of ``b - a`` per score; both sets of rows must hold the same images in the same order.

    Args:
        weights: [B, N] from ``draw_weights``, used for both.
        keys: scores to compare; those that both have when None.
        groups: of each row; told from ``weights`` when None.
    """
    point_a, point_b = (point_scores(score, weights.shape[1], keys) for score in (score_a, score_b))
    wanted = [k for k in point_a if k in point_b] if keys is None else list(keys)
    n = count_groups(weights) if n_groups is None else n_groups
    out_a, out_b = (left_out_scores(score, weights, wanted, n, groups) for score in (score_a, score_b))
    draws_a, draws_b = draw_scores(score_a, weights, wanted), draw_scores(score_b, weights, wanted)
    result = {}
    for key in wanted:
        left_out = out_b[key] - out_a[key] if out_a else None
        result[key] = difference_of(point_a[key], point_b[key], draws_b[key] - draws_a[key], level, n, left_out)
    return result


def difference_of(
    a: float,
    b: float,
    differences_B: NDArray[np.float64],
    level: float,
    n_groups: int,
    left_out_G: NDArray[np.float64] | None = None,
) -> PairedDifference:
    """The difference of two scores from the draws of that difference.

    Args:
        left_out_G: the difference without each group, where that makes the interval (``ends.ends``).
    """
    difference = b - a
    is_defined = n_groups >= 2 and math.isfinite(difference)
    nowhere = (math.nan, math.nan)
    low, high = ends(differences_B, difference, level, left_out_G) if is_defined else nowhere
    inner = is_defined and level > 0.5
    lower, upper = ends(differences_B, difference, 2 * level - 1, left_out_G) if inner else nowhere
    p = p_value(differences_B, difference, left_out_G) if math.isfinite(low) else math.nan
    return PairedDifference(a, b, difference, low, high, upper, lower, p, level, n_groups)


def change_of(
    a: float,
    b: float,
    differences_B: NDArray[np.float64],
    level: float,
    n_groups: int,
    left_out_G: NDArray[np.float64] | None = None,
) -> PairedDifference:
    """``difference_of`` with a p for large families: ``studentised_p`` in place of shares of draws.

    Args:
        left_out_G: the difference without each group, where that makes the interval (``ends.ends``).
    """
    found = difference_of(a, b, differences_B, level, n_groups, left_out_G)
    return replace(found, p_value=studentised_p(found.difference, differences_B, n_groups, left_out_G))


def studentised_p(
    difference: float,
    differences_B: NDArray[np.float64],
    n_groups: int,
    left_out_G: NDArray[np.float64] | None = None,
) -> float:
    """Two-sided p of a difference over its standard error, as Student's t of G - 1 degrees of freedom.

    Where a family is large, its smallest p must be far below what shares of a few thousand draws can say. The error is
    that of the interval: the jackknife's where ``left_out_G`` is given, so that p is the level at which the interval
    ends at zero; else that of the draws, widened by sqrt(G / (G - 1)), as a sample's standard deviation is. Without any
    scatter p is 2 ** (1 - G): G signs that all agree are no stronger evidence. NaN without two groups or a defined
    difference; 1 for no difference in any draw.
    """
    defined = differences_B[np.isfinite(differences_B)]
    if n_groups < 2 or not math.isfinite(difference) or 2 * len(defined) < max(1, len(differences_B)):
        return math.nan
    if left_out_G is None:
        error = float(defined.std()) * math.sqrt(n_groups / (n_groups - 1))
    else:
        error = jackknife_error(left_out_G)
    if math.isnan(error):
        return math.nan
    if error <= _ROUNDING * abs(difference):
        return 1.0 if difference == 0 else 2.0 ** (1 - n_groups)
    return min(1.0, 2 * float(t_above(abs(difference) / error, n_groups - 1)))


def swap_p(
    score_joint: ScoreFn,
    groups: Sequence[str],
    keys: Sequence[str],
    n_draws: int = 1_000,
    seed: int = 0,
) -> dict[str, float]:
    """Two-sided permutation p per score, for scores that are no means (AP, IoU): models swapped by group.

    Args:
        score_joint: aggregate of both models' rows, interleaved: row 2i is image i of model a, row 2i + 1 of model b.
            Weights 1 and 0 choose a model per image, so any metric can be tested.
        groups: group of each image.
    """
    names, group_N = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    swaps = _swaps(len(names), n_draws, seed, "swap")[:, group_N]
    none = np.zeros((1, len(groups)), np.uint8)
    chosen = np.concatenate([none, swaps])
    first = draw_scores(score_joint, _interleaved(1 - chosen, chosen), keys)
    second = draw_scores(score_joint, _interleaved(chosen, 1 - chosen), keys)
    result = {}
    for key in keys:
        difference = second[key] - first[key]
        observed, draws = abs(float(difference[0])), np.abs(difference[1:])
        draws = draws[np.isfinite(draws)]
        is_defined = math.isfinite(observed) and len(draws) > 0
        result[key] = _share_at_least(draws, observed, 1.0, len(names)) if is_defined else math.nan
    return result


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p values that hold for the whole family; undefined ones stay NaN and do not count.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    defined = sorted((p, name) for name, p in p_values.items() if math.isfinite(p))
    adjusted, running = dict.fromkeys(p_values, math.nan), 0.0
    for rank, (p, name) in enumerate(defined):
        running = max(running, min(1.0, p * (len(defined) - rank)))
        adjusted[name] = running
    return adjusted


def _swaps(n_groups: int, n_draws: int, seed: int, purpose: str) -> NDArray[np.uint8]:
    """0 or 1 per group: every pattern when there are few groups, else random ones; [patterns, n_groups]."""
    if n_groups <= _EXACT_UP_TO_GROUPS:
        return ((np.arange(2**n_groups)[:, None] >> np.arange(n_groups)) & 1).astype(np.uint8)
    return generator(purpose, seed).integers(0, 2, size=(n_draws, n_groups)).astype(np.uint8)


def _share_at_least(draws_B: NDArray[np.float64], observed: float, scale: float, n_groups: int) -> float:
    """Share of patterns as extreme as the observed one, which counts among random patterns, too."""
    count = int(np.count_nonzero(draws_B >= observed - _SLACK * scale))
    is_exact = n_groups <= _EXACT_UP_TO_GROUPS
    return count / len(draws_B) if is_exact else (1 + count) / (1 + len(draws_B))


def _interleaved(a_BN: NDArray[np.uint8], b_BN: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([a_BN, b_BN], axis=2).reshape(len(a_BN), -1)
