"""Fitting a prediction to the ground truth of one image before it is scored."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import BLOCK, tree_sum
from sapiens_bench.tasks.depth.least_absolute import least_absolute_line

Alignment = Literal["none", "median", "scale", "scale_shift", "scale_shift_l1"]
# Those that every row has. The last one takes a sort per step, so only a protocol that asks for it pays for it.
ALIGNMENTS: tuple[Alignment, ...] = ("none", "median", "scale", "scale_shift")


class Values:
    """The masked pixels of one image, or their inverses: stored as they came, read as float64 a block at a time.

    A whole map in float64 would not fit into a cache, and to get the memory for it takes longer than the arithmetic.
    """

    def __init__(self, stored_n: NDArray[np.floating[Any]], is_inverse: bool = False) -> None:
        self._stored, self._is_inverse = stored_n, is_inverse

    def __len__(self) -> int:
        return len(self._stored)

    def block(self, start: int, stop: int) -> NDArray[np.float64]:
        """Values ``start`` to ``stop``; not to be written to."""
        values = self._stored[start:stop].astype(np.float64, copy=False)
        return 1.0 / values if self._is_inverse else values

    @property
    def whole(self) -> NDArray[np.float64]:
        """All of them at once."""
        return self.block(0, len(self))

    @cached_property
    def mean(self) -> float:
        """As ``numpy.mean``, to the last bit."""
        return tree_sum(len(self), lambda start, stop: self.block(start, stop).sum()) / len(self)

    @cached_property
    def median(self) -> float:
        """As ``numpy.median``, to the last bit; an inverse has the same value in the middle."""
        n = len(self)
        middle = [(n - 1) // 2, n // 2]
        if np.isnan(self._stored.max()):
            return float("nan")
        low, high = Values(np.partition(self._stored, middle)[middle], self._is_inverse).block(0, 2).tolist()
        return float((low + high) / 2) if n % 2 == 0 else float(low)

    @cached_property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value; positive values only where these are inverses."""
        ends = self._stored.min(), self._stored.max()
        low, high = sorted(Values(np.array(ends), self._is_inverse).block(0, 2).tolist())
        return low, high


class Fit(NamedTuple):
    """aligned = scale * prediction + shift."""

    scale: float
    shift: float


def fit(pred: Values, wanted: Values, alignment: Alignment) -> Fit:
    """The fit over the masked pixels of one image, both in the same space (depth, or inverse depth).

    ``median``: ratio of medians. ``scale``: argmin of sum (s p - g)^2. ``scale_shift``: argmin of sum (s p + t - g)^2,
    closed form on centred values; a constant prediction has rank 1 and gets scale 0 and the mean as shift.
    ``scale_shift_l1``: argmin of sum |s p + t - g|; a constant prediction gets scale 0 and the median.

    Source: the scale-and-shift fit is that of MiDaS (Ranftl et al. 2020, eq. 3-4), used by the authors of Sapiens
    (facebookresearch/sapiens issue 199) and DAViD (microsoft/DAViD issue 22).
    """
    if alignment == "none":
        return Fit(1.0, 0.0)
    if alignment == "median":
        return Fit(wanted.median / pred.median if pred.median else 0.0, 0.0)
    if alignment == "scale":
        square = _product_sum(pred, pred)
        return Fit(_product_sum(pred, wanted) / square if square else 0.0, 0.0)
    variance, covariance = _centred_products(pred, wanted)
    # Below this the prediction is constant up to rounding and a slope would be noise.
    is_constant = variance <= len(pred) * (np.finfo(np.float32).eps * abs(pred.mean)) ** 2
    if alignment == "scale_shift_l1":
        return Fit(0.0, wanted.median) if is_constant else Fit(*least_absolute_line(pred.whole, wanted.whole))
    if is_constant:
        return Fit(0.0, wanted.mean)
    scale = covariance / variance
    return Fit(scale, wanted.mean - scale * pred.mean)


def _product_sum(a: Values, b: Values) -> float:
    return tree_sum(len(a), lambda start, stop: (a.block(start, stop) * b.block(start, stop)).sum())


def _centred_products(pred: Values, wanted: Values) -> tuple[float, float]:
    """Sums of (p - mean)^2 and (p - mean) g."""
    variance = covariance = 0.0
    for start in range(0, len(pred), BLOCK):
        centred = pred.block(start, start + BLOCK) - pred.mean
        covariance += float((centred * wanted.block(start, start + BLOCK)).sum())
        centred *= centred
        variance += float(centred.sum())
    return variance, covariance
