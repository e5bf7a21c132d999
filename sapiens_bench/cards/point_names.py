"""Keypoint names as files spell them: ``Right Shoulder``, ``r_shoulder`` and ``rightShoulder`` are one point."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SIDES = {"l": "left", "r": "right", "lt": "left", "rt": "right"}
_NUMBERED = re.compile(r"(?:[a-z]{0,2}|(?:key)?[ _-]?(?:points?|kpts?)|joint|landmark)[ _-]*\d+|[a-z]?")


class NamesDiffer(ValueError):
    """Two lists of names do not name the same points; the text says where.

    ``in_place`` is True where no known name stands at another point's place: then it may be the spelling alone.
    """

    def __init__(self, text: str, in_place: bool) -> None:
        super().__init__(text)
        self.in_place = in_place


def words(name: str) -> tuple[str, ...]:
    """The words of a name in alphabetic order, lower case, sides written out."""
    found = [word.lower() for word in _WORDS.findall(name)]
    return tuple(sorted(_SIDES.get(word, word) for word in found))


def is_number_only(name: str) -> bool:
    """Whether a name says nothing but its place: ``7``, ``p7``, ``keypoint_7``."""
    return _NUMBERED.fullmatch(name.strip().lower()) is not None


def order_by_name(found: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64] | None:
    """Where each wanted point stands among the found ones, int64 [len(wanted)].

    Names beyond the shorter of both lists are not looked at: Human-Art lists 21 for 17 points, COCO-WholeBody 17 for
    133. None when the found names are mere numbers.

    Raises:
        NamesDiffer: the names are not those wanted, in any order.
    """
    n = min(len(found), len(wanted))
    if all(is_number_only(name) for name in found[:n]):
        return None
    theirs, ours = [words(name) for name in found[:n]], [words(name) for name in wanted[:n]]
    order = np.arange(len(wanted), dtype=np.int64)
    if theirs == ours:
        return order
    known = set(ours)
    if len(set(theirs)) < n or set(theirs) != known:
        astray = [i for i in range(n) if theirs[i] in known and theirs[i] != ours[i]]
        foreign = [i for i in range(n) if theirs[i] not in known]
        first = (astray or foreign)[0]
        places = f"point {first} is {found[first]!r} there and {wanted[first]!r} here"
        raise NamesDiffer(f"{places} ({len(astray) + len(foreign)} names differ)", in_place=not astray)
    order[:n] = [theirs.index(name) for name in ours]
    return order
