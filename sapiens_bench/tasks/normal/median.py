"""Medians of angles from histograms, of many images or of many weightings of them.

Axes: B weightings, N images; a histogram has 3,600 bins of 0.05 degrees, looked at as 60 stretches of 60 bins: which
stretch holds the median is found first, and only its bins are looked at closely.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import DrawCounts, weighted_sums

BIN_DEG = 0.05
N_BINS = 3600
_STRETCH = 60  # bins


def histogram_median(histogram: NDArray[Any]) -> NDArray[np.float64]:
    """Median in degrees of histograms [..., 3600], linear inside its bin (error at most half a bin); NaN when empty."""
    counts = np.reshape(histogram, (-1, N_BINS // _STRETCH, _STRETCH))
    stretch, before, half = _halfway(counts.sum(axis=2, dtype=np.int64))
    median = _inside(counts[np.arange(len(counts)), stretch], stretch, before, half)
    return median.reshape(np.shape(histogram)[:-1])


def pooled_medians(weights_BN: DrawCounts, histogram_NS: NDArray[Any]) -> NDArray[np.float64]:
    """Median of the pooled pixels under each weighting, float64 [B]; equal to that of the summed histograms."""
    counts = histogram_NS.reshape(-1, N_BINS // _STRETCH, _STRETCH)
    stretch, before, half = _halfway(weighted_sums(weights_BN, counts.sum(axis=2, dtype=np.int64)))
    out = np.empty(len(weights_BN))
    for number in np.unique(stretch):
        rows = stretch == number
        fine = weighted_sums(weights_BN[rows], counts[:, number])
        out[rows] = _inside(fine, stretch[rows], before[rows], half[rows])
    return out


def within_moments(
    median: NDArray[np.float64], mean: NDArray[np.float64], root_mean_square: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The medians, none farther from the mean than one standard deviation, as no median of any numbers is.

    It moves what a bin is too wide for: angles of nearly 0, or nearly equal ones, whose histogram tells only the middle
    of their bin.

    Source: Hotelling and Solomons, "The limits of a measure of skewness", 1932.
    """
    spread = np.sqrt(np.maximum(root_mean_square**2 - mean**2, 0.0))
    return np.clip(median, mean - spread, mean + spread)


def _halfway(coarse_BC: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Of counts per stretch: the stretch in which half of them is reached, how many lie before it, and that half."""
    cumulative = np.cumsum(coarse_BC, axis=1, dtype=np.float64)
    half = cumulative[:, -1] / 2
    stretch = np.argmax(cumulative >= half[:, None], axis=1)
    rows = np.arange(len(coarse_BC))
    return stretch, cumulative[rows, stretch] - coarse_BC[rows, stretch], half


def _inside(
    fine_BF: NDArray[Any], stretch_B: NDArray[np.int64], before_B: NDArray[np.float64], half_B: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The median inside the stretch, from the counts of its bins; whole numbers, so that nothing rounds before it."""
    cumulative = before_B[:, None] + np.cumsum(fine_BF, axis=1, dtype=np.float64)
    bin_ = np.argmax(cumulative >= half_B[:, None], axis=1)
    inside = fine_BF[np.arange(len(fine_BF)), bin_].astype(np.float64)
    before = cumulative[np.arange(len(fine_BF)), bin_] - inside
    with np.errstate(invalid="ignore", divide="ignore"):
        median = BIN_DEG * (bin_ + _STRETCH * stretch_B + (half_B - before) / inside)
    return np.asarray(np.where(half_B > 0, median, np.nan))
