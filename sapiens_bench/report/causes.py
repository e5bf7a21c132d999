"""Why images failed: the first of each kind, for the progress lines, the terminal's table and every report format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from sapiens_bench.store.record import CellRecord, ErrorExample

_DETAIL = 200  # characters; the full text is in the rows


def first_causes(cells: Sequence[CellRecord], side: Literal["input", "prediction"]) -> str:
    """``"image.truncated (a.jpg: cut short after 12 kB); label.bbox (...)"``, the first of each code; "" where none."""
    return "; ".join(_sentence(example) for example in _first_of_each(cells, side))


def codes(cell: CellRecord) -> str:
    """The codes of all known errors of a cell."""
    return ", ".join(dict.fromkeys(example.code for example in cell.errors))


def _first_of_each(cells: Iterable[CellRecord], side: str) -> list[ErrorExample]:
    found: dict[str, ErrorExample] = {}
    for cell in cells:
        for example in cell.errors:
            if example.side == side:
                found.setdefault(example.code, example)
    return list(found.values())


def _sentence(example: ErrorExample) -> str:
    detail = " ".join(example.detail.split())
    if len(detail) > _DETAIL:
        detail = detail[: _DETAIL - 1] + "…"
    where = ": ".join(part for part in (example.key, detail.rstrip(".")) if part)
    return f"{example.code} ({where})" if where else example.code


def failed_everywhere(cell: CellRecord) -> bool:
    """Not one image of the cell went well."""
    return cell.counts.planned > 0 and cell.counts.done == cell.counts.planned and cell.counts.ok == 0
