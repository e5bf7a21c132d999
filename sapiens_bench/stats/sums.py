"""Sums that are the same on every machine; weighted sums over rows for many weightings at once.

Axes: B weightings, N rows, M columns. A float64 matrix product of whole numbers is exact while every sum stays below
2**53. Columns of any float64 values are cut into slices of few enough bits (each a whole multiple of one unit), whose
sums are exact, too; only the last step, adding the sums of the slices, rounds.

Source: Ozaki, Ogita, Oishi, Rump, Error-free transformations of matrix multiplication, Numer. Algorithms 59, 2012.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError

DrawCounts = NDArray[np.integer[Any]]  # how often each row is drawn, never negative; any integer type
BLOCK = 16_384  # values; a few arrays of this size fit into a core's cache
_MANTISSA_BITS = 53
_CHUNK_VALUES = 1 << 20  # weights held as float64 at once


class Aggregate:
    """Scores of ``n_rows`` rows under any weighting: one by a call, many by ``batch``.

    Args:
        keys: every score, in table order.
        batch_fn: (weights [B, N], keys) -> {key: float64 [B]}; computes only what the keys need.
    """

    def __init__(
        self,
        keys: Sequence[str],
        n_rows: int,
        batch_fn: Callable[[DrawCounts, tuple[str, ...]], Mapping[str, NDArray[np.float64]]],
    ) -> None:
        self._keys, self._n_rows, self._batch_fn = tuple(keys), n_rows, batch_fn

    def __call__(self, weights: DrawCounts | None = None) -> dict[str, float]:
        """Every score; weights [N], None for all ones; undefined is NaN."""
        one = np.ones(self._n_rows, np.uint8) if weights is None else np.asarray(weights)
        return {key: float(values[0]) for key, values in self.batch(one[None]).items()}

    def batch(self, weights_BN: DrawCounts, keys: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """Only the scores asked for, float64 [B] each; equal to one call per weighting.

        Raises:
            ShapeError: ``weights_BN`` is not [draws, rows].
        """
        if weights_BN.ndim != 2 or weights_BN.shape[1] != self._n_rows:
            raise ShapeError(f"weights have shape {weights_BN.shape}, expected [draws, {self._n_rows}].")
        wanted = self._keys if keys is None else tuple(keys)
        found = self._batch_fn(weights_BN, wanted)
        return {key: found[key] for key in wanted}


def weighted_sums(weights_BN: DrawCounts, values_NM: NDArray[Any]) -> NDArray[np.float64]:
    """``weights @ values``, float64 [B, M]: the exact sum, rounded once per slice (once where the values are whole).

    A value that is not finite counts in the weightings that draw its row, and only there.
    """
    total = int(weights_BN.sum(axis=1, dtype=np.int64).max(initial=0))
    if len(weights_BN) == 1 and values_NM.dtype.kind in "iu" and values_NM.size:  # one whole sum needs no slices
        largest = max(-int(values_NM.min()), int(values_NM.max()))
        if largest * total < 1 << _MANTISSA_BITS:
            return np.asarray(weights_BN.astype(np.int64) @ values_NM.astype(np.int64), np.float64)
    values = np.asarray(values_NM, np.float64)
    is_finite = np.isfinite(values)
    usable = values if is_finite.all() else np.where(is_finite, values, 0.0)
    slices = _slices(usable, total)
    out = np.zeros((len(weights_BN), values.shape[1]))
    rows = max(1, _CHUNK_VALUES // max(1, weights_BN.shape[1]))
    for start in range(0, len(weights_BN), rows):
        part = slice(start, start + rows)
        weights = weights_BN[part].astype(np.float64)
        for columns, piece in reversed(slices):  # smallest first
            out[part, columns] += weights @ piece
    if usable is not values:
        _add_undefined(out, weights_BN, values, is_finite)
    return out


def weighted_means(weights_BN: DrawCounts, values_NM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over the rows with a finite value, float64 [B, M]; NaN where no such row is drawn."""
    is_defined = np.isfinite(values_NM)
    sums = weighted_sums(weights_BN, np.where(is_defined, values_NM, 0.0))
    if is_defined.all():
        counts = weights_BN.sum(axis=1, dtype=np.int64)[:, None].astype(np.float64)
    else:
        counts = weighted_sums(weights_BN, is_defined)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def means_of_defined(values_BC: NDArray[np.float64], weights_C: NDArray[np.float64] | None = None) -> NDArray[Any]:
    """Mean of each row over its finite values, float64 [B], weighted by column if asked; NaN where there is none.

    Rows are taken together by which of their values are defined, so that each is added up as if it stood alone.
    """
    out = np.full(len(values_BC), np.nan)
    if values_BC.size == 0:
        return out
    patterns, pattern_B = np.unique(np.isfinite(values_BC), axis=0, return_inverse=True)
    for number, is_defined in enumerate(patterns):
        if not is_defined.any():
            continue
        rows = pattern_B.reshape(-1) == number
        values = np.ascontiguousarray(values_BC[rows][:, is_defined])
        if weights_C is None:
            out[rows] = values.mean(axis=1)
        else:
            weights = weights_C[is_defined]
            out[rows] = (values * weights).sum(axis=1) / weights.sum()
    return out


def tree_sum(n: int, sum_of: Callable[[int, int], float]) -> float:
    """The sum numpy gives over ``n`` values, from its sums over stretches: ``sum_of(start, stop)`` of up to a block.

    Source: numpy adds halves of whole eights (``pairwise_sum`` in umath/loops_utils.h.src), so its sum of many values
    is the sum of its sums of the halves. The order is the same on every machine; that of a BLAS dot is not.
    """

    def add(start: int, length: int) -> float:
        if length <= BLOCK:
            return float(sum_of(start, start + length))
        half = length // 2
        half -= half % 8
        return add(start, half) + add(start + half, length - half)

    return add(0, n)


def _slices(values_NM: NDArray[np.float64], total: int) -> list[tuple[Any, NDArray[np.float64]]]:
    """(columns, their slice [N, m]) with the leading slice first; slices of a column add up to it.

    Every slice is a whole multiple of a power of two, and at most 2**bits of it, so that ``total`` of them stay below
    2**53 of it.
    """
    bits = _MANTISSA_BITS - max(1, int(total)).bit_length()
    if values_NM.size == 0:
        return []
    peak_M = np.abs(values_NM).max(axis=0)
    found: list[tuple[Any, NDArray[np.float64]]] = []
    columns, rest, unit_M = np.arange(values_NM.shape[1]), values_NM, np.frexp(peak_M)[1]
    while len(columns):
        unit_M = unit_M - bits
        piece = np.ldexp(np.rint(np.ldexp(rest, -unit_M)), unit_M)
        found.append((columns, piece))
        rest = rest - piece
        left = rest.any(axis=0)
        columns, rest, unit_M = columns[left], rest[:, left], unit_M[left]
    return found


def _add_undefined(
    out_BM: NDArray[np.float64], weights_BN: DrawCounts, values_NM: NDArray[np.float64], is_finite_NM: NDArray[np.bool_]
) -> None:
    for column in np.flatnonzero(~is_finite_NM.all(axis=0)):
        for row in np.flatnonzero(~is_finite_NM[:, column]):
            out_BM[weights_BN[:, row] > 0, column] += values_NM[row, column]
