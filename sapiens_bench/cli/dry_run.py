"""What ``run --dry-run`` says: a plan as a document, so that every format of a table can show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sapiens_bench.report.numbers import duration, size
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.report.tables import fetch_command

if TYPE_CHECKING:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.forecast import Forecast
    from sapiens_bench.engine.plan import Plan
    from sapiens_bench.store.record import CellRecord

_NAMED = 3  # models of a family in one line
_HEADS = ("Data set", "Protocol", "Model", "Images", "Weights", "")


def plan_document(
    plan: Plan, catalog: Catalog, gpus: int = 0, price_per_hour: float | None = None, *, place: str = ""
) -> Document:
    """What would run, what cannot and why, and what it will take: time, memory, disk, money.

    Args:
        catalog: what the cards say about missing weights.
        place: where the run goes as the user names it, where that is no folder of this machine.
    """
    from sapiens_bench.engine.forecast import forecast

    found = forecast(plan, gpus=gpus, price_per_hour=price_per_hour)
    will = [(c.record, c.cell.n_samples, "will run") for c in plan.cells]
    will += [(record, 0, record.status) for record in plan.unavailable]
    rows = [
        (r.dataset, r.protocol, r.title, str(n) if status == "will run" else "", size(r.weights_bytes), status)
        for r, n, status in will
    ]
    cells = [
        {
            "dataset": r.dataset, "protocol": r.protocol, "model": r.model, "title": r.title, "status": status,
            "images": n, "weights_bytes": r.weights_bytes, "how": r.how,
            **_pace(found, r),
        }
        for r, n, status in will
    ]  # fmt: skip
    return Document(
        "What would run",
        (Sheet("", _HEADS, tuple(rows), left=(2, 0, 1, 5)),),
        facts={
            "Images": f"{plan.n_images} over {len(plan.cells)} model(s)",
            "Time": "none: no model would run"
            if not plan.cells
            else f"about {duration(found.seconds)}{f' on {gpus} GPU(s)' if gpus else ''} (from {_sources(found)})",
            **({} if found.cost is None else {"Cost": f"{found.cost:.2f} at {price_per_hour:g} per hour"}),
            "Memory": f"about {size(found.host_bytes)} a process"
            + (f", {size(found.device_bytes)} on each GPU" if found.device_bytes else ""),
            "Disk": f"about {size(found.disk_bytes)} needed, {size(plan.free_bytes)} free",
            "Output": place or str(plan.out),
        },
        notes=(
            *(f"Note: {note}" for note in (*found.caveats, *plan.data_notes, *plan.notes)),
            *missing_lines(plan.unavailable, catalog),
        ),
        data={
            "schema": "dry-run/1",
            "task": plan.task,
            "out": place or str(plan.out),
            "images": plan.n_images,
            "seconds": found.seconds,
            "disk_bytes": found.disk_bytes,
            "host_bytes": found.host_bytes,
            "device_bytes": found.device_bytes,
            "gpus": gpus,
            "cost": found.cost,
            "free_bytes": plan.free_bytes,
            "cells": cells,
            "notes": [*plan.data_notes, *plan.notes],
        },
    )


def missing_lines(unavailable: Sequence[CellRecord], catalog: Catalog) -> list[str]:
    """What cannot run and why: weights in one line for each family of models, every other reason once."""
    families: dict[str, dict[str, CellRecord]] = {}
    others: dict[str, None] = {}
    for record in unavailable:
        if record.status == "weights missing":
            families.setdefault(record.family, {})[record.model] = record
        elif record.how:
            others[f"Missing: {' '.join(record.how.split())}"] = None
    lines = [_of_family(list(records.values()), catalog) for records in families.values()]
    if lines:
        lines.append(f"`sapiens-bench weights list --task {unavailable[0].task}` lists what is here and what is not.")
    return [*lines, *others]


def _of_family(records: Sequence[CellRecord], catalog: Catalog) -> str:
    names = ", ".join(record.model for record in records[:_NAMED])
    more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    way = fetch_command(records[0], catalog) or "sapiens-bench weights show NAME"
    way = way.replace("NAME", records[0].model, 1) if len(records) == 1 else way
    weights = "weights" if len(records) == 1 else f"weights of {len(records)} models"
    return f"Missing: {weights} ({names}{more}): `{way}`"


def _pace(found: Forecast, cell: CellRecord) -> dict[str, Any]:
    pace = found.paces.get((cell.dataset, cell.model))
    return {} if pace is None else {"image_s": pace.image_s, "from": pace.source}


def _sources(found: Forecast) -> str:
    return "; ".join(sorted({pace.source for pace in found.paces.values()})) or "nothing"
