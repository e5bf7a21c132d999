"""The paper's whole suite on 1, 8, 64 and 512 GPUs, simulated event by event. docs/scale.md says what came out.

    python tools/scale_simulation.py            the tables
    python tools/scale_simulation.py --measure  what a shard costs beside its images, on this machine

Work items are shards. GPUs take them from one queue, ordered by model. A GPU loads a model when its next item needs
another; the driver hands items out one at a time; a finished shard is committed through one shared file system; nodes
of eight GPUs fail and come back, and what was on them is done again; some GPUs are slow. Seconds an image come from the
runs on a GPU below results/profiles (``runs.json``), of other sizes by their operations.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

PROFILES = Path(__file__).resolve().parent.parent / "results" / "profiles"
SHARD, NODE = 64, 8
# Images (crops for pose) of the test sets of the paper, section 4 and its tables.
SETS = {
    "pose": {"humans-5k": 5000, "coco-wholebody-val, its people": 6352},
    "seg": {"humans-2k": 2000},
    "depth": {"thuman2": 1578, "hi4d": 1195},
    "normal": {"thuman2": 1578, "hi4d": 1195},
}
SIZES = ("0.3b", "0.6b", "1b", "2b")
MEASURED_SIZE = "0.3b"  # of results/profiles/*/runs.json


@dataclass(frozen=True)
class Item:
    """One shard of one cell."""

    model: str
    number: int
    seconds: float  # of device work


@dataclass(frozen=True)
class World:
    """What things cost beside the device's work, and what goes wrong. Marked (m) where measured, (a) where assumed."""

    load_s: float = 12.0  # (a) weights from disk (the profiles built networks in 3 s), first calls, a new process
    driver_s: float = 0.010  # (a) one item handed out and taken back; the limit that the engine must keep
    commit_ops: int = 18  # (m) creates, flushes and renames of one shard: rows, predictions, a commit record each
    fs_ops_per_s: float = 2000.0  # (a) what an NFS server does, all clients together
    node_mtbf_s: float = 10 * 86400.0  # (a) one node fails every ten days
    node_down_s: float = 600.0  # (a)
    slow_share: float = 0.02  # (a) GPUs that are slow ...
    slow_factor: float = 2.0  # (a) ... by so much
    jitter: float = 0.05  # (a) standard deviation of an item's time


@dataclass
class Outcome:
    """One simulated suite."""

    work_s: float  # device work of all items, each once
    seconds: float = 0.0
    lost_s: float = 0.0
    load_s: float = 0.0
    driver_busy_s: float = 0.0
    fs_busy_s: float = 0.0
    fs_wait_s: float = 0.0  # the longest a commit waited for others
    done: int = 0
    redone: int = 0


class Queue:
    """What is still to be done, by model.

    Args:
        by_model: a GPU stays with its model while there is work for it, then takes the model with most work for each
            GPU that is at it; else all take the first model that has work, in order.
    """

    def __init__(self, items: list[Item], by_model: bool) -> None:
        self.by_model, self.left = by_model, len(items)
        self.items: dict[str, list[Item]] = {}
        for item in reversed(items):  # the next one is the last
            self.items.setdefault(item.model, []).append(item)
        self.order = list(dict.fromkeys(item.model for item in items))
        self.at: dict[str, int] = dict.fromkeys(self.order, 0)
        self.work = {model: sum(item.seconds for item in found) for model, found in self.items.items()}

    def take(self, loaded: str) -> Item:
        """The next item for a GPU that has a model loaded ("" for none)."""
        open_ones = [model for model in self.order if self.items[model]]
        chosen = open_ones[0]
        if self.by_model:
            work = {model: self.work[model] / (1 + self.at[model]) for model in open_ones}
            chosen = loaded if loaded in work else max(open_ones, key=work.__getitem__)
        if chosen != loaded:
            self.at[chosen] += 1
            self.leave(loaded)
        self.left -= 1
        item = self.items[chosen].pop()
        self.work[chosen] -= item.seconds
        return item

    def leave(self, model: str) -> None:
        """A GPU no longer has this model."""
        if model:
            self.at[model] -= 1

    def back(self, item: Item) -> None:
        """An item that was lost."""
        self.left += 1
        self.work[item.model] += item.seconds
        self.items[item.model].append(item)


