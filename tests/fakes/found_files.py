"""Files and a data set's card for tests of where things are found."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sapiens_bench.cards.schema import DatasetCard

DATA = b"weights of a network"
SHA = hashlib.sha256(DATA).hexdigest()


def dataset(**more: Any) -> DatasetCard:
    facts: dict[str, Any] = {
        "schema": "dataset/1", "id": "set", "title": "A set", "licence": {"name": "CC0-1.0"}, "get": "Ask at the door.",
        "adapter": "coco_keypoints", "layout": ("ann/*.json", "img/*.jpg"),
        "protocols": {"p": {"task": "depth", "title": "P", "default": True}},
    }  # fmt: skip
    return DatasetCard.model_validate(facts | more)


def put(path: Path, data: bytes = DATA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
