"""A long run with kills: memory must not grow with the number of shards, and nothing may be lost, doubled or spoilt."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
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


def long_run_on_ray(folder: Path, n_rows: int, n_kills: int, seed: int) -> dict[str, Any]:
    """The same on two workers of a Ray cluster, compared with an unbroken run of the local engine.

    A quarter of the kills hit the driver, and its cluster ends with it; the others a worker. The memory is the driver's
    between the two of its deaths, or its end, that lie farthest apart.
    """
    rng, tally = random.Random(seed), Tally()
    whole, out, n_shards = folder / "unbroken", folder / "killed", -(-n_rows // SHARD)
    _follow(_start(whole, n_rows), None)
    stops = sorted(rng.sample(range(1, n_shards), n_kills // 4))
    victims = sorted(rng.sample(range(1, n_shards), n_kills - len(stops)))
    parts: list[_Followed] = []
    tries = 0

    def on_shard(number: int, driver: psutil.Process) -> None:
        nonlocal tries
        if victims and number >= victims[0] and (found := ray_workers(driver)):
            victims.pop(0)
            rng.choice(found).kill()
            tries += 1

    began = time.monotonic()
    for stop in [*stops, None]:
        run = _start(out, n_rows, engine="ray", workers=2, threads=1)
        parts.append(_follow(run, stop, rng.random() * 0.05, on_shard))
        tally.injected += parts[-1].was_killed
    tally.recovery_s += [b.first - a.ended for a, b in pairwise(parts) if b.first is not None]
    tally.also["drivers_killed"], tally.also["workers_killed"] = tally.injected, tries
    tally.injected += tries
    tally.met = tally.injected
    with toy.installed():
        judge(tally, out, Unbroken.of(whole))
    return {"rows": n_rows, "shards": n_shards, **tally.figures(), "killed_wall_s": round(time.monotonic() - began, 1),
            **_memory(max((part.memory for part in parts), key=len))}  # fmt: skip


def ray_workers(driver: psutil.Process) -> list[psutil.Process]:
    """Processes of our actors below a driver that has a cluster of its own."""
    found: list[psutil.Process] = []
    for child in driver.children(recursive=True):
        with suppress(psutil.Error):
            if child.name().startswith("ray::Worker"):
                found.append(child)
    return found


class _Followed:
    """What was seen of a run."""

    def __init__(self) -> None:
        self.memory: list[tuple[int, float]] = []  # shards of this process, resident megabytes
        self.first: float | None = None  # time of the first commit
        self.ended = 0.0
        self.was_killed = 0


def _start(out: Path, n_rows: int, **fields: Any) -> subprocess.Popen[str]:
    given = json.dumps({"data": {"n": n_rows}, "shard_size": SHARD, "batch_size": SHARD, **fields})
    command = [sys.executable, "-m", "sapiens_bench.testing.toy", str(out), given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _follow(
    process: subprocess.Popen[str],
    stop: int | None,
    wait_s: float = 0.0,
    on_shard: Callable[[int, psutil.Process], None] = lambda number, process: None,
) -> _Followed:
    """Read what a run says; kill it ``wait_s`` after it said shard ``stop``, None: let it end."""
    assert process.stdout is not None
    seen, about = _Followed(), psutil.Process(process.pid)
    for n_here, line in enumerate(process.stdout, 1):
        seen.first = seen.first or time.monotonic()
        if n_here % _LOOK == 0:
            seen.memory.append((n_here, about.memory_info().rss / 1e6))
        number = int(line.split()[1])
        on_shard(number, about)
        if stop is not None and number >= stop:
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
