"""Depth discontinuities: does a model place them where the ground truth has them?"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import means_of_defined

# Neighbour ratios above 1 + t are an edge, t from 5 % to 25 % (Bochkovskii et al., Depth Pro, section 4.3).
THRESHOLDS: NDArray[np.float64] = np.linspace(0.05, 0.25, 10)


class EdgeCounts(NamedTuple):
    """Directed neighbour pairs per threshold, int64 [10]."""

    both: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]


def edge_counts(pred_HW: NDArray[np.floating], gt_HW: NDArray[np.floating], mask_HW: NDArray[np.bool_]) -> EdgeCounts:
    """Pairs of neighbouring scored pixels whose depth ratio exceeds each threshold.

    A pair is directed: (i, j) is an edge when depth_j / depth_i > 1 + t, so an occlusion predicted the wrong way round
    is a miss and a false alarm. Only ratios enter, so the result does not depend on a scale. Pairs with a non-positive
    predicted depth are no predicted edge.

    Source: Bochkovskii et al., Depth Pro, ICLR 2025, section 4.3 (boundary precision and recall); counts are summed
    over the data set here, where the paper averages per image.
    """
    both, predicted, true = (np.zeros(len(THRESHOLDS), np.int64) for _ in range(3))
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    if not len(rows):
        return EdgeCounts(both, predicted, true)
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    p, g, m = pred_HW[window], gt_HW[window], mask_HW[window]
    for axis in (0, 1):
        near, far = (np.s_[:-1], np.s_[1:]) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
        inside = m[near] & m[far]
        pairs = [(a[near][inside].astype(np.float64), a[far][inside].astype(np.float64)) for a in (p, g)]
        (p0, p1), (g0, g1) = pairs
        for first_p, second_p, first_g, second_g in ((p0, p1, g0, g1), (p1, p0, g1, g0)):
            steep_p = np.where((first_p > 0) & (second_p > 0), second_p / np.where(first_p > 0, first_p, 1.0), 0.0)
            steep_g = second_g / first_g
            for i, t in enumerate(THRESHOLDS):
                a, b = steep_p > 1 + t, steep_g > 1 + t
                both[i] += np.count_nonzero(a & b)
                predicted[i] += np.count_nonzero(a)
                true[i] += np.count_nonzero(b)
    return EdgeCounts(both, predicted, true)


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
