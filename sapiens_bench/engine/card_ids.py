"""Ids and titles of cards that are made for files named in a request."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._+-]+")
MAX_TITLE = 80


def free_id(stem: str, taken: Iterable[str]) -> str:
    """An id that no card has, after the file's name."""
    base = plain_id(stem)
    name, n = base, 1
    known = set(taken)
    while name in known:
        n += 1
        name = f"{base}-{n}"
    return name


def plain_id(stem: str) -> str:
    """The name with what ids may hold, at most 56 characters."""
    return _NOT_IN_IDS.sub("-", stem).strip("-._+")[:56] or "file"


def shown_title(name: str) -> str:
    """A file's or folder's name as the title of a row."""
    return "".join(c if c.isprintable() else "?" for c in name)[:MAX_TITLE] or "."
