"""COCO-format person keypoints: every check that must pass before a model is loaded, and the arrays that remain.

Faults of the file are collected (the first 20 of each kind) and refuse the data set; faults of one person's label are
kept as that image's row error. Source of the rules: specs of reliability, section 2.2.

Axes: I images, P persons (all images), K keypoints of the file's set.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.formats import KeypointFormat
from sapiens_bench.errors import DatasetRejected
from sapiens_bench.pixels.codecs import path_fault

PERSON = 1  # category id of people in every file of this family
_EACH = 20
_ZERO_ID_REMEDY = (
    "COCO evaluation counts every match with annotation id 0 as a miss. Write `renumber: true` among the protocol's "
    "options to have the annotations numbered from 1 on while reading, or mend the file."
)


class Faults:
    """Faults by kind; the first 20 of each kind are kept in words, the rest are counted."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = {}
        self._count: dict[str, int] = {}

    def add(self, kind: str, text: str) -> None:
        """One more fault; ``kind`` is a dotted code, e.g. ``label.path``."""
        self._count[kind] = self._count.get(kind, 0) + 1
        if self._count[kind] <= _EACH:
            self._by_kind.setdefault(kind, []).append(f"{kind}: {text}")

    def raise_any(self, path: Path | str, remedy: str = "Mend the file, or fetch it again.") -> None:
        """Raise ``DatasetRejected`` with everything found, or return when there is nothing."""
        if not self._count:
            return
        lines: list[str] = []
        for kind, texts in self._by_kind.items():
            lines += texts
            if self._count[kind] > _EACH:
                lines.append(f"{kind}: ... and {self._count[kind] - _EACH} more")
        if "label.id_zero" in self._count:
            remedy = _ZERO_ID_REMEDY
        raise DatasetRejected(str(path), lines, remedy)


@dataclass(frozen=True, slots=True)
class CocoPeople:
    """A checked annotation file. Images by ascending id; persons by image, then in file order."""

    image_ids_I: NDArray[np.int64]
    file_names: tuple[str, ...]
    sizes_I2: NDArray[np.int64]  # (width, height) as declared
    first_I1: NDArray[np.int64]  # persons of image i are first_I1[i] : first_I1[i + 1]
    ids_P: NDArray[np.int64]
    keypoints_PK3: NDArray[np.float64]  # x, y, visibility
    boxes_xywh_P4: NDArray[np.float64]
    area_P: NDArray[np.float64]
    is_crowd_P: NDArray[np.bool_]
    n_keypoints_P: NDArray[np.int64]  # as the file says (body points only in COCO-WholeBody)
    row_faults: dict[int, tuple[str, str]]  # image index -> (code, detail) of its first faulty label


