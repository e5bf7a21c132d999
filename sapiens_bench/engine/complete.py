"""Is a run complete already? Then neither a device nor torch is needed to open it again."""

from __future__ import annotations

from typing import NamedTuple

from sapiens_bench.engine.device import cpu_facts
from sapiens_bench.engine.plan import Plan
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.store.commits import commit_path
from sapiens_bench.store.record import HardwareRecord, RunRecord, read_run
from sapiens_bench.store.rows import shard_files, shards_of


class Before(NamedTuple):
    """On what, and how, the rows of a complete run were computed."""

    device: str
    batch_size: int
    hardware: HardwareRecord


def complete_before(plan: Plan) -> Before | None:
    """What run.json says, where all shards seem to be there and this machine and request are those of that run.

    Only names of files are looked at, so that a shard may yet prove to be damaged or out of date.
    """
    try:
        record = read_run(plan.out)
    except SapiensBenchError:
        return None
    device, batch_size = record.hardware.device, record.request.get("batch_size")
    if not device or not isinstance(batch_size, int) or not _is_same(plan, record, batch_size):
        return None
    for spec in plan.cells:
        folder = plan.out / "rows" / spec.cell.folder
        numbers = {shard.number for shard in shards_of(spec.cell.n_samples, spec.cell.shard_size)}
        if set(shard_files(folder)) != numbers or not all(commit_path(folder, n).is_file() for n in numbers):
            return None
    return Before(device, batch_size, record.hardware)


def _is_same(plan: Plan, record: RunRecord, batch_size: int) -> bool:
    """Whether the record's machine and setting are what this request would use."""
    asked, cpu = plan.how.device, cpu_facts().get("model name", "")
    return (
        record.status == "done"
        and record.hardware.cpu == cpu
        and asked in ("auto", record.hardware.device)
        and plan.how.batch_size in (None, batch_size)
    )
