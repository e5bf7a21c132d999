"""All shards of a cell through the loop of ``cell.py``, each committed before the next; more may come meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from sapiens_bench.engine.cell import CellJob, Scored, run_shards, staged
from sapiens_bench.engine.events import BatchDone, Event, ShardDone
from sapiens_bench.engine.forward import Forward
from sapiens_bench.store.record import Timing
from sapiens_bench.store.rows import Shard
from sapiens_bench.types import Adapter, Model, Task


def run_cell(
    job: CellJob,
    adapter: Adapter,
    model: Model,
    task: Task,
    on_event: Callable[[Event], None],
    missing: Sequence[Shard],
) -> tuple[Timing, list[str]]:
    """Compute and commit the ``missing`` shards of the cell; returns times, and notes for the user."""
    with Line(job, adapter, model, task, on_event) as line:
        for shard in missing:
            line.add(shard)
        while line.commit_next() is not None:
            pass
    return line.timing, line.notes


class Line:
    """The shards of a cell on their way from the loader to the disk, in order.

    More may be added while the last one is being computed: it is then loaded meanwhile, and where the device takes
    batches ahead its first ones are computed while the one before it is measured and committed.

    Args:
        is_prompt: see ``run_shards``.
    """

    def __init__(
        self,
        job: CellJob,
        adapter: Adapter,
        model: Model,
        task: Task,
        on_event: Callable[[Event], None],
        *,
        is_prompt: bool = False,
    ) -> None:
        self._job, self._adapter, self._model, self._on_event = job, adapter, model, on_event
        self._to_load, self._to_compute = _Shards(), _Shards()
        self._item_keys: dict[int, str] = {}
        self._timing = Timing()
        self._first = (0.0, 0)  # seconds until the first shard was committed, and images computed by then
        self._stack = ExitStack()
        self._stage = self._stack.enter_context(staged(job, adapter, model, task, _Indices(self._to_load)))
        self._done = run_shards(self._to_compute, self._stage, self._on_batch, is_prompt=is_prompt)
        self._began = time.perf_counter()

    def add(self, shard: Shard) -> None:
        """One more at the end."""
        # Before its first image is read: a file that changes meanwhile must not be taken for the one that was scored.
        self._item_keys[shard.number] = self._job.item_key(shard, self._adapter.keys)
        self._to_load.put(shard)
        self._to_compute.put(shard)

    def commit_next(self) -> int | None:
        """Compute and commit a shard; its number. None: all that were added are through, and no more may be."""
        found = next(self._done, None)
        if found is None:
            return None
        shard, scored = found
        self._job.commit(shard, self._item_keys.pop(shard.number), scored)
        now = time.perf_counter()
        seconds, self._began = now - self._began, now
        if self._timing.images == 0:  # it holds first calls, which a longer run has once
            self._first = seconds, self._stage.forward.n_computed  # images of the next shard, too
            self._stage.forward.streams.forget()
        add_times(self._timing, scored, seconds)
        failed = sum(s.row["status"] == "error" for s in scored)
        speed = len(scored) / max(seconds, 1e-9)
        self._on_event(ShardDone(self._job.cell, shard.number, len(scored), failed, speed))
        return shard.number

    def _on_batch(self, n_images: int) -> None:
        self._on_event(BatchDone(self._job.cell, n_images))

    @property
    def timing(self) -> Timing:
        """Times until now."""
        loader, forward = self._stage.loader, self._stage.forward
        streams = forward.streams
        seen = {"wait_s": loader.wait_s, "prepare_s": loader.prepare_s, "forward_s": forward.seconds}
        seen |= {"device_busy_s": streams.busy_s, "device_gap_s": streams.gap_s}
        first_s, n_first = self._first
        first = {"first_shard_s": first_s, "first_shard_images": min(n_first, self._timing.images)}
        return self._timing.model_copy(update={**seen, **first})

    @property
    def notes(self) -> list[str]:
        """What a user should know about how it went."""
        own = (f"{self._job.cell.model}: {note}" for note in getattr(self._model, "notes", ()))
        return [*_notes(self._job, self._stage.forward), *own]

    def close(self) -> None:
        """End, also with shards that are not through: nothing of them is kept."""
        self._done.close()
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


class _Shards:
    """Shards to be taken in order. After the last one more may be put in, and an iterator that has ended goes on."""

    def __init__(self) -> None:
        self._waiting: deque[Shard] = deque()

    def put(self, shard: Shard) -> None:
        self._waiting.append(shard)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Shard:
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()


class _Indices:
    """The samples of shards, one by one; goes on where more shards come."""

    def __init__(self, shards: _Shards) -> None:
        self._shards, self._now = shards, iter(range(0))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        while (index := next(self._now, None)) is None:
            self._now = iter(next(self._shards).indices)
        return index


def add_times(timing: Timing, scored: Sequence[Scored], seconds: float) -> None:
    """Add a shard's times."""
    if timing.images == 0:
        timing.first_shard_s, timing.first_shard_images = seconds, len(scored)
    timing.wall_s += seconds
    timing.images += len(scored)
    timing.finish_s += sum(s.finish_s for s in scored)
    timing.measure_s += sum(s.measure_s for s in scored)


def _notes(job: CellJob, forward: Forward) -> list[str]:
    if not forward.halved:
        return []
    return [
        f"{job.cell.model} on {job.cell.dataset}: the device ran out of memory at {job.batch_size} crops, so "
        f"{forward.budget} were used. Give --batch-size {forward.budget} to start there."
    ]
