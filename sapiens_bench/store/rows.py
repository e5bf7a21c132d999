"""Rows on disk: one Parquet file per shard, put in place by rename, then its commit record (``commits.py``).

Base columns: ``index`` int64, ``key``, ``group``, ``status`` ("ok" or "error"), ``error_code``, ``error_detail``,
``error_side`` ("", "input" or "prediction"); then the metrics' columns "<metric>/<name>". An input-side error has no
metric values (null). The bytes depend on the rows alone: no time, host or process id goes in.
Folders of an earlier version have no commit records; their shards are read as they are (``is_sealed`` tells).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sapiens_bench.errors import ShapeError, ShardDamaged, StoreError
from sapiens_bench.store.commits import Commit, commit_path, read_commit, write_commit
from sapiens_bench.store.files import read_file, write_atomic
from sapiens_bench.store.fingerprint import is_sealed
from sapiens_bench.store.statuses import count_errors

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
ATTRIBUTE = "attr/"  # prefix of what is known about an image whatever was predicted; see Task.attributes
# A shard is small: zstd takes longer to begin than to decode a page, and a dictionary beside every column of sums is
# larger than the sums; Arrow's own schema says nothing that Parquet's does not. A folder may hold both encodings.
_ENCODING = {"compression": "lz4", "use_dictionary": False, "write_statistics": False, "store_schema": False}
_NAME = re.compile(r"^shard-(\d{5,9})\.parquet$")
_AT_ONCE = 32  # shards read together

Row = dict[str, Any]


class Shard(NamedTuple):
    """Consecutive samples of a cell: the unit of commit."""

    number: int
    indices: range


def shards_of(n_samples: int, shard_size: int) -> list[Shard]:
    """Cut samples 0..n-1 into shards of ``shard_size``; the last may be shorter."""
    return [nth_shard(number, n_samples, shard_size) for number in range(-(-n_samples // shard_size))]


def nth_shard(number: int, n_samples: int, shard_size: int) -> Shard:
    """One of ``shards_of``."""
    return Shard(number, range(number * shard_size, min((number + 1) * shard_size, n_samples)))


def shard_path(folder: Path, number: int) -> Path:
    """Where shard ``number`` of a cell folder lies."""
    return folder / _file_name(number)


def _file_name(number: int) -> str:
    return f"shard-{number:05d}.parquet"


def item_key(fingerprint: str, keys: Sequence[str], identities: Sequence[str] = ()) -> str:
    """What a shard must have been made of to count.

    Args:
        fingerprint: of the cell.
        keys: the shard's ordered sample keys.
        identities: one text per sample about the files behind it (e.g. size and modification time); "" is unknown.
            Where all are unknown the result is that of no identities.
    """
    parts: list[Any] = [fingerprint, list(keys)]
    if any(identities):
        parts.append(list(identities))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def commit_shard(
    folder: Path, number: int, rows: Sequence[Row], meta: Mapping[str, str], predictions: int | None = None
) -> Path:
    """Write the rows of one shard into place, then its commit record.

    A crash in between leaves a shard that does not count. Two writers that race write the same content.

    Args:
        folder: the cell's folder below ``rows/`` or ``preds/``.
        number: shard number.
        rows: one dict per sample; absent keys become null.
        meta: footer metadata, at least ``item_key`` and ``fingerprint``; ``schema`` and ``rows`` are added.
        predictions: how many predictions were committed beside these rows; None: they are not kept.

    Raises:
        StorageFull: no room or no permission.
        ShapeError: a value is neither a number, text nor a 1-D array.
    """
    data = memoryview(_encoded(rows_table(rows), {**meta, "schema": SCHEMA, "rows": str(len(rows))}))
    commit = Commit(
        shard=number,
        rows=len(rows),
        errors=sum(row.get("status") == "error" for row in rows),
        item_key=meta["item_key"],
        fingerprint=meta["fingerprint"],
        sha256=hashlib.sha256(data).hexdigest(),
        predictions=predictions,
    )
    path = write_atomic(shard_path(folder, number), data, sync_folder=False)
    write_commit(folder, commit)
    return path


def rows_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table: base columns first, the others by name; absent keys become null.

    Raises:
        ShapeError: a value is neither a number, text nor a 1-D array.
    """
    names = list(BASE) + sorted({name for row in rows for name in row} - set(BASE))
    names = [name for name in names if name not in BASE or any(name in row for row in rows)]
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def remove_shard(folder: Path, number: int) -> None:
    """Take a shard away, its record first, so that it never counts without being what was committed."""
    for path in (commit_path(folder, number), shard_path(folder, number)):
        with suppress(FileNotFoundError):
            path.unlink()


