"""A study that is killed (SIGKILL, no clean-up) and started again: every row once, with the bytes it would have had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sapiens_bench.engine.events import ShardDone, ignore
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.study import design, folder
from sapiens_bench.testing import toy as toy_module

CONDITIONS, SHARDS = ("fog-1", "fog-3", "noise-1", "noise-3"), 3


def fill(out: Path, on_event: Callable[[object], None] = ignore) -> None:
    base = Request(
        task="toy",
        models=("toy-plain",),
        datasets=("toy",),
        device="cpu",
        n_boot=0,
        workers=1,
        shard_size=10,
        max_errors=1.0,
    )
    catalog = toy_module.toy_catalog()
    study = design.corruption(base, ["fog", "noise"], [1, 3])
    folder.fill(study, out, lambda r: resolve(r, catalog), lambda plan, trial, number: run(plan, on_event))


def rows(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("shard-*.parquet"))
        if "rows" in path.parts
    }


def killed_after(out: Path, n_shards: int) -> int:
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "import test_study_killed as t\n"
        "done = []\n"
        "def count(event):\n"
        "    if isinstance(event, t.ShardDone):\n"
        "        done.append(event)\n"
        "        if len(done) == int(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "with t.toy_module.installed(): t.fill(Path(sys.argv[1]), count)\n"
    )
    call = [sys.executable, "-c", code, str(out), os.path.dirname(__file__), str(n_shards)]
    return subprocess.run(call, timeout=120, capture_output=True).returncode


@pytest.mark.parametrize("n_shards", [1, 8])
def test_a_killed_study_goes_on_and_ends_with_the_rows_of_one_that_was_not(
    toy: ModuleType, tmp_path: Path, n_shards: int
) -> None:
    assert killed_after(tmp_path / "cut", n_shards) == -signal.SIGKILL
    before = rows(tmp_path / "cut")
    assert len(before) == n_shards
    made: list[object] = []
    fill(tmp_path / "cut", lambda event: made.append(event) if isinstance(event, ShardDone) else None)
    fill(tmp_path / "whole")
    whole, resumed = rows(tmp_path / "whole"), rows(tmp_path / "cut")
    assert len(whole) == (1 + len(CONDITIONS)) * SHARDS
    assert len(made) == len(whole) - n_shards  # nothing is computed twice
    assert before.items() <= resumed.items()
    assert resumed == whole
