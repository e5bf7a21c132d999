"""Sums over the pixels of one image from which every depth score follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import BLOCK
from sapiens_bench.tasks.depth.alignment import ALIGNMENTS, Alignment, Values, fit
from sapiens_bench.tasks.depth.types import DepthKind

# An aligned depth can be zero or negative. It counts against every delta, and the logarithm sees this instead (metres).
LOG_FLOOR_M = 1e-3
_NEAR = (1.25, 1.25**2, 1.25**3)


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
    """The masked truth of one image (positive, metres), as it is and inverted."""

    def __init__(self, gt_n: NDArray[np.floating[Any]]) -> None:
        self.depth, self.inverse = Values(gt_n), Values(gt_n, is_inverse=True)


class Aligner:
    """Brings predictions of one image to metres, block by block; counts what it has to clamp.

    Inverse depth is fitted to 1 / truth, clamped to the range of 1 / truth of the image, and inverted.
    """

    def __init__(self, pred: Values, truth: Truth, kind: DepthKind, alignment: Alignment) -> None:
        self.is_inverse = kind == "affine_invariant_inverse_depth"
        wanted = truth.inverse if self.is_inverse else truth.depth
        self.scale, self.shift = fit(pred, wanted, alignment)
        self.low, self.high = wanted.range if self.is_inverse else (LOG_FLOOR_M, math.inf)
        self.clamped = 0

    def __call__(self, pred: NDArray[np.float64], out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Aligned depth in metres, in ``out`` if given; may be negative where the model predicts depth."""
        value = np.multiply(pred, self.scale, out=out)
        value += self.shift
        self.clamped += int(np.count_nonzero(value < self.low))
        if not self.is_inverse:
            return value
        self.clamped += int(np.count_nonzero(value > self.high))
        np.clip(value, self.low, self.high, out=value)
        return np.divide(1.0, value, out=value)


def depth_sums(pred_n: NDArray[np.floating[Any]], truth: Truth, kind: DepthKind, alignment: Alignment) -> DepthSums:
    """Sums over the masked pixels of one image after ``alignment``.

    Source: facebookresearch/sapiens ``DepthMetric``, which is this without an alignment; formulas of Eigen et al.,
    NIPS 2014.
    """
    return all_depth_sums(pred_n, truth, kind, (alignment,))[alignment]


def all_depth_sums(
    pred_n: NDArray[np.floating[Any]],
    truth: Truth,
    kind: DepthKind,
    alignments: Sequence[Alignment] = ALIGNMENTS,
) -> dict[Alignment, DepthSums]:
    """``depth_sums`` under several alignments, in one pass over the pixels once the fits are known."""
    if len(pred_n) == 0:
        return dict.fromkeys(alignments, DepthSums.empty())
    pred = Values(pred_n)
    aligners = {a: Aligner(pred, truth, kind, a) for a in alignments}
    totals = {a: np.zeros(9) for a in alignments}
    scratch = np.empty((3, min(BLOCK, len(pred_n))))
    # In blocks that stay in the cache: the temporaries of a whole map would cost more than the arithmetic.
    for start in range(0, len(pred_n), BLOCK):
        part = pred.block(start, start + BLOCK), truth.depth.block(start, start + BLOCK)
        inverse, room = 1.0 / part[1], scratch[:, : len(part[0])]
        for alignment, align in aligners.items():
            totals[alignment] += _block(align(part[0], room[0]), part[1], inverse, room[1], room[2])
    return {a: _named(totals[a], len(pred_n), aligners[a].clamped) for a in alignments}


def _named(total: NDArray[np.float64], n: int, clamped: int) -> DepthSums:
    sq_error, abs_rel, sq_rel, log_sq, log, abs_log = total[:6].tolist()
    delta1, delta2, delta3 = (round(v) for v in total[6:].tolist())
    return DepthSums(n, sq_error, abs_rel, sq_rel, log_sq, log, abs_log / math.log(10), delta1, delta2, delta3, clamped)


def _block(
    aligned: NDArray[np.float64],
    gt: NDArray[np.float64],
    inverse: NDArray[np.float64],
    error: NDArray[np.float64],
    square: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The nine sums of one block; overwrites ``aligned`` and the two scratch arrays."""
    np.subtract(aligned, gt, out=error)
    np.multiply(error, error, out=square)
    sq_error = square.sum()
    square *= inverse
    np.abs(error, out=error)
    error *= inverse
    sums = [sq_error, error.sum(), square.sum()]
    ratio = np.maximum(aligned, LOG_FLOOR_M, out=aligned)
    ratio /= gt
    near = _near(ratio, error)
    log_error = np.log(ratio, out=ratio)
    log, size = log_error.sum(), np.abs(log_error, out=error).sum()
    log_error *= log_error
    return np.array([*sums, log_error.sum(), log, size, *near], np.float64)


def _near(ratio: NDArray[np.float64], scratch: NDArray[np.float64]) -> list[int]:
    """How many of max(ratio, 1 / ratio) lie below each limit."""
    worst = max(float(ratio.max()), 1.0 / float(ratio.min()))
    if worst < _NEAR[0]:
        return [len(ratio)] * len(_NEAR)
    each = np.divide(1.0, ratio, out=scratch)
    np.maximum(ratio, each, out=each)
    return [len(ratio) if worst < limit else int(np.count_nonzero(each < limit)) for limit in _NEAR]
