"""Shards of an earlier version, which had no commit records, get them when their folder is run again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from sapiens_bench.errors import StoreError
from sapiens_bench.store.commits import Commit, read_commit, write_commit
from sapiens_bench.store.rows import item_key, read_shard, shard_files


def adopt(root: Path, cell: str) -> int:
    """Hash the sound shards of a cell as they are now; returns how many row shards that were.

    A shard that is not sound gets no record, so it does not count and is computed again.

    Raises:
        StorageFull: no room or no permission.
    """
    rows, preds = root / "rows" / cell, root / "preds" / cell
    for _, _, told in _unrecorded(preds):
        write_commit(preds, told)
    keeps = bool(shard_files(preds))
    n = 0
    for number, table, told in _unrecorded(rows):
        if told.item_key != item_key(told.fingerprint, table["key"].to_pylist()):
            continue
        write_commit(rows, replace(told, predictions=_n_kept(preds, number, table) if keeps else None))
        n += 1
    return n


def _unrecorded(folder: Path) -> Iterator[tuple[int, pa.Table, Commit]]:
    """Sound shards without a record."""
    for number in shard_files(folder):
        try:
            if read_commit(folder, number) is None and (shard := read_shard(folder, number, sealed=False)) is not None:
                yield number, *shard
        except StoreError:
            continue


def _n_kept(preds: Path, number: int, table: pa.Table) -> int:
    """Predictions beside a row shard. Where any were kept, a shard without them has lost its own."""
    commit = read_commit(preds, number)
    return commit.rows if commit else sum(side != "input" for side in table["error_side"].to_pylist())