class Cluster:
    """The state while it runs."""

    def __init__(self, queue: Queue, gpus: int, world: World, seed: int, out: Outcome) -> None:
        self.queue, self.world, self.rng, self.out = queue, world, random.Random(seed), out
        self.slow = [world.slow_factor if self.rng.random() < world.slow_share else 1.0 for _ in range(gpus)]
        self.fails = [self._next_failure(0.0) for _ in range(-(-gpus // NODE))]
        self.loaded = [""] * gpus
        self.idle: list[int] = []
        self.driver_free = self.fs_free = 0.0
        self.events: list[tuple[float, int, int, Item | None, bool]] = []  # (when, tie, gpu, item that ends, is lost)
        self.ties = itertools.count()

    def at(self, when: float, gpu: int, item: Item | None = None, lost: bool = False) -> None:
        """Something will happen on a GPU."""
        heapq.heappush(self.events, (when, next(self.ties), gpu, item, lost))

    def _next_failure(self, after: float) -> float:
        return after + self.rng.expovariate(1 / self.world.node_mtbf_s) if self.world.node_mtbf_s else float("inf")

    def failure_before(self, gpu: int, since: float, end: float) -> float | None:
        """When the GPU's node fails in that time, if it does; failures that are over are forgotten."""
        node = gpu // NODE
        while self.fails[node] + self.world.node_down_s <= since:
            self.fails[node] = self._next_failure(self.fails[node] + self.world.node_down_s)
        return max(since, self.fails[node]) if self.fails[node] < end else None

    def begin(self, now: float, gpu: int) -> None:
        """The GPU takes an item, or waits until one is lost elsewhere."""
        if not self.queue.left:
            self.idle.append(gpu)
            return
        world, out = self.world, self.out
        before = self.loaded[gpu]
        item = self.queue.take(before)
        start = max(now, self.driver_free)
        self.driver_free = start + world.driver_s
        out.driver_busy_s += world.driver_s
        load = 0.0 if before == item.model else world.load_s
        self.loaded[gpu] = item.model
        took = item.seconds * self.slow[gpu] * max(0.5, self.rng.gauss(1.0, world.jitter))
        failed = self.failure_before(gpu, start, start + load + took)
        if failed is None:
            out.load_s += load
            self.at(start + load + took, gpu, item)
        else:
            out.lost_s += failed - start
            self.at(failed, gpu, item, lost=True)

    def end(self, now: float, gpu: int, item: Item, lost: bool) -> None:
        """An item is through, or lost with its node."""
        if lost:
            self.queue.leave(self.loaded[gpu])
            self.loaded[gpu] = ""
            self.queue.back(item)
            self.out.redone += 1
            self.at(now + self.world.node_down_s, gpu)
            for other in self.idle:
                self.at(now, other)
            self.idle.clear()
            return
        takes = self.world.commit_ops / self.world.fs_ops_per_s
        begins = max(now, self.fs_free)
        self.fs_free = begins + takes
        self.out.fs_busy_s += takes
        self.out.fs_wait_s = max(self.out.fs_wait_s, begins - now)
        self.out.seconds = max(self.out.seconds, self.fs_free)
        self.out.done += 1
        self.begin(now, gpu)  # its next batch runs while the shard is committed


def simulate(items: list[Item], gpus: int, world: World, seed: int = 0, by_model: bool = False) -> Outcome:
    """Every item once, whatever fails."""
    out = Outcome(sum(item.seconds for item in items))
    cluster = Cluster(Queue(items, by_model), gpus, world, seed, out)
    for gpu in range(gpus):
        cluster.at(0.0, gpu)
    while out.done < len(items):
        now, _, gpu, item, lost = heapq.heappop(cluster.events)
        if item is None:
            cluster.begin(now, gpu)
        else:
            cluster.end(now, gpu, item, lost)
    return out


def paces(precision: str = "bf16") -> tuple[dict[str, float], list[str]]:
    """Seconds of the device for an image (a crop for pose) of every Sapiens model, and where they come from.

    Whole runs of one size were measured, with loading and decoding beside them as they are; other sizes take as much
    longer as they have more operations. Larger networks use a GPU better, so that is rather too long.
    """
    flops = _operations()
    measured: dict[str, tuple[float, str]] = {}
    for path in sorted(PROFILES.glob("*/runs.json")):
        for row in json.loads(path.read_text()):
            if (row["precision"], row["prefetch"], row["form"]) == (precision, 1, {}):
                timing = row["timing"]
                images = timing["images"] - timing["first_shard_images"]
                measured[row["task"]] = timing["device_busy_s"] / images, path.parent.name
    found: dict[str, float] = {}
    for task in SETS:
        names = {size: f"sapiens-{size}" + ("" if task == "pose" else f"-{task}") for size in SIZES}
        for name in names.values():
            found[name] = measured[task][0] * flops[name] / flops[names[MEASURED_SIZE]]
    return found, sorted({source for _, source in measured.values()})


def _operations() -> dict[str, float]:
    """Of one image, by model, as counted in the profiles."""
    from sapiens_bench.profiling.record import read_profile

    flops: dict[str, float] = {}
    for path in sorted(PROFILES.glob("*/profile.json"), key=lambda path: read_profile(path).finished):
        for row in read_profile(path).rows:
            if row.counts is not None:
                flops.setdefault(row.model, 2.0 * row.counts.macs_total * row.counts.passes)
    return flops


def suite(seconds: dict[str, float], times: int = 1, shard: int = SHARD) -> list[Item]:
    """All shards, ordered by model; ``times`` as many images as the paper has."""
    items = []
    for model, image_s in seconds.items():
        task = next((t for t in SETS if model.endswith(f"-{t}")), "pose")
        for n in SETS[task].values():
            sizes = [min(shard, n * times - start) for start in range(0, n * times, shard)]
            items += [Item(model, number, size * image_s) for number, size in enumerate(sizes)]
    return items


def measure() -> None:
    """What a shard costs beside its images."""
    import numpy as np

    from sapiens_bench.store.rows import commit_shard

    row = {f"oks/c{i}": float(i) for i in range(40)} | {"oks/d": np.full(20, 0.5), "status": "ok", "group": "g"}
    rows = [{"index": i, "key": f"k{i}", **row} for i in range(SHARD)]
    meta = {"fingerprint": "f", "item_key": "i"}
    calls: Counter[str] = Counter()
    sys.addaudithook(lambda name, details: calls.update([name] if _changes_files(name, details) else []))
    really = os.fsync

    def counted(descriptor: int) -> None:
        calls.update(["flush"])
        really(descriptor)

    os.fsync = counted  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        times = []
        for number in range(31):
            if number == 1:  # the first one makes the folders
                calls.clear()
            began = time.perf_counter()
            commit_shard(Path(folder) / "preds", number, rows, meta)
            commit_shard(Path(folder) / "rows", number, rows, meta, SHARD)
            times.append(time.perf_counter() - began)
        each = {name: n / 30 for name, n in sorted(calls.items())}
    print(f"commit of rows and predictions, local disk: median {1e3 * statistics.median(times[1:]):.1f} ms; {each}")


def _changes_files(name: str, details: tuple[object, ...]) -> bool:
    if name == "open":
        return isinstance(details[2], int) and bool(details[2] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))
    return name in ("os.rename", "os.link", "os.remove", "os.mkdir")


GPUS = (1, 8, 64, 512, 4096)  # the last is past every limit
HEAD = ("GPUs", "Wall", "Efficiency", "GPU hours", "Loading", "Lost", "Driver busy", "Files busy", "Longest wait")


def table(items: list[Item], world: World, seeds: int = 5, by_model: bool = False) -> str:
    """One line for each number of GPUs; means over the seeds."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD)]
    for gpus in GPUS:
        outs = [simulate(items, gpus, world, seed, by_model) for seed in range(seeds)]
        mean = {name: statistics.mean(getattr(out, name) for out in outs) for name in vars(outs[0])}
        wall, total = mean["seconds"], mean["seconds"] * gpus
        lines.append(
            f"| {gpus} | {wall / 60:.1f} min | {mean['work_s'] / total:.0%} | {total / 3600:.1f} | "
            f"{mean['load_s'] / total:.1%} | {mean['lost_s'] / total:.2%} | {mean['driver_busy_s'] / wall:.1%} | "
            f"{mean['fs_busy_s'] / wall:.1%} | {mean['fs_wait_s']:.2f} s |"
        )
    return "\n".join(lines)


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="The paper's suite on 1 to 4096 GPUs, simulated (docs/scale.md).")
    parser.add_argument("--measure", action="store_true", help="only time a commit on this machine's disk")
    if parser.parse_args().measure:
        measure()
        return
    seconds, sources = paces()
    items, world = suite(seconds), World()
    mean = statistics.mean(item.seconds for item in items)
    hours = sum(item.seconds for item in items) / 3600
    print(f"{len(items)} shards, {hours:.1f} GPU hours, {mean:.1f} s a shard; from {', '.join(sources)}.")
    crowded = replace(world, node_mtbf_s=86400.0, slow_share=0.06)
    for title, of, how, by_model in (
        ("One queue, ordered by model", items, world, False),
        ("A GPU stays with its model", items, world, True),
        ("Ten times the images, a GPU stays with its model", suite(seconds, 10), world, True),
        ("The same; a node fails every day and three times as many GPUs are slow", suite(seconds, 10), crowded, True),
    ):
        print(f"\n{title}:\n\n{table(of, how, 3, by_model)}")
    print(f"\nThe driver is the limit from {mean / world.driver_s:.0f} GPUs on, ", end="")
    print(f"the file system from {mean * world.fs_ops_per_s / world.commit_ops:.0f} on.")


if __name__ == "__main__":
    main()
