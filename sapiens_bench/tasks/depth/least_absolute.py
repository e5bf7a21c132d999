"""The line with the least sum of absolute errors: scale and shift that few wild pixels move. Axes: n points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_STEPS = 200  # each lowers the sum; some ten are usual


def least_absolute_line(x_n: NDArray[np.float64], y_n: NDArray[np.float64]) -> tuple[float, float]:
    """(slope, intercept) with the least sum |slope x + intercept - y|.

    Some best line passes through two of the points. From a point on the line the best slope through it is a weighted
    median of slopes, and that median is the slope to another point, from which the next step starts; each step lowers
    the sum until no point on the line knows a better one (Wesolowsky, A new descent algorithm for the least absolute
    value regression problem, Comm. Stat. B 10, 1981). Starts at the least-squares line, shifted by the median.
    """
    slope = _least_squares_slope(x_n, y_n)
    intercept = float(np.median(y_n - slope * x_n))
    best = _total(x_n, y_n, slope, intercept)
    pivot = int(np.argmin(np.abs(y_n - slope * x_n - intercept)))
    for _ in range(_MOST_STEPS):
        new, other = _slope_through(x_n, y_n, pivot)
        shift = float(y_n[pivot] - new * x_n[pivot])
        total = _total(x_n, y_n, new, shift)
        if not total < best * (1 - 1e-12):
            shift = float(np.median(y_n - slope * x_n))  # the best shift for this slope may lie on another point
            pivot = int(np.argmin(np.abs(y_n - slope * x_n - shift)))
            new, other = _slope_through(x_n, y_n, pivot)
            shift = float(y_n[pivot] - new * x_n[pivot])
            total = _total(x_n, y_n, new, shift)
            if not total < best * (1 - 1e-12):
                break
        slope, intercept, best, pivot = new, shift, total, other
    return slope, intercept


def _least_squares_slope(x_n: NDArray[np.float64], y_n: NDArray[np.float64]) -> float:
    x = x_n - x_n.mean()
    square = float(x @ x)
    return float(x @ y_n) / square if square else 0.0


def _total(x_n: NDArray[np.float64], y_n: NDArray[np.float64], slope: float, intercept: float) -> float:
    return float(np.abs(slope * x_n + intercept - y_n).sum())


def _slope_through(x_n: NDArray[np.float64], y_n: NDArray[np.float64], pivot: int) -> tuple[float, int]:
    """The best slope of a line through a point, and another point on that line."""
    run, rise = x_n - x_n[pivot], y_n - y_n[pivot]
    apart = np.flatnonzero(run != 0)
    if not len(apart):
        return 0.0, pivot
    slopes, weights = rise[apart] / run[apart], np.abs(run[apart])
    order = np.argsort(slopes, kind="stable")
    reached = np.cumsum(weights[order])
    at = order[int(np.searchsorted(reached, reached[-1] / 2))]
    return float(slopes[at]), int(apart[at])
