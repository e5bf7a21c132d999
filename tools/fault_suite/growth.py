"""A long run with kills: memory must not grow with the number of shards, and nothing may be lost, doubled or spoilt."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fault_suite.tally import Tally, Unbroken, judge
from sapiens_bench.store.rows import commit_shard
from sapiens_bench.testing import toy

SHARD = 64
_LOOK = 20  # shards between two looks at the memory


def long_run(folder: Path, n_rows: int, n_kills: int, seed: int) -> dict[str, Any]:
    """``n_rows`` images of the toy in fresh interpreters: once unbroken, once with ``n_kills`` times kill -9.

    The memory is that of the unbroken run, from its first shard to its last.
    """
    rng, tally = random.Random(seed), Tally()
    whole, out = folder / "unbroken", folder / "killed"
    began = time.monotonic()
    memory = _follow(_start(whole, n_rows), None).memory
    whole_s = time.monotonic() - began
    kills = sorted(rng.randrange(1, n_rows // SHARD) for _ in range(n_kills))
    killed_at: float | None = None
    for stop in [*kills, None]:
        run = _follow(_start(out, n_rows), stop, rng.random() * 0.05)
        if killed_at is not None and run.first is not None:
            tally.recovery_s.append(run.first - killed_at)
        killed_at = run.ended
        tally.injected += run.was_killed
    tally.met = tally.injected
    with toy.installed():
        judge(tally, out, Unbroken.of(whole))
    return {"rows": n_rows, "shards": -(-n_rows // SHARD), **tally.figures(), "unbroken_wall_s": round(whole_s, 1),
            **_memory(memory)}  # fmt: skip


class _Followed:
    """What was seen of a run."""

    def __init__(self) -> None:
        self.memory: list[tuple[int, float]] = []  # shards of this process, resident megabytes
        self.first: float | None = None  # time of the first commit
        self.ended = 0.0
        self.was_killed = 0


def _start(out: Path, n_rows: int) -> subprocess.Popen[str]:
    given = json.dumps({"data": {"n": n_rows}, "shard_size": SHARD, "batch_size": SHARD})
    command = [sys.executable, "-m", "sapiens_bench.testing.toy", str(out), given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _follow(process: subprocess.Popen[str], stop: int | None, wait_s: float = 0.0) -> _Followed:
    """Read what a run says; kill it ``wait_s`` after it said shard ``stop``, None: let it end."""
    assert process.stdout is not None
    seen, about = _Followed(), psutil.Process(process.pid)
    for n_here, line in enumerate(process.stdout, 1):
        seen.first = seen.first or time.monotonic()
        if n_here % _LOOK == 0:
            seen.memory.append((n_here, about.memory_info().rss / 1e6))
        if stop is not None and int(line.split()[1]) >= stop:
            time.sleep(wait_s)
            process.kill()
            seen.was_killed = 1
            break
    process.stdout.close()
    code = process.wait()
    if not seen.was_killed and code != 0:
        raise RuntimeError(f"the run ended with {code}")
    seen.ended = time.monotonic()
    return seen


def _memory(memory: list[tuple[int, float]]) -> dict[str, float]:
    """Memory after a tenth of the shards, at the last one, and its growth per thousand shards by a straight line."""
    late = memory[len(memory) // 10 :]
    shards, megabytes = np.array(late).T
    growth = float(np.polyfit(shards, megabytes, 1)[0]) * 1000
    return {"rss_mb_after_a_tenth": round(megabytes[0], 1), "rss_mb_at_the_end": round(megabytes[-1], 1),
            "rss_mb_per_1000_shards": round(growth, 2)}  # fmt: skip


def commit_ms(folder: Path, n_shards: int = 200) -> dict[str, float]:
    """Time of a commit of 64 rows like those of a pose run, with fsync, on this machine's disk."""
    rng = np.random.default_rng(0)
    took = []
    for number in range(n_shards):
        base = {"group": "g", "status": "ok", "error_code": "", "error_detail": "", "error_side": ""}
        named = [{"index": SHARD * number + i, "key": f"{i:012d}", **base} for i in range(SHARD)]
        rows = [{**row, "oks/outcomes": rng.integers(0, 2**60, 4), "oks/scores": rng.random(4)} for row in named]
        began = time.perf_counter()
        commit_shard(folder, number, rows, {"item_key": "k", "fingerprint": "f"}, predictions=0)
        took.append(1e3 * (time.perf_counter() - began))
    return {"median": round(statistics.median(took), 2), "p95": round(float(np.percentile(took, 95)), 2)}
