"""run.json of earlier versions, brought to the form of this one. Works on plain JSON; what is not known stays empty."""

from __future__ import annotations

from typing import Any

_DATASET_FIELDS = (
    "title", "licence", "n_images", "manifest_sha256", "protocol", "protocol_title", "caveat", "boxes", "boxes_source",
    "boxes_sha256", "boxes_notes", "box_quality", "n_excluded", "n_scored",
)  # fmt: skip


def upgraded(content: Any) -> Any:
    """A record of schema ``run/1`` as one of ``run/2``; anything else as it is, for the reader to judge."""
    if not isinstance(content, dict) or content.get("schema") != "run/1":
        return content
    content = {**content, "schema": "run/2"}
    datasets = content.get("datasets")
    if isinstance(datasets, dict):
        content["datasets"] = {name: _dataset(facts) for name, facts in datasets.items()}
    return content


def _dataset(facts: Any) -> Any:
    """Free facts of schema 1. ``protocol title`` was the key of the first records; one note could be a text."""
    if not isinstance(facts, dict):
        return facts
    facts = {("protocol_title" if name == "protocol title" else name): value for name, value in facts.items()}
    found = {name: facts[name] for name in _DATASET_FIELDS if facts.get(name) is not None}
    notes = found.pop("boxes_notes", [])
    place = "boxes_notes" if found.get("boxes_source") else "notes"  # schema 1 kept both under the first name
    return {**found, place: [notes] if isinstance(notes, str) else notes}
