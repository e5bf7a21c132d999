"""``sapiens-bench verify run``: read a run's rows again and count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sapiens_bench.cli.output import grid, say
from sapiens_bench.errors import IncompleteRun, StorageFull, StoreError
from sapiens_bench.store.record import CellRecord, RunRecord, read_run

_MEASURED = ("done", "incomplete")


@dataclass(frozen=True)
class CellCheck:
    """What was found on disk for one cell."""

    dataset: str
    model: str
    planned: int
    found: int
    duplicate: int
    corrupt: int  # shards that cannot be read, or whose footer does not match their content
    error: int
    sha256: str  # over the bytes of the shards in order
    faults: tuple[str, ...] = ()


def run(folder: Path, *, json_out: Path | None) -> None:
    """Check every cell of a run folder.

    Raises:
        StoreError: no run there.
        IncompleteRun: rows are missing, duplicate or unreadable, or differ from run.json.
    """
    record = read_run(folder)
    root = folder.parent if folder.name == "run.json" else folder
    plan = _planned_keys(root)
    checks = [check_cell(root, cell, plan.get(cell.dataset)) for cell in record.cells if cell.status in _MEASURED]
    _show(record, checks)
    if json_out is not None:
        data = {"schema": "verify/1", "run": str(root), "cells": [asdict(check) for check in checks]}
        _write_json(json_out, data)
    faults = [f"{c.model} on {c.dataset}: {fault}" for c in checks for fault in c.faults]
    if faults:
        raise IncompleteRun("\n".join([f"{root} is not in order:", *(f"  - {fault}" for fault in faults[:20])]))
    if record.status != "done":
        raise IncompleteRun(f"{root}: the run's status is {record.status!r}. The same `run` command resumes.")
    say(f"{root}: {sum(c.found for c in checks)} rows of {len(checks)} cell(s) in order.", "green")


def _planned_keys(root: Path) -> dict[str, list[str]]:
    """Ordered sample keys by data set, from plan.json."""
    path = root / "plan.json"
    try:
        data = json.loads(path.read_bytes())
        return {name: [str(key) for key in facts["keys"]] for name, facts in data["datasets"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({type(error).__name__}). The run's plan is lost.") from None


def check_cell(root: Path, cell: CellRecord, keys: Sequence[str] | None) -> CellCheck:
    """Read all shards of a cell; nothing is taken from run.json but what it claims."""
    from sapiens_bench.store.rows import shard_files

    folder = root / "rows" / cell.task / cell.dataset / cell.protocol / cell.model
    digest = hashlib.sha256()
    faults: list[str] = []
    found: list[tuple[int, str]] = []
    corrupt = n_errors = 0
    for path in shard_files(folder):
        data = path.read_bytes()
        digest.update(data)
        try:
            samples, errors = _read_shard(data, cell.fingerprint)
        except ValueError as error:
            corrupt += 1
            faults.append(f"{path.name}: {error}")
            continue
        found += samples
        n_errors += errors
    unique = dict(found)
    duplicate = len(found) - len(unique)
    faults += _faults(cell, unique, duplicate, n_errors, keys)
    return CellCheck(cell.dataset, cell.model, cell.counts.planned, len(unique), duplicate, corrupt, n_errors,
                     digest.hexdigest(), tuple(faults))  # fmt: skip


def _read_shard(data: bytes, fingerprint: str) -> tuple[list[tuple[int, str]], int]:
    """(index, key) of every row and the number of error rows.

    Raises:
        ValueError: the bytes are no shard, or not the shard that its footer claims.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sapiens_bench.store.rows import item_key

    try:
        table = pq.read_table(pa.BufferReader(data))
        names = ("index", "key", "status")
        index, keys, status = (table[name].to_pylist() for name in names)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ValueError(f"cannot be read ({' '.join(str(error).split())[:120]})") from None
    stored = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    if stored.get("rows") != str(len(index)):
        raise ValueError(f"holds {len(index)} rows, its footer says {stored.get('rows')}")
    if stored.get("fingerprint") != fingerprint:
        raise ValueError("belongs to another experiment (fingerprint)")
    if stored.get("item_key") != item_key(fingerprint, keys):
        raise ValueError("the sample keys are not those of its footer")
    return list(zip(index, keys, strict=True)), sum(s == "error" for s in status)


def _faults(
    cell: CellRecord, unique: dict[int, str], duplicate: int, n_errors: int, keys: Sequence[str] | None
) -> list[str]:
    faults, counts = [], cell.counts
    if len(unique) != counts.planned:
        faults.append(f"{len(unique)} of {counts.planned} planned rows found; the same `run` command resumes")
    if duplicate:
        faults.append(f"{duplicate} rows are there twice")
    if counts.done != len(unique) or counts.input_errors + counts.prediction_errors != n_errors:
        faults.append(
            f"run.json counts {counts.done} rows with {counts.input_errors + counts.prediction_errors} errors, "
            f"on disk are {len(unique)} with {n_errors}"
        )
    if keys is not None:
        wrong = [i for i, key in unique.items() if not 0 <= i < len(keys) or keys[i] != key]
        if wrong:
            faults.append(f"{len(wrong)} rows are not those of plan.json, the first is sample {wrong[0]}")
    return faults


def _show(record: RunRecord, checks: Sequence[CellCheck]) -> None:
    titles = {(c.dataset, c.model): c.title for c in record.cells}
    rows = [
        (c.dataset, titles[c.dataset, c.model], *map(str, (c.planned, c.found, c.duplicate, c.corrupt, c.error)),
         c.sha256[:16])
        for c in checks
    ]  # fmt: skip
    heads = ("Data set", "Model", "Planned", "Found", "Duplicate", "Corrupt", "Error", "sha256 of rows")
    grid(heads, rows, right=(2, 3, 4, 5, 6))


def _write_json(path: Path, data: object) -> None:
    try:
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageFull(f"{path} could not be written: {error.strerror}.") from None
