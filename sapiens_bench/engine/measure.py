"""From predictions to metric columns: images together where the metrics can, one by one to find which is at fault."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from sapiens_bench.errors import SampleFault, out_of_memory, raise_if_machine
from sapiens_bench.store.rows import Row
from sapiens_bench.types import MeasuresMany, Task


class Measured(NamedTuple):
    """Metric columns of one image, and what was wrong with it."""

    values: Row
    fault: SampleFault | None


def is_together(task: Task) -> bool:
    """Whether a metric of the task measures many images at once."""
    return any(isinstance(metric, MeasuresMany) for metric in task.metrics)


def measure_all(
    task: Task, targets: Sequence[Any], predictions: Sequence[Any], faults: Sequence[SampleFault | None]
) -> list[Measured]:
    """Metric columns of many images, equal to those of ``measure_one``; where any metric raises, that is who measures.

    Where no image is at fault by itself, the metric is: a warning says so.

    Args:
        predictions: one per target, checked (``Task.check``).
        faults: what the check found, on side ``prediction``.
    """
    found = measure_together(task, targets, predictions)
    if isinstance(found, Exception):
        alone = [measure_one(task, *image) for image in zip(targets, predictions, faults, strict=True)]
        if all(one.fault is fault for one, fault in zip(alone, faults, strict=True)) and not out_of_memory(found):
            why = f"{type(found).__name__}: {found}"
            warnings.warn(f"Measured image by image ({task.name}): together, {why}", RuntimeWarning, stacklevel=2)
        return alone
    return [Measured(values, fault) for values, fault in zip(found, faults, strict=True)]


def measure_together(task: Task, targets: Sequence[Any], predictions: Sequence[Any]) -> list[Row] | Exception:
    """One dictionary per image, "<metric>/<column>" -> value; or what a metric raised.

    Memory that does not suffice for all may suffice for one, so that this is no fault of the machine yet.
    """
    rows: list[Row] = [{} for _ in targets]
    try:
        for metric in task.metrics:
            if isinstance(metric, MeasuresMany):
                found = metric.measure_many(targets, predictions)
            else:
                found = [metric.measure(t, p) for t, p in zip(targets, predictions, strict=True)]
            for row, values in zip(rows, found, strict=True):
                row.update({f"{metric.name}/{name}": value for name, value in values.items()})
    except Exception as error:  # one image must not end the run
        return error
    return rows


def measure_one(task: Task, target: Any, prediction: Any, fault: SampleFault | None) -> Measured:
    """Metric columns. A prediction that breaks a metric is a miss; a target that does leaves the metric for all."""
    try:
        return Measured(_values(task, target, prediction), fault)
    except Exception as error:  # one image must not end the run
        raise_if_machine(error)
        detail = f"{type(error).__name__}: {error}"
    try:
        values = _values(task, target, task.miss(target))
    except Exception as error:
        raise_if_machine(error)
        return Measured({}, SampleFault("label.exception", detail, side="input"))
    return Measured(values, fault or SampleFault("pred.exception", detail, side="prediction"))


def _values(task: Task, target: Any, prediction: Any) -> Row:
    return {f"{m.name}/{name}": v for m in task.metrics for name, v in m.measure(target, prediction).items()}
