"""Scores of an earlier run of the same folder: they stand as long as everything that they were made of is the same.

``scores.json`` lies beside ``run.json``. Per cell it has counts, causes and scores with intervals, and a key: a hash
over the hashes of the committed shards, the fingerprint, and all code that turns rows into scores (this package, and
that of the metrics). Per data set a key over its cells, draws and seed. A key that does not fit, a damaged file, a
shard without a hash: the scores are made again. ``verify`` never looks at this file.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

import sapiens_bench
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.store.commits import read_commit
from sapiens_bench.store.files import read_json, write_atomic
from sapiens_bench.store.fingerprint import canonical, fingerprint, sealed, unsealed
from sapiens_bench.store.record import Cause, CellRecord, Counts, ErrorExample, ScoreRecord
from sapiens_bench.store.rows import shard_files
from sapiens_bench.types import Cell, Task

FILE = "scores.json"
SCHEMA = "scores/2"


class SetFacts(NamedTuple):
    """What holds for all cells of a data set together."""

    n_excluded: int  # images that left the scores
    sees: float = math.nan  # smallest difference in the headline score that the set would call out
    sees_between: list[str] = []  # ids of the two best models, between whom that holds


class KeptScores:
    """What ``scores.json`` of a run folder says, and will say."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cells: dict[str, Any] = {}
        self._sets: dict[str, Any] = {}
        try:
            content = unsealed(read_json(root / FILE))
            if content["schema"] == SCHEMA:
                self._cells, self._sets = dict(content["cells"]), dict(content["sets"])
        except (FileNotFoundError, SapiensBenchError, KeyError, TypeError, ValueError):
            pass  # nothing is known, so everything is made again

    def fill(self, record: CellRecord, cell: Cell, key: str | None) -> bool:
        """Give the record what is kept under the key; False where there is nothing."""
        kept = self._cells.get(cell.folder)
        if key is None or not isinstance(kept, dict) or kept.get("key") != key:
            return False
        try:
            counts = Counts.model_validate(kept["counts"])
            errors = [ErrorExample.model_validate(each) for each in kept["errors"]]
            causes = [Cause.model_validate(each) for each in kept["causes"]]
            scores = {name: ScoreRecord.model_validate(each) for name, each in kept["scores"].items()}
        except (KeyError, TypeError, AttributeError, ValidationError):
            return False
        record.counts, record.errors, record.causes, record.scores = counts, errors, causes, scores
        return True

    def of_set(self, dataset: str, key: str | None) -> SetFacts | None:
        """What holds for a data set, where the scores of all its cells are kept under the key; else None."""
        kept = self._sets.get(dataset)
        if key is None or not isinstance(kept, dict) or kept.get("key") != key:
            return None
        n, sees, between = kept.get("n_excluded"), kept.get("sees"), kept.get("sees_between")
        if not isinstance(n, int) or not isinstance(between, list):
            return None
        return SetFacts(n, math.nan if sees is None else float(sees), [str(name) for name in between])

    def keep(self, dataset: str, key: str | None, facts: SetFacts, cells: Iterable[tuple[Kept, CellRecord]]) -> None:
        """Note the scores of a data set, and write the file where it can be written: without it nothing is lost."""
        if key is None:
            return
        for kept, record in cells:
            parts = record.model_dump(mode="json", include={"counts", "errors", "causes", "scores"})
            self._cells[kept.folder] = {"key": kept.key, **parts}
        sees = facts.sees if math.isfinite(facts.sees) else None
        self._sets[dataset] = {"key": key, **facts._asdict(), "sees": sees}
        content = {"schema": SCHEMA, "cells": self._cells, "sets": self._sets}
        try:
            write_atomic(self._root / FILE, canonical(sealed(content)) + b"\n")
        except SapiensBenchError:
            return


class Kept(NamedTuple):
    """A cell, and what its scores are made of."""

    folder: str
    key: str | None


def cell_key(root: Path, cell: Cell, task: Task) -> Kept:
    """What the scores of a cell are made of; no key where a shard has no hash, or code cannot be read."""
    folder = root / "rows" / cell.folder
    try:
        commits = [read_commit(folder, number) for number in shard_files(folder)]
    except SapiensBenchError:
        return Kept(cell.folder, None)
    code = code_sha256(tuple(type(metric).__module__ for metric in task.metrics))
    if code is None or not commits or any(commit is None for commit in commits):
        return Kept(cell.folder, None)
    seals = [[commit.shard, commit.sha256] for commit in commits if commit is not None]
    return Kept(cell.folder, fingerprint({"cell": cell.fingerprint, "code": code, "seals": seals}))


def set_key(cells: Sequence[Kept], n_boot: int, seed: int) -> str | None:
    """What the scores of a data set are made of: images at fault for one model leave those of all."""
    if not cells or any(cell.key is None for cell in cells):
        return None
    return fingerprint({"cells": [list(cell) for cell in cells], "n_boot": n_boot, "seed": seed})


@cache
def code_sha256(modules: tuple[str, ...]) -> str | None:
    """Over every source file of this package and of the packages of the modules; None where a file cannot be read."""
    tops = {name.partition(".")[0] for name in modules} | {sapiens_bench.__name__}
    digest = hashlib.sha256(f"{sys.version_info[:2]} numpy {np.__version__}".encode())
    for top in sorted(tops):
        found = getattr(sys.modules.get(top), "__file__", None)
        if found is None:
            return None
        path = Path(found)
        files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
        try:
            for file in files:
                digest.update(
                    f"{top} {file.relative_to(path.parent)} ".encode() + hashlib.sha256(file.read_bytes()).digest()
                )
        except OSError:
            return None
    return digest.hexdigest()
