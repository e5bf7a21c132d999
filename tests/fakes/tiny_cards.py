"""The package's cards with a toy network in the place of the published one."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_files

from sapiens_bench.cards.entries import ModelEntry

PUBLISHED_SIZE = ("size", "trunk")  # options that name one


def needs_file(entry: ModelEntry) -> bool:
    weights = entry.variant.weights
    return weights is not None and not weights.get.embedded


def tiny_id(entry: ModelEntry) -> str:
    return f"tiny-{entry.id}" if needs_file(entry) else entry.id


def tiny(entry: ModelEntry, cards: Path, weights_root: Path, *, keeps_address: bool = False) -> Path:
    """The card with one variant of a tiny network, in ``cards``; gives its file, ``weights_root/<id>/...``.

    Only input size, file, hash and the options that name a published size are others.

    Args:
        keeps_address: the variant is still fetched from where the package's card says; else it is only here.
    """
    card = entry.card.model_dump(mode="json", by_alias=True, exclude_none=True)
    variant = entry.variant.model_dump(mode="json", by_alias=True, exclude_none=True)
    weights = variant["weights"]
    file = f"{tiny_id(entry)}/{weights['file']}"  # cards may share a file name
    (path := weights_root / file).parent.mkdir(parents=True)
    made = tiny_files.MAKERS[entry.card.wrapper](entry, path)
    also = {f"{tiny_id(entry)}/{name}": None for name in weights.get("also", {})}
    get = weights["get"] if keeps_address else {"how": "Made by the test."}
    variant["weights"] = weights | {"file": file, "sha256": None, "also": also, "get": get}
    variant["weights"].pop("size_bytes", None)
    variant["options"] = {k: v for k, v in variant["options"].items() if k not in PUBLISHED_SIZE} | dict(made.options)
    if made.input_hw is not None:
        spec = variant.get("input") or card.get("input") or {}
        variant["input"] = {**spec, "height": made.input_hw[0], "width": made.input_hw[1]}
    variant |= {"id": tiny_id(entry), "published_as": [], "published_in": []}
    card |= {"id": f"family-of-{tiny_id(entry)}", "variants": [variant]}
    (cards / f"{tiny_id(entry)}.yaml").write_text(json.dumps(card))  # JSON is YAML
    return path
