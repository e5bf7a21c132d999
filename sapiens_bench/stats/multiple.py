"""Correction for asking often, beside Holm's (``paired.holm``): the false discovery rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

from sapiens_bench.stats.paired import holm

ALPHA = 0.05
Correction = Literal["holm", "bh"]
TITLES: dict[Correction, str] = {"holm": "Holm", "bh": "BH"}
PROMISES: dict[Correction, str] = {
    "holm": "the chance of even one false call among all {n} rows is at most 5 %",
    "bh": "of the differences called out among all {n} rows at most 5 % are false on average",
}


def benjamini_hochberg(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p values: calling out those at or below q keeps the expected share of false calls at q.

    Undefined ones stay NaN and do not count. Holds for independent and positively dependent tests.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, J. R. Statist. Soc. B 57, 1995.
    """
    defined = sorted((p, name) for name, p in p_values.items() if math.isfinite(p))
    adjusted, running = dict.fromkeys(p_values, math.nan), 1.0
    for rank in range(len(defined), 0, -1):
        p, name = defined[rank - 1]
        running = min(running, p * len(defined) / rank)
        adjusted[name] = running
    return adjusted


def draws_for(n_tests: int, n_draws: int, alpha: float = ALPHA) -> int:
    """Draws that can tell one of so many tests from noise: fewer leave every p above the level that Holm asks for.

    Args:
        n_draws: what was asked for; the least that is answered.
        alpha: of two-sided p, which is never below 2 over the number of draws.
    """
    return max(n_draws, math.ceil(1.1 * 2 * n_tests / alpha))


def adjusted(p_values: Mapping[str, float], correction: Correction) -> dict[str, float]:
    """By name of the correction."""
    methods: dict[Correction, Callable[[Mapping[str, float]], dict[str, float]]] = {
        "holm": holm, "bh": benjamini_hochberg,
    }  # fmt: skip
    return methods[correction](p_values)
