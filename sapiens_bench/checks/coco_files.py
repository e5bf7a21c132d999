"""The files behind a score, as pycocotools reads them: the user's own where it can, else said how they were mended.

Ids, counts and areas of the originals are never rewritten. What pycocotools cannot do without is filled in where a file
has nothing (``iscrowd``, ``area`` by the protocol's rule ...), and every such remark is kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.keypoints import CocoKeypoints
from sapiens_bench.adapters.coco.options import BOX_SHARE
from sapiens_bench.cards.point_names import NamesDiffer, order_by_name
from sapiens_bench.models.image_names import ImageNames
from sapiens_bench.models.result_files import PARTS, ResultList
from sapiens_bench.pixels import strict_json

Entry = dict[str, Any]


@dataclass(slots=True)
class Files:
    """Truth or results, and what was done to them."""

    content: Any  # an annotation document, or a list of results
    is_original: bool = True  # the user's file as it is
    remarks: list[str] = field(default_factory=list)


def read_truth(data: CocoKeypoints) -> Files:
    """The annotation file behind a data set."""
    document: dict[str, Any] = json.loads(strict_json.read_bytes(data.annotations).decode("utf-8-sig"))
    filled: Counter[str] = Counter()
    annotations: list[Entry] = []
    for number, entry in enumerate(document["annotations"], start=1):
        if entry["category_id"] not in data.index.scored:
            annotations.append(entry)
            continue
        mended = _filled(entry, data, filled)
        if data.people.is_renumbered:
            mended["id"] = number
            filled["id, since one is 0"] += 1
        annotations.append(mended)
    listed = {image["id"] for image in document["images"]}
    kept = [entry for entry in annotations if entry["image_id"] in listed]
    if len(kept) < len(annotations):
        filled["annotations of images that are not listed, left out"] = len(annotations) - len(kept)
    remarks = [f"annotation file: {what} ({n} times)" for what, n in filled.items()]
    if not remarks:
        return Files(document)
    return Files({**document, "annotations": kept}, is_original=False, remarks=remarks)


def _filled(entry: Entry, data: CocoKeypoints, filled: Counter[str]) -> Entry:
    """The annotation with what pycocotools needs and the file does not have."""
    mended = dict(entry)
    if not data.is_plain:
        mended["keypoints"] = data.own_points(entry).ravel().tolist()
        filled["keypoints put together or in another order"] += 1
    elif not entry.get("keypoints"):
        mended["keypoints"] = [0] * (3 * data.layout.n_keypoints)
        filled["keypoints filled in where there are none"] += 1
    if data.people.area_is_of_box:
        mended["area"] = entry["bbox"][2] * entry["bbox"][3] * BOX_SHARE
        filled[f"area filled in: {BOX_SHARE} x the box"] += 1
    if entry.get("iscrowd") is None:
        mended["iscrowd"] = 0
        filled["iscrowd filled in: 0"] += 1
    if entry.get("num_keypoints") is None:
        mended["num_keypoints"] = sum(v > 0 for v in mended["keypoints"][2::3])
        filled["num_keypoints filled in: counted"] += 1
    return mended


def read_results(
    found: ResultList, data: CocoKeypoints, names: Sequence[str], index_K: NDArray[np.int64] | None
) -> Files:
    """The entries of a results file, as the annotation file's ids name them.

    Args:
        found: the file.
        data: the data set.
        names: of the model's keypoint set.
        index_K: the model's set -> the protocol's; None where they are one.
    """
    category, order = min(data.index.scored), _order(found, names)
    images, _ = ImageNames(data.index).meant(entry["image_id"] for entry in found.entries)
    changed: Counter[str] = Counter()
    kept: list[Entry] = []
    for entry, image in zip(found.entries, images, strict=True):
        mended = dict(entry)
        if image is None:
            changed["results of images that are not annotated, left out"] += 1
            continue
        if isinstance(entry["image_id"], str):
            mended["image_id"] = image
            changed["image_id, which is text, replaced by the image's id"] += 1
        given = entry.get("category_id")
        if given in data.index.categories and given not in data.index.scored:
            changed["results of other categories, left out"] += 1
            continue
        if len(data.index.scored) == 1 and given != category:
            mended["category_id"] = category
            changed[f"category_id {given} taken for {category}"] += 1
        if order is not None or index_K is not None or any(part in entry for part in PARTS[1:]):
            points = _points(entry, len(names))
            points = points if order is None else points[order]
            mended["keypoints"] = (points if index_K is None else points[index_K]).ravel().tolist()
            changed["keypoints put together or in another order"] += 1
        kept.append(mended)
    remarks = [f"results: {what} ({n} times)" for what, n in changed.items()]
    return Files(kept if remarks else found.entries, is_original=not remarks, remarks=remarks)


def _order(found: ResultList, names: Sequence[str]) -> NDArray[np.int64] | None:
    try:
        order = order_by_name(found.names, names) if found.names else None
    except NamesDiffer:  # spelt otherwise: taken in its order
        return None
    return None if order is None or (order == np.arange(len(order))).all() else order


def _points(entry: Mapping[str, Any], n: int) -> NDArray[np.float64]:
    values = [v for part in PARTS for v in entry.get(part, [])]
    return np.array(values, np.float64).reshape(n, 3)


def write(folder: Path, name: str, content: Any) -> None:
    """One JSON file.

    Raises:
        OSError: no room or no permission.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
