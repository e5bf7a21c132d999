"""The shards of one cell, read again: what is planned, there, twice, damaged or an error."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from sapiens_bench.errors import PathEscape, ShardDamaged, StoreError
from sapiens_bench.store.commits import Commit
from sapiens_bench.store.files import read_file
from sapiens_bench.store.fingerprint import is_sealed
from sapiens_bench.store.paths import Kind, cell_folder
from sapiens_bench.store.record import CellRecord
from sapiens_bench.store.rows import committed, item_key, join_shards, read_shard, shard_files, shard_path

_AGAIN = "the same `run` command computes it again"


@dataclass
class CellCheck:
    """What was found on disk for one cell."""

    dataset: str
    protocol: str
    model: str
    planned: int
    found: int = 0
    duplicate: int = 0
    corrupt: int = 0  # shards that are not what was committed
    error: int = 0
    sha256: str = ""  # over the bytes of the shards in order
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_cell(root: Path, cell: CellRecord, keys: Sequence[str] | None) -> tuple[CellCheck, pa.Table | None]:
    """Read all shards of a cell; nothing is taken from run.json but what it claims.

    Args:
        root: the run folder.
        cell: its record.
        keys: ordered sample keys of the plan; None when the plan is lost.

    Returns:
        The findings, and the rows; None for rows that no score should be made of.
    """
    check = CellCheck(cell.dataset, cell.protocol, cell.model, cell.counts.planned)
    try:
        folder = _folder(root, "rows", cell)
    except PathEscape as error:
        check.faults.append(str(error))
        return check, None
    tables, commits = _shards(folder, cell, check)
    rows = join_shards(tables)
    check.error = sum(status == "error" for status in rows["status"].to_pylist())
    _count(rows, cell, check)
    if keys is not None:
        _against_plan(rows, keys, check)
    _predictions(_folder(root, "preds", cell), commits, check)
    return check, None if check.corrupt or check.duplicate else rows


def _folder(root: Path, kind: Kind, cell: CellRecord) -> Path:
    return cell_folder(root, kind, cell.task, cell.dataset, cell.protocol, cell.model)


def _shards(folder: Path, cell: CellRecord, check: CellCheck) -> tuple[list[pa.Table], list[Commit]]:
    """Sound shards of the experiment with their commits; the others become faults."""
    sealed, digest = is_sealed(folder), hashlib.sha256()
    tables: list[pa.Table] = []
    commits: list[Commit] = []
    for number, path in shard_files(folder).items():
        try:
            digest.update(read_file(path))
            shard = read_shard(folder, number, sealed)
        except (StoreError, PathEscape) as error:
            _spoilt(str(error), check)
            continue
        if shard is None:  # read all the same: its rows may be those of another shard
            check.faults.append(f"{path.name} was not committed and does not count; {_AGAIN}")
            check.duplicate += _n_twice(folder, number, tables)
        elif fault := _foreign(*shard, cell, sealed):
            _spoilt(fault, check)
        else:
            tables.append(shard[0])
            commits.append(shard[1])
    if tables and not sealed:
        check.notes.append("written by a version that kept no hashes: a flipped bit cannot be seen")
    check.sha256 = digest.hexdigest()
    return tables, commits


def _spoilt(fault: str, check: CellCheck) -> None:
    check.corrupt += 1
    check.faults.append(f"{fault}; {_AGAIN}")


def _foreign(table: pa.Table, commit: Commit, cell: CellRecord, sealed: bool) -> str:
    name = shard_path(Path(), commit.shard).name
    if commit.fingerprint != cell.fingerprint:
        return f"{name}: belongs to another experiment (fingerprint)"
    if not sealed and commit.item_key != item_key(commit.fingerprint, table["key"].to_pylist()):
        return f"{name}: the sample keys are not those of its footer"
    return ""


def _n_twice(folder: Path, number: int, tables: Sequence[pa.Table]) -> int:
    """How many rows of an uncommitted shard are in the committed ones, too."""
    try:
        shard = read_shard(folder, number, sealed=False)
    except ShardDamaged:
        return 0
    known = {index for table in tables for index in table["index"].to_pylist()}
    return 0 if shard is None else sum(index in known for index in shard[0]["index"].to_pylist())


def _count(rows: pa.Table, cell: CellRecord, check: CellCheck) -> None:
    counts = cell.counts
    check.found = len(set(rows["index"].to_pylist()))
    check.duplicate += rows.num_rows - check.found
    if check.found != counts.planned:
        check.faults.append(f"{check.found} of {counts.planned} planned rows found; the same `run` command resumes")
    if check.duplicate:
        check.faults.append(
            f"{check.duplicate} rows are there twice; the same `run` command sets aside the shard too many"
        )
    told = counts.input_errors + counts.prediction_errors
    if (counts.done, told) != (check.found, check.error):
        check.faults.append(
            f"run.json counts {counts.done} rows with {told} errors, on disk are {check.found} with {check.error}"
        )


def _against_plan(rows: pa.Table, keys: Sequence[str], check: CellCheck) -> None:
    pairs = zip(rows["index"].to_pylist(), rows["key"].to_pylist(), strict=True)
    wrong = [i for i, key in pairs if not 0 <= i < len(keys) or keys[i] != key]
    if wrong:
        check.faults.append(f"{len(wrong)} rows are not those of plan.json, the first is sample {wrong[0]}")


def _predictions(folder: Path, commits: Sequence[Commit], check: CellCheck) -> None:
    """Every prediction shard that row shards speak of must be there, whole."""
    lost: list[str] = []
    for rows in commits:
        if not rows.predictions:
            continue
        try:
            kept = committed(folder, rows.shard)
            if kept is None:
                lost.append(shard_path(Path(), rows.shard).name)
            elif (kept.rows, kept.item_key) != (rows.predictions, rows.item_key):
                check.faults.append(
                    f"preds: {shard_path(Path(), rows.shard).name} does not belong to its rows; {_AGAIN}"
                )
        except ShardDamaged as error:
            check.corrupt += 1
            check.faults.append(f"preds: {error}; {_AGAIN}")
    if lost:
        check.faults.append(f"preds: {len(lost)} shard(s) lost, the first is {lost[0]}; {_AGAIN}")
