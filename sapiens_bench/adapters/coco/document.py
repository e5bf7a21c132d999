"""An annotation file as lists of entries that are read one at a time: 226 MB of JSON never become Python objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sapiens_bench.pixels import json_parts
from sapiens_bench.pixels.json_parts import Part

_LISTS = ("images", "annotations")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. ``lists`` holds ``images`` and ``annotations``, their entries perhaps unread."""

    head: Any  # the other members; whatever stands there instead when the file holds no object
    lists: dict[str, Any]  # name -> sequence of parts, or whatever stands there instead

    @classmethod
    def of(cls, content: Any) -> Document:
        """A document that has been read already."""
        if not isinstance(content, dict):
            return cls(content, {})
        return cls(
            {name: value for name, value in content.items() if name not in _LISTS},
            {name: content[name] for name in _LISTS if name in content},
        )

    def entries(
        self, name: str, wanted: frozenset[str], unread: frozenset[str] = frozenset()
    ) -> Iterator[dict[str, Any] | None]:
        """Some members of every entry of a list, in order; None for an entry that is no object."""
        listed: Sequence[Part] = self.lists[name]
        for part in listed:
            yield json_parts.pick(part, wanted, unread)


def unread_document(data: bytes) -> Document:
    """The document in ``data``, its entries unread.

    Raises:
        json_parts.Doubtful: ``strict_json.parse`` must decide; reading an entry may say so, too.
    """
    parts = json_parts.document(json_parts.check_text(data))
    lists: dict[str, Any] = {}
    for name in _LISTS:
        if name in parts:
            entries = json_parts.entries(parts[name])
            lists[name] = json_parts.value(parts[name]) if entries is None else entries
    return Document({name: json_parts.value(part) for name, part in parts.items() if name not in _LISTS}, lists)
