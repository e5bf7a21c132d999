"""Workers of a Ray cluster, as ``crew.Pool`` wants them: actors, each in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from sapiens_bench.engine.choices import Places, RunChoice
from sapiens_bench.engine.crew import MACHINE_GONE, Answer, Answered, Died, Item, Joined
from sapiens_bench.engine.jobs import Todo
from sapiens_bench.engine.ray_cluster import Joined as Cluster
from sapiens_bench.engine.ray_worker import Member, Told, Worker, installed_versions
from sapiens_bench.engine.stopping import guarded
from sapiens_bench.errors import MachineFault, UsageError
from sapiens_bench.store.files import temporary_name, write_atomic
from sapiens_bench.tasks import TASKS
from sapiens_bench.workers import Reply, error_of

_END_S = 20.0  # for workers to end when they are told to; far less as a rule
_LOOK_EVERY_S = 2.0  # at the machines of the cluster
_REPLY = ("error", "message", "errno", "memory", "trace")


class Needs(NamedTuple):
    """Of one worker."""

    cpus: int
    gpus: float

    def __str__(self) -> str:
        return f"{self.cpus} CPU(s) and {self.gpus:g} GPU(s)" if self.gpus else f"{self.cpus} CPU(s)"


class RayPool:
    """Actors of one run.

    Args:
        cluster: what was joined.
        how: how many, and with what.
        file: what workers are told, in the folder that all must see; see ``told_in``.
        on_hello: gets what every worker says of itself.
        kind: of the actors.
    """

    def __init__(
        self,
        cluster: Cluster,
        how: Places,
        file: Path,
        on_hello: Callable[[Told], None],
        kind: type[Member] = Worker,
    ) -> None:
        self._kind, self._how, self._on_hello = kind, how, on_hello
        self._cluster, self._ray = cluster, cluster.ray
        ray = cluster.ray
        self._nodes: list[Mapping[str, float]] = []
        self._looked = -_LOOK_EVERY_S
        self._look()
        self.needs = needs_of(how, self._nodes)
        device = "cuda" if self.needs.gpus else "cpu" if how.device == "auto" else how.device
        self._versions = installed_versions()
        # Small, so that it travels with the call. Ray ends a driver whose own objects are lost with its raylet.
        told = {"versions": self._versions, "device": device, "threads": self.needs.cpus}
        self._first = {**told, "file": str(file.resolve())}
        self._actor = ray.remote(kind)
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}  # of calls that are not answered
        self._greeting: set[int] = set()
        self._hosts: dict[int, str] = {}
        self._pids: dict[int, int] = {}  # of workers on this machine
        self._n = 0

    def size(self) -> int:
        """As many as were asked for, or as the cluster has room for now."""
        if self._how.workers is not None:
            return self._how.workers
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._look()
        return max(1, sum(room(self.needs, node) for node in self._nodes))

    def start(self) -> int:
        """See ``crew.Pool``."""
        self._n += 1
        options = {"num_cpus": self.needs.cpus, "num_gpus": self.needs.gpus, "max_restarts": 0, "max_task_retries": 0}
        actor = self._actor.options(**options).remote()
        self._actors[self._n] = actor
        self._greeting.add(self._n)
        self._asked[actor.hello.remote(self._first)] = self._n
        return self._n

    def give(self, worker: int, item: Item, ahead: Item | None) -> None:
        """See ``crew.Pool``."""
        next_shard = None if ahead is None else ahead.shard
        self._asked[self._actors[worker].compute.remote(item.cell, item.shard, next_shard)] = worker

    def stop(self, worker: int) -> None:
        """See ``crew.Pool``."""
        actor = self._actors.pop(worker, None)
        self._asked = {ref: number for ref, number in self._asked.items() if number != worker}
        pid = self._pids.pop(worker, 0)
        if self._cluster.has_ended:
            self._end_process(pid)
        elif actor is not None:
            with suppress(Exception):  # it may be gone already
                self._ray.kill(actor, no_restart=True)

    def _end_process(self, pid: int) -> None:
        """End a worker of this machine that Ray can end no more."""
        with suppress(psutil.Error):
            process = psutil.Process(pid) if pid else None
            if process is not None and "".join(process.cmdline()).startswith(f"ray::{self._kind.__name__}"):
                process.kill()

    def wait(self, seconds: float) -> Sequence[Joined | Answered | Died]:
        """See ``crew.Pool``.

        Raises:
            UsageError: a worker has other versions or does not see the run folder. What a worker raised.
            MachineFault: Ray's own process on this machine is gone.
        """
        if self._cluster.has_ended:
            raise MachineFault(
                "Ray's process on this machine (raylet) has ended, and with it the cluster for this run. What is "
                "committed is kept; the same command goes on from there, on either engine."
            )
        refs = list(self._asked)
        if not refs:
            time.sleep(min(seconds, 0.1))
            return []
        with guarded():
            ready, _ = self._ray.wait(refs, num_returns=1, timeout=seconds)
            if ready:
                ready, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        return [found for ref in ready for found in self._heard(ref)]

    def wanted(self) -> str:
        """See ``crew.Pool``."""
        self._look()
        have = [Needs(int(node.get("CPU", 0)), node.get("GPU", 0.0)) for node in self._nodes]
        return f"each needs {self.needs}; the cluster has {'; '.join(map(str, have)) or 'no machine'}."

    def close(self) -> None:
        """End all workers, and wait for those of this machine: what they still write would be left behind."""
        ours = []
        for pid in self._pids.values():
            with suppress(psutil.Error):
                ours.append(psutil.Process(pid))
        for worker in list(self._actors):
            self.stop(worker)
        psutil.wait_procs(ours, timeout=1.0 if self._cluster.has_ended else _END_S)  # else Ray ends us meanwhile

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _heard(self, ref: Any) -> Iterator[Joined | Answered | Died]:
        worker = self._asked.pop(ref, None)
        if worker is None or worker not in self._actors:
            return
        try:
            with guarded():
                told = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._actors.pop(worker)
            self._greeting.discard(worker)
            self._pids.pop(worker, None)
            host = self._hosts.pop(worker, "")
            yield Died(worker, f"{host}: {_cause(error)}" if host else _cause(error))
            return
        if worker in self._greeting:
            self._greeting.discard(worker)
            self._check(told)
            self._hosts[worker] = told["host"]
            if told["host"] == platform.node():
                self._pids[worker] = told["pid"]
            self._on_hello(told)
            yield Joined(worker)
        else:
            yield Answered(worker, answer_of(told))

    def _check(self, told: Told) -> None:
        host = told["host"]
        if told["kind"] == "other":
            theirs, ours = told["versions"], self._versions
            names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
            found = "; ".join(f"{n}: {theirs.get(n, 'none')}, here {ours.get(n, 'none')}" for n in names[:5])
            raise UsageError(f"{host} has other versions than this machine, so its numbers could differ: {found}.")
        if told["kind"] == "stop":
            raise _raised(told)
        if told["kind"] == "blind":
            raise UsageError(
                f"{host} does not see the run folder as this machine does. Every machine of a cluster must have the "
                "same --out, data and weights under the same paths: give a folder on storage that they share."
            )


def answer_of(told: Told) -> Answer:
    """What a worker's reply means for the crew.

    Raises:
        Exception: what ended the worker's shard is no fault of its model or process.
    """
    if told.get("unfit"):
        return Answer("unfit", f"{told['host']}: {told['error']}: {' '.join(told['message'].split())[:300]}")
    if told["kind"] == "stop":
        raise _raised(told)
    return Answer(told["kind"], told)


def _raised(told: Told) -> Exception:
    """The exception, with the machine it happened on in its text."""
    reply = Reply(**{name: told[name] for name in _REPLY})
    error = error_of(reply)
    if isinstance(error, OSError) and error.errno is not None:  # whose text is not its last argument
        return OSError(error.errno, f"On {told['host']}: {error.strerror}")
    if error.args and isinstance(error.args[-1], str):
        error.args = (*error.args[:-1], f"On {told['host']}: {error.args[-1]}")
    return error


_CAUSES = {  # what Ray says -> what that means; its own text is a paragraph of conjectures
    "low on memory": "Ray ended it: its machine ran low on memory",
    "node has died": MACHINE_GONE,
    "node was terminated": MACHINE_GONE,
    "connection error code": "it was killed or crashed (lack of memory, or a defect of a library)",
    "SIGSEGV": "it was killed or crashed (lack of memory, or a defect of a library)",
}


def _cause(error: Exception) -> str:
    """Why a worker is gone, in a few words."""
    text = " ".join(str(error).split())
    return next((cause for sign, cause in _CAUSES.items() if sign in text), f"{type(error).__name__}: {text[:150]}")


def needs_of(how: Places, nodes: Sequence[Mapping[str, float]]) -> Needs:
    """What one worker takes of its machine.

    Raises:
        UsageError: GPUs are wanted and there are none.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0)]
    gpus = how.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if with_gpus and how.device in ("auto", "cuda") else 0.0
    if how.device in ("cpu", "mps") and gpus:
        raise UsageError(f"--gpus-per-worker {gpus:g} and --device {how.device} exclude each other.")
    if how.device == "cuda" and not gpus:
        raise UsageError("--device cuda: the cluster has no GPU, or --gpus-per-worker is 0. Use --device cpu.")
    if how.threads is not None:
        return Needs(how.threads, gpus)
    if gpus and with_gpus:
        shares = [node.get("CPU", 1) * min(1.0, gpus / node["GPU"]) for node in with_gpus]
    elif how.workers is None:
        shares = [node.get("CPU", 1) for node in nodes if node.get("CPU", 0)]
    else:
        most = max((node.get("CPU", 1) for node in nodes), default=1)
        shares = [min(most, sum(node.get("CPU", 0) for node in nodes) / how.workers)]
    return Needs(max(1, int(min(shares, default=1))), gpus)


def room(needs: Needs, node: Mapping[str, float]) -> int:
    """How many workers fit on a machine."""
    fits = int(node.get("CPU", 0) // needs.cpus)
    if not needs.gpus:
        return fits
    have = node.get("GPU", 0)
    of_gpus = int(have) * int(1 / needs.gpus + 1e-9) if needs.gpus <= 1 else int(have // needs.gpus)
    return min(fits, of_gpus)


def setup_of() -> dict[str, Any]:
    """What every worker is told: plain values."""
    return {"folder": os.getcwd(), "tasks": dict(TASKS)}


def setup_of_run(todos: Sequence[Todo], how: RunChoice, out: Path) -> dict[str, Any]:
    """The same, and the cells of a run."""
    return {
        **setup_of(),
        "out": str(out.resolve()),
        "how": asdict(how),
        "precisions": sorted({todo.spec.model.precision for todo in todos}),
        "cells": [todo.spec.to_json() for todo in todos],
    }


@contextmanager
def told_in(folder: Path, setup: Mapping[str, Any]) -> Iterator[Path]:
    """A file in the folder that workers must see, and what it tells them."""
    path = write_atomic(folder / temporary_name(), json.dumps(setup).encode())
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()
