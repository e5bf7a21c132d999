"""What a dry run predicts follows from records that lie beside it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from forecast_check import command, measured, on_disk
from hypothesis import given
from hypothesis import strategies as st

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine import forecast as module
from sapiens_bench.engine.forecast import crowding, forecast
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.profiling.record import (
    LatencyRecord,
    MemoryRecord,
    ProfileRecord,
    ProfileRow,
    Spread,
    StageRecord,
    write_profile,
)
from sapiens_bench.store.record import CellRecord, Timing, read_run, write_run
from sapiens_bench.store.rows import shards_of

CARDS = Catalog.load()


def spread(seconds: float) -> Spread:
    return Spread(n=9, p50=2 * seconds, p90=3 * seconds, p99=4 * seconds, mean=2 * seconds, iqr=0.0, minimum=seconds)


def profile(folder: Path, device: str, threads: int | None = None) -> None:
    """MoveNet Thunder: 100 crops a second on a GPU; 40 ms on one CPU thread; 20 ms on the host beside it.

    A pose image counts as two crops.
    """
    stages = StageRecord(
        load_s=1, prepare=spread(0.018), forward=spread(0.04), download=spread(0), finish=spread(0.002)
    )
    latency = LatencyRecord(
        clock="x", first_call_s=1, n_warmup=1, warmup_s=1, is_stable=True, drift=0, measured_s=1, throughput_per_s=100,
        stages=stages,
    )  # fmt: skip
    row = ProfileRow(
        model="movenet-thunder", title="M", task="pose", status="done", device=device, latency=latency,
        memory=MemoryRecord(predicted_bytes=0, peak_allocated_bytes=3 << 20) if device == "cuda" else None,
    )  # fmt: skip
    hardware = {"device": device, "gpus": ["A Fast One"] if device == "cuda" else []}
    write_profile(folder, ProfileRecord(hardware=hardware, request={"threads": threads}, rows=[row]))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, on a machine of four free cores."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "crowding", lambda cores: 1.0)
    return tmp_path


def planned(out: Path, **fields: object) -> Plan:
    given = {"task": "pose", "models": ("movenet-thunder",), "datasets": ("synthetic-humans",), "device": "cpu"}
    return resolve(Request(**{**given, "out": out, "threads": 4, **fields}), Catalog.load())  # type: ignore[arg-type]


def test_a_run_beside_it_tells_the_pace(toy: ModuleType, here: Path) -> None:
    toy.go(here / "runs" / "first", {"n": 20})
    record = read_run(here / "runs" / "first")
    timing = record.cells[0].timing
    timing.wall_s, timing.images, timing.first_shard_s, timing.first_shard_images = 50.0, 20, 10.0, 4
    write_run(here / "runs" / "first", record)
    found = forecast(toy.plan(here / "runs" / "next", {"n": 100}))
    assert found.paces["toy", "toy-plain"].image_s == pytest.approx(2.5)
    assert "1 run(s)" in found.paces["toy", "toy-plain"].source
    assert found.seconds == pytest.approx(module.START_S + module.CELL_S + 250)


def test_a_gpu_takes_the_longer_of_device_and_host(here: Path) -> None:
    profile(here / "results/profiles/gpu", "cuda")
    found = forecast(planned(here / "run"), gpus=1)
    assert found.paces["synthetic-humans", "movenet-thunder"].image_s == pytest.approx(0.02)  # 100 crops a second
    assert "A Fast One" in found.paces["synthetic-humans", "movenet-thunder"].source
    assert found.device_bytes == 32 * (3 << 20)
    slow_host = forecast(planned(here / "run", threads=1), gpus=1)
    assert slow_host.paces["synthetic-humans", "movenet-thunder"].image_s == pytest.approx(2 * 0.02)


def test_a_cpu_shares_its_cores_among_all_stages(here: Path) -> None:
    profile(here / "results/profiles/cpu", "cpu", threads=1)
    pace = forecast(planned(here / "run")).paces["synthetic-humans", "movenet-thunder"]
    assert pace.image_s == pytest.approx(2 * (0.04 + 0.02) / 4)


def test_more_gpus_take_whole_shards_and_cost_what_they_cost(here: Path) -> None:
    profile(here / "results/profiles/gpu", "cuda")
    one, four = (forecast(planned(here / "run", shard_size=10), gpus=n, price_per_hour=3.0) for n in (1, 4))
    assert one.seconds - four.seconds == pytest.approx((120 - 30) * 0.02)
    assert four.cost == pytest.approx(4 * four.seconds / 3600 * 3.0)


def test_a_model_that_was_never_measured_is_named(here: Path) -> None:
    found = forecast(planned(here / "run"))
    assert any("movenet-thunder" in text and "profile" in text for text in found.caveats)


def test_a_damaged_record_beside_it_is_no_obstacle(here: Path) -> None:
    (here / "runs" / "bad").mkdir(parents=True)
    (here / "runs" / "bad" / "run.json").write_text(json.dumps({"schema": "run/2", "cells": 3}))
    assert forecast(planned(here / "runs" / "next")).seconds > 0


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 9))
def test_the_largest_part_is_that_of_the_first_process(n: int, size: int, parts: int) -> None:
    of_each = [sum(len(s.indices) for s in shards_of(n, size)[i::parts]) for i in range(parts)]
    assert sum(of_each) == n
    assert module.largest_part(n, size, parts) == max(of_each)


@pytest.mark.parametrize("slower", [0.5, 1.0, 4.0])
def test_a_crowded_machine_is_known_by_what_a_moment_of_work_takes(slower: float) -> None:
    assert crowding(1, lambda: slower * time.thread_time()) == pytest.approx(max(1.0, slower), rel=1e-3)


def timed(model: str, dataset: str = "a", **seconds: float) -> CellRecord:
    timing = Timing(wall_s=12.0, first_shard_s=6.0, images=12, first_shard_images=6, **seconds)
    return CellRecord(
        task="pose", dataset=dataset, protocol="p", model=model, title=model, status="done", timing=timing
    )


def test_a_cell_is_not_faster_than_its_pictures_were_read(toy: ModuleType, here: Path) -> None:
    """Behind its first shard an image took a second here; two loaders needed four seconds each for one, or eight."""
    record = toy.go(here / "runs" / "first", {"n": 8})
    record.request |= {"cores": 2, "loaders": 2}
    first, second = timed("first", prepare_s=12 * 8.0), timed("second", prepare_s=12 * 0.5)
    record.cells = [first, second, timed("other", "b", prepare_s=12 * 80.0)]
    assert module.seen(record, first, reads=False) == pytest.approx(4.0)
    assert module.seen(record, second, reads=False) == pytest.approx(1.0)
    assert module.seen(record, second, reads=True) == pytest.approx(1.0 + 7.5 / 2)  # it was second, and is first now


def small(out: Path, task: str, protocol: str, model: str, **fields: Any) -> Plan:
    asked: dict[str, Any] = {"datasets": ("synthetic-humans",), "protocol": protocol, "split": "tiny", "limit": 6}
    return resolve(Request(task=task, models=(model,), out=out, device="cpu", n_boot=0, **asked, **fields), CARDS)


@pytest.mark.parametrize("shard_size", [3, 64])
@pytest.mark.parametrize(
    ("task", "protocol", "model"),
    [
        ("pose", "gt-box", "movenet-lightning"),
        ("seg", "person", "selfie-segmentation"),
        ("depth", "depth", "floor-median-depth"),
        ("normal", "normal", "floor-silhouette-normal"),
    ],
)
def test_files_take_what_was_predicted_within_thirty_percent(
    here: Path, task: str, protocol: str, model: str, shard_size: int
) -> None:
    plan = small(here / "run", task, protocol, model, shard_size=shard_size)
    run(plan)
    assert forecast(plan).disk_bytes == pytest.approx(on_disk(here / "run"), rel=0.3)


@pytest.mark.slow
def test_a_process_takes_the_memory_that_was_predicted_within_thirty_percent(here: Path) -> None:
    cell = ("pose", "gt-box", "movenet-lightning")
    _, memory = measured(command(*cell, here / "run", "--split", "tiny", "--limit", "6", "--n-boot", "0"))
    assert forecast(small(here / "run", *cell)).host_bytes == pytest.approx(memory, rel=0.3)
