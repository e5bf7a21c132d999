"""Table or document -> one self-contained HTML file: no script, no request, autoescaped. Pages with plots: page.py."""

from __future__ import annotations

import math
from importlib import resources
from typing import TYPE_CHECKING, Any

from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.report import layout
from sapiens_bench.report.escape import one_line
from sapiens_bench.report.numbers import MARKS, head, interval, number
from sapiens_bench.report.sheet import Document
from sapiens_bench.report.table import Block, Column, ReportTable, TableCell, TableRow

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = resources.files("sapiens_bench.report") / "templates"
_BAR_WIDTH, _BAR_HEIGHT = 120.0, 14.0  # px of the little picture beside the score that ranks


def render(table: ReportTable) -> str:
    """The page of a run as text (UTF-8)."""
    return page(
        "run.html",
        kind="report",
        title=table.title,
        heading=heading(table.task),
        table=table,
        blocks=[block_view(block) for block in table.blocks],
        notes=(*table.legend, *table.notes),
        facts=table.facts,
    )


def heading(task: str) -> str:
    """The task's title; its name where it is a plug-in's that is not installed here."""
    from sapiens_bench.tasks import task_kind

    try:
        return task_kind(task).title
    except SapiensBenchError:
        return task


def render_document(document: Document) -> str:
    """The page of a document as text (UTF-8)."""
    return page(
        "document.html",
        kind="tables",
        title=f"sapiens-bench: {document.title}",
        heading=document.title,
        sheets=document.sheets,
        notes=document.notes,
        facts=document.facts,
    )


def page(name: str, **values: Any) -> str:
    """A page made of a template; ``base.html`` and its style are under it."""
    values = {"script": "", "script_policy": "", "more_style": "", **values}
    return _environment().get_template(name).render(style=safe(template("style.css")), **values) + "\n"


def template(name: str) -> str:
    """The text of a template file."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def safe(text: str) -> Markup:
    """Markup of our own making, which is not to be escaped."""
    from markupsafe import Markup

    return Markup(text)


def _environment() -> Environment:
    """Every variable is escaped, whatever a template is called; an unknown one is a defect, not an empty text."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = one_line  # autoescape keeps markup out; this keeps direction marks out
    environment.filters["drawn"] = safe  # of figures.py alone, whose own writer has escaped every text
    return environment


def block_view(block: Block) -> dict[str, Any]:
    """What the templates show of a block."""
    others = layout.absent_sheet(block)
    block = layout.with_numbers(block)
    sides = layout.side_columns(block)
    return {
        "block": block,
        "columns": [_head(column, block) for column in block.shown()],
        "sides": [(title, title in layout.NUMBER_HEADS) for title, _ in sides],
        "groups": _groups(block, block.shown(), sides),
        "details": _details(block),
        "absent": others,
        "remedies": layout.remedies_in_full(block),
        "has_bars": _bar_range(block) is not None,
    }


def _details(block: Block) -> dict[str, Any] | None:
    """The table of every score, where the short one leaves some out."""
    everything = block.shown(everything=True)
    if len(everything) == len(block.shown()) or not block.measured:
        return None
    return {"columns": [_head(c, block) for c in everything], "groups": _groups(block, everything, [])}


def _head(column: Column, block: Block) -> dict[str, Any]:
    title = head(column).replace(" published", "")
    return {"title": title, "published": column.kind == "published", "ranks": column.key == block.headline}


def _groups(block: Block, columns: tuple[Column, ...], sides: list[tuple[str, list[str]]]) -> list[dict[str, Any]]:
    groups, position = [], 0
    for group, rows in layout.sections(block):
        lines = []
        for row in rows:
            lines.append(_line(row, block, columns, [texts[position] for _, texts in sides]))
            position += 1
        groups.append({"name": group, "title": layout.GROUP_TITLES[group], "rows": lines})
    return groups


def _line(row: TableRow, block: Block, columns: tuple[Column, ...], sides: list[str]) -> dict[str, Any]:
    return {
        "row": row,
        "cells": [_cell(row.cells.get(column.key), column) for column in columns],
        "sides": sides,
        "bar": None if row.group == "diagnostic" else _bar(row.cells.get(block.headline), block),
    }


def _cell(cell: TableCell | None, column: Column) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {
        "value": number(cell.value, column),
        "interval": interval(cell, column),
        "best": cell.best,
        "second": cell.second,
        "mark": MARKS.get(cell.confidence, "") if column.kind == "published" else "",
        "published": column.kind == "published",
        "hint": cell.reason or cell.source,
        "notes": cell.notes,
    }


def _bar_range(block: Block) -> tuple[float, float] | None:
    """Smallest and largest end of the intervals of the score that ranks, with a margin; None without a picture.

    Diagnostics are left out: a perfect oracle would squeeze the others into a corner.
    """
    rows = [row for row in block.measured if row.group != "diagnostic"]
    cells = [row.cells[block.headline] for row in rows if block.headline in row.cells]
    ends = [v for c in cells for v in (c.low, c.value, c.high) if math.isfinite(v)]
    if not any(c.has_interval for c in cells) or max(ends) <= min(ends):
        return None
    margin = 0.04 * (max(ends) - min(ends))
    return min(ends) - margin, max(ends) + margin


def _bar(cell: TableCell | None, block: Block) -> dict[str, float] | None:
    """Pixel positions of value and interval."""
    bounds = _bar_range(block)
    if cell is None or bounds is None or not math.isfinite(cell.value):
        return None
    low, high = (cell.low, cell.high) if cell.has_interval else (cell.value, cell.value)

    def x(value: float) -> float:
        return round((value - bounds[0]) / (bounds[1] - bounds[0]) * _BAR_WIDTH, 1)

    return {"low": x(low), "value": x(cell.value), "width": max(round(x(high) - x(low), 1), 0.0),
            "w": _BAR_WIDTH, "h": _BAR_HEIGHT}  # fmt: skip
