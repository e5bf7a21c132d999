"""Throughput over several runs of one folder: what an earlier run measured outlives a later one that computes less."""

from __future__ import annotations

from sapiens_bench.store.record import CellRecord, RunRecord, Timing


def carried_timing(previous: RunRecord | None, now: RunRecord, cell: CellRecord) -> Timing:
    """The timing of a cell after this run.

    Where this run computed nothing, what was measured before stays, with a word on where if that was elsewhere. Shards
    computed on the same machine with the same setting add up; those of another are not mixed in.

    Args:
        previous: what the folder's record said before this run.
        now: the record of this run.
        cell: one of its cells; its timing is of this run alone.
    """
    old = _same_cell(previous, cell)
    if previous is None or old is None or old.timing.images == 0:
        return cell.timing
    there, here = old.timing.measured_on or _setting(previous), _setting(now)
    if cell.timing.images == 0:
        return old.timing.model_copy(update={"measured_on": "" if there == here else there})
    return _sum(old.timing, cell.timing) if there == here else cell.timing


def _same_cell(record: RunRecord | None, cell: CellRecord) -> CellRecord | None:
    place = (cell.task, cell.dataset, cell.protocol, cell.model, cell.fingerprint)
    for old in record.cells if record is not None else ():
        if (old.task, old.dataset, old.protocol, old.model, old.fingerprint) == place:
            return old
    return None


def _setting(record: RunRecord) -> str:
    """What a throughput depends on beside the model."""
    hardware, request = record.hardware, record.request
    machine = ", ".join(hardware.gpus) if hardware.device.startswith("cuda") else hardware.cpu
    return f"{hardware.device} ({machine}), batch {request.get('batch_size')}, {request.get('workers')} workers"


def _sum(a: Timing, b: Timing) -> Timing:
    numbers = {name: getattr(a, name) + getattr(b, name) for name in Timing.model_fields if name != "measured_on"}
    return Timing.model_validate(numbers)
