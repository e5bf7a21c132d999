"""COCO-format files made by the tests, and the adapter over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from sapiens_bench.adapters.coco.keypoints import CocoKeypoints
from sapiens_bench.adapters.context import DataContext
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol, SpaceCard
from sapiens_bench.cards.spaces import SourceSpace, identity_map

SIZE = (160, 120)


def person(identity: Any, image: Any, **changes: Any) -> dict[str, Any]:
    """A sound annotation; a change to None takes the field away."""
    points = [v for j in range(17) for v in (60.0 + j, 70.0 + j, 2)]
    sound = {
        "id": identity,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": 900.0,
        "bbox": [50.0, 60.0, 40.0, 50.0],
        "num_keypoints": 17,
        "keypoints": points,
    }
    return {name: value for name, value in {**sound, **changes}.items() if value is not None}


def document(*people: dict[str, Any], n_images: int = 2, categories: Any = None) -> dict[str, Any]:
    """An annotation file; images are listed in falling order of their ids."""
    images = [
        {"id": i, "width": SIZE[0], "height": SIZE[1], "file_name": f"{i:012d}.png"} for i in range(n_images, 0, -1)
    ]
    named = [{"id": 1, "name": "person"}] if categories is None else categories
    return {"images": images, "annotations": list(people), "categories": named}


def context(
    card: DatasetCard,
    protocol: EvalProtocol,
    root: Path,
    *,
    space: SpaceCard | None = None,
    to_space: dict[str, SourceSpace] | None = None,
    boxes: str = "",
    split: str = "",
) -> DataContext:
    """What the plan gives the adapter."""
    known = {space.id: SourceSpace(space, identity_map(space))} if space is not None and to_space is None else to_space
    options = read_options(CocoKeypoints.Options, protocol.options, f"data set {card.id}")
    return DataContext(card, protocol, space, known or {}, root, split, boxes, 0, options)


def opened(catalog: Catalog, dataset: str, protocol: str, root: Path, **choices: Any) -> CocoKeypoints:
    """A data set of the package."""
    card = catalog.dataset(dataset)
    chosen = card.protocols[protocol]
    assert chosen.space is not None
    space, sources = catalog.space(chosen.space), catalog.sources_of(chosen.space)
    return CocoKeypoints(context(card, chosen, root, space=space, to_space=sources, **choices))


def small(
    folder: Path, content: dict[str, Any] | bytes, *, card: dict[str, Any] | None = None, **choices: Any
) -> CocoKeypoints:
    """The adapter over ``content`` and its pictures, written into the folder."""
    (folder / "images").mkdir(exist_ok=True)
    if isinstance(content, dict):
        for image in content["images"]:
            if isinstance(image.get("file_name"), str) and "/" not in image["file_name"]:
                Image.new("RGB", SIZE).save(folder / "images" / image["file_name"])
        content = json.dumps(content).encode()
    (folder / "labels.json").write_bytes(content)
    options = choices.pop("protocol_options", {})
    protocol = EvalProtocol(
        task="pose", title="gt", options={"annotations": "labels.json", "images": "images", **options}, default=True
    )
    fields: dict[str, Any] = {
        "schema": "dataset/1",
        "id": "small",
        "title": "small",
        "licence": {"name": "CC0-1.0"},
        "get": "made by the test",
        "adapter": "coco_keypoints",
        "exif": "ignore",
        **(card or {}),
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    built = DatasetCard(**fields, protocols={"gt": protocol})
    return CocoKeypoints(context(built, protocol, folder, **choices))
