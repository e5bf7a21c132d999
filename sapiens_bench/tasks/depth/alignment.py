"""Fitting a prediction to the ground truth of one image before it is scored."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Alignment = Literal["none", "median", "scale", "scale_shift"]
BLOCK = 16_384  # values; a few arrays of this size fit into a core's cache
ALIGNMENTS: tuple[Alignment, ...] = ("none", "median", "scale", "scale_shift")


class Fit(NamedTuple):
    """aligned = scale * prediction + shift."""

    scale: float
    shift: float


def fit(pred_n: NDArray[np.float64], gt_n: NDArray[np.float64], alignment: Alignment) -> Fit:
    """The fit over the masked pixels of one image, both in the same space (depth, or inverse depth).

    ``median``: ratio of medians. ``scale``: argmin of sum (s p - g)^2. ``scale_shift``: argmin of sum (s p + t - g)^2,
    closed form on centred values; a constant prediction has rank 1 and gets scale 0 and the mean as shift.

    Source: specification of the protocols, section 6; the scale-and-shift fit is that of MiDaS (Ranftl et al. 2020,
    eq. 3-4), used by the authors of Sapiens (facebookresearch/sapiens issue 199) and DAViD (microsoft/DAViD issue 22).
    """
    if alignment == "none":
        return Fit(1.0, 0.0)
    if alignment == "median":
        middle = float(np.median(pred_n))
        return Fit(float(np.median(gt_n)) / middle if middle else 0.0, 0.0)
    if alignment == "scale":
        square = _product_sum(pred_n, pred_n)
        return Fit(_product_sum(pred_n, gt_n) / square if square else 0.0, 0.0)
    mean_p, mean_g = float(pred_n.mean()), float(gt_n.mean())
    variance, covariance = _centred_products(pred_n, gt_n, mean_p)
    # Below this the prediction is constant up to rounding and a slope would be noise.
    if variance <= len(pred_n) * (np.finfo(np.float32).eps * abs(mean_p)) ** 2:
        return Fit(0.0, mean_g)
    scale = covariance / variance
    return Fit(scale, mean_g - scale * mean_p)


def _centred_products(pred_n: NDArray[np.float64], gt_n: NDArray[np.float64], mean_p: float) -> tuple[float, float]:
    """Sums of (p - mean)^2 and (p - mean) g, in blocks that stay in the cache."""
    variance = covariance = 0.0
    for start in range(0, len(pred_n), BLOCK):
        centred = pred_n[start : start + BLOCK] - mean_p
        covariance += _product_sum(centred, gt_n[start : start + BLOCK])
        centred *= centred
        variance += float(centred.sum())
    return variance, covariance


def _product_sum(a_n: NDArray[np.float64], b_n: NDArray[np.float64]) -> float:
    """Sum of products, the same on every machine: a BLAS dot depends on its threads, and waits for them."""
    return float((a_n * b_n).sum())
