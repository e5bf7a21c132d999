"""The gate's speed tier, with times that are written down: nothing here is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.decide.speed import judge_speed
from sapiens_bench.errors import StoreError, UsageError

ToyRun = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]
MACHINE = {"node": "ci", "system": "Linux", "machine": "x86_64", "cpu": {"brand_raw": "A CPU", "count": 4}}


def benchmark(path: Path, minute: int, seconds: dict[str, float], machine: dict[str, Any] | None = None) -> Path:
    """A file as pytest-benchmark writes it."""
    content = {
        "machine_info": machine or MACHINE,
        "datetime": f"2026-01-01T10:{minute:02d}:00.000001+00:00",
        "benchmarks": [{"fullname": name, "stats": {"min": value}} for name, value in seconds.items()],
    }
    path.write_text(json.dumps(content))
    return path


def profile(folder: Path, minute: int, seconds: float, macs: int = 100, threads: int | None = None) -> Path:
    """A folder as ``profile`` writes it."""
    spread = {"n": 9, "p50": 2 * seconds, "p90": 1.0, "p99": 1.0, "mean": 1.0, "iqr": 0.0, "minimum": seconds}
    stages = {"load_s": 0.1, **dict.fromkeys(("prepare", "forward", "download", "finish"), spread)}
    latency = {
        "clock": "perf_counter", "first_call_s": 1.0, "n_warmup": 2, "warmup_s": 1.0, "is_stable": True, "drift": 0.0,
        "measured_s": 1.0, "throughput_per_s": 1.0, "stages": stages,
    }  # fmt: skip
    counts = {
        "params_total": 7, "macs_linear": macs, "macs_total": macs, "activations": 1, "input_bytes": 1,
        "output_bytes": 1, "peak_activation_bytes": 1, "weight_bytes": 28, "method": "meta",
    }  # fmt: skip
    row = {"model": "net", "title": "Net", "task": "pose", "status": "done", "latency": latency, "counts": counts}
    record = {
        "schema": "profile/1",
        "started": f"2026-01-01T10:{minute:02d}:00+00:00",
        "hardware": {"device": "cpu", "cpu": "A CPU", "cores": 4},
        "request": {"threads": threads},
        "rows": [row],
    }
    folder.mkdir()
    (folder / "profile.json").write_text(json.dumps(record))
    return folder


def in_turn(folder: Path, base: list[float], cand: list[float]) -> tuple[list[Path], list[Path]]:
    old = [benchmark(folder / f"b{i}.json", 2 * i, {"test_ap": s}) for i, s in enumerate(base)]
    new = [benchmark(folder / f"c{i}.json", 2 * i + 1, {"test_ap": s}) for i, s in enumerate(cand)]
    return old, new


def test_the_least_times_decide_and_one_slow_round_does_not(tmp_path: Path) -> None:
    (found,) = judge_speed(*in_turn(tmp_path, [0.010, 0.011], [0.030, 0.0109]), 0.10)
    assert (found.base, found.cand, found.is_failed) == (0.010, 0.0109, False)


def test_a_slow_down_beyond_the_limit_fails_in_words(tmp_path: Path) -> None:
    (found,) = judge_speed(*in_turn(tmp_path, [0.010, 0.011], [0.0123, 0.013]), 0.10)
    assert found.is_failed
    assert found.words == "test_ap is slower by 23.0% (10 ms -> 12.3 ms)"


def test_profiles_are_judged_by_their_least_time_and_counts_exactly(tmp_path: Path) -> None:
    base = [profile(tmp_path / f"b{i}", 2 * i, 0.01) for i in range(2)]
    cand = [profile(tmp_path / f"c{i}", 2 * i + 1, 0.01, macs=101) for i in range(2)]
    time, macs = judge_speed(base, cand, 0.10)
    assert (time.name, time.base, time.is_failed) == ("net, fp32, batch 1", 0.01, False)
    assert (macs.kind, macs.base, macs.cand, macs.is_failed) == ("multiply-adds", 100, 101, True)


def test_one_file_a_side_cannot_have_been_taken_in_turn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 2 files of each side"):
        judge_speed(*in_turn(tmp_path, [0.01], [0.01]), 0.10)


def test_a_side_that_ran_as_a_whole_before_the_other_is_refused(tmp_path: Path) -> None:
    base = [benchmark(tmp_path / f"b{i}.json", i, {"a": 0.01}) for i in range(2)]
    cand = [benchmark(tmp_path / f"c{i}.json", 10 + i, {"a": 0.01}) for i in range(2)]
    for pair in ((base, cand), (cand, base)):
        with pytest.raises(UsageError, match="in turn"):
            judge_speed(*pair, 0.10)


def test_another_machine_or_number_of_threads_is_refused_by_name(tmp_path: Path) -> None:
    base, cand = in_turn(tmp_path, [0.01, 0.01], [0.01])
    other = {**MACHINE, "cpu": {"brand_raw": "Another CPU", "count": 4}}
    cand.append(benchmark(tmp_path / "other.json", 9, {"test_ap": 0.01}, other))
    with pytest.raises(UsageError, match=r"cpu: 'A CPU' .* 'Another CPU'"):
        judge_speed(base, cand, 0.10)
    ours = [profile(tmp_path / f"p{i}", 2 * i, 0.01) for i in range(2)]
    theirs = [profile(tmp_path / f"q{i}", 2 * i + 1, 0.01, threads=1) for i in range(2)]
    with pytest.raises(UsageError, match=r"threads: None .* 1"):
        judge_speed(ours, theirs, 0.10)


def test_a_benchmark_that_was_dropped_is_no_pass(tmp_path: Path) -> None:
    base, _ = in_turn(tmp_path, [0.01, 0.01], [])
    cand = [benchmark(tmp_path / f"c{i}.json", 2 * i + 1, {"test_other": 0.01}) for i in range(2)]
    with pytest.raises(UsageError, match="no time of test_ap"):
        judge_speed(base, cand, 0.10)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine_info": {}, "datetime": "yesterday", "benchmarks": []}'])
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"x\.json"):
        judge_speed([path, path], [path, path], 0.10)


def test_a_time_that_is_no_time_is_refused(tmp_path: Path) -> None:
    base, cand = in_turn(tmp_path, [0.01, 0.01], [0.0, 0.01])
    with pytest.raises(StoreError, match="the time of test_ap is 0"):
        judge_speed(base, cand, 0.10)


def test_the_gate_closes_on_a_planted_slow_down_alone_and_writes_it_everywhere(
    toy_run: ToyRun, call: Call, tmp_path: Path
) -> None:
    a, b = toy_run("a", bias=0.1), toy_run("b", bias=0.1)
    base, cand = in_turn(tmp_path, [0.01, 0.01], [0.02, 0.02])
    files = [word for path in base for word in ("--speed-base", path)]
    files += [word for path in cand for word in ("--speed-cand", path)]
    out = tmp_path / "gate.json"
    code, shown, err = call("gate", a, b, *files, "--json", out, "--junit", tmp_path / "gate.xml")
    assert code == 1
    assert "0 of 1, and 1 benchmark failed" in err
    assert "test_ap is slower by 100.0%" in shown
    (told,) = json.loads(out.read_text())["speed"]
    assert (told["verdict"], told["kind"], told["change"]) == ("fail", "time", 1.0)
    junit = (tmp_path / "gate.xml").read_text()
    assert 'failures="1"' in junit
    assert "test_ap is slower" in junit
    lax = tmp_path / "lax.yaml"
    lax.write_text("speed: {max_slowdown: 150}\n")
    assert call("gate", a, b, *files, "--spec", lax)[0] == 0


def test_a_gate_over_nothing_but_undefined_scores_is_refused(toy_run: ToyRun, call: Call, tmp_path: Path) -> None:
    from sapiens_bench.testing import toy

    for name in ("x", "y"):
        toy.go(tmp_path / name, {"n": 4, "input_faults": (0, 1, 2, 3)})
    code, _, err = call("gate", tmp_path / "x", tmp_path / "y")
    assert code == 2
    assert "Not one score is defined" in err
