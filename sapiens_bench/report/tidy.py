"""Table -> CSV, one line per number in the unit of the score: a share is 0..1, whatever tables show."""

from __future__ import annotations

import csv
import math
from dataclasses import fields
from io import StringIO
from typing import Any

from sapiens_bench.report.escape import csv_cell, one_line
from sapiens_bench.report.sheet import Document
from sapiens_bench.report.table import Block, Column, ReportTable, TableRow

_FIELDS = (
    "task", "dataset", "protocol", "model", "title", "group", "status", "rank", "score", "kind", "unit",
    "higher_is_better", "value", "low", "high", "level", "n_groups", "confidence", "source", "n_planned", "n_scored",
    "n_excluded", "n_misses", "trained_on", "in_domain", "params_m", "images_per_s", "notes",
)  # fmt: skip


def render(table: ReportTable) -> str:
    """Tidy CSV: one line per model and score; a model without numbers has one line without a score."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_FIELDS)
    for block in table.blocks:
        for row in block.rows:
            present = [column for column in block.columns if column.key in row.cells]
            for column in present or (None,):
                values = _line(block, row, column)
                writer.writerow([_csv_value(values.get(name, "")) for name in _FIELDS])
    return stream.getvalue()


def render_document(document: Document) -> str:
    """CSV: the title of its table in the first column; each table has its own head line."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for sheet in document.sheets:
        writer.writerow(["table", *map(_text, sheet.heads)])
        writer.writerows([_text(sheet.title), *map(_text, row)] for row in sheet.rows)
    return stream.getvalue()


def _text(text: str) -> str:
    return csv_cell(one_line(text))


def _line(block: Block, row: TableRow, column: Column | None) -> dict[str, Any]:
    notes = list(row.notes)
    values: dict[str, Any] = {name: getattr(block, name) for name in ("task", "dataset", "protocol")}
    values |= {f.name: getattr(row, f.name) for f in fields(row) if f.name in _FIELDS}
    if column is not None:
        cell = row.cells[column.key]
        notes += cell.notes
        values |= {"score": column.key.removeprefix("published:"), "kind": column.kind, "unit": column.unit}
        values |= {"higher_is_better": column.higher_is_better}
        values |= {f.name: getattr(cell, f.name) for f in fields(cell) if f.name in _FIELDS and f.name != "notes"}
        if not cell.has_interval:
            values |= {"level": "", "n_groups": ""}
    values["notes"] = " ".join(block.footnotes[n - 1] for n in notes)
    return values


def _csv_value(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _text(str(value))
