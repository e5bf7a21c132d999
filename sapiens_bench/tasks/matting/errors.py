"""The four errors of one matte, as sums over a region.

Source: Rhemann et al., A perceptually motivated online benchmark for image matting, CVPR 2009, section 4 (SAD, MSE,
gradient and connectivity error). What the paper leaves open is as in the evaluation code of Xu et al., Deep Image
Matting, CVPR 2017 (compute_gradient_loss.m, compute_connectivity_error.m), which benchmarks of mattes go by: filters of
sigma 1.4 cut where the Gaussian falls to 0.01 and scaled to unit norm, borders repeated; ten levels of connectivity,
4-neighbours, differences below 0.15 forgiven. One departure: that code first stretches each matte to 0..1 by its own
smallest and largest value before it takes gradients, which changes nothing where a matte holds both a 0 and a 1, and
otherwise hides an error. Here a matte is taken as it is.

Axes: H height, W width.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA = 1.4  # pixels
_EPSILON = 0.01  # the Gaussian's value at which the filter ends
LEVELS = np.arange(1, 11) / 10
_ROUNDED = 1e-6  # a float32 share may lie this little below the level that it stands for
FORGIVEN = 0.15

Alpha = NDArray[np.float64]


class MatteSums(NamedTuple):
    """e = predicted - true alpha, over the pixels of a region."""

    n: int
    abs: float  # sum |e|
    sq: float  # sum e^2
    grad: float  # sum (|gradient of predicted| - |gradient of true|)^2
    conn: float  # sum |phi of predicted - phi of true|


def matte_sums(
    pred_HW: NDArray[np.floating[Any]], true_HW: NDArray[np.floating[Any]], region_HW: NDArray[np.bool_]
) -> MatteSums:
    """Sums over ``region_HW``; gradients and connectivity look at the whole matte."""
    pred, true = pred_HW.astype(np.float64), true_HW.astype(np.float64)
    error = (pred - true)[region_HW]
    steep = gradient_size(pred) - gradient_size(true)
    apart = connectivity(pred, true)
    return MatteSums(
        int(np.count_nonzero(region_HW)),
        float(np.abs(error).sum()),
        float((error * error).sum()),
        float((steep * steep)[region_HW].sum()),
        float(np.abs(apart[0] - apart[1])[region_HW].sum()),
    )


def gradient_size(alpha_HW: Alpha) -> Alpha:
    """Length of the gradient by first derivatives of a Gaussian."""
    smooth, slope = gaussian_filters()
    across = cv2.sepFilter2D(alpha_HW, cv2.CV_64F, slope, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha_HW, cv2.CV_64F, smooth, slope, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.sqrt(across * across + down * down))


@lru_cache(maxsize=1)
def gaussian_filters() -> tuple[Alpha, Alpha]:
    """The Gaussian and its derivative along one axis; their outer product has unit norm."""
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * _EPSILON)))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * SIGMA**2)) / (math.sqrt(2 * math.pi) * SIGMA)
    slope = x * smooth / SIGMA**2  # of the filter that is correlated: rising values are a positive slope
    return smooth / np.sqrt((smooth**2).sum()), slope / np.sqrt((slope**2).sum())


def connectivity(pred_HW: Alpha, true_HW: Alpha) -> tuple[Alpha, Alpha]:
    """Degree of connectedness of every pixel in both mattes, phi of the paper, 0..1.

    At each level the pixels where both mattes reach it are taken, and of them the largest piece. A pixel's own level is
    the last at which it still belongs to that piece.
    """
    level = np.full(true_HW.shape, -1.0)
    least = np.minimum(pred_HW, true_HW)
    for number, threshold in enumerate(LEVELS):
        _, piece, stats, _ = cv2.connectedComponentsWithStats(
            (least >= threshold - _ROUNDED).astype(np.uint8), connectivity=4
        )
        sizes = stats[1:, cv2.CC_STAT_AREA]
        largest = piece == 1 + int(np.argmax(sizes)) if len(sizes) else np.zeros(level.shape, np.bool_)
        level[(level < 0) & ~largest] = LEVELS[number - 1] if number else 0.0
    level[level < 0] = 1.0
    phis = []
    for alpha in (pred_HW, true_HW):
        above = alpha - level
        phis.append(1 - above * (above >= FORGIVEN))
    return phis[0], phis[1]
