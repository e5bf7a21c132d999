"""Progress: a line now and then in a log, bars on a terminal."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from sapiens_bench.cli.progress import Meter, ProgressView, summary
from sapiens_bench.engine.events import BatchDone, CellFinished, CellStarted, DataProgress, Note, ShardDone
from sapiens_bench.store.record import CellRecord, Counts, ErrorExample, ScoreRecord, Timing
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


def watched(clock: Clock, *, terminal: bool) -> tuple[ProgressView, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, soft_wrap=not terminal, no_color=True)
    return ProgressView(console, n_cells=2, n_images=2000, clock=clock), stream


def test_a_log_gets_a_line_every_ten_seconds_and_no_control_codes() -> None:
    clock = Clock()
    view, stream = watched(clock, terminal=False)
    with view:
        view(CellStarted(CELL, "A model\x1b[31m", 0))
        for number in range(100):  # 100 shards in 50 s
            clock.now += 0.5
            view(ShardDone(CELL, number, 10, 0, 20.0))
        view(finished())
        view(Note("something"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[1/2] A model[31m on synthetic-humans (gt-box): 1000 images"
    between = [line for line in lines if line.startswith("  ")]
    assert 4 <= len(between) <= 5
    assert between[0] == "  200/1000 images, 20.0 images/s, 40 s left"
    assert lines[-2] == "✓ A model on synthetic-humans, AP 50.0 %, 1000 images, 100.0 images/s"
    assert lines[-1] == "note: something"
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_shows_bars_with_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # not that of whoever runs the tests: a dumb one shows no bars
    monkeypatch.delenv("COLUMNS", raising=False)
    clock = Clock()
    view, stream = watched(clock, terminal=True)
    with view:
        view(DataProgress("synthetic-humans", 1, 12))
        view(DataProgress("synthetic-humans", 12, 12))
        view(CellStarted(CELL, "A model", 500))
        for _ in range(2):
            clock.now += 1
            view(BatchDone(CELL, 5))
        view(ShardDone(CELL, 50, 10, 0, 10.0))
        assert view._live is not None
        view._live.refresh()
        view(finished())
    text = stream.getvalue()
    for part in ("All models", "A model on synthetic-humans", "510/1000", "5.0 images/s", "ETA", "AP 50.0 %"):
        assert part in text


def test_a_refused_cell_says_why() -> None:
    view, stream = watched(Clock(), terminal=False)
    view(finished(status="refused", how="The file is cut short."))
    assert stream.getvalue().strip() == "✗ A model on synthetic-humans: refused: The file is cut short."


def test_the_time_before_the_first_batch_is_no_speed() -> None:
    """A network that took a minute to load says nothing about the images that are left."""
    meter = Meter(total=100, n_done=50)
    assert (meter.speed, math.isnan(meter.eta_s)) == ("", True)
    meter.add(10, 60.0)
    assert (meter.speed, math.isnan(meter.eta_s)) == ("", True)
    meter.add(10, 65.0)
    assert meter.images_per_s == pytest.approx(2.0)
    assert meter.eta_s == pytest.approx(15.0)


def test_batches_move_the_bar_before_their_shard_is_on_disk_and_count_once() -> None:
    clock = Clock()
    view, _ = watched(clock, terminal=True)
    with view:
        view(CellStarted(CELL, "A model", 0))
        view(BatchDone(CELL, 8))
        assert view._meter.done == 8
        view(BatchDone(CELL, 4))
        view(ShardDone(CELL, 0, 12, 0, 1.0))
        assert view._meter.done == 12
        view(ShardDone(CELL, 1, 12, 0, 1.0))  # an engine that tells of shards alone
        assert view._meter.done == 24


def test_a_log_says_nothing_of_a_cell_that_is_through() -> None:
    """The line of the finished cell follows at once; "0 s left" told nobody anything."""
    clock = Clock()
    view, stream = watched(clock, terminal=False)
    with view:
        view(CellStarted(CELL, "A model", 990))
        clock.now += 60
        view(BatchDone(CELL, 10))
    assert "left" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_one_shard_is_told_as_time_and_not_as_a_rate() -> None:
    """With one shard the first calls are in it: 12 images in 120 s are not 0.1 images a second."""
    counts, timing = (
        Counts(planned=12, ok=12),
        Timing(wall_s=120.0, images=12, first_shard_s=120, first_shard_images=12),
    )
    assert summary(finished(counts=counts, timing=timing).record).endswith("12 images in 120.0 s")


def test_a_cell_of_which_every_row_failed_has_no_tick_and_says_why() -> None:
    view, stream = watched(Clock(), terminal=False)
    errors = [
        ErrorExample(key="a.png", code="pred.shape", detail="found (3, 9)\x1b[2J, expected (9, 3)", side="prediction")
    ]
    view(finished(counts=Counts(planned=12, prediction_errors=12), errors=errors))
    line = stream.getvalue()
    assert line.startswith("✗ A model on synthetic-humans: all 12 images failed: pred.shape (a.png: found (3, 9)")
    assert "\x1b" not in line


def test_some_failed_rows_are_counted_and_the_first_cause_is_told() -> None:
    errors = [ErrorExample(key="a", code="image.exif", detail="write exif: apply into the card", side="input")]
    line = summary(finished(counts=Counts(planned=12, ok=11, input_errors=1), errors=errors).record)
    assert "1 with errors: image.exif (a: write exif: apply into the card). Mend or replace the picture" in line


def test_an_undefined_score_is_no_number() -> None:
    scores = {"oks/AP": ScoreRecord(value=math.nan, title="AP", percent=True, decimals=1)}
    assert "AP undefined" in summary(finished(scores=scores).record)
