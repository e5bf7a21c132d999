"""Engine events -> what a person watches: live bars on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sapiens_bench.engine.events import CellFinished, CellStarted, DataProgress, Event, Note, ShardDone
from sapiens_bench.report.escape import one_line
from sapiens_bench.report.numbers import duration
from sapiens_bench.store.record import CellRecord
from sapiens_bench.types import Cell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 10.0


class Meter:
    """Images done and speed of one cell, counted from what this process did."""

    def __init__(self, total: int, n_done: int, now: float) -> None:
        self.total, self.done = total, n_done
        self._found, self._start, self._now = n_done, now, now

    def add(self, n_images: int, now: float) -> None:
        self.done = min(self.total, self.done + n_images)
        self._now = now

    @property
    def images_per_s(self) -> float:
        """0.0 before anything was done."""
        elapsed = self._now - self._start
        return (self.done - self._found) / elapsed if elapsed > 0 else 0.0

    @property
    def eta_s(self) -> float:
        """Seconds to the end of the cell; infinite while unknown."""
        left = self.total - self.done
        return 0.0 if left == 0 else left / self.images_per_s if self.images_per_s > 0 else float("inf")


class Watcher(AbstractContextManager["Watcher"]):
    """Shows the events of one run.

    Args:
        console: on stderr, so that tables on stdout stay clean.
        n_cells: cells that will run.
        n_images: images over all of them.
    """

    def __init__(
        self, console: Console, n_cells: int, n_images: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._n_cells, self._n_images, self._clock = console, n_cells, n_images, clock
        self._started = 0
        self._meter = Meter(0, 0, 0.0)
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
        elif isinstance(event, ShardDone):
            self._shard(event)
        elif isinstance(event, CellFinished):
            self._cell_finished(event.record)
        elif isinstance(event, Note):
            self._line(f"note: {event.text}", "dim")

    def _data(self, event: DataProgress) -> None:
        title = f"Preparing {event.dataset}"
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
        self._meter = Meter(cell.n_samples, event.n_done, self._clock())
        self._last_line = self._clock()
        if self._live is not None:
            title = one_line(f"{event.title} on {cell.dataset}")
            self._bars["cell"] = self._live.add_task(title, total=cell.n_samples, completed=event.n_done, speed="")
            if "all" in self._bars:
                self._live.advance(self._bars["all"], event.n_done)
            return
        found = f", {event.n_done} on disk already" if event.n_done else ""
        self._line(
            f"[{self._started}/{self._n_cells}] {event.title} on {cell.dataset} ({cell.protocol}): "
            f"{cell.n_samples} images{found}"
        )

    def _shard(self, event: ShardDone) -> None:
        self._meter.add(event.n_images, self._clock())
        speed = f"{self._meter.images_per_s:.1f} images/s"
        if self._live is not None:
            self._live.update(self._bars["cell"], completed=self._meter.done, speed=speed)
            if "all" in self._bars:
                self._live.advance(self._bars["all"], event.n_images)
        elif self._is_time():
            self._line(f"  {self._position(event.cell)}, {speed}, {duration(self._meter.eta_s)} left")

    def _position(self, cell: Cell) -> str:
        return f"{self._meter.done}/{cell.n_samples} images"

    def _cell_finished(self, record: CellRecord) -> None:
        if self._live is not None and "cell" in self._bars:
            self._live.remove_task(self._bars.pop("cell"))
        good = record.status == "done"
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
    """One line about a finished cell: title, headline score, images, faults, speed."""
    if record.status not in ("done", "incomplete"):
        return f"{record.title} on {record.dataset}: {record.status}: {record.how}"
    score = record.scores.get(record.headline)
    value = ""
    if score is not None:
        shown = score.value * 100 if score.percent else score.value
        unit = "%" if score.percent else score.unit
        value = f", {score.title} {shown:.{score.decimals}f} {unit}".rstrip()
    faults = record.counts.input_errors + record.counts.prediction_errors
    errors = f", {faults} with errors" if faults else ""
    speed = f", {record.timing.images_per_s:.1f} images/s" if record.timing.images else ", found on disk"
    return f"{record.title} on {record.dataset}{value}, {record.counts.done} images{errors}{speed}"


def _live(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TextColumn("ETA", markup=False),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        speed_estimate_period=120,
    )
