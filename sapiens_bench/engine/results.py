"""The loop for results made elsewhere: no picture, no device, no thread; a shard is measured in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sapiens_bench.engine.cell import CellJob, finish_item, measured
from sapiens_bench.engine.events import BatchDone, Event, ShardDone
from sapiens_bench.engine.line import add_times
from sapiens_bench.engine.loader import load
from sapiens_bench.store.record import Timing
from sapiens_bench.store.rows import Shard
from sapiens_bench.types import Adapter, Model, Task


def run_results(
    job: CellJob,
    adapter: Adapter,
    model: Model,
    task: Task,
    on_event: Callable[[Event], None],
    missing: Sequence[Shard],
) -> tuple[Timing, list[str]]:
    """Compute and commit the ``missing`` shards of the cell, as ``line.run_cell`` would."""
    timing = Timing()
    keep = job.save_preds and task.to_columns is not None
    for shard in missing:
        began = time.perf_counter()
        loaded = [load(adapter, model.prepare, index) for index in shard.indices]
        timing.prepare_s += sum(item.seconds for item in loaded)
        scored = measured([finish_item(x, x.fault or {}, model, task, job) for x in loaded], task, keep)
        job.commit(shard, job.item_key(shard, adapter.keys), scored)
        seconds = time.perf_counter() - began
        add_times(timing, scored, seconds)
        failed = sum(s.row["status"] == "error" for s in scored)
        on_event(BatchDone(job.cell, len(scored)))
        on_event(ShardDone(job.cell, shard.number, len(scored), failed, len(scored) / max(seconds, 1e-9)))
    return timing, [f"{job.cell.model}: {note}" for note in getattr(model, "notes", ())]
