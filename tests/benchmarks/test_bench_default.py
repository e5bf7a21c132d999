"""The default command, `run --task pose --models all`, in fresh processes: from an empty cache, and once more."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sapiens_bench.engine.threads import usable_cores

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


def network_seconds(run: Path) -> float:
    """Seconds of wall clock in which the loop launched networks and waited for them."""
    cells = json.loads((run / "run.json").read_text(encoding="utf-8"))["cells"]
    return sum(float(cell["timing"]["forward_s"]) for cell in cells)


def test_from_an_empty_cache_to_the_table_and_once_more(page: Any, figures: Callable[..., Any], tmp_path: Path) -> None:
    """Two caches are filled; the first then serves three runs more."""
    cold: list[tuple[float, float]] = []
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    page.call(lambda: cold.append(command("first", folders[0])))
    cold.append(command("first", folders[1]))
    warm = [command(f"warm{i}", folders[0]) for i in range(3)]
    parts = (("from an empty cache to the table", 40, cold, "first"), ("with a warm cache", 15, warm, "warm0"))
    for what, goal, times, run in parts:
        walls, cpus = zip(*times, strict=True)
        share = min(cpus) / (min(walls) * usable_cores())
        page.add("The default command", what, figures(walls)._replace(value=min(walls)), "s", at_most=goal,
                 beside=f"{min(cpus):.0f} CPU s",
                 if_missed=f"its work takes {share:.0%} of the time of {usable_cores()} cores; "
                 f"{network_seconds(folders[0] / run):.3g} s of wall clock are the four networks")  # fmt: skip