def is_number(value: Any) -> bool:
    """A finite int or float; not a bool, not text."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 63)


def is_id(value: Any) -> TypeGuard[int]:
    """An int that fits 64 bits; not a bool."""
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def check_people(document: Any, layout: KeypointFormat, path: Path | str, *, renumber: bool = False) -> CocoPeople:
    """The checked arrays of an annotation document.

    Args:
        document: the parsed file.
        layout: which fields hold the points.
        path: the file's name, for messages.
        renumber: ids must still be different whole numbers, but become 1, 2, ... in file order.

    Raises:
        DatasetRejected: with every fault found.
    """
    faults = Faults()
    if not isinstance(document, dict):
        faults.add("label.format", f"a {type(document).__name__} at the top level; expected an object with 'images'")
        faults.raise_any(path)
    lists = {name: _list_of_objects(document, name, faults) for name in ("images", "annotations", "categories")}
    for name in ("images", "annotations"):
        if isinstance(document.get(name), list) and not document[name]:
            faults.add("label.empty", f"'{name}' is empty: nothing to score")
    images = _check_images(lists["images"], faults)
    categories = _check_categories(lists["categories"], layout, faults)
    layout.check_header(document, lambda text: faults.add("label.format", text))
    if renumber and not layout.one_per_image:
        _renumber(lists["annotations"])
    persons = _check_annotations(lists["annotations"], images, categories, layout, faults)
    faults.raise_any(path)
    return _to_arrays(images, persons, layout)


def _renumber(annotations: list[dict[str, Any]]) -> None:
    """Ids 1, 2, ... in file order; left alone, to be reported, where they are not different whole numbers."""
    ids = [entry.get("id") for entry in annotations]
    if all(is_id(i) for i in ids) and len(set(ids)) == len(ids):
        for number, entry in enumerate(annotations, start=1):
            entry["id"] = number


def _list_of_objects(document: dict[str, Any], name: str, faults: Faults) -> list[dict[str, Any]]:
    value = document.get(name)
    if not isinstance(value, list):
        faults.add("label.format", f"'{name}' is missing or not a list")
        return []
    objects = [entry for entry in value if isinstance(entry, dict)]
    if len(objects) != len(value):
        faults.add("label.format", f"{len(value) - len(objects)} entries of '{name}' are not objects")
    return objects


def _check_images(images: list[dict[str, Any]], faults: Faults) -> dict[int, dict[str, Any]]:
    by_id: dict[int, dict[str, Any]] = {}
    for position, image in enumerate(images):
        where, identity = f"images[{position}]", image.get("id")
        if not is_id(identity):
            faults.add("label.image_id", f"{where}: id {_show(identity)} is not a whole number")
        elif identity in by_id:
            faults.add("label.image_id", f"{where}: id {identity} is taken by another image")
        else:
            by_id[identity] = image
        for side in ("width", "height"):
            if type(image.get(side)) is not int or not 0 < image[side] < 1 << 31:
                faults.add("label.size", f"{where}: {side} {_show(image.get(side))} is not a positive whole number")
        fault = path_fault(image.get("file_name"))
        if fault is not None:
            faults.add("label.path", f"{where}: file_name {_show(image.get('file_name'))} {fault}")
    return by_id


def _check_categories(categories: list[dict[str, Any]], layout: KeypointFormat, faults: Faults) -> set[int]:
    known: set[int] = set()
    for position, category in enumerate(categories):
        identity = category.get("id")
        if not is_id(identity) or identity in known:
            faults.add("label.category", f"categories[{position}]: id {_show(identity)} is not a unique whole number")
            continue
        known.add(identity)
        names = category.get("keypoints")
        if identity == PERSON and isinstance(names, list) and len(names) not in layout.category_lengths:
            faults.add("label.category", f"person category lists {len(names)} keypoints, expected {layout.n_body}")
    return known


def _check_annotations(
    annotations: list[dict[str, Any]],
    images: dict[int, dict[str, Any]],
    categories: set[int],
    layout: KeypointFormat,
    faults: Faults,
) -> list[dict[str, Any]]:
    """The sound persons; what is wrong goes into ``faults``."""
    seen: set[int] = set()
    persons: list[dict[str, Any]] = []
    for position, entry in enumerate(annotations):
        identity = entry.get("id")
        where = f"annotations[{position}] (id {_show(identity)})"
        if not is_id(identity):
            faults.add("label.annotation_id", f"{where}: id is not a whole number")
        elif identity == 0:
            faults.add("label.id_zero", f"{where}: id 0")
        elif identity in seen:
            faults.add("label.annotation_id", f"{where}: id is taken by another annotation")
        else:
            seen.add(identity)
        if not is_id(entry.get("image_id")) or entry["image_id"] not in images:
            faults.add("label.image_id", f"{where}: image_id {_show(entry.get('image_id'))} is not among the images")
        if not is_id(entry.get("category_id")) or entry["category_id"] not in categories:
            faults.add("label.category", f"{where}: category {_show(entry.get('category_id'))} is not declared")
        elif entry["category_id"] == PERSON:
            _check_person(entry, layout, _adder(faults, where))
            persons.append(entry)
    if annotations and not persons and categories:
        faults.add("label.category", f"no annotation has category {PERSON} (person)")
    return persons


def _adder(faults: Faults, where: str) -> Callable[[str, str], None]:
    return lambda kind, text: faults.add(kind, f"{where}: {text}")


def _check_person(entry: dict[str, Any], layout: KeypointFormat, fault: Callable[[str, str], None]) -> None:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        fault("label.bbox", f"bbox {_show(box)} is not 4 finite numbers")
    if not is_number(entry.get("area")):
        fault("label.area", f"area {_show(entry.get('area'))} is not a finite number; OKS has no scale without it")
    if entry.get("iscrowd", 0) not in (0, 1) or type(entry.get("iscrowd", 0)) is not int:
        fault("label.iscrowd", f"iscrowd {_show(entry['iscrowd'])} is not 0 or 1")
    count = entry.get("num_keypoints", 0)
    if type(count) is not int or not 0 <= count < 1 << 31:
        fault("label.num_keypoints", f"num_keypoints {_show(count)} is not a whole number")
    for field, n_points in layout.fields:
        values = entry.get(field)
        if not isinstance(values, list) or len(values) != 3 * n_points:
            found = f"{len(values)} numbers" if isinstance(values, list) else _show(values)
            fault("label.keypoints", f"'{field}' has {found}, expected {3 * n_points} ({n_points} x (x, y, v))")
        elif not all(map(is_number, values)):
            fault("label.keypoints", f"'{field}' holds something that is not a finite number")
        elif not layout.is_visibility(field, values[2::3]):
            fault("label.visibility", f"'{field}' has a visibility outside {layout.visibility_rule(field)}")
    layout.check_person(entry, lambda text: fault("label.format", text))


def _to_arrays(images: dict[int, dict[str, Any]], persons: list[dict[str, Any]], layout: KeypointFormat) -> CocoPeople:
    image_ids = sorted(images)
    index = {identity: i for i, identity in enumerate(image_ids)}
    persons = sorted(persons, key=lambda p: index[p["image_id"]])  # stable: file order inside an image
    image_P = np.array([index[p["image_id"]] for p in persons], dtype=np.int64)
    keypoints = np.empty((len(persons), layout.n_keypoints, 3), np.float64)
    for row, person in zip(keypoints, persons, strict=True):
        row[:] = np.concatenate([np.array(person[field], np.float64) for field, _ in layout.fields]).reshape(-1, 3)
    n_labelled_body = (keypoints[:, : layout.n_body, 2] > 0).sum(axis=1)
    people = CocoPeople(
        image_ids_I=np.array(image_ids, np.int64),
        file_names=tuple(images[i]["file_name"] for i in image_ids),
        sizes_I2=np.array([[images[i]["width"], images[i]["height"]] for i in image_ids], np.int64).reshape(-1, 2),
        first_I1=np.searchsorted(image_P, np.arange(len(image_ids) + 1)),
        ids_P=np.array([p["id"] for p in persons], np.int64),
        keypoints_PK3=keypoints,
        boxes_xywh_P4=np.array([p["bbox"] for p in persons], np.float64).reshape(-1, 4),
        area_P=np.array([p["area"] for p in persons], np.float64),
        is_crowd_P=np.array([p.get("iscrowd", 0) for p in persons], bool),
        n_keypoints_P=np.array([p.get("num_keypoints", n) for p, n in zip(persons, n_labelled_body, strict=True)], int),
        row_faults={},
    )
    people.row_faults.update(_row_faults(people, n_labelled_body, layout))
    return people


def _row_faults(people: CocoPeople, n_labelled_P: NDArray[Any], layout: KeypointFormat) -> dict[int, tuple[str, str]]:
    """The first faulty label of each image: a claim no detection can meet, or a person without extent.

    Crowds and people without a labelled point are never scored, so their boxes are not held against the image.
    """
    found: dict[int, tuple[str, str]] = {}
    image_P = np.repeat(np.arange(len(people.image_ids_I)), np.diff(people.first_I1))
    for p, (x, y, width, height) in enumerate(people.boxes_xywh_P4):
        who, claimed, labelled = f"annotation {people.ids_P[p]}", people.n_keypoints_P[p], n_labelled_P[p]
        image_width, image_height = people.sizes_I2[image_P[p]]
        fault = None
        if claimed > labelled and (layout.counts_exactly or labelled == 0):
            fault = ("label.num_keypoints", f"{who}: num_keypoints {claimed}, but {labelled} are labelled")
        elif people.is_crowd_P[p] or claimed == 0:
            continue
        elif width <= 0 or height <= 0:
            fault = ("label.bbox", f"{who}: box of width {width:g}, height {height:g}")
        elif x >= image_width or y >= image_height or x + width <= 0 or y + height <= 0:
            fault = ("label.bbox", f"{who}: box lies wholly outside the {image_width}x{image_height} picture")
        elif people.area_P[p] <= 0:
            fault = ("label.bbox", f"{who}: area {people.area_P[p]:g}")
        if fault is not None:
            found.setdefault(int(image_P[p]), fault)
    return found


def _show(value: Any) -> str:
    text = repr(value) if not (type(value) is int and abs(value) >= 1 << 63) else "a huge integer"
    return text if len(text) <= 60 else text[:57] + "..."
