"""Depth discontinuities: does a model place them where the ground truth has them?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import means_of_defined

# Neighbour ratios above 1 + t are an edge, t from 5 % to 25 % (Bochkovskii et al., Depth Pro, section 4.3).
THRESHOLDS: NDArray[np.float64] = np.linspace(0.05, 0.25, 10)
_LEVEL = 0.998 * THRESHOLDS[0]  # far more room than float32 can round away
_STRIP_VALUES = 1 << 15  # pixels of a strip of rows; a few arrays of this size fit into a core's cache


class EdgeCounts(NamedTuple):
    """Directed neighbour pairs per threshold, int64 [10]."""

    both: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]

    @classmethod
    def none(cls) -> EdgeCounts:
        """No pair at all."""
        return cls(*np.zeros((3, len(THRESHOLDS)), np.int64))


def edge_counts(
    pred_HW: NDArray[np.floating[Any]],
    gt_HW: NDArray[np.floating[Any]],
    mask_HW: NDArray[np.bool_],
    align: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda values: values,
) -> EdgeCounts:
    """Pairs of neighbouring scored pixels whose depth ratio exceeds each threshold.

    A pair is directed: (i, j) is an edge when depth_j / depth_i > 1 + t, so an occlusion predicted the wrong way round
    is a miss and a false alarm. Only ratios enter, so the result does not depend on a scale. Pairs with a non-positive
    predicted depth are no predicted edge.

    Args:
        align: brings predicted values to depth; may be called for any of them, in any number at once.

    Source: Bochkovskii et al., Depth Pro, ICLR 2025, section 4.3 (boundary precision and recall); counts are summed
    over the data set here, where the paper averages per image.
    """
    table = np.zeros((len(THRESHOLDS) + 1, len(THRESHOLDS) + 1), np.int64)
    height, width = mask_HW.shape
    step = max(1, _STRIP_VALUES // max(1, width))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for start in range(0, height, step):
            strip = slice(start, start + step + 1)  # one row over, for the pairs that reach into the next strip
            mask, gt = np.ravel(mask_HW[strip]), np.ravel(gt_HW[strip])
            pred = align(np.ravel(pred_HW[strip]).astype(np.float64))
            flat = gt.astype(np.float32, copy=False), pred.astype(np.float32)
            own = min(step, height - start) * width
            for offset, stop, is_row in ((1, own - 1, True), (width, len(mask) - width, False)):
                first = _may_be_edges(*flat, mask, offset, stop)
                if is_row:
                    first = first[first % width != width - 1]  # the next value lies in the next row
                if len(first):
                    table += _steep_pairs(pred[first], pred[first + offset], gt[first], gt[first + offset])
    # exceeding a threshold is exceeding those before it as well
    above = table[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    return EdgeCounts(np.diagonal(above)[1:].copy(), above[1:, 0].copy(), above[0, 1:].copy())


def _may_be_edges(
    gt: NDArray[np.float32], pred: NDArray[np.float32], mask: NDArray[np.bool_], offset: int, stop: int
) -> NDArray[np.int64]:
    """First pixels, up to ``stop``, of scored pairs that may be an edge at the lowest threshold, in either map.

    Looked at in float32, with room for its rounding.
    """
    if stop <= 0:
        return np.zeros(0, np.int64)
    scored = mask[:stop] & mask[offset : offset + stop]
    level = np.ones(stop, bool)
    for depth in (gt, pred):
        first, second = depth[:stop], depth[offset : offset + stop]
        least = np.minimum(first, second)
        least *= np.float32(_LEVEL)
        difference = second - first
        level &= np.abs(difference, out=difference) < least
    scored &= ~level
    return np.flatnonzero(scored)


def _steep_pairs(
    p0: NDArray[np.floating[Any]], p1: NDArray[np.floating[Any]], g0: NDArray[Any], g1: NDArray[Any]
) -> NDArray[np.int64]:
    """Both directions of some pairs by how many thresholds the prediction and the truth exceed, [11, 11]."""
    g0, g1 = g0.astype(np.float64), g1.astype(np.float64)
    size = len(THRESHOLDS) + 1
    table = np.zeros(size * size, np.int64)
    for first_p, second_p, first_g, second_g in ((p0, p1, g0, g1), (p1, p0, g1, g0)):
        steep_p = np.where((first_p > 0) & (second_p > 0), second_p / np.where(first_p > 0, first_p, 1.0), 0.0)
        cell = _n_exceeded(steep_p) * size + _n_exceeded(second_g / first_g)
        table += np.bincount(cell, minlength=size * size)
    return table.reshape(size, size)


def _n_exceeded(steep: NDArray[np.float64]) -> NDArray[np.int64]:
    n = np.searchsorted(1 + THRESHOLDS, steep, side="left")
    n[np.isnan(steep)] = 0
    return n


def edge_f1(
    both_BT: NDArray[Any], predicted_BT: NDArray[Any], true_BT: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 [B], each a mean over thresholds weighted by the threshold; NaN where undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = both_BT / predicted_BT, both_BT / true_BT
        # No predicted edge where there are true ones is a miss (F1 0), not an undefined score.
        f1 = np.where(true_BT > 0, 2 * both_BT / (predicted_BT + true_BT), np.nan)
    means = [means_of_defined(values, THRESHOLDS) for values in (precision, recall, f1)]
    return means[0], means[1], means[2]
