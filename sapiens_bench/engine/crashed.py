"""Shards that cost three workers: error rows take their place, so that planned and found rows agree.

What ended the workers cannot be told: lack of memory, a kernel, a library. So the rows are what a model's failures are,
misses (side ``prediction``, code ``worker.crash``): that can lower a score and never raise one, and it touches no other
model, as leaving the images out would. Where one of the workers went with its machine the images are not to blame, and
the shard stays missing. The rows count for as long as ``failed/<cell>/shard-00012.json`` is there, which
says how each worker ended; without it the next run computes the shard.

Their truth is read in a process of its own. Where that ends as well, the shard stays missing and the run incomplete.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sapiens_bench.engine.build import open_data
from sapiens_bench.engine.cell import finish_item, measured
from sapiens_bench.engine.choices import RunChoice
from sapiens_bench.engine.crew import MACHINE_GONE
from sapiens_bench.engine.jobs import Setting, Todo, job_of
from sapiens_bench.engine.loader import load
from sapiens_bench.engine.retry import CRASHED, failed_path
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.threads import division
from sapiens_bench.errors import SampleFault
from sapiens_bench.store.files import write_atomic
from sapiens_bench.store.rows import nth_shard
from sapiens_bench.tasks import TASKS
from sapiens_bench.types import ModelInput, Prepared
from sapiens_bench.workers import Child, ChildDied, error_of

_AGAIN = "The same command tries them again."
_FIX = "Fewer workers a machine, or a smaller --batch-size, need less memory at once."


def write_off(todo: Todo, shard: int, whys: Sequence[str], how: RunChoice, out: Path) -> tuple[str, bool]:
    """Commit error rows in place of a shard; what to tell the user, and whether they are there.

    Raises:
        StorageFull, MachineFault: no room, no memory.
    """
    cell = todo.spec.cell
    size = len(nth_shard(shard, cell.n_samples, cell.shard_size).indices)
    about = f"{size} images of {todo.spec.title} on {cell.dataset} ended {len(whys)} workers"
    why = f"The last: {whys[-1].rstrip('.')}."
    if any(each.endswith(MACHINE_GONE) for each in whys):
        return f"{about}, with a machine that went away among the causes: they are missing. {why} {_AGAIN}", False
    if not _misses_committed(todo, shard, f"{len(whys)} workers ended over it. {why}", how, out):
        return f"{about}, and one more that was to note it: they are missing. {why} {_FIX}", False
    told = {"model": cell.model, "dataset": cell.dataset, "shard": shard, "workers_ended": list(whys)}
    write_atomic(failed_path(out, cell.folder, shard), json.dumps(told, indent=1).encode())
    again = f"To try them again: rm -r {shlex.quote(str(out / 'failed'))}, then the same command."
    return f"{about} and count as misses (worker.crash). {why} {again} {_FIX}", True


def _misses_committed(todo: Todo, shard: int, detail: str, how: RunChoice, out: Path) -> bool:
    told = {"spec": todo.spec.to_json(), "shard": shard, "detail": detail, "how": asdict(how)}
    told |= {"out": str(out.resolve()), "tasks": dict(TASKS)}
    child = Child(threads=1)
    try:
        reply = child.ask(f"{__name__}:commit_misses", told)
    except ChildDied:
        return False
    finally:
        child.close()
    if reply.error:
        raise error_of(reply)
    return True


def commit_misses(told: Mapping[str, Any]) -> None:
    """The rows, as a job of ``workers.Child``."""
    for name, target in told["tasks"].items():
        TASKS.setdefault(name, target)
    spec = CellSpec.from_json(told["spec"])
    data = open_data(spec.data)
    job = job_of(spec, Path(told["out"]), Setting.of(RunChoice(**told["how"]), "cpu", division(1)), data.adapter)
    shard = nth_shard(told["shard"], spec.cell.n_samples, spec.cell.shard_size)
    key = job.item_key(shard, data.adapter.keys)
    fault = SampleFault(CRASHED, told["detail"], side="prediction")
    model: Any = None  # is not asked: its answer is the fault
    images = [finish_item(load(data.adapter, _nothing, i), fault, model, data.task, job) for i in shard.indices]
    job.commit(shard, key, measured(images, data.task, job.save_preds and data.task.to_columns is not None))


def _nothing(x: ModelInput) -> Prepared:
    return Prepared({}, None)
