"""Faults of a file, collected by kind, and the small checks that every file of this family needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sapiens_bench.errors import DatasetRejected

Report = Callable[[str, str], None]  # (kind, text)
_EACH = 20
_EXACT_FLOAT = 1 << 53  # above it a float no longer tells neighbouring whole numbers apart
_REMEDIES = {  # kind -> what to do, where that is not simply to mend the file
    "label.id_zero": "COCO evaluation counts every match with annotation id 0 as a miss. Write `renumber: true` among "
    "the protocol's options (or --data-option renumber=true) to have the annotations numbered from 1 on while reading, "
    "or mend the file.",
    "label.area": "Where a data set has no areas, its own evaluation takes 0.53 x the box: write `area: 0.53 x box` "
    "among the protocol's options, or --data-option 'area=0.53 x box'.",
    "label.unlisted": "Write `unlisted: skip` among the protocol's options (or --data-option unlisted=skip) to leave "
    "annotations of images that are not listed out, as pycocotools does.",
    "label.names": "Give the protocol the keypoint set that the file is annotated in (`annotated_in:` with a map card, "
    "or `space:`). Where only the spelling differs, write `names: ignore` (--data-option names=ignore).",
    "label.people": "Without people AP is undefined. Files of test sets whose people are withheld (COCO's "
    "image_info_test-*.json) and files of boxes alone (instances_*.json) cannot be scored: give the file with the "
    "people's keypoints (person_keypoints_*.json).",
    "label.person": "Say which category is scored: `category: NAME` (or its id) among the protocol's options, "
    "--data-option category=NAME. `category: all` scores each, and takes the mean.",
}


class Faults:
    """Faults by kind; the first 20 of each kind are kept in words, the rest are counted."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = {}
        self._count: dict[str, int] = {}

    def add(self, kind: str, text: str) -> None:
        """One more fault; ``kind`` is a dotted code, e.g. ``label.path``."""
        self._count[kind] = self._count.get(kind, 0) + 1
        if self._count[kind] <= _EACH:
            self._by_kind.setdefault(kind, []).append(f"{kind}: {text}")

    @property
    def any(self) -> bool:
        """Whether there is a fault."""
        return bool(self._count)

    def raise_any(self, path: Path | str, remedy: str = "Mend the file, or fetch it again.") -> None:
        """Raise ``DatasetRejected`` with everything found, or return when there is nothing."""
        if not self._count:
            return
        lines: list[str] = []
        for kind, texts in self._by_kind.items():
            lines += texts
            if self._count[kind] > _EACH:
                lines.append(f"{kind}: ... and {self._count[kind] - _EACH} more")
        known = [_REMEDIES[kind] for kind in self._count if kind in _REMEDIES]
        raise DatasetRejected(str(path), lines, " ".join(known) or remedy)

    def at(self, where: str) -> Report:
        """A reporter that names the place."""
        return lambda kind, text: self.add(kind, f"{where}: {text}")


def whole_number(value: Any) -> int | None:
    """The whole number that a value is, of at most 64 bits; ``17.0`` is 17, ``true`` and ``"17"`` are none."""
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT_FLOAT:
        return int(value)
    return value if type(value) is int and -(1 << 63) <= value < 1 << 64 else None


def no_id(value: Any) -> str:
    """Why a value is no id."""
    if type(value) is int:
        return "is beyond 64 bits"
    if type(value) is float and value.is_integer():
        return "is a float beyond 2^53, which no longer holds every whole number: write it without a point"
    return "is not a whole number"


def show(value: Any) -> str:
    """A value for a message, at most 60 characters."""
    text = repr(value) if not (type(value) is int and abs(value) >= 1 << 64) else "a huge integer"
    return text if len(text) <= 60 else text[:57] + "..."
