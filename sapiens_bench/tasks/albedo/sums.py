"""The errors of one albedo map, as sums over the scored pixels.

Axes: H height, W width, C 3 channels, N windows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]
WINDOW_PX, SHIFT_PX = 20, 10  # of the local error, as its authors set them
_TINY = 1e-5  # sum of squares below which a window of the prediction is black, as in its authors' code
_K1, _K2, _SIGMA, _RADIUS = 0.01, 0.03, 1.5, 5
_EPSILON = 1e-8  # least weight of a window, and added below the fraction, as in the authors' evaluator
LEAST_SHARE = 0.5  # of a window's weight on scored pixels, more than which it counts


class AlbedoSums(NamedTuple):
    """e = predicted - true colour, in the protocol's colour space unless said otherwise; n counts pixels."""

    n: int  # scored pixels
    abs: float  # sum |e| over pixels and channels
    sq: float  # sum e^2
    ssim: float  # sum of structural similarity over windows that count, mean of channels
    n_windows: int  # windows of which more than half the weight lies on scored pixels
    n_pairs: int  # neighbouring scored pixels, along both axes
    grad: float  # sum over pairs and channels of |difference of e|
    scaled_sq: float  # sum e^2 in linear colours after the best factor of the image
    local_sq: float  # sum over windows of e^2 in linear colours after the best factor of the window
    local_all: float  # the same for a black prediction


def albedo_sums(
    pred_HWC: Colours, true_HWC: Colours, linear: tuple[Colours, Colours], mask: NDArray[np.bool_]
) -> AlbedoSums:
    """Sums of one image; ``linear`` holds prediction and truth in linear colours."""
    error = np.where(mask[..., None], pred_HWC - true_HWC, 0.0)
    n_pairs, grad = 0, 0.0
    for axis in (0, 1):
        both = np.logical_and(*_ends(mask, axis))
        first, second = _ends(error, axis)
        n_pairs += int(np.count_nonzero(both))
        grad += float(np.abs(second - first)[both].sum())
    pred, true = (np.where(mask[..., None], values, 0.0) for values in linear)
    return AlbedoSums(
        int(np.count_nonzero(mask)),
        float(np.abs(error).sum()),
        float((error * error).sum()),
        *_similarity(pred_HWC, true_HWC, mask),
        n_pairs,
        grad,
        _scaled(pred, true),
        *_local(pred, true),
    )


def _similarity(pred_HWC: Colours, true_HWC: Colours, mask: NDArray[np.bool_]) -> tuple[float, int]:
    """Sum of ``masked_ssim`` over the windows that count, and how many do; only where it is needed."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0
    top, left = max(0, rows[0] - _RADIUS), max(0, columns[0] - _RADIUS)
    part = np.s_[top : rows[-1] + _RADIUS + 1, left : columns[-1] + _RADIUS + 1]
    found, share = masked_ssim(pred_HWC[part], true_HWC[part], mask[part])
    counts = share > LEAST_SHARE
    return float(found[counts].sum()), int(np.count_nonzero(counts))


def masked_ssim(a_HWC: Colours, b_HWC: Colours, mask: NDArray[np.bool_]) -> tuple[Colours, Colours]:
    """Structural similarity around every pixel, mean of the channels, and the weight of its window on the mask, [H, W].

    Means, variances and covariance are over the scored pixels of a window, whose weights are made to add up to 1; what
    lies outside the mask or the picture has none. Values of 0..1.

    Source: Wang, Bovik, Sheikh, Simoncelli, Image quality assessment, IEEE TIP 13, 2004: Gaussian window of 11 x 11
    pixels with sigma 1.5, K1 0.01, K2 0.03; the masked form is that of facebookresearch/sapiens2, ``AlbedoEvaluator``.
    """
    scored = mask.astype(np.float64)
    share = _blurred(scored)
    weight = np.maximum(share, _EPSILON)[..., None]
    a, b = (np.where(mask[..., None], values, 0.0) for values in (a_HWC, b_HWC))  # a NaN times 0 is one
    mean_a, mean_b = _blurred(a) / weight, _blurred(b) / weight
    var_a = _blurred(a * a) / weight - mean_a**2
    var_b = _blurred(b * b) / weight - mean_b**2
    both = _blurred(a * b) / weight - mean_a * mean_b
    c1, c2 = _K1**2, _K2**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return np.asarray((top / (bottom + _EPSILON)).mean(axis=-1)), share


def _blurred(values: Colours) -> Colours:
    x = np.arange(-_RADIUS, _RADIUS + 1)
    kernel = np.exp(-(x**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    return np.asarray(cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT))


def _ends(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """All but the last, all but the first, along an axis."""
    return (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])


def _scaled(pred: Colours, true: Colours) -> float:
    """Sum of squared errors left by the best factor."""
    square = float((pred * pred).sum())
    factor = float((pred * true).sum()) / square if square > _TINY else 0.0
    rest = factor * pred - true
    return float((rest * rest).sum())


def _local(pred: Colours, true: Colours) -> tuple[float, float]:
    """Squared errors left by the best factor of each window, and those of a black prediction, both summed.

    Source: Grosse, Johnson, Adelson, Freeman, Ground truth dataset and baseline evaluations for intrinsic image
    algorithms, ICCV 2009, section 4.2 (LMSE); windows of 20 pixels every 10, one factor for the three channels.
    """
    cross, square, wanted = (_windows((a * b).sum(axis=-1)) for a, b in ((pred, true), (pred, pred), (true, true)))
    factor = np.divide(cross, square, out=np.zeros_like(cross), where=square > _TINY)
    left = wanted - 2 * factor * cross + factor * factor * square
    return float(np.maximum(left, 0).sum()), float(wanted.sum())


def _windows(values_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over windows that lie wholly in the image: the sums of four blocks of half their side."""
    rows, columns = (n // SHIFT_PX for n in values_HW.shape)
    cut = values_HW[: rows * SHIFT_PX, : columns * SHIFT_PX]
    blocks = cut.reshape(rows, SHIFT_PX, columns, SHIFT_PX).sum(axis=(1, 3))
    return np.asarray(blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:])