def shard_files(folder: Path) -> dict[int, Path]:
    """Number -> shard file of a cell folder, in order; temporary and foreign files are passed over."""
    if not folder.is_dir():
        return {}
    numbered = {int(found.group(1)): found.group() for found in map(_NAME.match, os.listdir(folder)) if found}
    return {n: folder / name for n, name in sorted(numbered.items()) if name == _file_name(n)}


def read_shard(
    folder: Path, number: int, sealed: bool = True, wanted: Callable[[str], bool] | None = None
) -> tuple[pa.Table, Commit] | None:
    """One shard, checked against its commit; None when it was not committed.

    Args:
        folder: the cell's folder.
        number: shard number.
        sealed: False for a folder of an earlier version: the record is then taken from the shard's own footer.
        wanted: whether a column is read; ``index`` and ``status`` always are. None: all.

    Raises:
        ShardDamaged: bytes, footer or record are not what was committed.
    """
    return next(read_shards(folder, [number], sealed, wanted), None)


def read_shards(
    folder: Path, numbers: Iterable[int], sealed: bool, wanted: Callable[[str], bool] | None = None
) -> Iterator[tuple[pa.Table, Commit]]:
    """The committed ones of many shards, each as ``read_shard`` gives it.

    Some are hashed, then decoded, then compared: one by one, each step would find its code gone from the caches, which
    doubles the time of shards of 64 images.

    Raises:
        ShardDamaged: as ``read_shard``, at the first that is damaged.
    """
    ordered, columns = list(numbers), None if wanted is None else _Columns(wanted)
    for some in (ordered[i : i + _AT_ONCE] for i in range(0, len(ordered), _AT_ONCE)):
        found = [(number, *_checked_bytes(folder, number)) for number in some]
        there = [(n, data, commit) for n, data, commit in found if data is not None and (commit or not sealed)]
        decoded = [_decode(data, _file_name(n), columns) for n, data, _ in there]
        errors = count_errors([table for table, _ in decoded])
        for (number, data, commit), (table, footer), n_errors in zip(there, decoded, errors, strict=True):
            sha256 = commit.sha256 if commit is not None else hashlib.sha256(data).hexdigest()
            told = _told(table, footer, number, n_errors, sha256, commit.predictions if commit is not None else None)
            if told is None or (commit is not None and told != commit):
                raise ShardDamaged(f"{_file_name(number)}: its footer does not fit its rows")
            yield table, commit or told


def committed(folder: Path, number: int) -> Commit | None:
    """The commit of a shard whose bytes are those that were committed; None when it was not. Decodes nothing.

    Raises:
        ShardDamaged: the bytes or the record were changed since.
    """
    data, commit = _checked_bytes(folder, number)
    return None if data is None else commit


def read_rows(folder: Path, wanted: Callable[[str], bool] | None = None) -> pa.Table:
    """All committed rows of a cell as one table sorted by ``index``; columns missing from a shard are null there.

    Args:
        folder: the cell's folder.
        wanted: as for ``read_shard``; every shard is checked whole all the same.

    Raises:
        StoreError: a shard is damaged, or a sample has two rows.
    """
    try:
        tables = [table for table, _ in read_shards(folder, shard_files(folder), is_sealed(folder), wanted)]
    except ShardDamaged as error:
        raise ShardDamaged(
            f"{folder / str(error)}. The `run` command of this folder sets it aside and computes it again."
        ) from None
    table = join_shards(tables)
    index = table["index"].to_numpy()
    if len(index) > 1 and bool((np.diff(index) == 0).any()):
        twice = int(index[:-1][np.diff(index) == 0][0])
        raise StoreError(
            f"{folder}: sample {twice} has more than one row. The `run` command of this folder sets aside the shard "
            f"that is not part of its plan."
        )
    return table


