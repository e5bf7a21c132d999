"""What of a cell is on disk and may stay, when a run begins or resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sapiens_bench.errors import ShardDamaged
from sapiens_bench.store.commits import Commit, commit_path
from sapiens_bench.store.paths import set_aside
from sapiens_bench.store.rows import committed, shard_files, shard_path


class Expected(NamedTuple):
    """What a shard must be to count."""

    rows: int
    item_key: str


class Stock(NamedTuple):
    """Shards that need not be computed again, and what is to be said about the others."""

    done: dict[int, Commit]
    notes: list[str]


def take_stock(root: Path, cell: str, expected: Mapping[int, Expected], keep_predictions: bool) -> Stock:
    """Check every shard of a cell. Damaged ones, and ones that are not part of the plan, go to ``quarantine/``.

    Args:
        root: the run folder.
        cell: ``Cell.folder``, the cell's path below ``rows/`` and ``preds/``.
        expected: shard number -> what it must be.
        keep_predictions: rows whose predictions are lost do not count: both are made again.

    Raises:
        StorageFull: a damaged shard could not be moved.
    """
    notes: list[str] = []
    rows, preds = root / "rows" / cell, root / "preds" / cell
    kept = {number: _commit(root, preds, number, expected, notes) for number in shard_files(preds)}
    found = {number: _commit(root, rows, number, expected, notes) for number in shard_files(rows)}
    done: dict[int, Commit] = {}
    changed = lost = 0
    for number, commit in found.items():
        if commit is None:
            continue
        wanted = expected[number]
        if (commit.rows, commit.item_key) != wanted:
            changed += 1
        elif keep_predictions and not _has_predictions(commit, kept.get(number), wanted):
            lost += 1
        else:
            done[number] = commit
    if changed:
        notes.append(f"{cell}: the pictures or samples of {changed} shard(s) changed since; they are computed again.")
    if lost:
        notes.append(f"{cell}: predictions of {lost} shard(s) are not there; they are made again.")
    return Stock(done, notes)


def _has_predictions(rows: Commit, kept: Commit | None, wanted: Expected) -> bool:
    if rows.predictions is None:  # of a run with --no-save-preds
        return False
    return rows.predictions == 0 or (kept is not None and (kept.rows, kept.item_key) == (rows.predictions, wanted[1]))


def _commit(root: Path, folder: Path, number: int, expected: Mapping[int, Expected], notes: list[str]) -> Commit | None:
    """The commit of a sound shard of the plan; None for one that does not count."""
    path = shard_path(folder, number)
    try:
        commit = committed(folder, number)
        if number in expected:
            return commit
        reason = f"{path.name}: it is not part of the plan"
    except ShardDamaged as error:
        reason = str(error)
    set_aside(root, path)
    record = commit_path(folder, number)
    if record.is_file() and not record.is_symlink():
        set_aside(root, record)
    notes.append(f"{folder.relative_to(root)}/{reason}. It was moved to quarantine/ and does not count.")
    return None
