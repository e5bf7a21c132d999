"""The line with the least sum of absolute errors: scale and shift that few wild pixels move. Axes: n points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_STEPS = 200  # each lowers the sum; some ten are usual
_EPS = float(np.finfo(np.float64).eps)


def least_absolute_line(x_n: NDArray[np.float64], y_n: NDArray[np.float64]) -> tuple[float, float]:
    """(slope, intercept) with the least sum |slope x + intercept - y|.

    Some best line passes through two of the points. From a point on the line the best slope through it is a weighted
    median of slopes, and that median is the slope to another point, from which the next step starts; each step lowers
    the sum until no point on the line knows a better one (Wesolowsky, A new descent algorithm for the least absolute
    value regression problem, Comm. Stat. B 10, 1981). Starts at the least-squares line, shifted by the median.
    """
    slope = _least_squares_slope(x_n, y_n)
    rest, middle = y_n - slope * x_n, (len(y_n) - 1) // 2
    pivot = int(np.argpartition(rest, middle)[middle])  # with an even number the lower one: the line meets a point
    intercept = float(rest[pivot])
    best, is_stuck = _total(x_n, y_n, slope, intercept), False
    for _ in range(_MOST_STEPS):
        new, other = _slope_through(x_n, y_n, pivot)
        shift = float(y_n[pivot] - new * x_n[pivot])
        total = _total(x_n, y_n, new, shift)
        if total < best * (1 - 1e-12):
            slope, intercept, best, pivot, is_stuck = new, shift, total, other, False
            continue
        turn = _turning_point(x_n, y_n, slope, intercept)
        if turn is None or is_stuck:
            break
        pivot, is_stuck = turn, True
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


def _turning_point(x_n: NDArray[np.float64], y_n: NDArray[np.float64], slope: float, intercept: float) -> int | None:
    """A point on the line about which turning it lowers the sum; None: there is none, so the line is a best one.

    Quantised maps put many points on one line. Turned about p, the sum changes at the rate |sum over points off the
    line of sign(rest) (x - x_p)| in the better direction, and each point on the line costs |x - x_p|.
    """
    rest = y_n - slope * x_n - intercept
    is_on = np.abs(rest) <= 64 * _EPS * (np.abs(y_n) + np.abs(slope * x_n) + abs(intercept))
    signs, on = np.sign(rest) * ~is_on, np.flatnonzero(is_on)
    if not len(on):
        return None
    on = on[np.argsort(x_n[on], kind="stable")]
    x = x_n[on]
    before, rank = np.cumsum(x), np.arange(1, len(x) + 1)
    cost = (2 * rank - len(x)) * x + before[-1] - 2 * before  # sum over the line of |x - x_p|
    gain = np.abs(float(signs @ x_n) - float(signs.sum()) * x) - cost
    at = int(np.argmax(gain))
    return int(on[at]) if gain[at] > 1e-12 * float(np.abs(x_n).sum()) else None
