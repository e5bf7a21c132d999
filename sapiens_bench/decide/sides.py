"""One side of a comparison: the measured cells of a run folder, or of a baseline file that holds rows alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_bench.errors import StoreError, UsageError
from sapiens_bench.store.fingerprint import FILE
from sapiens_bench.store.record import CellRecord, RunRecord, read_run
from sapiens_bench.store.rows import BASE, read_rows

if TYPE_CHECKING:
    import pyarrow as pa

_MEASURED = ("done", "incomplete")


@dataclass(frozen=True, slots=True)
class Member:
    """The rows of one model on one data set under one protocol."""

    task: str
    dataset: str
    dataset_title: str
    protocol: str
    model: str
    title: str
    headline: str  # "<metric>/<score>"
    n_planned: int
    fields: Mapping[str, Any]  # what may change a row, as cell.json has it
    rows: pa.Table

    def __post_init__(self) -> None:
        keys = self.rows["key"].to_pylist()
        if len(set(keys)) < len(keys):
            twice = next(key for key, n in Counter(keys).items() if n > 1)
            raise StoreError(f"The rows of {self.model} on {self.dataset} hold sample {twice!r} more than once.")

    @property
    def place(self) -> tuple[str, str]:
        """Data set and protocol: numbers are compared inside one."""
        return self.dataset, self.protocol

    @property
    def missing(self) -> int:
        """Planned rows that are not there."""
        return self.n_planned - int(self.rows.num_rows)


@dataclass(frozen=True, slots=True)
class Side:
    """All measured cells of a run or baseline."""

    path: Path
    status: str  # of the run
    members: tuple[Member, ...]

    @property
    def incomplete(self) -> str:
        """What is missing; empty for a complete side."""
        short = [f"{m.missing} of {m.n_planned} rows of {m.model} on {m.dataset}" for m in self.members if m.missing]
        if short:
            return f"{self.path}: missing are {', '.join(short)}; the same `run` command resumes"
        return "" if self.status == "done" else f"{self.path}: the run's status is {self.status!r}"

    def chosen(self, models: Sequence[str]) -> Side:
        """The side with these models alone, in the order named; all of them, in the run's, when none is.

        Raises:
            UsageError: one of them was not measured here.
        """
        known = {m.model for m in self.members}
        if absent := [name for name in models if name not in known]:
            raise UsageError(f"{self.path} has no measured model {absent[0]!r}. It has: {', '.join(sorted(known))}.")
        if not models:
            return self
        place = {name: rank for rank, name in enumerate(models)}
        sets = list(dict.fromkeys(m.place for m in self.members))
        kept = [m for m in self.members if m.model in place]
        kept.sort(key=lambda m: (sets.index(m.place), place[m.model]))
        return Side(self.path, self.status, tuple(kept))


def read_side(path: Path) -> Side:
    """A run folder (or its run.json), or a baseline file.

    Raises:
        StoreError: neither; or its record or rows cannot be read.
        UsageError: nothing was measured in it.
    """
    if path.is_file() and path.name != "run.json":
        from sapiens_bench.decide.baseline import read_baseline

        return read_baseline(path)
    record = read_run(path)
    root = path.parent if path.name == "run.json" else path
    members = tuple(_member(root, record, cell) for cell in record.cells if cell.status in _MEASURED)
    if not members:
        raise UsageError(f"{path} holds no measured model: there is nothing to compare.")
    return Side(path, record.status, members)


def _member(root: Path, record: RunRecord, cell: CellRecord) -> Member:
    folder = root / "rows" / cell.task / cell.dataset / cell.protocol / cell.model
    return Member(
        task=cell.task,
        dataset=cell.dataset,
        dataset_title=record.datasets[cell.dataset].title if cell.dataset in record.datasets else cell.dataset,
        protocol=cell.protocol,
        model=cell.model,
        title=cell.title,
        headline=cell.headline,
        n_planned=cell.counts.planned,
        fields=_fields(folder),
        rows=read_rows(folder),
    )


def _fields(folder: Path) -> Mapping[str, Any]:
    """What went into the cell's fingerprint."""
    path = folder / FILE
    try:
        fields = json.loads(path.read_bytes())["fields"]
        if isinstance(fields, dict):
            return fields
    except FileNotFoundError:
        raise StoreError(f"{path} is missing: it says how these rows were made. Run the same command again.") from None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise StoreError(f"{path} cannot be read: it says how these rows were made. Run the same command again.")


def metric_columns(rows: pa.Table) -> list[str]:
    """Columns of the metrics, "<metric>/<name>"."""
    return [name for name in rows.column_names if name not in BASE]
