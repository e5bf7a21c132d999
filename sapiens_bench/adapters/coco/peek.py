"""What an annotation file is, from its categories and its first person: for files that no card describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.coco.categories import are_one_kind, listed_names
from sapiens_bench.adapters.coco.document import Document, unread_document
from sapiens_bench.adapters.coco.faults import Faults
from sapiens_bench.adapters.coco.options import EVERY_CATEGORY, CocoOptions
from sapiens_bench.errors import DatasetRejected
from sapiens_bench.pixels import json_parts, strict_json

_WHOLEBODY = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
_GOLIATH = "goliath_wholebody_kpts"


@dataclass(frozen=True, slots=True)
class Peek:
    """One look at an annotation file."""

    n_points: int  # of a person
    names: tuple[str, ...]  # as the scored category lists them
    space: str  # id of the set that the layout names by itself; "" where the names must tell
    category: str | int = ""  # which is scored; "" where the file makes that clear by itself


def peek(path: Path, options: Mapping[str, Any]) -> Peek:
    """Look at an annotation file.

    Args:
        path: the file.
        options: those of ``CocoOptions`` that the user gave: ``category``, ``field``.

    Raises:
        DataMissing, DatasetRejected: it cannot be read, or holds nobody with points.
    """
    data = strict_json.read_bytes(path)
    known = {name: options[name] for name in ("category", "field", "names") if name in options}
    reading = CocoOptions.model_validate({"annotations": "-", **known}, strict=False)
    try:
        return _peek(unread_document(data), path, reading)
    except json_parts.Doubtful:
        return _peek(Document.of(strict_json.parse(data, path)), path, reading)


def _peek(document: Document, path: Path, options: CocoOptions) -> Peek:
    head, faults = document.head, Faults()
    if isinstance(head, dict) and document.lists.get("images") and not document.lists.get("annotations"):
        faults.add("label.people", "'annotations' is absent or empty: it holds nobody")
        faults.raise_any(path)
    if not isinstance(head, dict) or not isinstance(document.lists.get("annotations"), list):
        what = "a list" if isinstance(head, list) else "something else"
        raise DatasetRejected(
            str(path), [f"label.format: expected an annotation file with 'images' and 'annotations', found {what}"],
            "Give the annotation file as --truth, and the results after it.",
        )  # fmt: skip
    found = head.get("categories")
    categories = found if isinstance(found, list) else []
    if options.category == "" and are_one_kind(categories):
        options = options.model_copy(update={"category": EVERY_CATEGORY})
    names = listed_names(categories, options, faults)
    faults.raise_any(path)
    fields = frozenset((*_WHOLEBODY, _GOLIATH, options.field))
    has, n_seen = "", 0
    for entry in document.entries("annotations", frozenset(), fields):
        if entry is None:
            continue
        n_seen += 1
        if _GOLIATH in entry:
            return Peek(308, names, "goliath308", options.category)
        if sum(name in entry for name in _WHOLEBODY) > 1:  # a person who lacks one is a fault of the file
            return Peek(133, names, "coco-wholebody133", options.category)
        values = json_parts.value(entry.get(options.field))
        if isinstance(values, list) and values and len(values) % 3 == 0 and not isinstance(values[0], list):
            return Peek(len(values) // 3, names, "", options.category)
        has = has or _what_else(values)
    text = f"none of its {n_seen} annotations has '{options.field}' with x, y, v of points{has}"
    if not has:
        faults.add("label.people", text)
        faults.raise_any(path)
    raise DatasetRejected(str(path), [f"label.keypoints: {text}"])


def _what_else(values: Any) -> str:
    """What stands in the place of the numbers of points."""
    if not isinstance(values, list) or not values:
        return ""
    if isinstance(values[0], list):
        return f"; one has {len(values)} lists: write their numbers one after the other (x1, y1, v1, x2, y2, v2 ...)"
    return f"; one has {len(values)} numbers, no multiple of 3: pairs lack the visibility"
