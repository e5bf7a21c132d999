"""Toy runs on a Ray cluster of this machine whose workers, drivers and nodes are killed, removed and added.

A cluster has a head without cores, where drivers come in, and nodes with one core each. It outlives its drivers, as a
real one does.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from fault_suite.tally import Tally, Unbroken, committed_shards, judge
from fault_suite.toy_runs import Starter, ToyRun
from sapiens_bench.engine.ray_cluster import forget_token

SLOW: dict[str, Any] = {"options": {"forward_s": 0.15}}  # so that there is something to kill
RAY: dict[str, Any] = {"engine": "ray", **SLOW}
LONG: dict[str, Any] = {"options": {"forward_s": 0.6}}
WORKER = "ray::Worker"  # how Ray names the processes of our actors


class Nodes:
    """A cluster whose nodes come and go."""

    def __init__(self, n: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.address: str = self._cluster.address
        self.nodes: list[Any] = []
        for _ in range(n):
            self.add()

    def add(self) -> None:
        """One more, ready for work when this returns."""
        self.nodes.append(self._cluster.add_node(num_cpus=1))

    def remove(self, which: int) -> bool:
        """All processes of a node end at once; whether a worker was among them."""
        node = self.nodes.pop(which)
        had_work = bool(_workers_below(_raylet(node)))
        self._cluster.remove_node(node, allow_graceful=False)
        return had_work

    def kill_raylet(self, which: int) -> bool:
        """Kill -9 of a node's raylet alone; what it leaves behind is cleared away some seconds later. Whether it had a
        worker.
        """
        node = self.nodes.pop(which)
        raylet = _raylet(node)
        had_work = bool(_workers_below(raylet))
        raylet.kill()
        time.sleep(3)
        self._cluster.remove_node(node, allow_graceful=False)
        return had_work

    def workers(self) -> list[psutil.Process]:
        """Processes of our actors, on all nodes."""
        return _workers_below(psutil.Process())

    def close(self) -> None:
        """End all of it."""
        self._cluster.shutdown()


def _raylet(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def _workers_below(process: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in process.children(recursive=True):
        with suppress(psutil.Error):
            if child.name().startswith(WORKER) or child.cmdline()[:1] == [WORKER]:
                found.append(child)
    return found


@contextmanager
def cluster(folder: Path, n: int) -> Iterator[Nodes]:
    """A cluster with a token of its own, for this process and those that it starts."""
    path = folder / "token"
    path.write_text(secrets.token_hex(32))
    said = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path), "RAY_USAGE_STATS_ENABLED": "0"}
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    forget_token()
    nodes = Nodes(n)
    try:
        yield nodes
    finally:
        nodes.close()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Trials:
    """Runs that something happens to, one after the other, each in a folder of its own."""

    def __init__(self, folder: Path, seed: int, **fields: Any) -> None:
        self.fields = {**SLOW, **fields}
        self.starter, self.folder = Starter(folder / "whole", **self.fields), folder
        self.rng, self.tally = random.Random(seed), Tally()
        self.unbroken: Unbroken = self.starter.unbroken()[0]

    def run(self, number: int, *, wait: bool = True, **fields: Any) -> tuple[Path, ToyRun]:
        """A run that has committed its first shard, or has just been started."""
        out = self.folder / f"run-{number}"
        run = self.starter.start(out, environment=_of_ray(), **{**RAY, **self.fields, **fields})
        if wait:
            run.wait_for_a_shard()
        return out, run

    def end(self, out: Path, run: ToyRun, *, goes_on: bool) -> None:
        """The run must end well by itself, or with the same command on the local engine."""
        if goes_on:
            run.wait()
            if run.ended is None or run.ended[0] != 0:
                self.tally.complaints.append(f"the run ended with {run.ended}")
        else:
            self.starter.finish(out, self.tally)
        judge(self.tally, out, self.unbroken)


def _of_ray() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def _each(n: int, trials: Trials, fault: Callable[[int], None]) -> Tally:
    while trials.tally.wants_more(n):
        fault(trials.tally.injected)
        trials.tally.injected += 1
    return trials.tally


def worker_killed(folder: Path, n: int, seed: int) -> Tally:
    """Kill -9 of a worker: another takes its place, and the run goes on."""
    with cluster(folder, 2) as nodes:
        trials = Trials(folder, seed)

        def fault(number: int) -> None:
            out, run = trials.run(number, address=nodes.address, workers=2)
            time.sleep(trials.rng.random())
            if found := nodes.workers():
                trials.tally.met += not run.has_ended()
                trials.rng.choice(found).kill()
            trials.end(out, run, goes_on=True)

        return _each(n, trials, fault)


def driver_killed(folder: Path, n: int, seed: int, per_folder: int = 5) -> Tally:
    """Kill -9 of the driver, five times in a row, while it starts or while its worker works; its workers must go with
    it. Then the local engine goes on.
    """
    with cluster(folder, 1) as nodes:
        trials = Trials(folder, seed)
        tally, rng = trials.tally, trials.rng
        while tally.wants_more(n):
            number = tally.injected
            out, run = trials.run(number // per_folder, wait=bool(number % 2), address=nodes.address, workers=1)
            time.sleep(rng.random() * (2 if number % 2 else 8))
            kept = committed_shards(out)
            run.kill()
            tally.injected += 1
            tally.met += run.ended is None
            now = committed_shards(out)
            tally.complaints += [f"committed shard {k} is gone" for k, data in kept.items() if now.get(k) != data]
            if number % per_folder == per_folder - 1 or tally.met >= n:
                trials.end(out, run, goes_on=False)
                _all_gone(nodes, tally)
        return tally


def _all_gone(nodes: Nodes, tally: Tally) -> None:
    """Workers end with their driver."""
    until = time.monotonic() + 30
    while nodes.workers() and time.monotonic() < until:
        time.sleep(0.2)
    if nodes.workers():
        tally.complaints.append("workers outlived their driver by thirty seconds")


def raylet_killed(folder: Path, n: int, seed: int) -> Tally:
    """Kill -9 of the raylet of a node, and its workers go with it: the others go on. Then a node is added, which the
    run uses as well; as many of the one as of the other, and as many runs as that takes.
    """
    with cluster(folder, 2) as nodes:
        trials = Trials(folder, seed, **LONG)
        run: ToyRun | None = None
        number = 0
        while run is not None or trials.tally.wants_more(n):
            if run is None:
                number += 1
                out, run = trials.run(number, address=nodes.address, workers=2)
            if trials.tally.met < n and not run.has_ended():
                time.sleep(3 * trials.rng.random())
                is_at_work = not run.has_ended()
                had_work = nodes.kill_raylet(trials.rng.randrange(len(nodes.nodes)))
                trials.tally.injected += 1
                trials.tally.met += is_at_work and had_work
                nodes.add()
                trials.tally.also["nodes_added"] = trials.tally.injected
                until = time.monotonic() + 60
                while len(nodes.workers()) < 2 and time.monotonic() < until and not run.has_ended():
                    time.sleep(0.2)
            else:
                trials.end(out, run, goes_on=True)
                run = None
        return trials.tally


def node_removed(folder: Path, n: int, seed: int) -> Tally:
    """All processes of a node end at once: the others go on. Before the next run there is a new one."""
    with cluster(folder, 2) as nodes:
        trials = Trials(folder, seed)

        def fault(number: int) -> None:
            out, run = trials.run(number, address=nodes.address)
            time.sleep(trials.rng.random())
            is_at_work = not run.has_ended()
            trials.tally.met += nodes.remove(trials.rng.randrange(2)) and is_at_work
            trials.end(out, run, goes_on=True)
            nodes.add()

        return _each(n, trials, fault)


FAULTS = (worker_killed, driver_killed, raylet_killed, node_removed)
