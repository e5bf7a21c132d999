"""Differences in plain words, in the units that tables show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from sapiens_bench.decide.pairs import Difference
from sapiens_bench.report.footnotes import FEWEST_GROUPS
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.stats.ends import FEW_GROUPS
from sapiens_bench.stats.paired import PairedDifference
from sapiens_bench.stats.power import smallest_seen
from sapiens_bench.types import ScoreInfo


def shown(value: float, info: ScoreInfo, decimals: int | None = None) -> str:
    """A score or difference in the unit that tables show; an en dash where undefined."""
    if not math.isfinite(value):
        return UNDEFINED
    text = f"{value * (100 if info.percent else 1):.{info.decimals if decimals is None else decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def unit(info: ScoreInfo) -> str:
    """``"AP"``, ``"mean angle deg"``: what a difference is a difference of."""
    return " ".join(part for part in (info.title, info.unit) if part)


def digits(value: float, info: ScoreInfo) -> int:
    """Decimals that show a small difference: the score's own, or more until one digit is not zero."""
    size = abs(value) * (100 if info.percent else 1)
    if not math.isfinite(size) or size == 0:
        return info.decimals
    return min(max(info.decimals, math.ceil(-math.log10(size))), info.decimals + 3)


def p_text(p: float) -> str:
    """``"0.012"``, ``"< 0.001"``."""
    return UNDEFINED if not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def few_groups(n_groups: Iterable[int], what: str = "intervals and p") -> Iterator[str]:
    """How intervals are made where there are few groups (``stats/ends.py``), and a word where even that is not enough.

    Args:
        n_groups: of each row that is shown; 0 for one without a number.
    """
    known = [n for n in n_groups if n]
    fewest = min((n for n in known if n > 1), default=FEW_GROUPS)
    if 1 in known:
        yield f"No {what.replace(' and ', ' or ')} where there is a single independent group: it cannot be resampled."
    if fewest < FEW_GROUPS:
        few = f"{fewest} independent groups, fewer than {FEW_GROUPS}"
        yield f"{few}: {what} are Student's t with the jackknife's error."
    if fewest < FEWEST_GROUPS:
        yield f"Even so, {fewest} groups are too few to be trusted."


def is_identical(found: PairedDifference) -> bool:
    """No difference in any draw."""
    return found.difference == 0 and found.low == 0 == found.high


def effect(d: Difference, p_adjusted: float, correction: str = "Holm") -> str:
    """One sentence: who is better, by how much, and how sure that is; or how large a difference would be seen."""
    found, info = d.found, d.info
    if not math.isfinite(found.difference):
        return "undefined: no number on at least one side"
    better = d.pair.name_b if (found.difference > 0) == info.higher_is_better else d.pair.name_a
    places = digits(found.difference, info)
    size = f"{shown(abs(found.difference), info, places)} {unit(info)}"
    if not math.isfinite(found.low):
        ahead = "no difference" if found.difference == 0 else f"{better} is ahead by {size}"
        return f"{ahead}; no interval: {_why_none(found)}"
    if is_identical(found):
        return "no difference at all: the same score in every draw"
    ends = sorted((found.low, found.high) if found.difference > 0 else (-found.low, -found.high))
    interval = f"[{shown(ends[0], info, places)}, {shown(ends[1], info, places)}]"
    p = p_text(found.p_value)
    chance = f"p {p if p.startswith('<') else '= ' + p} ({correction} {p_text(p_adjusted)})"
    if p_adjusted <= 1 - found.level:
        return f"{better} is better by {size} {interval}, {chance}"
    least = smallest_seen(found)
    if not math.isfinite(least):
        return f"no difference seen, {chance}"
    return f"no difference seen, {chance}: this set would see >= {shown(least, info, digits(least, info))} {unit(info)}"


def _why_none(found: PairedDifference) -> str:
    return "a single group cannot be resampled" if found.n_groups < 2 else "undefined in most draws"
