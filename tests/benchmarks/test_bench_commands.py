"""Whole commands in fresh processes: what a user waits for. Wall clock, the fastest of a few; CPU seconds beside it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.store.record import RunRecord, write_run

CODE = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"
Timed = tuple[float, float]  # wall and CPU seconds


def command(*words: str, cwd: Path, **environment: str) -> Timed:
    """Run ``sapiens-bench WORDS`` in a process of its own."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def note(page: Any, figures: Callable[..., Any], topic: str, what: str, times: list[Timed], **goal: Any) -> None:
    walls, cpus = zip(*times, strict=True)
    found = figures(walls)._replace(value=min(walls))
    page.add(topic, what, found, "s", beside=f"{min(cpus):.2f} CPU s", **goal)


STARTS = {
    "--help": 0.3,
    "list models": 0.7,
    "list datasets --json": None,
    "report RUN": 0.8,
    "run --task pose --models movenet-thunder --split tiny --dry-run": 1.5,
}


@pytest.mark.parametrize("words", STARTS)
def test_start_up(page: Any, figures: Callable[..., Any], tmp_path: Path, words: str) -> None:
    write_run(tmp_path / "run", RunRecord(status="done", task="pose"))
    given = [str(tmp_path / "run") if word == "RUN" else word for word in words.split()]
    page.call(lambda: command(*given, cwd=tmp_path))
    times = [command(*given, cwd=tmp_path) for _ in range(3)]
    note(page, figures, "Start-up", f"`{words}`", times, at_most=STARTS[words], if_missed=bare)


def bare() -> str:
    """What cannot be saved here."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numpy"], check=True)
    return f"Python with numpy alone takes {time.perf_counter() - start:.2g} s"


TINY = ("run", "--task", "pose", "--models", "movenet-lightning", "--split", "tiny", "--out", "run")


def test_a_complete_run_opened_again(page: Any, figures: Callable[..., Any], tmp_path: Path) -> None:
    page.call(lambda: command(*TINY, cwd=tmp_path))
    times = [command(*TINY, cwd=tmp_path) for _ in range(3)]
    note(page, figures, "The default command", "a complete run opened again", times, at_most=1.5,
         if_missed=bare)  # fmt: skip
    assert (tmp_path / "run" / "scores.json").is_file()


@contextmanager
def busy(n: int) -> Iterator[None]:
    """As many processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_the_default_beside_spinning_threads_on_a_busy_machine(
    page: Any, figures: Callable[..., Any], tmp_path: Path
) -> None:
    """OpenMP's own default lets idle threads spin; ours waits passively. One busy process a core beside it."""
    page.call(lambda: command(*TINY, "--n-boot", "0", cwd=tmp_path))

    def run(out: str, **environment: str) -> float:
        return command(*TINY[:-1], out, "--n-boot", "0", cwd=tmp_path, **environment)[0]

    with busy(os.cpu_count() or 1):
        spinning, ours = [], []
        for i in range(3):
            spinning.append(run(f"a{i}", OMP_WAIT_POLICY="ACTIVE", KMP_BLOCKTIME="200"))
            ours.append(run(f"b{i}"))
    found = figures([s / o for s, o in zip(spinning, ours, strict=True)])._replace(value=min(spinning) / min(ours))
    beside = f"spinning {min(spinning):.2f} s, ours {min(ours):.2f} s, MoveNet Lightning on 12 images"
    why = f"rounds of {', '.join(f'{s:.2f} against {o:.2f} s' for s, o in zip(spinning, ours, strict=True))}"
    what = "under artificial load, ours over threads that spin (wall clock)"
    page.add("Threads", what, found, "x", at_least=1, beside=beside, if_missed=why)
