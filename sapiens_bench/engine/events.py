"""What a run tells whoever watches it. Events carry facts; how they look is the command line's business."""

from __future__ import annotations

from dataclasses import dataclass

from sapiens_bench.store.record import CellRecord
from sapiens_bench.types import Cell


@dataclass(frozen=True, slots=True)
class DataProgress:
    """An adapter makes its files (renders, extracts) before the first image is read, or its samples are looked at."""

    dataset: str
    done: int
    total: int
    doing: str = "Preparing"


@dataclass(frozen=True, slots=True)
class CellStarted:
    """Work on a cell begins; ``n_done`` of its samples were found on disk."""

    cell: Cell
    title: str
    n_done: int


@dataclass(frozen=True, slots=True)
class BatchDone:
    """The device is through with a batch; its rows come with the shard."""

    cell: Cell
    n_images: int


@dataclass(frozen=True, slots=True)
class ShardDone:
    """A shard is on disk. ``images_per_s`` is over this shard."""

    cell: Cell
    number: int
    n_images: int
    n_errors: int
    images_per_s: float


@dataclass(frozen=True, slots=True)
class CellFinished:
    """All rows of a cell are there, or the cell was refused. Scores have no intervals yet: those need every cell."""

    record: CellRecord


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence for the user."""

    text: str


Event = DataProgress | CellStarted | BatchDone | ShardDone | CellFinished | Note


def ignore(event: Event) -> None:
    """The watcher that looks away."""
