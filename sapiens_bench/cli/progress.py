"""Engine events -> what a person watches: live bars on a terminal, a line now and then in a log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sapiens_bench.engine.events import BatchDone, CellFinished, CellStarted, DataProgress, Event, Note, ShardDone
from sapiens_bench.report.causes import first_causes
from sapiens_bench.report.escape import one_line
from sapiens_bench.report.numbers import duration
from sapiens_bench.store.causes import all_failed
from sapiens_bench.store.record import CellRecord

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 10.0


class Meter:
    """Images done and speed of one cell.

    The clock starts when the first batch is through: what comes before it (making files, loading a network, first
    calls) says nothing about the images that are left.
    """

    def __init__(self, total: int, n_done: int) -> None:
        self.total, self.done = total, n_done
        self._first: tuple[float, int] | None = None  # time and images done at the end of the first batch
        self._now = 0.0

    def add(self, n_images: int, now: float) -> None:
        self.done = min(self.total, self.done + n_images)
        self._now = now
        if self._first is None:
            self._first = now, self.done

    @property
    def images_per_s(self) -> float:
        """NaN until a second batch is through."""
        if self._first is None or self._now <= self._first[0]:
            return math.nan
        return (self.done - self._first[1]) / (self._now - self._first[0])

    @property
    def eta_s(self) -> float:
        """Seconds to the end of the cell; NaN while unknown."""
        left = self.total - self.done
        return 0.0 if left == 0 else left / self.images_per_s if self.images_per_s > 0 else math.nan

    @property
    def speed(self) -> str:
        """``"12.3 images/s"``; empty while unknown."""
        return "" if math.isnan(self.images_per_s) else f"{self.images_per_s:.1f} images/s"


class ProgressView(AbstractContextManager["ProgressView"]):
    """Shows the events of one run.

    Args:
        console: on stderr, so that tables on stdout stay clean.
        n_cells: cells that will run.
        n_images: images over all of them.
    """

    def __init__(
        self, console: Console, n_cells: int = 0, n_images: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._n_cells, self._n_images, self._clock = console, n_cells, n_images, clock
        self._started = 0
        self._meter = Meter(0, 0)
        self._uncommitted = 0  # images of batches whose shard is not on disk yet
        self._last_line = -_LINE_EVERY_S
        self._live = _live(console) if console.is_terminal else None
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            if self._n_cells > 1:
                self._bars["all"] = self._live.add_task("All models", total=self._n_images, speed="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            for bar in self._bars.values():
                self._live.remove_task(bar)
            self._live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, DataProgress):
            self._data(event)
        elif isinstance(event, CellStarted):
            self._cell_started(event)
        elif isinstance(event, BatchDone):
            self._uncommitted += event.n_images
            self._advance(event.n_images)
        elif isinstance(event, ShardDone):  # shards that come without batches count all the same
            self._advance(event.n_images - self._uncommitted)
            self._uncommitted = 0
        elif isinstance(event, CellFinished):
            self._cell_finished(event.record)
        elif isinstance(event, Note):
            self._line(f"note: {event.text}", "dim")

    def _data(self, event: DataProgress) -> None:
        title = f"{event.doing} {event.dataset}"
        if self._live is not None:
            bar = self._bars.get("data")
            if bar is None:
                bar = self._bars["data"] = self._live.add_task(title, total=event.total, speed="")
            self._live.update(bar, completed=event.done, total=event.total, description=title)
            if event.done >= event.total:
                self._live.remove_task(self._bars.pop("data"))
        elif self._is_time() or event.done >= event.total:
            self._line(f"{title}: {event.done}/{event.total}")

    def _cell_started(self, event: CellStarted) -> None:
        cell = event.cell
        self._started += 1
        self._meter, self._uncommitted = Meter(cell.n_samples, event.n_done), 0
        self._last_line = self._clock()
        if self._live is not None:
            title = one_line(f"{event.title} on {cell.dataset}")
            self._bars["cell"] = self._live.add_task(title, total=cell.n_samples, completed=event.n_done,
                                                   speed="first batch ...")  # fmt: skip
            if "all" in self._bars:
                self._live.advance(self._bars["all"], event.n_done)
            return
        found = f", {event.n_done} on disk already" if event.n_done else ""
        self._line(
            f"[{self._started}/{self._n_cells}] {event.title} on {cell.dataset} ({cell.protocol}): "
            f"{cell.n_samples} images{found}"
        )

    def _advance(self, n_images: int) -> None:
        if n_images <= 0:
            return
        self._meter.add(n_images, self._clock())
        meter = self._meter
        if self._live is not None:
            self._live.update(self._bars["cell"], completed=meter.done, speed=meter.speed)
            if "all" in self._bars:
                self._live.advance(self._bars["all"], n_images)
        elif meter.done < meter.total and self._is_time():
            left = f"{duration(meter.eta_s)} left" if meter.speed else ""
            self._line("  " + ", ".join(p for p in (f"{meter.done}/{meter.total} images", meter.speed, left) if p))

    def _cell_finished(self, record: CellRecord) -> None:
        if self._live is not None and "cell" in self._bars:
            self._live.remove_task(self._bars.pop("cell"))
        good = record.status == "done" and not all_failed(record)
        self._line(f"{'✓' if good else '✗'} {summary(record)}", "" if good else "yellow")

    def _is_time(self) -> bool:
        if self._clock() - self._last_line < _LINE_EVERY_S:
            return False
        self._last_line = self._clock()
        return True

    def _line(self, text: str, style: str = "") -> None:
        from rich.text import Text

        console = self._console if self._live is None else self._live.console
        console.print(Text(one_line(text), style=style))


def summary(record: CellRecord) -> str:
    """One line about a finished cell: title, headline score, images, faults and the first cause, speed."""
    where = f"{record.title} on {record.dataset}"
    if record.status not in ("done", "incomplete"):
        return f"{where}: {record.status}: {record.how}"
    causes = "; ".join(filter(None, (first_causes([record], "input"), first_causes([record], "prediction"))))
    if all_failed(record):
        return f"{where}: all {record.counts.done} images failed: {causes}"
    faults = record.counts.input_errors + record.counts.prediction_errors
    errors = f", {faults} with errors: {causes}" if faults else ""
    return f"{where}{_headline(record)}, {record.counts.done} images{_speed(record)}{errors}"


def _headline(record: CellRecord) -> str:
    score = record.scores.get(record.headline)
    if score is None:
        return ""
    if not math.isfinite(score.value):
        return f", {score.title} undefined"
    shown = score.value * 100 if score.percent else score.value
    return f", {score.title} {shown:.{score.decimals}f} {'%' if score.percent else score.unit}".rstrip()


def _speed(record: CellRecord) -> str:
    """A rate where there was a steady state, else the time that all took, first calls included."""
    timing = record.timing
    if not timing.images:
        return ", found on disk"
    if timing.images > timing.first_shard_images:
        return f", {timing.images_per_s:.1f} images/s"
    return f" in {timing.wall_s:.1f} s"


def _live(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("ETA", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        speed_estimate_period=120,
    )
