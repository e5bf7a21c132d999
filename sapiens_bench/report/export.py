"""Table -> CSV (one line per number) and JSON, in the units of the scores: a share is 0..1, whatever tables show."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import fields, is_dataclass
from io import StringIO
from typing import Any

from sapiens_bench.report.escape import csv_cell, one_line
from sapiens_bench.report.table import Block, Column, Row, Table

_FIELDS = (
    "task", "dataset", "protocol", "model", "title", "group", "status", "rank", "score", "kind", "unit",
    "higher_is_better", "value", "low", "high", "level", "n_groups", "confidence", "source", "n_planned", "n_scored",
    "n_excluded", "n_misses", "trained_on", "in_domain", "params_m", "images_per_s", "notes",
)  # fmt: skip


def render_csv(table: Table) -> str:
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


def _line(block: Block, row: Row, column: Column | None) -> dict[str, Any]:
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
    return csv_cell(one_line(str(value)))


def render_json(table: Table) -> str:
    """The whole table object; an undefined number is ``null`` and its cell carries the reason."""
    data = {"schema": "table/1", **_plain(table)}
    return json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
