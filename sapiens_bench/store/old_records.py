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
    datasets, cells = content.get("datasets"), content.get("cells")
    if isinstance(datasets, dict):
        content["datasets"] = {name: _dataset(facts) for name, facts in datasets.items()}
    if isinstance(cells, list):
        content["cells"] = [_cell(cell) for cell in cells]
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


def _cell(cell: Any) -> Any:
    """Causes are taken from the examples: their kinds are all there, up to five; how many of each was not kept."""
    if not isinstance(cell, dict) or not isinstance(cell.get("errors", []), list):
        return cell
    causes: dict[tuple[Any, Any], dict[str, Any]] = {}
    for example in cell.get("errors", []):
        if not isinstance(example, dict):
            return cell
        key = (example.get("code"), example.get("side"))
        causes.setdefault(
            key, {"kind": key[0], "side": key[1], "count": None, "first_key": example.get("key"),
                  "detail": example.get("detail")},
        )  # fmt: skip
    return {**cell, "causes": list(causes.values())}
