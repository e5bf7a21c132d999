"""Cards for the tiny golden Sapiens networks, in a folder that a test gives as --cards."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

HEIGHT, WIDTH, HEADS = 128, 96, 4
SPACES = {"pose17": "coco17", "pose133": "coco-wholebody133", "pose308": "goliath308", "seg": "body28"}
TASKS = {"seg": "seg", "depth": "depth", "normal": "normal"}


def variant(identity: str, file: str, **changes: Any) -> dict[str, Any]:
    """One variant; ``format``, ``sha256``, ``hub`` and ``options`` may be given."""
    get: dict[str, Any] = {"how": "a fixture"}
    if "hub" in changes:
        get["hub"] = changes.pop("hub")
    weights = {"file": file, "format": changes.pop("format", "safetensors"), "sha256": changes.pop("sha256", None)}
    options = {"heads": HEADS, **changes.pop("options", {})}
    return {"id": identity, "title": identity, "weights": {**weights, "get": get}, "options": options, **changes}


def family(identity: str, golden: str, variants: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A model card for networks of the golden kind ``pose17``, ``pose308``, ``seg`` ..."""
    card: dict[str, Any] = {
        "schema": "model/1",
        "id": identity,
        "title": identity,
        "task": TASKS.get(golden, "pose"),
        "licence": {"name": "none"},
        "wrapper": "sapiens_v1",
        "input": {"height": HEIGHT, "width": WIDTH},
        "trained_on": "nothing",
        "variants": variants,
    }
    if golden in SPACES:
        card["space"] = SPACES[golden]
    return {**card, **changes}


def write_card(folder: Path, card: dict[str, Any]) -> Path:
    """Write a card; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{card['id']}.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
