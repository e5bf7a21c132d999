"""Sums over the pixels of one image from which every depth score follows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.alignment import BLOCK, Alignment, fit
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
        self.depth, self.inverse = gt_n, 1.0 / gt_n


class Aligner:
    """Brings predictions of one image to metres, block by block; counts what it has to clamp.

    Inverse depth is fitted to 1 / truth, clamped to the range of 1 / truth of the image, and inverted.
    Source: specification of the protocols, section 6.
    """

    def __init__(self, pred_n: NDArray[np.float64], truth: Truth, kind: DepthKind, alignment: Alignment) -> None:
        self.is_inverse = kind == "affine_invariant_inverse_depth"
        wanted = truth.inverse if self.is_inverse else truth.depth
        self.scale, self.shift = fit(pred_n, wanted, alignment)
        self.low, self.high = (float(wanted.min()), float(wanted.max())) if self.is_inverse else (LOG_FLOOR_M, math.inf)
        self.clamped = 0

    def __call__(self, pred_n: NDArray[np.float64]) -> NDArray[np.float64]:
        """Aligned depth in metres; may be negative where the model predicts depth."""
        value = pred_n * self.scale
        value += self.shift
        self.clamped += int(np.count_nonzero((value < self.low) | (value > self.high)))
        return np.asarray(1.0 / np.clip(value, self.low, self.high)) if self.is_inverse else value


def depth_sums(pred_n: NDArray[np.float64], truth: Truth, kind: DepthKind, alignment: Alignment) -> DepthSums:
    """Sums over the masked pixels of one image after ``alignment``.

    Source: behaviour of the official ``DepthMetric`` (specification of the official code, section 6), which is this
    without an alignment; formulas of Eigen et al., NIPS 2014.
    """
    if len(pred_n) == 0:
        return DepthSums.empty()
    align = Aligner(pred_n, truth, kind, alignment)
    total = np.zeros(9)
    # In blocks that stay in the cache: the temporaries of a whole map would cost more than the arithmetic.
    for start in range(0, len(pred_n), BLOCK):
        part = slice(start, start + BLOCK)
        total += _block(align(pred_n[part]), truth.depth[part], truth.inverse[part])
    sq_error, abs_rel, sq_rel, log_sq, log, abs_log = total[:6].tolist()
    near = [round(v) for v in total[6:].tolist()]
    return DepthSums(
        n=len(pred_n),
        sq_error=sq_error,
        abs_rel=abs_rel,
        sq_rel=sq_rel,
        log_sq=log_sq,
        log=log,
        abs_log10=abs_log / math.log(10),
        delta1=near[0],
        delta2=near[1],
        delta3=near[2],
        clamped=align.clamped,
    )


def _block(aligned: NDArray[np.float64], gt: NDArray[np.float64], inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    error = aligned - gt
    square = error * error
    ratio = np.maximum(aligned, LOG_FLOOR_M) / gt
    log_error = np.log(ratio)
    worst = np.maximum(ratio, 1.0 / ratio)
    near = [np.count_nonzero(worst < t) for t in (1.25, 1.25**2, 1.25**3)]
    size = np.abs(error)
    size *= inverse
    sums = [square.sum(), size.sum(), 0.0, 0.0, log_error.sum(), np.abs(log_error).sum()]
    square *= inverse
    log_error *= log_error
    sums[2:4] = [square.sum(), log_error.sum()]
    return np.array([*sums, *near], np.float64)
