"""What ``run --dry-run`` says: a plan as a document, so that every format of a table can show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sapiens_bench.report.numbers import duration, size
from sapiens_bench.report.sheet import Document, Sheet

if TYPE_CHECKING:
    from sapiens_bench.engine.plan import Plan

_HEADS = ("Data set", "Protocol", "Model", "Images", "Weights", "")


def plan_document(plan: Plan) -> Document:
    """What would run, what cannot and why, how long it may take and what it needs on disk."""
    will = [(c.record, c.cell.n_samples, "will run") for c in plan.cells]
    will += [(record, 0, record.status) for record in plan.unavailable]
    rows = [
        (r.dataset, r.protocol, r.title, str(n) if status == "will run" else "", size(r.weights_bytes), status)
        for r, n, status in will
    ]
    how = dict.fromkeys(record.how for record in plan.unavailable if record.how)
    cells = [
        {
            "dataset": r.dataset, "protocol": r.protocol, "model": r.model, "title": r.title, "status": status,
            "images": n, "weights_bytes": r.weights_bytes, "how": r.how,
        }
        for r, n, status in will
    ]  # fmt: skip
    return Document(
        "What would run",
        (Sheet("", _HEADS, tuple(rows), left=(2, 0, 1, 5)),),
        facts={
            "Images": f"{plan.n_images} over {len(plan.cells)} model(s)",
            "Time": f"about {duration(plan.estimate_s)} (a rough estimate; rows on disk are not done again)",
            "Disk": f"{size(plan.disk_bytes)} needed, {size(plan.free_bytes)} free",
            "Output": str(plan.out),
        },
        notes=(*(f"Note: {note}" for note in (*plan.data_notes, *plan.notes)), *(f"Missing: {text}" for text in how)),
        data={
            "schema": "dry-run/1",
            "task": plan.task,
            "out": str(plan.out),
            "images": plan.n_images,
            "seconds": plan.estimate_s,
            "disk_bytes": plan.disk_bytes,
            "free_bytes": plan.free_bytes,
            "cells": cells,
            "notes": [*plan.data_notes, *plan.notes],
        },
    )
