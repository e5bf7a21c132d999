"""Numbers and heads as text, the same in every format."""

from __future__ import annotations

import math

from sapiens_bench.report.table import Column, TableCell

UNDEFINED = "–"
MARKS = {"verified": "", "single-source": "†", "derived": "‡", "conflicting": "§"}
CONFIDENCE = {
    "single-source": "found in one transcription only",
    "derived": "computed from other printed numbers",
    "conflicting": "sources disagree, see the note",
}
_SUPERSCRIPTS = str.maketrans("0123456789,", "⁰¹²³⁴⁵⁶⁷⁸⁹˒")


def number(value: float, column: Column) -> str:
    """A score as it is shown, without its interval; an en dash where undefined."""
    if not math.isfinite(value):
        return UNDEFINED
    return f"{value * 100:.{column.decimals}f}" if column.percent else f"{value:.{column.decimals}f}"


def interval(cell: TableCell, column: Column) -> str:
    """``"[80.1, 87.5]"`` or ``""`` when there is none."""
    return f"[{number(cell.low, column)}, {number(cell.high, column)}]" if cell.has_interval else ""


def cell_text(cell: TableCell | None, column: Column) -> str:
    """``"84.0 [80.1, 87.5]"``; published values carry the mark of their confidence."""
    if cell is None:
        return ""
    mark = MARKS.get(cell.confidence, "") if column.kind == "published" else ""
    return " ".join(part for part in (number(cell.value, column) + mark + superscript(cell.notes),
                                      interval(cell, column)) if part)  # fmt: skip


def head(column: Column) -> str:
    """``"AP % ↑"``: title, unit, direction."""
    unit = "%" if column.percent else column.unit
    arrow = "↑" if column.higher_is_better else "↓"
    parts = (column.title, "published" if column.kind == "published" else "", unit, arrow)
    return " ".join(part for part in parts if part)


def superscript(notes: tuple[int, ...]) -> str:
    """``(1, 12)`` -> ``"¹˒¹²"``."""
    return ",".join(str(n) for n in notes).translate(_SUPERSCRIPTS)


def size(n_bytes: int | float | None) -> str:
    """``"1.20 GB"``; empty when unknown."""
    if n_bytes is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.2f} {unit}" if unit == "GB" else f"{n_bytes / factor:.1f} {unit}"
    return f"{int(n_bytes)} B"


def duration(seconds: float) -> str:
    """``"2 h 05 min"``, ``"3 min 20 s"``, ``"12 s"``; an en dash where unknown."""
    if not math.isfinite(seconds):
        return UNDEFINED
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"


def plain(value: float, decimals: int = 1) -> str:
    """A number outside the score columns; empty where unknown."""
    return f"{value:.{decimals}f}" if math.isfinite(value) else ""
