"""Predictions that a run keeps, as rows of a ``preds/`` cell folder: every array flat, its shape beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sapiens_bench.errors import ShardDamaged
from sapiens_bench.store.commits import read_commit
from sapiens_bench.store.fingerprint import is_sealed
from sapiens_bench.store.rows import BASE, Row, read_shard, shard_files, shard_path

_SHAPE = "#shape"


def prediction_row(index: int, key: str, columns: Mapping[str, NDArray[Any]]) -> Row:
    """One prediction as a row: every array flat, its shape beside it (``<name>#shape``)."""
    row: Row = {"index": index, "key": key}
    for name, array in columns.items():
        row[name] = np.ascontiguousarray(array).reshape(-1)
        row[name + _SHAPE] = np.asarray(array.shape, dtype=np.int32)
    return row


def read_predictions(folder: Path) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """(sample key, named arrays) of every prediction stored in a ``preds/`` cell folder, in index order by shard.

    Raises:
        ShardDamaged: a shard is not what was committed, or one that the rows beside it speak of is not there.
    """
    _require_all(folder)
    sealed = is_sealed(folder)
    for number in shard_files(folder):
        try:
            shard = read_shard(folder, number, sealed)
        except ShardDamaged as error:
            raise ShardDamaged(
                f"{folder / str(error)}. The `run` command of this folder sets it aside and makes it again."
            ) from None
        if shard is None:
            continue
        table = shard[0]
        names = [n for n in table.column_names if n not in BASE and not n.endswith(_SHAPE)]
        values = {name: _lists(table, name) for name in names}
        shapes = {name: table[name + _SHAPE].to_pylist() for name in names}
        for i, key in enumerate(table["key"].to_pylist()):
            yield key, {n: values[n][i].reshape(shapes[n][i]) for n in names if shapes[n][i] is not None}


def _lists(table: pa.Table, name: str) -> list[NDArray[Any]]:
    """The arrays of a list column, one per row, empty where the row has none; each may be written to."""
    column = table[name].combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    flat = column.values.to_numpy(zero_copy_only=False)
    offsets = column.offsets.to_numpy()
    return [np.array(flat[start:end]) for start, end in pairwise(offsets)]


def _require_all(folder: Path) -> None:
    """Predictions without some of their shards would be taken for a method that found nobody there."""
    preds = folder.parents[3] if len(folder.parents) > 3 else folder
    rows = preds.parent / "rows" / folder.relative_to(preds)
    if preds.name != "preds" or not rows.is_dir():
        return
    commits = (read_commit(rows, number) for number in shard_files(rows))
    lost = [c.shard for c in commits if c is not None and c.predictions and not shard_path(folder, c.shard).is_file()]
    if lost:
        raise ShardDamaged(
            f"{shard_path(folder, lost[0])} is not there ({len(lost)} in all). The `run` command of this folder makes "
            f"it again."
        )
