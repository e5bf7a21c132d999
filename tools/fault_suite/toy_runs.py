"""Toy runs in processes of their own, which can be killed.

The processes are forked from a server that has imported everything once, so that a trial takes tenths of a second. That
server has no threads and has run nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fault_suite.tally import CELL, Tally, Unbroken, committed_shards, judge
from sapiens_bench.engine.events import ShardDone
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.store.remote import mirrored
from sapiens_bench.testing import toy

DATA = {"n": 96}
FIELDS: dict[str, Any] = {"batch_size": 4, "shard_size": 4, "n_boot": 20}
N_SHARDS = 24
LONGEST_S = 600.0  # a machine that others use
_PRELOAD = ["torch", "pyarrow.parquet", "scipy.stats", "pandas", "sapiens_bench.testing.toy", "sapiens_bench.api"]


@dataclass
class ToyRun:
    """A run of the toy in another process, and what it said."""

    process: Any
    said: Connection
    shards: list[tuple[int, float]] = field(default_factory=list)  # number, time of its commit
    ended: tuple[int, str, float] | None = None  # exit code, message, time; None: it was killed

    def kill(self) -> float:
        """Kill -9, and wait for the end; the time of the signal."""
        moment = time.monotonic()
        self.process.kill()
        self.wait()
        return moment

    def wait_for_a_shard(self) -> None:
        """Until the first shard is on disk, or it has ended."""
        if self.said.poll(LONGEST_S):
            with suppress(EOFError, OSError):
                self._hear()

    def has_ended(self) -> bool:
        """Whether it has."""
        return not self.process.is_alive()

    def _hear(self) -> None:
        kind, *told = self.said.recv()
        if kind == "shard":
            self.shards.append((told[0], told[1]))
        else:
            self.ended = (told[0], told[1], told[2])

    def wait(self) -> None:
        """Until it has ended; reads all that it said."""
        self.process.join(LONGEST_S)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError("a toy run hangs")
        try:
            while self.said.poll():
                self._hear()
        except (EOFError, OSError):
            pass
        self.said.close()


class Starter:
    """Starts toy runs.

    Args:
        folder: where the run that nothing happens to is made; on the same file system as the others.
        fields: of the requests of all runs, over ``FIELDS``.
    """

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.folder, self.fields = folder, {**FIELDS, **fields}
        self._unbroken: tuple[Unbroken, float] | None = None
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(_PRELOAD)

    def start(self, out: Path, data: dict[str, Any] = DATA, **fields: Any) -> ToyRun:
        """A run in a process of its own."""
        here, there = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work, args=(str(out), data, {**self.fields, **fields}, there))
        process.start()
        there.close()
        return ToyRun(process, here)

    def finish(self, out: Path, tally: Tally, **fields: Any) -> ToyRun:
        """Run the same command again until its end, which must be a good one."""
        run = self.start(out, **fields)
        run.wait()
        if run.ended is None or run.ended[0] != 0:
            tally.complaints.append(f"the same command ended with {run.ended}")
        return run

    def unbroken(self) -> tuple[Unbroken, float]:
        """A run to compare with, and how long one takes; made once."""
        if self._unbroken is None:
            self._once(self.folder / "warm")  # the server imports everything
            seconds = self._once(self.folder / "unbroken")
            self._unbroken = Unbroken.of(self.folder / "unbroken"), seconds
        return self._unbroken

    def _once(self, out: Path) -> float:
        began = time.monotonic()
        run = self.start(out)
        run.wait()
        assert run.ended is not None, "the toy run was killed"
        assert run.ended[0] == 0, run.ended[1]
        return time.monotonic() - began


def _work(out: str, data: dict[str, Any], fields: dict[str, Any], said: Connection) -> None:
    """The other process."""

    def watch(event: object) -> None:
        if isinstance(event, ShardDone):
            said.send(("shard", event.number, time.monotonic()))

    code, message, url = 0, "", fields.pop("url", "")
    os.environ.update(fields.pop("environment", {}))
    try:
        with toy.installed(), mirrored(url, Path(out)) if url else nullcontext(Path(out)) as place:
            toy.go(place, data, on_event=watch, **fields)
    except SapiensBenchError as error:
        code, message = error.exit_code, f"{type(error).__name__}: {error}"
    except Exception as error:
        code, message = 70, f"{type(error).__name__}: {error}"
    said.send(("ended", code, message, time.monotonic()))


def driver_killed(starter: Starter, folder: Path, n_kills: int, seed: int, per_folder: int = 2) -> Tally:
    """Kill -9 of the run at random moments between its start and its end; what was committed must stay."""
    rng, tally = random.Random(seed), Tally()
    unbroken, seconds = starter.unbroken()
    while tally.wants_more(n_kills):
        out, kept, moments = folder / f"killed-{tally.injected}", dict[int, bytes](), list[float]()
        for _ in range(per_folder):
            run = starter.start(out)
            time.sleep(rng.random() * seconds)
            moments.append(run.kill())
            tally.injected += 1
            tally.met += run.ended is None
            _still_there(tally, kept, out)
            kept = committed_shards(out)
        resumed = starter.finish(out, tally)
        if resumed.shards:
            tally.recovery_s.append(resumed.shards[0][1] - moments[-1])
        tally.recomputed.append(sum(number in kept for number, _ in resumed.shards))
        _still_there(tally, kept, out)
        judge(tally, out, unbroken)
    return tally


def machine_lost(starter: Starter, folder: Path, n_kills: int, seed: int) -> Tally:
    """Kill -9 of a run on an object store, and its local folder is gone: another machine goes on, twice in a row.

    The store is a folder behind fsspec, which writes an object less atomically than a real one does.
    """
    rng, tally = random.Random(seed), Tally()
    unbroken, seconds = starter.unbroken()
    while tally.wants_more(n_kills):
        first = tally.injected
        store = folder / f"store-{first}"
        for number in (first, first + 1):
            run = starter.start(folder / f"machine-{number}", url=f"file://{store}")
            time.sleep(rng.random() * seconds)
            run.kill()
            tally.injected += 1
            tally.met += run.ended is None
        records = (store / "rows" / CELL).glob("commit-*.json")
        there = {int(path.stem.partition("-")[2]) for path in records if path.read_bytes().endswith(b"}\n")}
        last = folder / f"machine-last-{first}"
        made = starter.finish(last, tally, url=f"file://{store}")
        tally.recomputed.append(sum(number in there for number, _ in made.shards))
        judge(tally, last, unbroken)
    return tally


def _still_there(tally: Tally, kept: dict[int, bytes], out: Path) -> None:
    """What had been committed before a fault must be there, byte for byte, after it."""
    now = committed_shards(out)
    lost = [number for number, data in kept.items() if now.get(number) != data]
    tally.complaints += [f"committed shard {number} is gone" for number in lost]


def two_runs(starter: Starter, folder: Path, n_pairs: int, seed: int) -> Tally:
    """Two processes on one folder, the second a random moment later; every other time the first is killed as well."""
    rng, tally = random.Random(seed), Tally()
    unbroken, seconds = starter.unbroken()
    while tally.wants_more(n_pairs):
        number = tally.injected
        out = folder / f"pair-{number}"
        first = starter.start(out)
        time.sleep(rng.random() * seconds * 0.3)
        second = starter.start(out)
        if number % 2:
            time.sleep(rng.random() * seconds * 0.5)
            first.kill()
        else:
            first.wait()
        second.wait()
        tally.injected += 1
        for run in (first, second):
            if run.ended is None:
                continue
            if run.ended[0] == 2 and "is in use by" in run.ended[1]:
                tally.met += 1
            elif run.ended[0] != 0:
                tally.complaints.append(f"one of two runs ended with {run.ended[:2]}")
        starter.finish(out, tally)
        judge(tally, out, unbroken)
    return tally
