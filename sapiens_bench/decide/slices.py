"""Parts of a data set by what is known about each picture: its size, occlusion, crowding (``attr/...`` of the rows)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from sapiens_bench.decide.sides import Member
from sapiens_bench.errors import UsageError
from sapiens_bench.report.footnotes import FEWEST_GROUPS
from sapiens_bench.store.rows import ATTRIBUTE

_PARTS = 3
FEWEST = FEWEST_GROUPS  # independent groups of a slice: intervals of fewer are not to be trusted


class Slice(NamedTuple):
    """Pictures whose attribute lies in one range."""

    title: str  # "person px 80 to 143"
    keys: frozenset[str]


def slices(member: Member, excluded: set[str], small: dict[str, None] | None = None) -> list[Slice]:
    """Thirds of the pictures by each attribute, of few values each value; attributes that never differ, and slices of
    fewer than ten independent groups, are left out.

    Args:
        excluded: keys of pictures that are not scored.
        small: gets the attributes that lost a slice for want of groups, in order.

    Raises:
        UsageError: the rows have no attribute.
    """
    rows = member.rows
    names = [name for name in rows.column_names if name.startswith(ATTRIBUTE)]
    if not names:
        raise UsageError(
            f"--by slice: the rows of {member.model} on {member.dataset} state nothing about the pictures (no column "
            f"{ATTRIBUTE}...): an earlier version made them, or the task states nothing. Run the same command again, "
            "with another --out."
        )
    keys, groups = (np.array(rows[name].to_pylist(), dtype=object) for name in ("key", "group"))
    is_in = np.array([key not in excluded for key in keys], bool)
    found: list[Slice] = []
    for name in names:
        about = name.removeprefix(ATTRIBUTE).replace("_", " ")
        for title, chosen in _parts(rows[name].to_pylist(), is_in):
            if len(set(groups[chosen].tolist())) >= FEWEST:
                found.append(Slice(f"{about} {title}", frozenset(keys[chosen].tolist())))
            elif small is not None:
                small[about] = None
    return found


def said_of_small(small: Iterable[str]) -> Iterator[str]:
    """A word on attributes of which a slice, or every slice, was left out."""
    if names := ", ".join(small):
        yield f"--by slice: slices of fewer than {FEWEST} independent groups are left out, by: {names}."


def _parts(values: list[float | str | None], is_in: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Words each by itself, numbers in ranges."""
    if any(isinstance(value, str) for value in values):
        words = np.array(values, dtype=object)
        kinds = sorted({str(word) for word in words[is_in] if word is not None})
        yield from ((kind, is_in & (words == kind)) for kind in kinds if len(kinds) > 1)
        return
    numbers = np.array([math.nan if value is None else float(value) for value in values])
    yield from _ranges(numbers, is_in & np.isfinite(numbers))


def _ranges(values: np.ndarray, is_in: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """(range in words, which pictures); equal values always together."""
    kinds = np.unique(values[is_in])
    if len(kinds) < 2:
        return
    if len(kinds) <= _PARTS:
        yield from ((f"{kind:g}", is_in & (values == kind)) for kind in kinds)
        return
    edges = np.unique(np.quantile(values[is_in], np.arange(1, _PARTS) / _PARTS, method="higher"))
    part = np.searchsorted(edges, values, side="right")
    for number in range(len(edges) + 1):
        chosen = is_in & (part == number)
        if chosen.any():
            low, high = values[chosen].min(), values[chosen].max()
            yield (f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"), chosen
