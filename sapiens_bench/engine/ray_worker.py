"""What runs inside a Ray actor: one model, one shard at a time, the next one loaded meanwhile; or jobs that make files.
Imports no Ray itself.

It gets names and plain values, never code: cards, options and paths as ``CellSpec.to_json`` writes them. What it
answers is plain values, too, so that an exception of any library reaches the driver with its text.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sapiens_bench.cards.code import code_hash
from sapiens_bench.engine import provenance
from sapiens_bench.engine.build import OpenData, open_data
from sapiens_bench.engine.choices import RunChoice
from sapiens_bench.engine.device import resolve_device, use_full_fp32
from sapiens_bench.engine.events import Event, ShardDone
from sapiens_bench.engine.holder import ModelHolder
from sapiens_bench.engine.job_lists import list_in
from sapiens_bench.engine.jobs import Setting, job_of
from sapiens_bench.engine.kept_scores import code_sha256
from sapiens_bench.engine.line import Line
from sapiens_bench.engine.specs import CellSpec, DataFacts
from sapiens_bench.engine.threads import division, prepare_process
from sapiens_bench.errors import SapiensBenchError, StorageFull, UsageError, machine_fault
from sapiens_bench.store.record import Timing
from sapiens_bench.store.rows import nth_shard
from sapiens_bench.store.throughput import since
from sapiens_bench.tasks import TASKS
from sapiens_bench.workers import fault_of, find

Told = dict[str, Any]  # plain values


def installed_versions() -> dict[str, str]:
    """What must be the same everywhere: versions that can move a number, and the code of this package itself."""
    return {**provenance.packages(), "code of sapiens-bench": (code_sha256(()) or "unknown")[:12]}


class Member:
    """One process of a crew."""

    def hello(self, first: Mapping[str, Any]) -> Told:
        """Get ready; what this process is and has, or why it cannot work.

        Args:
            first: versions of the driver, device, threads, and the file with the rest (``ray_pool.setup_of``), which
                lies in the folder that all must see.
        """
        versions = installed_versions()
        if versions != first["versions"]:  # before anything else is looked at, which may mean something else there
            return {"kind": "other", "host": platform.node(), "versions": versions}
        try:
            file = Path(first["file"])
            if not file.is_file():
                return {"kind": "blind", "host": platform.node()}
            setup = {**json.loads(file.read_text()), **first}
            os.chdir(setup["folder"])  # relative paths mean what they mean to the driver
            for name, target in setup["tasks"].items():
                TASKS.setdefault(name, target)
            prepare_process(setup["threads"])
            has = self.prepare(setup)
        except Exception as error:
            return {"kind": "stop", "host": platform.node(), **_fault(error)}
        return {"kind": "ready", "host": platform.node(), "pid": os.getpid(), **has}

    def prepare(self, setup: Mapping[str, Any]) -> Told:
        """What this kind of worker needs before its first shard; what it tells of itself."""
        raise AssertionError("a kind of worker")

    def compute(self, cell: int, shard: int, ahead: int | None) -> Told:
        """Do a shard, completely; ``ahead`` is the one that will probably follow."""
        raise AssertionError("a kind of worker")


class JobWorker(Member):
    """Does jobs as ``workers.run_all`` does them: a shard is a few."""

    def prepare(self, setup: Mapping[str, Any]) -> Told:
        """See ``Member``."""
        self._call, self._jobs = find(setup["function"]), Path(setup["jobs"])
        return {}

    def compute(self, cell: int, shard: int, ahead: int | None) -> Told:
        """See ``Member``."""
        try:
            return {"kind": "done", "values": [self._call(argument) for argument in list_in(self._jobs, shard)]}
        except Exception as error:
            return {"kind": "stop", **_fault(error)}


class Worker(Member):
    """Computes shards of rows."""

    def prepare(self, setup: Mapping[str, Any]) -> Told:
        """See ``Member``."""
        self._out = Path(setup["out"])
        self._specs: Mapping[int, str] = dict(enumerate(setup["cells"]))
        self._known: dict[int, CellSpec] = {}
        self._open: dict[str, OpenData] = {}
        self._line: tuple[int, Line, int | None] | None = None  # cell, its line, the shard that is ahead
        self._told = Timing()
        self._notes: list[str] = []
        self._events: list[Event] = []
        self._keyed: set[str] = set()
        self._setting = self._set_up(setup)
        n_kept = 8 * (self._setting.threads.loaders + self._setting.batch_size)
        self._holder = ModelHolder(self._setting.device, n_kept, (), self._notes.append)
        return {
            "hardware": provenance.hardware(self._setting.device),
            "batch_size": self._setting.batch_size,
            "threads": setup["threads"],
        }

    def _set_up(self, setup: Mapping[str, Any]) -> Setting:
        precisions = set(setup["precisions"])
        device = resolve_device(setup["device"], precisions.pop() if len(precisions) == 1 else "fp32")
        return Setting.of(RunChoice(**setup["how"]), use_full_fp32(device), division(setup["threads"]))

    def compute(self, cell: int, shard: int, ahead: int | None) -> Told:
        """Compute and commit a shard of a cell.

        Args:
            ahead: the shard of the same cell that will be asked for next; it is loaded meanwhile. None: not known.
        """
        try:
            spec = self._spec(cell)
            data = self._data(spec)
        except Exception as error:
            return {"kind": "stop", **_fault(error)}
        try:
            line = self._line_of(cell, spec, data, shard, ahead)
        except Exception as error:
            kind = "refused" if isinstance(error, SapiensBenchError) and machine_fault(error) is None else "stop"
            return {"kind": kind, **_fault(error)}
        try:
            number = line.commit_next()
        except Exception as error:
            return {"kind": "stop", **_fault(error)}
        assert number == shard, f"shard {number} came out in place of {shard}"
        return self._done(cell, spec, data, shard, line)

    def _spec(self, cell: int) -> CellSpec:
        if cell not in self._known:
            self._known[cell] = CellSpec.from_json(self._specs[cell])
        return self._known[cell]

    def _data(self, spec: CellSpec) -> OpenData:
        """The data set as this machine has it, which must be the one that was planned.

        Raises:
            UsageError: it is another one here, or code beside a card is.
        """
        if spec.data.id not in self._open:
            opened = open_data(spec.data)
            facts = DataFacts.of(opened.adapter, spec.cell.n_samples)
            planned = spec.fields
            if (facts.manifest_sha256, facts.keys_sha256) != (planned["manifest_sha256"], planned["samples"]["sha256"]):
                raise UsageError(f"{spec.data.root} holds another {spec.data.id} than the driver's machine has there.")
            self._open[spec.data.id] = opened
        card, path = spec.data.card, spec.data.path
        entry = spec.model.entry
        hashes = [code_hash(card.adapter, path), code_hash(entry.card.wrapper, entry.path)]
        if hashes != [spec.data.code_sha256, spec.model.code_sha256]:
            raise UsageError(f"The code beside {path} or {entry.path} is another one than on the driver's machine.")
        return self._open[spec.data.id]

    def _line_of(self, cell: int, spec: CellSpec, data: OpenData, shard: int, ahead: int | None) -> Line:
        """The line that this shard is on: the one that goes on, or a new one."""
        of_cell = spec.cell.n_samples, spec.cell.shard_size
        if self._line is not None and self._line[0] == cell and self._line[2] == shard:
            line = self._line[1]
        else:
            self._end_line()
            adapter, model = self._holder.ready(spec, data)
            job = job_of(spec, self._out, self._setting, data.adapter)
            line = Line(job, adapter, model, data.task, self._events.append, is_prompt=True)
            self._told = Timing()
            line.add(nth_shard(shard, *of_cell))
        self._line = (cell, line, ahead)
        if ahead is not None:
            line.add(nth_shard(ahead, *of_cell))
        return line

    def _end_line(self) -> None:
        """Forget what is on its way; nothing of it was asked for."""
        if self._line is not None:
            line = self._line[1]
            self._line = None
            line.close()

    def _done(self, cell: int, spec: CellSpec, data: OpenData, shard: int, line: Line) -> Told:
        now = line.timing
        timing, self._told = since(self._told, now), now
        notes, self._notes[:] = [*self._notes, *line.notes], []
        done = [event for event in self._events if isinstance(event, ShardDone)]
        self._events.clear()
        return {
            "kind": "done",
            "images": done[-1].n_images,
            "errors": done[-1].n_errors,
            "images_per_s": done[-1].images_per_s,
            "timing": timing.model_dump(),
            "notes": notes,
            "item_key": self._item_key(spec, data, shard),
        }

    def _item_key(self, spec: CellSpec, data: OpenData, shard: int) -> str:
        """What a shard was made of, for the driver to compare: of the first one of each data set, "" of others."""
        if spec.data.id in self._keyed:
            return ""
        self._keyed.add(spec.data.id)
        found = nth_shard(shard, spec.cell.n_samples, spec.cell.shard_size)
        return job_of(spec, self._out, self._setting, data.adapter).item_key(found, data.adapter.keys)


def _fault(error: Exception) -> Told:
    """The exception as plain values, and whether this process may go on: not where memory or a device failed."""
    told = machine_fault(error)
    is_unfit = told is not None and not isinstance(told, StorageFull)
    return {**fault_of(error), "unfit": is_unfit, "host": platform.node()}
