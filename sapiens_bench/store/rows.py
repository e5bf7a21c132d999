"""Rows on disk: one Parquet file per shard, put in place by rename. A shard that is there is complete.

Base columns: ``index`` int64, ``key``, ``group``, ``status`` ("ok" or "error"), ``error_code``, ``error_detail``,
``error_side`` ("", "input" or "prediction"); then the metrics' columns "<metric>/<name>". An input-side error has no
metric values (null). The bytes depend on the rows alone: no time, host or process id goes in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError, StoreError
from sapiens_bench.store.files import write_atomic

SCHEMA = "rows/1"
BASE: dict[str, pa.DataType] = {
    "index": pa.int64(),
    "key": pa.string(),
    "group": pa.string(),
    "status": pa.string(),
    "error_code": pa.string(),
    "error_detail": pa.string(),
    "error_side": pa.string(),
}
_NAME = re.compile(r"^shard-(\d{5,})\.parquet$")
_SHAPE = "#shape"

Row = dict[str, Any]


class Shard(NamedTuple):
    """Consecutive samples of a cell: the unit of commit."""

    number: int
    indices: range


def shards_of(n_samples: int, shard_size: int) -> list[Shard]:
    """Cut samples 0..n-1 into shards of ``shard_size``; the last may be shorter."""
    starts = range(0, n_samples, shard_size)
    return [Shard(number, range(s, min(s + shard_size, n_samples))) for number, s in enumerate(starts)]


def shard_path(folder: Path, number: int) -> Path:
    """Where shard ``number`` of a cell folder lies."""
    return folder / f"shard-{number:05d}.parquet"


def item_key(fingerprint: str, keys: Sequence[str]) -> str:
    """Hash over the cell's fingerprint and the shard's ordered sample keys: what a shard must contain to count."""
    return hashlib.sha256(json.dumps([fingerprint, list(keys)]).encode()).hexdigest()


def commit_shard(folder: Path, number: int, rows: Sequence[Row], meta: Mapping[str, str]) -> Path:
    """Write the rows of one shard into place; two writers that race write the same content and the last rename wins.

    Args:
        folder: the cell's folder below ``rows/`` or ``preds/``.
        number: shard number.
        rows: one dict per sample; absent keys become null.
        meta: footer metadata, at least ``item_key`` and ``fingerprint``; ``schema`` and ``rows`` are added.

    Raises:
        StorageFull: no room or no permission.
        ShapeError: a value is neither a number, text nor a 1-D array.
    """
    names = list(BASE) + sorted({name for row in rows for name in row} - set(BASE))
    names = [name for name in names if name not in BASE or any(name in row for row in rows)]
    columns = {name: _column(name, [row.get(name) for row in rows]) for name in names}
    footer = {**meta, "schema": SCHEMA, "rows": str(len(rows))}
    table = pa.table(columns).replace_schema_metadata({k: footer[k] for k in sorted(footer)})
    sink = pa.BufferOutputStream()  # a shard is small; writing it in one call keeps the error handling in one place
    pq.write_table(table, sink, compression="zstd")
    return write_atomic(shard_path(folder, number), memoryview(sink.getvalue()))


def done_shards(folder: Path, expected: Mapping[int, tuple[int, str]]) -> set[int]:
    """Numbers of the shards that need not be computed again.

    Args:
        folder: the cell's folder; may not exist.
        expected: shard number -> (rows, item_key). A file whose footer does not parse or does not agree is not done.
    """
    found = {number for number in expected if shard_path(folder, number).is_file()}
    return {number for number in found if _is_valid(shard_path(folder, number), *expected[number])}


def shard_files(folder: Path) -> list[Path]:
    """The committed shards of a cell folder in number order; temporary and foreign files are passed over."""
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if _NAME.match(p.name)), key=lambda p: int(_NAME.sub(r"\1", p.name)))


def read_rows(folder: Path) -> pa.Table:
    """All committed rows of a cell as one table sorted by ``index``; columns missing from a shard are null there.

    Raises:
        StoreError: a shard cannot be read, or a sample has two rows.
    """
    tables = [_read(path) for path in shard_files(folder)]
    if not tables:
        return pa.table({name: pa.array([], type=kind) for name, kind in BASE.items()})
    table = pa.concat_tables(tables, promote_options="permissive").sort_by("index")
    index = table["index"].to_numpy()
    if len(index) > 1 and bool((np.diff(index) == 0).any()):
        twice = int(index[:-1][np.diff(index) == 0][0])
        raise StoreError(f"{folder}: sample {twice} has more than one row. Move the folder away and run again.")
    return table


def prediction_row(index: int, key: str, columns: Mapping[str, NDArray[Any]]) -> Row:
    """One prediction as a row: every array flat, its shape beside it (``<name>#shape``)."""
    row: Row = {"index": index, "key": key}
    for name, array in columns.items():
        row[name] = np.ascontiguousarray(array).reshape(-1)
        row[name + _SHAPE] = np.asarray(array.shape, dtype=np.int32)
    return row


def read_predictions(folder: Path) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """(sample key, named arrays) of every prediction stored in a ``preds/`` cell folder, in index order by shard."""
    for path in shard_files(folder):
        table = _read(path)
        names = [n for n in table.column_names if n not in BASE and not n.endswith(_SHAPE)]
        kinds = {n: table.schema.field(n).type.value_type.to_pandas_dtype() for n in names}
        for row in table.to_pylist():
            arrays = {n: np.asarray(row[n], kinds[n]).reshape(row[n + _SHAPE]) for n in names if row[n] is not None}
            yield row["key"], arrays


def _column(name: str, values: list[Any]) -> pa.Array:
    """An Arrow column whose type follows from the values alone."""
    if name in BASE:
        return pa.array(values, type=BASE[name])
    present = [v for v in values if v is not None]
    if present and isinstance(present[0], np.ndarray):
        if any(not isinstance(v, np.ndarray) or v.ndim != 1 for v in present):
            raise ShapeError(f"column {name!r}: every value must be a 1-D array")
        kind = np.result_type(*(v.dtype for v in present))
        return pa.array(values, type=pa.list_(pa.from_numpy_dtype(kind)))
    if any(isinstance(v, np.ndarray) or not isinstance(v, (int, float, np.number, np.bool_)) for v in present):
        raise ShapeError(f"column {name!r}: values must be numbers or 1-D arrays, found {type(present[0]).__name__}")
    whole = all(isinstance(v, (int, np.integer, np.bool_)) for v in present)
    cast = int if whole else float
    return pa.array([None if v is None else cast(v) for v in values], type=pa.int64() if whole else pa.float64())


def _is_valid(path: Path, n_rows: int, key: str) -> bool:
    """Whether the footer parses and says what the plan says."""
    try:
        with pq.ParquetFile(path) as file:
            stored = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}
            actual = file.metadata.num_rows
    except (OSError, ValueError, pa.ArrowException):
        return False
    return (stored.get("schema"), stored.get("item_key"), actual) == (SCHEMA, key, n_rows) and stored.get(
        "rows"
    ) == str(n_rows)


def _read(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read().replace_schema_metadata(None)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}. Delete it and run the same command again.") from None
