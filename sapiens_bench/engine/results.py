"""The loop for results made elsewhere: no picture, no device, no thread; a shard is measured in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sapiens_bench.engine.cell import CellJob, Scored, add_times, measure, predict, status_of
from sapiens_bench.engine.events import BatchDone, Event, ShardDone
from sapiens_bench.engine.loader import Loaded, load
from sapiens_bench.engine.scores import measure_together
from sapiens_bench.store.record import Timing
from sapiens_bench.store.rows import Row, Shard
from sapiens_bench.types import Adapter, Model, Task


def run_results(
    job: CellJob,
    adapter: Adapter,
    model: Model,
    task: Task,
    on_event: Callable[[Event], None],
    missing: Sequence[Shard],
) -> tuple[Timing, list[str]]:
    """Compute and commit the ``missing`` shards of the cell, as ``cell.run_cell`` would."""
    timing = Timing()
    for shard in missing:
        began = time.perf_counter()
        loaded = [load(adapter, model.prepare, index) for index in shard.indices]
        timing.prepare_s += sum(item.seconds for item in loaded)
        scored = _scored(loaded, model, task, job)
        job.commit(shard, job.item_key(shard, adapter.keys), scored)
        seconds = time.perf_counter() - began
        add_times(timing, scored, seconds)
        failed = sum(s.row["status"] == "error" for s in scored)
        on_event(BatchDone(job.cell, len(scored)))
        on_event(ShardDone(job.cell, shard.number, len(scored), failed, len(scored) / max(seconds, 1e-9)))
    return timing, [f"{job.cell.model}: {note}" for note in getattr(model, "notes", ())]


def _scored(loaded: Sequence[Loaded], model: Model, task: Task, job: CellJob) -> list[Scored]:
    """One result per image, in order."""
    sound = [item for item in loaded if item.sample is not None and not (item.fault and item.fault.side == "input")]
    began = time.perf_counter()
    found = [predict(item.sample, item, item.fault or {}, model, task, job.index_K) for item in sound if item.sample]
    finished = time.perf_counter()
    targets = [item.sample.target for item in sound if item.sample]
    rows = measure_together(task, targets, [prediction for prediction, _ in found])
    scored: dict[int, Scored] = {}
    seconds = (finished - began) / max(1, len(sound)), (time.perf_counter() - finished) / max(1, len(sound))
    for place, (item, (prediction, fault)) in enumerate(zip(sound, found, strict=True)):
        assert item.sample is not None
        values = rows[place] if rows is not None else None
        if values is None:
            values, fault = measure(item.sample, prediction, task, fault)
        keeps = job.save_preds and task.to_columns is not None and (fault is None or fault.side == "prediction")
        columns = task.to_columns(prediction) if keeps and task.to_columns is not None else None
        scored[item.index] = Scored(_base(item) | values | status_of(fault), columns, *seconds)
    return [scored.get(item.index) or Scored(_base(item) | status_of(item.fault), None, 0.0, 0.0) for item in loaded]


def _base(item: Loaded) -> Row:
    return {"index": item.index, "key": item.key, "group": item.group}
