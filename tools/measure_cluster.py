"""What the Ray engine costs, with models that sleep: ``python tools/measure_cluster.py [OUT.json]``.

About three minutes, nearly all of it sleep, so that a machine which others use disturbs little. Everything is measured
on a cluster of this machine that is started once; start-up is told apart. docs/cluster.md has the last figures.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from array import array
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sapiens_bench.engine.crew import Answer, Answered, Crew, Died, Item, Joined, Queue
from sapiens_bench.engine.events import CellStarted, ShardDone
from sapiens_bench.engine.ray_cluster import joined
from sapiens_bench.testing import toy

IMAGES = 3  # of a shard: with none, one and two boxes, which make one batch
SHARD: dict[str, Any] = {"shard_size": IMAGES, "batch_size": 4, "n_boot": 0, "threads": 1}
RAY: dict[str, Any] = {**SHARD, "engine": "ray"}


class Seen(NamedTuple):
    """A run as its events tell it."""

    start_s: float  # until the first shard was done
    steady_s: float  # from the first shard to the last
    shards: int
    typical_s: float  # median time from one shard to the next
    undisturbed_s: float  # its tenth percentile: what other jobs on the machine have disturbed least
    driver_s: float  # processor time of this process for a shard, in steady state

    @property
    def each_s(self) -> float:
        """Mean time from one shard to the next."""
        return self.steady_s / (self.shards - 1)


def run(folder: Path, shards: int, sleep_s: float, load_s: float = 0.0, **fields: Any) -> Seen:
    """A run of so many shards, each of one batch that takes ``sleep_s``; an image takes ``load_s`` to load."""
    times: list[float] = []
    cpu: list[float] = []
    began: list[float] = []

    def watch(event: object) -> None:
        if isinstance(event, CellStarted):
            began.append(time.perf_counter())
        elif isinstance(event, ShardDone):
            times.append(time.perf_counter())
            cpu.append(time.process_time())

    data = {"n": shards * IMAGES, "delay_s": load_s}
    out = Path(tempfile.mkdtemp(dir=folder))
    record = toy.go(out, data, on_event=watch, options={"forward_s": sleep_s}, **fields)
    assert record.status == "done"
    steps = sorted(b - a for a, b in pairwise(times))
    typical, undisturbed = statistics.median(steps), steps[len(steps) // 10]
    driver_s = (cpu[-1] - cpu[0]) / (len(times) - 1)
    return Seen(times[0] - began[0], times[-1] - times[0], len(times), typical, undisturbed, driver_s)


def overhead(folder: Path) -> dict[str, float]:
    """Of a shard: against its sleep, and against the local engine where a shard takes next to nothing."""
    long = run(folder, 13, 2.5, workers=1, **RAY)
    ray, local = run(folder, 601, 0.0, workers=1, **RAY), run(folder, 601, 0.0, workers=1, **SHARD)
    return {
        "percent_of_2.5_s": 100 * (long.typical_s / 2.5 - 1),
        "percent_of_2.5_s_undisturbed": 100 * (long.undisturbed_s / 2.5 - 1),
        "ms_a_shard_over_local": 1e3 * (ray.typical_s - local.typical_s),
        "ms_a_shard_over_local_undisturbed": 1e3 * (ray.undisturbed_s - local.undisturbed_s),
        "ms_a_shard_local": 1e3 * local.typical_s,
        "driver_cpu_ms_a_shard": 1e3 * ray.driver_s,
    }


def speed_up(folder: Path) -> dict[str, float]:
    """Two workers against one: 40 shards of half a second."""
    one, two = (run(folder, 40, 0.5, workers=n, **RAY) for n in (1, 2))
    return {"two_workers": one.each_s / two.each_s, "start_s": one.start_s}


def idle(folder: Path) -> dict[str, float]:
    """Share of the time in which a device that sleeps has nothing to do, with loading that takes as long as it does."""
    found = run(folder, 13, 2.0, load_s=0.6, workers=1, **RAY)
    return {"device_idle_percent": 100 * (1 - 2.0 / found.each_s)}


class _Instant:
    """Workers that are through at once."""

    def __init__(self, n: int) -> None:
        self._n, self._last, self._events = n, 0, deque[Joined | Answered | Died]()

    def size(self) -> int:
        return self._n

    def start(self) -> int:
        self._last += 1
        self._events.append(Joined(self._last))
        return self._last

    def give(self, worker: int, item: Item, ahead: Item | None) -> None:
        self._events.append(Answered(worker, Answer("done")))

    def stop(self, worker: int) -> None:
        raise AssertionError("nobody is stopped here")

    def wait(self, seconds: float) -> list[Joined | Answered | Died]:
        return [self._events.popleft()] if self._events else []

    def wanted(self) -> str:
        return ""


def bookkeeping(n: int = 100_000, workers: int = 64) -> dict[str, float]:
    """Of a driver over many shards of 16 models: memory while they pass, and time."""
    each = n // 16
    marks: list[int] = []
    done = [0]

    def take(item: Item, worker: int, answer: Answer) -> None:
        done[0] += 1
        if tracemalloc.is_tracing() and done[0] in (n // 10, n - 1):
            marks.append(tracemalloc.get_traced_memory()[0])

    def once() -> float:
        done[0], began = 0, time.perf_counter()
        Crew(_Instant(workers), Queue([(f"m{i}", array("q", range(each))) for i in range(16)]), take, [].append).work()
        return time.perf_counter() - began

    seconds = once()
    tracemalloc.start()
    once()
    tracemalloc.stop()
    return {"shards": n, "ms_a_shard": 1e3 * seconds / n, "kB_from_a_tenth_to_the_end": (marks[1] - marks[0]) / 1e3}


def main() -> None:
    """See the top of this file."""
    with tempfile.TemporaryDirectory() as name, toy.installed():
        folder = Path(name)
        found: dict[str, Any] = {"python": platform.python_version(), "bookkeeping": bookkeeping()}
        with joined("", cores=2) as cluster:
            found["ray"] = cluster.ray.__version__
            for measure in (overhead, speed_up, idle):
                found[measure.__name__] = measure(folder)
    found["load"] = round(os.getloadavg()[1], 1)
    text = json.dumps(found, indent=1)
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n")


if __name__ == "__main__":
    main()
