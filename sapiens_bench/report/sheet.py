"""Tables of finished text: what every writer can write. A document is several of them under one title."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Sheet:
    """A titled table. Texts are as they come; each writer makes them harmless in its own format."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: Sequence[int] = (0,)  # columns of words, the one that names the row first; the others are set flush right
    notes: tuple[str, ...] = ()
    sections: Mapping[int, str] = field(default_factory=dict)  # row -> title of the rows from there on
    bold: Collection[tuple[int, int]] = ()  # (row, column)
    underlined: Collection[tuple[int, int]] = ()  # likewise
    faint: Collection[int] = ()  # rows that matter less

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.heads) for row in self.rows), self.title

    @property
    def name_column(self) -> int:
        """The column that names the row: it carries section titles and is never shortened."""
        return self.left[0] if self.left else 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing in a file of its own; Markdown and LaTeX show it, JSON names it."""

    path: str  # as seen from the folder of the document
    words: str  # for whoever cannot see it, and below it


@dataclass(frozen=True, slots=True)
class Document:
    """Sheets that belong together."""

    title: str
    sheets: tuple[Sheet, ...]
    facts: Mapping[str, str] = field(default_factory=dict)  # command, version, machine ... in display order
    notes: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)  # the same as numbers, for JSON; its "schema" names the form
    pictures: tuple[Picture, ...] = ()


def said_once(sheets: Sequence[Sheet]) -> tuple[tuple[Sheet, ...], tuple[str, ...]]:
    """The sheets without the notes that several of them share, and those notes once.

    Numbered and lettered notes stay: their marks mean something in their own sheet alone.
    """
    times = Counter(note for sheet in sheets for note in dict.fromkeys(sheet.notes))
    shared = tuple(note for note, n in times.items() if n > 1 and not note.startswith("("))
    return tuple(replace(s, notes=tuple(n for n in s.notes if n not in shared)) for s in sheets), shared
