"""What a run record says about a data set, read in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sapiens_bench.store.record import RunRecord


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Facts that a report uses; empty or None where the record does not have them."""

    title: str = ""
    protocol_title: str = ""
    n_images: int = 0
    n_scored: int | None = None
    n_excluded: int | None = None
    boxes: str = ""  # as asked for
    boxes_source: str = ""  # as found: file name, hash, detector
    box_quality: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what the adapter or the box file says about itself


def dataset_facts(record: RunRecord, dataset: str) -> DatasetFacts:
    """The facts of one data set of a run."""
    raw = record.datasets.get(dataset)
    facts: dict[str, Any] = raw if isinstance(raw, dict) else {}
    notes = facts.get("boxes_notes") or ()
    return DatasetFacts(
        title=str(facts.get("title") or ""),
        protocol_title=str(facts.get("protocol_title") or facts.get("protocol title") or ""),
        n_images=_count(facts.get("n_images")) or 0,
        n_scored=_count(facts.get("n_scored")),
        n_excluded=_count(facts.get("n_excluded")),
        boxes=str(facts.get("boxes") or ""),
        boxes_source=str(facts.get("boxes_source") or ""),
        box_quality=facts.get("box_quality") or {},
        notes=(notes,) if isinstance(notes, str) else tuple(map(str, notes)),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None
