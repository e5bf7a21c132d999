"""Ends of an interval: percentile, Student's t with the jackknife's error, expanded percentile, BCa, studentised.

The percentile interval of few groups is too narrow: it takes normal quantiles where Student's are due, and a standard
error that is too small by sqrt((G - 1) / G); and it is off to the side that the draws of AP and mIoU are biased to.
``results/coverage`` has what each method makes of that. The rule (``ends``): t below ``FEW_GROUPS``, percentiles from
there on.

Axes: B draws, G groups.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import UsageError
from sapiens_bench.stats.student import t_above, t_quantile

Doubles = NDArray[np.float64]
Ends = tuple[float, float]
_NORMAL = NormalDist()
_NONE = (math.nan, math.nan)
_MIN_DEFINED = 0.5  # share of draws in which a score must be defined for an interval to be given


# Below, intervals are Student's. At 120 groups percentiles cover nearly as well, and cry wolf less where AP is
# compared: the jackknife is too sure of scores that move in steps (results/coverage).
FEW_GROUPS = 100


def ends(draws_B: Doubles, value: float, level: float, left_out_G: Doubles | None) -> Ends:
    """The interval that results are given with; NaN where too few draws are defined.

    Args:
        left_out_G: the score without each group in turn, where there are fewer than ``FEW_GROUPS``; else None.

    Raises:
        UsageError: ``level`` is not between 0 and 1.
    """
    plain = percentile_ends(draws_B, level)
    return plain if left_out_G is None or not math.isfinite(plain[0]) else t_ends(left_out_G, value, level)


def p_value(draws_B: Doubles, value: float, left_out_G: Doubles | None) -> float:
    """Two-sided p of "the difference is zero", by inverting the interval of ``ends``; NaN where that is undefined."""
    plain = bootstrap_p(draws_B)
    if left_out_G is None or not math.isfinite(plain):
        return plain
    return max(t_p(left_out_G, value), min(1.0, 2 / (1 + len(draws_B))))  # not surer than so many draws can make it


def t_ends(left_out_G: Doubles, value: float, level: float) -> Ends:
    """The value and Student's quantile of the jackknife's standard errors to either side.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5 (Tukey's jackknife error).
    """
    reach = t_quantile(0.5 + level / 2, len(left_out_G) - 1) * jackknife_error(left_out_G)
    return value - reach, value + reach


def t_p(left_out_G: Doubles, value: float) -> float:
    """Two-sided p of "the score is zero" by ``t_ends``."""
    error = jackknife_error(left_out_G)
    if not error > 0:
        return math.nan if math.isnan(error) else 1.0 if value == 0 else 0.0
    return min(1.0, float(2 * t_above(abs(value) / error, len(left_out_G) - 1)))


def jackknife_error(left_out_G: Doubles) -> float:
    """Standard error from the score without each group in turn; NaN where one of those is undefined."""
    n = len(left_out_G)
    if n > 1 and np.all(left_out_G == left_out_G[0]):
        return 0.0
    if n < 2 or not np.isfinite(left_out_G).all():
        return math.nan
    return float(np.sqrt((n - 1) / n * ((left_out_G - left_out_G.mean()) ** 2).sum()))


def percentile_ends(draws_B: Doubles, level: float) -> Ends:
    """The central ``level`` of the defined draws; NaN when fewer than half are defined.

    Raises:
        UsageError: ``level`` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise UsageError(f"The level of an interval must lie between 0 and 1, found {level}.")
    draws = _defined(draws_B)
    return _NONE if draws is None else _quantiles(draws, (1 - level) / 2, 1 - (1 - level) / 2)


def bootstrap_p(differences_B: Doubles) -> float:
    """Twice the smaller share of draws on either side of zero, draws at zero on both; never exactly 0."""
    defined = differences_B[np.isfinite(differences_B)]
    if len(defined) == 0:
        return math.nan
    side = min(int(np.count_nonzero(defined <= 0)), int(np.count_nonzero(defined >= 0)))
    return min(1.0, 2 * (1 + side) / (1 + len(defined)))


def expanded_level(level: float, n_groups: int) -> float:
    """The level of percentile interval that covers with ``level`` when it comes from so few groups.

    Its tail is Phi(-sqrt(G / (G - 1)) t), t the quantile of Student's distribution of G - 1 degrees of freedom.

    Source: Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015, section 5.3
    ("expanded percentile interval").
    """
    if n_groups < 2:
        return math.nan
    reach = math.sqrt(n_groups / (n_groups - 1)) * t_quantile(0.5 + level / 2, n_groups - 1)
    return 1 - 2 * _NORMAL.cdf(-reach)


def bca_ends(draws_B: Doubles, value: float, left_out_G: Doubles, level: float) -> Ends:
    """Bias-corrected and accelerated: shifted by how many draws lie below the value, skewed by the jackknife.

    Args:
        left_out_G: the score without each group in turn.

    Source: Efron, Better bootstrap confidence intervals, JASA 82, 1987, equations 2.3, 6.6 (jackknife acceleration).
    """
    draws = _defined(draws_B)
    kept = left_out_G[np.isfinite(left_out_G)]
    if draws is None or len(kept) < 2 or not math.isfinite(value):
        return _NONE
    below = (np.count_nonzero(draws < value) + 0.5 * np.count_nonzero(draws == value)) / len(draws)
    if not 0 < below < 1:
        return _quantiles(draws, (1 - level) / 2, (1 + level) / 2)
    bias, spread = _NORMAL.inv_cdf(below), kept.mean() - kept
    scale = float((spread**2).sum()) ** 1.5
    acceleration = float((spread**3).sum()) / (6 * scale) if scale > 0 else 0.0
    shares = []
    for z in (_NORMAL.inv_cdf((1 - level) / 2), _NORMAL.inv_cdf((1 + level) / 2)):
        lean = 1 - acceleration * (bias + z)
        shares.append(_NORMAL.cdf(bias + (bias + z) / lean) if lean > 0 else float(z > 0))
    return _quantiles(draws, *shares)


def studentised_ends(draws_B: Doubles, errors_B: Doubles, value: float, error: float, level: float) -> Ends:
    """Quantiles of (draw - value) / its own error, turned round: for scores whose error is known in each draw.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5 (bootstrap-t).
    """
    usable = np.isfinite(draws_B) & np.isfinite(errors_B) & (errors_B > 0)
    if np.count_nonzero(usable) < _MIN_DEFINED * len(draws_B) or not math.isfinite(value + error):
        return _NONE
    t = (draws_B[usable] - value) / errors_B[usable]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    return float(value - high * error), float(value - low * error)


def _defined(draws_B: Doubles) -> Doubles | None:
    draws = draws_B[np.isfinite(draws_B)]
    return None if len(draws) == 0 or len(draws) < _MIN_DEFINED * len(draws_B) else draws


def _quantiles(draws: Doubles, low: float, high: float) -> Ends:
    found = np.quantile(draws, [low, high])
    return float(found[0]), float(found[1])
