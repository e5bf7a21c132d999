"""A baseline file: the rows of every measured cell of a run in one small Parquet file that can be committed.

Columns: ``cell`` (number of the cell in the metadata), those of the rows without the texts of errors, and the metrics'.
The metadata key ``sapiens-bench-baseline`` holds JSON: what each cell is and how its rows were made. No path, host or
time goes in.
"""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sapiens_bench.decide.agreement import COMPARED
from sapiens_bench.decide.sides import Member, Side, metric_columns
from sapiens_bench.errors import IncompleteRun, StoreError, UsageError
from sapiens_bench.store.files import write_atomic

SCHEMA = "baseline/1"
_KEY = b"sapiens-bench-baseline"
_KEPT = ("index", "key", "group", "status", "error_code", "error_side")
_FACTS = tuple(f.name for f in fields(Member) if f.name not in ("fields", "rows"))
_ABOUT_MODEL = ("precision", "weights_sha256")  # not compared, but worth knowing later


def write_baseline(side: Side, path: Path) -> int:
    """Write the rows of a complete run; returns the size in bytes.

    Raises:
        IncompleteRun: rows are missing: a gate would never ask for them again.
        UsageError: cells of several tasks.
        StoreError: the file cannot be written.
    """
    if side.incomplete:
        raise IncompleteRun(f"INCOMPLETE: {side.incomplete}. A baseline is made of a complete run.")
    if len({m.task for m in side.members}) != 1:
        raise UsageError(f"{side.path} holds several tasks; a baseline holds one.")
    cells = [
        {name: getattr(m, name) for name in _FACTS}
        | {"fields": {k: m.fields[k] for k in (*COMPARED, *_ABOUT_MODEL) if k in m.fields}}
        for m in side.members
    ]
    parts = [_columns(number, member) for number, member in enumerate(side.members)]
    table = pa.concat_tables(parts, promote_options="permissive")
    about = json.dumps({"schema": SCHEMA, "cells": cells}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({_KEY: about.encode()}), buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())
    return buffer.tell()


def _columns(number: int, member: Member) -> pa.Table:
    rows = member.rows.select([*_KEPT, *metric_columns(member.rows)])
    return rows.add_column(0, "cell", pa.array([number] * rows.num_rows, pa.int16()))


def read_baseline(path: Path) -> Side:
    """The side that a baseline file holds.

    Raises:
        StoreError: not a baseline file, or one of another version.
    """
    try:
        table = pq.ParquetFile(path).read()
        about = json.loads((table.schema.metadata or {})[_KEY])
        if about["schema"] != SCHEMA:
            raise StoreError(f"{path} is of form {about['schema']!r}, this version reads {SCHEMA!r}. Make it again.")
        table = table.replace_schema_metadata(None)
        members = tuple(_member(table, number, cell) for number, cell in enumerate(about["cells"]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} is no baseline file ({type(error).__name__}). Give a run folder, or a file that "
            "`sapiens-bench gate --write-baseline RUN FILE` made."
        ) from None
    return Side(path, "done", members)


def _member(table: pa.Table, number: int, cell: dict[str, Any]) -> Member:
    chosen = pc.equal(table["cell"], number)
    return Member(
        **{name: cell[name] for name in _FACTS}, fields=cell["fields"], rows=table.filter(chosen).drop("cell")
    )
