"""What an adapter has to say about its files, and what drives a top-down model: facts for run.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sapiens_bench.engine.admit import DataPlan


def about_boxes(data: DataPlan) -> dict[str, Any]:
    """Fields of ``DatasetRecord``: notes; and of person boxes their source, hash and quality against the people that
    are scored. An adapter with boxes speaks of these in ``notes``, unless it has ``boxes_notes`` besides."""
    adapter = data.adapter
    facts: dict[str, Any] = {}
    for name, key in (("boxes", "boxes_source"), ("boxes_sha256", "boxes_sha256")):
        if value := getattr(adapter, name, None):
            facts[key] = str(value)
    notes, of_boxes = _texts(adapter, "notes"), _texts(adapter, "boxes_notes")
    if "boxes_source" in facts and not hasattr(adapter, "boxes_notes"):
        notes, of_boxes = [], notes
    facts |= {"notes": notes, "boxes_notes": of_boxes}
    measure = getattr(adapter, "box_quality", None)
    if measure is not None:
        facts["box_quality"] = asdict(measure(data.n_samples))
    return facts


def _texts(adapter: object, name: str) -> list[str]:
    value = getattr(adapter, name, None) or ()
    return [value] if isinstance(value, str) else [str(text) for text in value]
