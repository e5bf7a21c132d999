"""How small a change a study can see, before it is made.

The spread of a pair's difference is not known yet, so changes are given in its standard deviations. Bonferroni's share
of alpha stands for Holm's first step. Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988,
chapter 2 (d of paired differences).
"""

from __future__ import annotations

import math
from statistics import NormalDist

from sapiens_bench.errors import UsageError
from sapiens_bench.stats.ends import FEW_GROUPS
from sapiens_bench.stats.power import POWER
from sapiens_bench.stats.student import t_quantile

ALPHA = 0.05


def smallest_effect(n_pairs: int, n_conditions: int) -> float:
    """The change, in standard deviations of a pair's difference, that 80 % of studies like this one would call out."""
    return _quantiles(n_pairs, n_conditions) / math.sqrt(n_pairs)


def pairs_needed(effect: float, n_conditions: int) -> int:
    """Pairs with which 80 % of studies would call out such a change."""
    n = max(2, math.ceil((_quantiles(FEW_GROUPS, n_conditions) / effect) ** 2))  # few need more than that
    while smallest_effect(n, n_conditions) > effect:
        n += 1
    return n


def say(n_pairs: int, n_conditions: int) -> str:
    """One sentence before a study is rendered."""
    return (
        f"{n_pairs} pairs, {n_conditions} conditions a model: {POWER:.0%} of such studies would call out a mean change "
        f"of {smallest_effect(n_pairs, n_conditions):.2f} standard deviations of a pair's difference (Holm at {ALPHA})."
    )


def require(effect: float | None, n_pairs: int, n_conditions: int) -> None:
    """Refuse a study that is too small for the effect that is looked for.

    Raises:
        UsageError: says how many pairs it takes.
    """
    if effect is None:
        return
    if not effect > 0:
        raise UsageError(f"--effect {effect:g}: give a change above 0, in standard deviations of a pair's difference.")
    needed = pairs_needed(effect, n_conditions)
    if n_pairs < needed:
        raise UsageError(
            f"--effect {effect:g} takes {needed} pairs with {n_conditions} conditions, and --pairs is {n_pairs}: this "
            f"study would see {smallest_effect(n_pairs, n_conditions):.2f} and more."
        )


def _quantiles(n_pairs: int, n_conditions: int) -> float:
    """Of the test, Student's where the intervals will be (``stats/ends.py``), and of the power."""
    normal, share = NormalDist(), 1 - ALPHA / (2 * max(1, n_conditions))
    reach = t_quantile(share, n_pairs - 1) if n_pairs < FEW_GROUPS else normal.inv_cdf(share)
    return reach + normal.inv_cdf(POWER)
