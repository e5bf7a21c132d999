"""Sums over the pixels of one image from which every depth score follows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.alignment import Alignment, fit
from sapiens_bench.tasks.depth.types import DepthKind

# An aligned depth can be zero or negative. It counts against every delta, and the logarithm sees this instead (metres).
LOG_FLOOR_M = 1e-3


class DepthSums(NamedTuple):
    """e = aligned - truth (m), l = ln aligned - ln truth."""

    n: int  # scored pixels
    sq_error: float  # sum e^2
    abs_rel: float  # sum |e| / truth
    sq_rel: float  # sum e^2 / truth
    log_sq: float  # sum l^2
    log: float  # sum l
    abs_log10: float  # sum |l| / ln 10
    delta1: int  # pixels with max(aligned / truth, truth / aligned) < 1.25
    delta2: int  # ... < 1.25^2
    delta3: int  # ... < 1.25^3
    clamped: int  # pixels whose aligned value had to be moved into the valid range

    @classmethod
    def empty(cls) -> DepthSums:
        """No pixel."""
        return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0)


class Truth:
    """The masked truth of one image, with what every alignment needs of it."""

    def __init__(self, gt_n: NDArray[np.float64]) -> None:
        self.depth, self.log = gt_n, np.log(gt_n)
        self.inverse = 1.0 / gt_n


def aligned_depth(
    pred_n: NDArray[np.float64], truth: Truth, kind: DepthKind, alignment: Alignment
) -> tuple[NDArray[np.float64], int]:
    """Prediction brought to metres, and how many pixels were clamped.

    Inverse depth is fitted to 1 / truth, clamped to the range of 1 / truth of the image, and inverted.
    Source: specification of the protocols, section 6.
    """
    if kind != "affine_invariant_inverse_depth":
        scale, shift = fit(pred_n, truth.depth, alignment)
        aligned = scale * pred_n + shift
        return aligned, int(np.count_nonzero(aligned < LOG_FLOOR_M))
    scale, shift = fit(pred_n, truth.inverse, alignment)
    inverse = scale * pred_n + shift
    low, high = float(truth.inverse.min()), float(truth.inverse.max())
    clamped = int(np.count_nonzero((inverse < low) | (inverse > high)))
    return 1.0 / np.clip(inverse, low, high), clamped


def depth_sums(pred_n: NDArray[np.float64], truth: Truth, kind: DepthKind, alignment: Alignment) -> DepthSums:
    """Sums over the masked pixels of one image after ``alignment``.

    Source: behaviour of the official ``DepthMetric`` (specification of the official code, section 6), which is this
    without an alignment; formulas of Eigen et al., NIPS 2014.
    """
    if len(pred_n) == 0:
        return DepthSums.empty()
    aligned, clamped = aligned_depth(pred_n, truth, kind, alignment)
    gt = truth.depth
    error = aligned - gt
    square = error * error
    log_error = np.log(np.maximum(aligned, LOG_FLOOR_M)) - truth.log
    size = np.abs(log_error)
    # max(a/g, g/a) < t without a division; never true for a <= 0.
    near = [int(np.count_nonzero((aligned < t * gt) & (gt < t * aligned))) for t in (1.25, 1.25**2, 1.25**3)]
    return DepthSums(
        n=len(gt),
        sq_error=float(square.sum()),
        abs_rel=float((np.abs(error) * truth.inverse).sum()),
        sq_rel=float((square * truth.inverse).sum()),
        log_sq=float(log_error @ log_error),
        log=float(log_error.sum()),
        abs_log10=float(size.sum() / np.log(10)),
        delta1=near[0],
        delta2=near[1],
        delta3=near[2],
        clamped=clamped,
    )
