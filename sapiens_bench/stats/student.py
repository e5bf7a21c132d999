"""Student's t without scipy, whose import takes longer than a gate.

Source: NIST Digital Library of Mathematical Functions, 8.17.4 (symmetry) and 8.17.22 (continued fraction of the
incomplete beta function); P(T > t) of n degrees of freedom is half of I_x(n / 2, 1 / 2) with x = n / (n + t²).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
_TINY, _PRECISE, _MOST_TERMS = 1e-300, 1e-15, 10_000


def t_above(t: Any, degrees: Any) -> Doubles:
    """P(T > t), elementwise; NaN where ``t`` is."""
    t, n = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(degrees, np.float64))
    half = 0.5 * _beta_share(n, t)
    return np.asarray(np.where(np.isnan(t), np.nan, np.where(t >= 0, half, 1 - half)))


@lru_cache(maxsize=1024)
def t_quantile(level: float, degrees: float) -> float:
    """t with P(T <= t) = ``level``, for a level from 0.5 up to, not including, 1."""
    low, high = 0.0, 1.0
    while t_above(high, degrees) > 1 - level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_above(middle, degrees) > 1 - level else (low, middle)
    return (low + high) / 2


def _beta_share(n: Doubles, t: Doubles) -> Doubles:
    """I_x(n / 2, 1 / 2) with x = n / (n + t²)."""
    squared = np.minimum(np.abs(np.nan_to_num(t)), 1e150) ** 2
    x, y = n / (n + squared), squared / (n + squared)
    is_direct = x < (n / 2 + 1) / (n / 2 + 2.5)
    a, b = np.where(is_direct, n / 2, 0.5), np.where(is_direct, 0.5, n / 2)
    at, rest = np.where(is_direct, x, y), np.where(is_direct, y, x)
    logs = np.vectorize(math.lgamma, otypes=[float])
    with np.errstate(divide="ignore"):  # at 0 the share is 0
        front = np.exp(a * np.log(at) + b * np.log(rest) + logs(a + b) - logs(a) - logs(b)) / a
    share = front / _fraction(a, b, at)
    return np.asarray(np.where(is_direct, share, 1 - share))


def _fraction(a: Doubles, b: Doubles, x: Doubles) -> Doubles:
    """1 + d1 / (1 + d2 / (1 + ...)) by Lentz's method."""
    value = np.ones(x.shape)
    c, d = value.copy(), np.zeros(x.shape)
    for term in range(1, _MOST_TERMS):
        m = term // 2
        if term % 2:
            step = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 + step * d
        c = 1 + step / c
        d = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
        c = np.where(np.abs(c) < _TINY, _TINY, c)
        value = value * c * d
        if np.all(np.abs(c * d - 1) < _PRECISE):
            break
    return value