def join_shards(tables: Sequence[pa.Table]) -> pa.Table:
    """One table sorted by ``index``; the base columns alone when there is no shard."""
    if not tables:
        return pa.table({name: pa.array([], type=kind) for name, kind in BASE.items()})
    joined = pa.concat_tables(tables, promote_options="permissive")
    index = joined["index"].to_numpy()
    return joined if bool((index[1:] >= index[:-1]).all()) else joined.sort_by("index")


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
    if present and name.startswith(ATTRIBUTE) and all(isinstance(v, str) for v in present):
        return pa.array(values, type=pa.string())
    if any(isinstance(v, np.ndarray) or not isinstance(v, (int, float, np.number, np.bool_)) for v in present):
        raise ShapeError(f"column {name!r}: values must be numbers or 1-D arrays, found {type(present[0]).__name__}")
    whole = all(isinstance(v, (int, np.integer, np.bool_)) for v in present)
    cast = int if whole else float
    return pa.array([None if v is None else cast(v) for v in values], type=pa.int64() if whole else pa.float64())


def _encoded(table: pa.Table, footer: Mapping[str, str]) -> pa.Buffer:
    """A Parquet file in memory: a shard is small, and one call that writes it keeps the error handling in one place."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, **_ENCODING) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({name: footer[name] for name in sorted(footer)})
    return sink.getvalue()


def _checked_bytes(folder: Path, number: int) -> tuple[bytes | None, Commit | None]:
    """The bytes of a shard and its record, each None when it is not there.

    Raises:
        ShardDamaged: they do not belong together, or cannot be read.
    """
    name = _file_name(number)
    try:
        commit, data = read_commit(folder, number), read_file(folder / name)
    except FileNotFoundError:
        return None, None
    except StoreError as error:
        raise ShardDamaged(f"{name}: {str(error).rstrip('.')}") from None
    if commit is not None and hashlib.sha256(data).hexdigest() != commit.sha256:
        raise ShardDamaged(f"{name}: {_what_else(data, commit)}")
    return data, commit


class _File(pq.ParquetFile):  # type: ignore[misc]  # pyarrow has no types
    """A file whose columns are asked for by number: that by name is prepared at every opening, a third of its time."""

    def _build_nested_paths(self) -> dict[str, list[int]]:
        return {}


class _Columns:
    """The wanted columns of shards that mostly have the same ones, with ``index`` and ``status``."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted, self._schema = wanted, None
        self._numbers: list[int] = []

    def of(self, file: pq.ParquetFile) -> list[int]:
        """Those of one file: looking at a file's columns takes longer than comparing its schema."""
        if self._schema is None or not file.schema.equals(self._schema):
            self._schema = file.schema
            names = file.schema_arrow.names  # each one column of the file: rows hold numbers, texts and flat lists
            if len(names) != len(file.schema.names):
                raise ValueError("it has columns of columns")
            self._numbers = [i for i, n in enumerate(names) if n in ("index", "status") or self._wanted(n)]
        return self._numbers


def _decode(data: bytes, name: str, columns: _Columns | None = None) -> tuple[pa.Table, dict[str, str]]:
    """The rows, of them the columns that are asked for; and the footer's metadata.

    Raises:
        ShardDamaged: the bytes are no Parquet file.
    """
    try:
        file = _File(pa.BufferReader(data))
        numbers = None if columns is None else columns.of(file)
        table = file.reader.read_all(column_indices=numbers, use_threads=False)  # a shard is small
        footer = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
    except (OSError, ValueError, pa.ArrowException) as error:  # a UnicodeDecodeError is a ValueError
        raise ShardDamaged(f"{name}: cannot be read ({' '.join(str(error).split())[:120]})") from None
    return table.replace_schema_metadata(None), footer


def _told(
    table: pa.Table, footer: Mapping[str, str], number: int, errors: int, sha256: str, predictions: int | None
) -> Commit | None:
    """What a shard says of itself; None where its footer and its rows disagree."""
    if footer.get("schema") != SCHEMA or footer.get("rows") != str(table.num_rows):
        return None
    return Commit(
        shard=number,
        rows=table.num_rows,
        errors=errors,
        item_key=footer.get("item_key", ""),
        fingerprint=footer.get("fingerprint", ""),
        sha256=sha256,
        predictions=predictions,
    )


def _what_else(data: bytes, commit: Commit) -> str:
    """A file that is whole, but not the one committed, was put there; any other was damaged."""
    try:
        _, footer = _decode(data, "shard")
    except ShardDamaged:
        footer = {}
    if footer.get("fingerprint") not in (None, commit.fingerprint):
        return "belongs to another experiment (fingerprint)"
    return "its bytes are not those that were committed (sha256)"
