"""Making the files of a data set that are made on this machine: rendered scans, synthetic people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from sapiens_bench.errors import UsageError
from sapiens_bench.types import Adapter, Materialised

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PreparedFault:
    """A sample that could not be made."""

    key: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What preparing did."""

    n_made: int
    n_present: int  # made by an earlier run
    n_failed: int
    bytes: int  # written now
    manifest_path: Path | None  # what was rendered from what; ``manifest compare`` takes two of them
    faults: tuple[PreparedFault, ...] = ()  # one for each failed sample, by key
    notes: tuple[str, ...] = ()  # about what was found, and about scans that were made nevertheless

    def with_notes(self, notes: tuple[str, ...]) -> PrepareReport:
        """The same report with other notes."""
        return replace(self, notes=notes)


@runtime_checkable
class Preparable(Protocol):
    """An adapter that can say what preparing it did."""

    def prepare(self, indices: Sequence[int], workers: int, progress: Progress) -> PrepareReport: ...


def prepare_data(
    adapter: Adapter,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
    limit: int | None = None,
) -> PrepareReport:
    """Make whatever the data set (or its first ``limit`` samples) lacks. Interrupted, the same call goes on where it
    stopped; results do not depend on ``workers``.

    Raises:
        UsageError: this data set has nothing to make.
        StorageFull: too little free space, before anything is made or on the way.
    """
    indices = range(min(len(adapter), limit or len(adapter)))
    if isinstance(adapter, Preparable):
        return adapter.prepare(indices, max(1, workers), progress)
    if isinstance(adapter, Materialised):
        adapter.materialise(indices, max(1, workers), progress)
        return PrepareReport(len(indices), 0, 0, 0, None)
    raise UsageError("This data set is read as it is: there is nothing to prepare.")
