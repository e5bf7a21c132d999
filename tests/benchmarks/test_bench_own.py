"""From the command to the first row of a network of one's own: a whole process, as a newcomer starts it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

TOPIC = "Your own model"
MOST_S = 5.0
COMMAND = ("run", "--task", "pose", "--normalise", "imagenet", "--split", "tiny", "--limit", "1", "--n-boot", "0")
HEAVY = ("transformers", "timm", "torchvision", "pandas", "scipy.stats", "matplotlib", "ray")
START = "import sys; from sapiens_bench.cli import main; sys.argv[0] = 'sapiens-bench'; main()"
LOADED = f"""
import sys
from sapiens_bench.cli import main
try:
    main()
finally:
    print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def until_first_row(folder: Path, out: str) -> tuple[float, float]:
    """Wall seconds until a row lies on disk, and CPU seconds of the whole command."""
    words = [sys.executable, "-c", START, *COMMAND, "--models", "net.onnx", "--out", out]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        rows = folder / out / "rows"
        while process.poll() is None and next(rows.rglob("shard-*.parquet"), None) is None:
            time.sleep(0.01)
        waited = time.monotonic() - start
        assert process.wait(timeout=300) == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return waited, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_the_first_row_of_an_onnx_file_comes_at_once(
    page: Any, fake: Callable[[str], ModuleType], figures: Any, tmp_path: Path
) -> None:
    fake("tiny_onnx").write(tmp_path / "net.onnx")
    until_first_row(tmp_path, "warm")  # pictures are drawn and kept, kernels compiled
    found = [until_first_row(tmp_path, f"run-{i}") for i in range(3)]
    page.call(lambda: None)
    reason = "most of it is importing torch"
    page.add(
        TOPIC, "`--models ./net.onnx` to its first row, wall", figures([wall for wall, _ in found]), "s",
        at_most=MOST_S, if_missed=reason,
    )  # fmt: skip
    page.add(TOPIC, "... CPU of the whole command", figures([cpu for _, cpu in found]), "s", at_most=MOST_S)
    assert min(cpu for _, cpu in found) < MOST_S


def test_a_network_of_ones_own_loads_no_other_framework(
    page: Any, fake: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    fake("tiny_onnx").write(tmp_path / "net.onnx")
    words = [sys.executable, "-c", LOADED, *COMMAND, "--models", "net.onnx", "--out", "run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ})
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("LOADED")]
    page.call(lambda: None)
    page.add(TOPIC, f"... of {', '.join(HEAVY)} it imports", float(len(line.split()) - 1), "packages", at_most=0)
    assert line == "LOADED"
