from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.profiling.parent import ask
from sapiens_bench.profiling.stages import Measured


@pytest.fixture(autouse=True)
def _toy_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


def job(fault: str = "", batch: int = 1) -> dict[str, Any]:
    budget = {"min_seconds": 0.0, "min_calls": 5, "max_seconds": 1.0, "warmup_seconds": 0.05}
    return {
        "kind": "profile", "build": "toy_child:build", "arguments": {"fault": fault}, "device": "cpu", "batch": batch,
        "compile": False, "channels_last": False, "budget": budget, "threads": 1,
    }  # fmt: skip


def test_a_child_measures_every_stage_and_library_prints_do_no_harm() -> None:
    answer = ask(job(batch=3))
    assert answer.result is not None, answer.message
    found = Measured.model_validate(answer.result)
    stages = found.latency.stages
    assert stages.forward.n >= 5
    assert stages.upload is None
    assert min(stages.load_s, stages.prepare.p50, stages.download.p50, stages.finish.p50, stages.forward.p50) > 0
    assert found.latency.first_call_s > 0
    assert found.latency.throughput_per_s > 0
    assert found.memory.peak_rss_bytes >= found.memory.base_rss_bytes > 0


@pytest.mark.parametrize(
    ("fault", "message", "out_of_memory"),
    [("raises", "ValueError: the toy broke", False), ("killed", "SIGKILL", True), ("memory", "out of memory", True)],
)
def test_every_way_to_fail_becomes_an_answer(fault: str, message: str, out_of_memory: bool) -> None:
    answer = ask(job(fault, batch=4))
    assert answer.result is None
    assert message in answer.message
    assert answer.is_out_of_memory is out_of_memory


def test_a_child_that_hangs_is_stopped() -> None:
    answer = ask(job(), timeout_s=0.01)
    assert "did not finish" in answer.message


def test_a_builder_that_does_not_exist_is_an_answer_too() -> None:
    answer = ask({**job(), "build": "no_such_module:build"})
    assert "no_such_module" in answer.message
