"""Throughput over several runs of one folder: what an earlier run measured outlives a later one that computes less."""

from __future__ import annotations

from collections.abc import Sequence

from sapiens_bench.store.record import CellRecord, RunRecord, Timing

_THREADS = ("cores", "operators", "loaders", "scorers", "workers")  # the last one of records of earlier versions
_NUMBERS = [name for name in Timing.model_fields if name != "measured_on"]


def carried_timings(previous: RunRecord | None, now: RunRecord, cells: Sequence[CellRecord]) -> list[CellRecord]:
    """The cells, each with the timing of the folder's runs in place of this run's alone.

    Where this run computed nothing, what was measured before stays, with a word on where if that was elsewhere. Shards
    computed on the same machine with the same setting add up; those of another are not mixed in.

    Args:
        previous: what the folder's record said before this run.
        now: the record of this run.
        cells: its cells; their timings are of this run alone.
    """
    before = {} if previous is None else {_place(cell): cell.timing for cell in previous.cells}
    there = "" if previous is None else _setting(previous)
    here = _setting(now)
    found = []
    for cell in cells:
        old = before.get(_place(cell))
        timing = cell.timing if old is None or old.images == 0 else _carried(old, old.measured_on or there, cell, here)
        found.append(cell.model_copy(update={"timing": timing}))
    return found


def _carried(old: Timing, there: str, cell: CellRecord, here: str) -> Timing:
    if cell.timing.images == 0:
        return old.model_copy(update={"measured_on": "" if there == here else there})
    return summed(old, cell.timing) if there == here else cell.timing


def _place(cell: CellRecord) -> tuple[str, ...]:
    return cell.task, cell.dataset, cell.protocol, cell.model, cell.fingerprint


def _setting(record: RunRecord) -> str:
    """What a throughput depends on beside the model."""
    hardware, request = record.hardware, record.request
    machine = ", ".join(hardware.gpus) if hardware.device.startswith("cuda") else hardware.cpu
    numbers = [f"{name} {request[name]}" for name in (*_THREADS, "prefetch") if request.get(name) is not None]
    return ", ".join([f"{hardware.device} ({machine})", f"batch {request.get('batch_size')}", *numbers])


def since(before: Timing, now: Timing) -> Timing:
    """What was added to the times of a cell."""
    return Timing.model_validate({name: getattr(now, name) - getattr(before, name) for name in _NUMBERS})


def summed(a: Timing, b: Timing) -> Timing:
    """The times of two parts of one cell."""
    return Timing.model_validate({name: getattr(a, name) + getattr(b, name) for name in _NUMBERS})
