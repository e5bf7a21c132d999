"""Small annotation files in the layouts that pose data sets have, each with what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sapiens_bench.cards.catalog import Catalog

SPACES = Catalog.load().spaces
SIZE = (640, 480)


def _people(n_points: int, ids: Sequence[int], **fields: Any) -> list[dict[str, Any]]:
    """Two people per image, the second with a hidden point."""
    rng = np.random.default_rng(n_points)
    found = []
    for image in ids:
        for number in range(2):
            x, y, w, h = 40.0 + 300 * number, 60.0, 150.0, 300.0
            points = np.column_stack([rng.uniform(x, x + w, n_points), rng.uniform(y, y + h, n_points)]).round(1)
            visible = np.full(n_points, 2)
            visible[:number] = 0
            points[visible == 0] = 0
            found.append(
                {
                    "id": len(found) + 1, "image_id": image, "category_id": 1, "bbox": [x, y, w, h], "iscrowd": 0,
                    "area": 20000.0, "num_keypoints": int((visible > 0).sum()),
                    "keypoints": np.column_stack([points, visible]).ravel().tolist(), **fields,
                }
            )  # fmt: skip
    return [{name: value for name, value in person.items() if value is not None} for person in found]


def _document(
    people: list[dict[str, Any]], names: Sequence[str], files: dict[int, str], **image: Any
) -> dict[str, Any]:
    images = [{"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1], **image} for i, name in files.items()]
    return {"images": images, "annotations": people, "categories": [_category(names)]}


def _category(names: Sequence[str], identity: int = 1, name: str = "person") -> dict[str, Any]:
    return {"id": identity, "name": name, "supercategory": name, "keypoints": list(names)}


def _capitals(space: str, joint: str) -> list[str]:
    return [name.replace("_", joint).capitalize() for name in SPACES[space].names]


def layouts() -> dict[str, dict[str, Any]]:
    """Data set -> annotation file."""
    plain, coco = {1: "a.jpg", 2: "b.jpg"}, SPACES["coco17"].names
    crowdpose = SPACES["crowdpose-14"].names
    spaced = [name.replace("_", " ").title() for name in SPACES["aic-14"].names]
    exlpose = _people(14, [0, 1], area=None)
    for number, person in enumerate(exlpose):
        person["id"] = number
    human_art = _people(17, [2_000_000_000_001, 2_000_000_000_002])
    for person in human_art:
        person["keypoints_21"], person["num_keypoints_21"] = person["keypoints"] + [0] * 12, person["num_keypoints"]
    halpe = _people(136, [785, 872])
    for person in halpe:
        person["num_keypoints"] = 17  # of the body alone
    posetrack = _people(17, [10_128_340_000, 10_128_340_001], area=None, iscrowd=False, bbox_head=[50, 70, 40, 30])
    frames = {10_128_340_000: "images/val/012834_mpii_test/000000.jpg", 10_128_340_001: "images/val/2/000000.jpg"}
    animals = _document(_people(17, [1, 2]), (), plain)
    animals["categories"] = [
        _category(SPACES["ap10k-17"].names, i, name) for i, name in ((1, "antelope"), (2, "argali sheep"), (26, "dog"))
    ]
    for person, category in zip(animals["annotations"], (1, 2, 26, 26), strict=True):
        person["category_id"] = category
    return {
        "aic": _document(_people(14, [1, 2], area=None, iscrowd=None), spaced, plain),
        "crowdpose": _document(_people(14, [1, 2], area=None), crowdpose, plain, crowdIndex=0.33),
        "ochuman": _document(_people(17, [1, 2]), coco, {1: "003799.jpg", 2: "000817.jpg"}),
        "posetrack18": _document(posetrack, SPACES["posetrack-17"].names, frames),
        "human-art": _document(
            human_art, SPACES["humanart-21"].names,
            {i["image_id"]: f"HumanArt/images/{i['image_id']}.jpg" for i in human_art},
        ),
        "halpe": _document(halpe, (), {785: "000000000785.jpg", 872: "000000000872.jpg"}),
        "mhp": _document(_people(16, [1, 2], face_box=[1, 2, 3, 4]), _capitals("mpii-16", "-"), plain),
        "jhmdb": _document(
            _people(15, [2_280_001, 2_280_002], area=None, num_keypoints=None, iscrowd=None),
            SPACES["jhmdb-15"].names, {2_280_001: "Frisbee/00001.png", 2_280_002: "Catch/00001.png"},
        ),
        "exlpose": _document(exlpose, crowdpose, {0: "a.png", 1: "b.png"}, crowdIndex=0),
        "ap10k": animals,
        "lsp": _document(
            _people(14, [1, 2], num_keypoints=None, iscrowd=None), _capitals("lsp-14", " "),
            {1: "im0001.jpg", 2: "im0002.jpg"},
        ),
    }  # fmt: skip


def as_results(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The people of a file as a method's answer."""
    return [
        {name: person[name] for name in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for person in document["annotations"]
    ]
