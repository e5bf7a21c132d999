"""The missing shards of a plan, given to the workers of a Ray cluster; rows are committed where they are made."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from sapiens_bench.engine.choices import Places, RunChoice
from sapiens_bench.engine.crashed import write_off
from sapiens_bench.engine.crew import Answer, Crew, Item, Queue
from sapiens_bench.engine.events import CellStarted, Event, Note, ShardDone
from sapiens_bench.engine.jobs import Todo
from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.ray_cluster import cores_for, joined
from sapiens_bench.engine.ray_pool import RayPool, setup_of_run, told_in
from sapiens_bench.engine.ray_worker import Told
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.stopping import guarded
from sapiens_bench.engine.threads import division
from sapiens_bench.errors import SapiensBenchError, UsageError
from sapiens_bench.store.files import remove_strays
from sapiens_bench.store.record import CellRecord, HardwareRecord, RunRecord, Timing
from sapiens_bench.store.rows import nth_shard
from sapiens_bench.store.throughput import summed
from sapiens_bench.workers import Reply, error_of


class Run(Protocol):
    """What is needed of the run whose shards they are."""

    plan: Plan
    how: RunChoice
    record: RunRecord
    on_event: Callable[[Event], None]

    def refuse(self, spec: CellSpec, error: SapiensBenchError) -> None: ...
    def note_once(self, *texts: str) -> None: ...
    def record_of(self, spec: CellSpec) -> CellRecord: ...


def spread(todos: Sequence[Todo], run: Run) -> list[tuple[CellSpec, str]]:
    """Have all missing shards computed and committed; of each that cost too many workers and stays missing, why.

    Raises:
        UsageError: no Ray, no cluster, or a machine of it that is not set up as this one.
        MachineFault: no worker can be had. StorageFull: the run folder is full, for everybody.
    """
    how, out = run.how, run.plan.out
    desk = _Desk(todos, run)
    with (
        told_in(out, setup_of_run(todos, how, out)) as file,
        joined(how.address, cores_for(how.workers, how.threads)) as found,
    ):
        if found.note:
            run.note_once(found.note)
        pool = RayPool(found, Places.of(how), file, desk.greet)
        run.record.request |= {"ray": found.ray.__version__}
        desk.announce()
        try:
            queue = Queue([(todo.spec.model.id, array("q", (s.number for s in todo.missing))) for todo in todos])
            lost = Crew(pool, queue, desk.take, lambda text: run.on_event(Note(text))).work()
        finally:
            with guarded():
                pool.close()
                remove_strays(out)  # of workers that were killed
            run.record.request |= {"worker_hosts": dict(sorted(desk.hosts.items()))}
    missing = []
    for item, whys in lost:
        todo = todos[item.cell]
        told, has_rows = write_off(todo, item.shard, whys, how, out)
        run.note_once(told)
        missing += [] if has_rows else [(todo.spec, told)]
    return missing


class _Desk:
    """Takes in what workers say."""

    def __init__(self, todos: Sequence[Todo], run: Run) -> None:
        self._todos, self._run = todos, run
        self._machine: dict[str, Any] | None = None
        self._seen: set[tuple[int, str]] = set()  # (worker, data set) whose files were compared
        self.hosts: Counter[str] = Counter()

    def announce(self) -> None:
        """All cells are one to whoever watches."""
        waiting = [todo for todo in self._todos if todo.missing]
        first = waiting[0].spec
        total = sum(todo.spec.cell.n_samples for todo in waiting)
        sets = {todo.spec.cell.dataset for todo in waiting}
        is_one = len(waiting) == 1
        cell = replace(
            first.cell, n_samples=total, dataset=first.cell.dataset if len(sets) == 1 else f"{len(sets)} data sets"
        )
        title = first.title if is_one else f"{len({todo.spec.model.id for todo in waiting})} models"
        self._run.on_event(CellStarted(cell, title, sum(todo.n_done for todo in waiting)))

    def greet(self, told: Told) -> None:
        """A worker says where it is and what it has; the first one stands for all in the record.

        Raises:
            UsageError: workers have different kinds of devices, and one table must not mix their numbers.
        """
        self.hosts[told["host"]] += 1
        hardware = told["hardware"]
        if self._machine is None:
            self._machine = hardware
            threads = division(told["threads"])
            self._run.record.hardware = HardwareRecord.model_validate(hardware)
            self._run.record.request |= {
                "device": hardware["device"], "batch_size": told["batch_size"], **asdict(threads)
            }  # fmt: skip
            return
        ours, theirs = _kind(self._machine), _kind(hardware)
        if ours[0] != theirs[0]:
            raise UsageError(f"{told['host']} computes on {theirs[0]}, others on {ours[0]}: give --device.")
        if ours != theirs:
            self._run.note_once(f"Workers differ: {' / '.join(ours[1:])}; {told['host']}: {' / '.join(theirs[1:])}.")

    def take(self, item: Item, worker: int, answer: Answer) -> None:
        """A shard is committed, or its cell refused."""
        todo, told = self._todos[item.cell], answer.about
        if answer.kind == "refused":
            self._refuse(todo.spec, told)
            return
        if told["item_key"] and (worker, todo.spec.data.id) not in self._seen:
            self._seen.add((worker, todo.spec.data.id))
            self._compare(todo, item, told["item_key"])
        record = self._run.record_of(todo.spec)
        record.timing = summed(record.timing, Timing.model_validate(told["timing"]))
        self._run.note_once(*told["notes"])
        speed = told["images_per_s"]
        self._run.on_event(ShardDone(todo.spec.cell, item.shard, told["images"], told["errors"], speed))

    def _refuse(self, spec: CellSpec, told: Told) -> None:
        names = ("error", "message", "errno", "memory", "trace")
        error = error_of(Reply(**{name: told[name] for name in names}))
        assert isinstance(error, SapiensBenchError)
        self._run.refuse(spec, error)

    def _compare(self, todo: Todo, item: Item, key: str) -> None:
        """A shard must have been made of the files that this machine sees.

        Raises:
            UsageError: it was not; resuming would compute it again for ever.
        """
        shard = nth_shard(item.shard, todo.spec.cell.n_samples, todo.spec.cell.shard_size)
        if todo.job.item_key(shard, todo.data.open.adapter.keys) != key:
            raise UsageError(
                f"The files of {todo.spec.data.id} are not the same on every machine (size or time of change). "
                "Keep them on storage that all share, or copy them with their times (rsync -a)."
            )


def _kind(hardware: dict[str, Any]) -> tuple[str, ...]:
    return hardware["device"], *sorted(set(hardware.get("gpus") or [hardware["cpu"]]))
