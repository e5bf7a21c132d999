"""What drives a top-down model: facts about the boxes for run.json."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sapiens_bench.engine.admit import DataPlan


def about_boxes(data: DataPlan) -> dict[str, Any]:
    """Source, hash, what was left out, and quality against the people that are scored; empty without person boxes."""
    adapter = data.adapter
    facts: dict[str, Any] = {}
    for name, key in (("boxes", "boxes_source"), ("boxes_sha256", "boxes_sha256"), ("notes", "boxes_notes")):
        value = getattr(adapter, name, None)
        if value:
            facts[key] = list(value) if isinstance(value, tuple | list) else str(value)
    measure = getattr(adapter, "box_quality", None)
    if measure is not None:
        quality = asdict(measure(data.n_samples))
        facts["box_quality"] = {k: None if v != v else v for k, v in quality.items()}
    return facts
