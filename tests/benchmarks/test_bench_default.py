"""The default command, `run --task pose --models all`, in fresh processes: from an empty cache, and once more."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CODE = "import sys; sys.argv[0] = 'sapiens-bench'; from sapiens_bench.cli import main; main()"
WORDS = ("run", "--task", "pose", "--models", "all", "--out")


def command(out: str, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "SAPIENS_BENCH_CACHE": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-c", CODE, *WORDS, out], cwd=folder, env=environment, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_from_an_empty_cache_to_the_table_and_once_more(page: Any, tmp_path: Path) -> None:
    times: list[tuple[float, float]] = []
    page.call(lambda: times.append(command("first", tmp_path)))
    times.append(command("second", tmp_path))
    goals = (("from an empty cache to the table", 40), ("with a warm cache", 15))
    for (what, goal), (wall, cpu) in zip(goals, times, strict=True):
        page.add("The default command", what, wall, "s", at_most=goal, beside=f"{cpu:.0f} CPU s",
                 if_missed="bound by the cores: 120 images rendered, four networks on each, torch loaded")  # fmt: skip
