"""Progress: a line now and then in a log, bars on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sapiens_bench.commands.progress import Meter, Watcher
from sapiens_bench.engine.events import CellFinished, CellStarted, DataProgress, Note, ShardDone
from sapiens_bench.store.record import CellRecord, Counts, ScoreRecord, Timing
from sapiens_bench.types import Cell

CELL = Cell("pose", "synthetic-humans", "gt-box", "m", 1000, 10, "f")


class Clock:
    """A clock that the test turns."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def finished(**changes: object) -> CellFinished:
    facts = {
        "task": "pose", "dataset": "synthetic-humans", "protocol": "gt-box", "model": "m", "title": "A model",
        "status": "done", "headline": "oks/AP", "counts": Counts(planned=1000, ok=1000),
        "scores": {"oks/AP": ScoreRecord(value=0.5, title="AP", percent=True, decimals=1)},
        "timing": Timing(wall_s=10, images=1000), **changes,
    }  # fmt: skip
    return CellFinished(CellRecord(**facts))  # type: ignore[arg-type]


def watched(clock: Clock, *, terminal: bool) -> tuple[Watcher, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, soft_wrap=not terminal, no_color=True)
    return Watcher(console, n_cells=2, n_images=2000, clock=clock), stream


def test_a_log_gets_a_line_every_ten_seconds_and_no_control_codes() -> None:
    clock = Clock()
    watcher, stream = watched(clock, terminal=False)
    with watcher:
        watcher(CellStarted(CELL, "A model\x1b[31m", 0))
        for number in range(100):  # 100 shards in 50 s
            clock.now += 0.5
            watcher(ShardDone(CELL, number, 10, 0, 20.0))
        watcher(finished())
        watcher(Note("something"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[1/2] A model[31m on synthetic-humans (gt-box): 1000 images"
    between = [line for line in lines if line.startswith("  ")]
    assert 4 <= len(between) <= 5
    assert between[0] == "  200/1000 images, 20.0 images/s, 40 s left"
    assert lines[-2] == "✓ A model on synthetic-humans, AP 50.0 %, 1000 images, 100.0 images/s"
    assert lines[-1] == "note: something"
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_shows_bars_with_speed() -> None:
    clock = Clock()
    watcher, stream = watched(clock, terminal=True)
    with watcher:
        watcher(DataProgress("synthetic-humans", 1, 12))
        watcher(DataProgress("synthetic-humans", 12, 12))
        watcher(CellStarted(CELL, "A model", 500))
        clock.now += 1
        watcher(ShardDone(CELL, 50, 10, 0, 10.0))
        assert watcher._live is not None
        watcher._live.refresh()
        watcher(finished())
    text = stream.getvalue()
    for part in ("All models", "A model on synthetic-humans", "510/1000", "10.0 images/s", "ETA", "AP 50.0 %"):
        assert part in text


def test_a_refused_cell_says_why() -> None:
    watcher, stream = watched(Clock(), terminal=False)
    watcher(finished(status="refused", how="The file is cut short."))
    assert stream.getvalue().strip() == "✗ A model on synthetic-humans: refused: The file is cut short."


def test_rows_found_on_disk_do_not_count_as_speed() -> None:
    meter = Meter(total=100, n_done=50, now=0.0)
    assert (meter.images_per_s, meter.eta_s) == (0.0, float("inf"))
    meter.add(10, 5.0)
    assert meter.images_per_s == pytest.approx(2.0)
    assert meter.eta_s == pytest.approx(20.0)
