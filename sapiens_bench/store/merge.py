"""Several run folders into one: the same data under the same protocols, other models or other parts of the shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sapiens_bench.errors import FingerprintMismatch, StoreError, UsageError
from sapiens_bench.store.commits import commit_path
from sapiens_bench.store.files import read_json, refuse_links, storage_error, write_atomic
from sapiens_bench.store.fingerprint import FILE as CELL_FILE
from sapiens_bench.store.fingerprint import differing, sealed
from sapiens_bench.store.folder import PLAN_FILE, read_plan
from sapiens_bench.store.lock import locked
from sapiens_bench.store.paths import cell_folders
from sapiens_bench.store.record import CellRecord, RunRecord, read_run, write_run
from sapiens_bench.store.rows import committed, shard_files, shard_path
from sapiens_bench.store.throughput import summed


def merge_folders(sources: Sequence[Path], out: Path) -> RunRecord:
    """Copy the rows, predictions and maps of all sources into ``out``; the record's scores are yet to be made.

    A shard that several sources hold is taken from the first of them: equal fingerprints make equal rows.

    Raises:
        UsageError: fewer than two sources, or ``out`` holds something.
        FingerprintMismatch: the runs differ in more than their models; names in what.
        ShardDamaged, StoreError: a source is damaged; ``verify run --repair`` mends it.
        StorageFull: no room.
    """
    if len(sources) < 2:
        raise UsageError("merge needs two run folders or more.")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty. Give --out a new folder.")
    records = [read_run(source) for source in sources]
    plans = [_plan(source) for source in sources]
    for source, plan in zip(sources[1:], plans[1:], strict=True):
        if found := differing(_but_models(plans[0]), _but_models(plan)):
            raise FingerprintMismatch(f"{source} and {sources[0]} cannot be merged: {'; '.join(found[:5])}.")
    with locked(out):
        try:
            for source in sources:
                for cell in cell_folders(source, "rows"):
                    _copy_cell(source, out, cell.relative_to(source / "rows"))
        except OSError as error:
            raise storage_error(error, out) from error
        models = sorted({model for plan in plans for model in plan["models"]})
        plan = {**plans[0], "models": models}
        write_atomic(out / PLAN_FILE, json.dumps(sealed(plan), ensure_ascii=False).encode() + b"\n")
        record = _joined(records)
        write_run(out, record)
    return record


def _plan(source: Path) -> dict[str, Any]:
    try:
        return read_plan(source)
    except FileNotFoundError:
        raise StoreError(f"{source} has no {PLAN_FILE}: it is no run folder, or its run never began.") from None


def _but_models(plan: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plan.items() if name != "models"}


def _copy_cell(source: Path, out: Path, cell: Path) -> None:
    for kind in ("rows", "preds", "maps"):
        refuse_links(source, source / kind / cell)
    rows, preds, maps = (source / kind / cell for kind in ("rows", "preds", "maps"))
    target = out / "rows" / cell
    _claim(rows / CELL_FILE, target / CELL_FILE)
    for number in sorted(shard_files(rows)):
        if committed(target, number) is not None or committed(rows, number) is None:
            continue
        if committed(preds, number) is not None:
            _copy_shard(preds, out / "preds" / cell, number)
        _copy_shard(rows, target, number)
    if maps.is_dir():
        shutil.copytree(maps, out / "maps" / cell, dirs_exist_ok=True, symlinks=True)


def _copy_shard(source: Path, target: Path, number: int) -> None:
    """The bytes, then their commit: from then on the shard counts."""
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(shard_path(target, number), shard_path(source, number).read_bytes())
    write_atomic(commit_path(target, number), commit_path(source, number).read_bytes())


def _claim(source: Path, target: Path) -> None:
    """cell.json; where it is there already it must say the same."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, source.read_bytes())
        return
    here, there = read_json(source), read_json(target)
    if here.get("fingerprint") != there.get("fingerprint"):
        found = differing(there.get("fields", {}), here.get("fields", {}))
        raise FingerprintMismatch(f"{source.parent} is another experiment: {'; '.join(found[:5])}.")


def _joined(records: Sequence[RunRecord]) -> RunRecord:
    """The first record with the cells of all; times of one cell that was computed in parts add up."""
    cells: dict[tuple[str, str, str], CellRecord] = {}
    for record in records:
        for cell in record.cells:
            place = (cell.dataset, cell.protocol, cell.model)
            if (known := cells.get(place)) is None:
                cells[place] = cell
            elif known.fingerprint == cell.fingerprint:
                cells[place] = known.model_copy(update={"timing": summed(known.timing, cell.timing)})
    costs = [row for record in records for row in record.costs]
    return records[0].model_copy(update={"status": "incomplete", "cells": list(cells.values()), "costs": costs})
