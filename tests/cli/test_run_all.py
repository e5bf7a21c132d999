"""``run --task all``: a table a task; tasks that a request does not fit are left out, complaints come last."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sapiens_bench.cli.run_all import execute_all
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import Interrupted, ModelsRefused, SapiensBenchError, StorageFull, UnknownName, UsageError


@dataclass
class Runner:
    """Remembers what it was asked, and fails where it is told to."""

    faults: dict[str, SapiensBenchError] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> None:
        self.seen.append(request)
        if request.task in self.faults:
            raise self.faults[request.task]


def test_each_task_is_run_once_in_a_folder_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner()
    execute_all(Request(task="all", out=Path("out"), seed=3), runner, "text")
    assert [(r.task, r.out, r.seed) for r in runner.seen] == [
        (task, Path("out") / task, 3) for task in ("pose", "seg", "depth", "normal")
    ]
    assert [line for line in capsys.readouterr().out.splitlines() if line] == [
        "== pose ==", "== seg ==", "== depth ==", "== normal ==",
    ]  # fmt: skip


def test_a_task_without_such_a_model_is_left_out_and_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner({"seg": UnknownName("model", "movenet-thunder", [])})
    execute_all(Request(task="all"), runner, "text")
    assert len(runner.seen) == 4
    assert "seg is left out: " in capsys.readouterr().err


def test_where_no_task_fits_the_reason_is_raised() -> None:
    with pytest.raises(UsageError, match="no such thing"):
        execute_all(Request(task="all"), Runner({t: UsageError("no such thing") for t in TASKS}), "text")


TASKS = ("pose", "seg", "depth", "normal")


def test_the_gravest_complaint_comes_after_all_tables() -> None:
    runner = Runner({"pose": StorageFull("full"), "seg": ModelsRefused("refused")})
    with pytest.raises(ModelsRefused):
        execute_all(Request(task="all"), runner, "text")
    assert len(runner.seen) == 4


def test_ctrl_c_stops_at_once() -> None:
    runner = Runner({"seg": Interrupted("stopped")})
    with pytest.raises(Interrupted):
        execute_all(Request(task="all"), runner, "text")
    assert len(runner.seen) == 2
