"""Every check that must pass before a model is loaded, and the arrays that remain.

Faults of the file are collected (the first 20 of each kind) and refuse the data set; faults of one person's label are
kept as that image's row error; what is odd but harmless becomes a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.categories import Scored, scored_category
from sapiens_bench.adapters.coco.document import Document, unread_document
from sapiens_bench.adapters.coco.faults import Faults, Report, no_id, show, whole_number
from sapiens_bench.adapters.coco.formats import KeypointFormat
from sapiens_bench.adapters.coco.labels import finished
from sapiens_bench.adapters.coco.options import CocoOptions
from sapiens_bench.adapters.coco.people import CocoPeople, Images
from sapiens_bench.adapters.coco.persons import Persons
from sapiens_bench.pixels import json_parts, strict_json
from sapiens_bench.pixels.paths import path_fault

_IMAGE = frozenset({"id", "file_name", "width", "height", "crowdIndex"})
_REGIONS = ("ignore_regions_x", "ignore_regions_y")
_REFERENCE = frozenset({"id", "image_id", "category_id"})


def read_people(
    data: bytes, path: Path | str, layout: KeypointFormat, options: CocoOptions, names: Sequence[str] = ()
) -> CocoPeople:
    """The checked arrays of an annotation file.

    Args:
        data: its bytes.
        path: its name, for messages.
        layout: which fields hold the points.
        options: of the protocol.
        names: of the keypoint set that the file is annotated in.

    Raises:
        DatasetRejected: with every fault found.
    """
    try:
        return _read(unread_document(data), path, layout, options, names)
    except json_parts.Doubtful:
        return _read(Document.of(strict_json.parse(data, path)), path, layout, options, names)


def _read(
    document: Document, path: Path | str, layout: KeypointFormat, options: CocoOptions, names: Sequence[str]
) -> CocoPeople:
    faults = Faults()
    if not isinstance(document.head, dict):
        found = type(document.head).__name__
        faults.add("label.format", f"a {found} at the top level; expected an object with 'images'")
        faults.raise_any(path)
    for name in ("images", "annotations"):
        _check_list(document.lists.get(name), name, faults)
    categories = document.head.get("categories")
    if not isinstance(categories, list):
        faults.add("label.format", "'categories' is missing or not a list")
    faults.raise_any(path)
    layout.check_header(document.head, lambda text: faults.add("label.format", text))
    scored = scored_category(categories, layout, names, options, faults)
    images = _images(document, options, faults)
    persons = Persons(layout, scored.order_K, options)
    notes = _fill(document, images, scored, persons, options, faults)
    faults.raise_any(path)
    people = finished(images, scored, persons, options, faults, notes)
    faults.raise_any(path)
    return people


def _check_list(value: Any, name: str, faults: Faults) -> None:
    if not isinstance(value, list):
        faults.add("label.format", f"'{name}' is missing or not a list")
    elif not value:
        kind = "label.people" if name == "annotations" else "label.empty"
        faults.add(kind, f"'{name}' is empty: nothing to score")


def _images(document: Document, options: CocoOptions, faults: Faults) -> Images:
    by_id: dict[int, tuple[str, tuple[int, int], tuple[NDArray[np.float64], ...]]] = {}
    images, n_strange = Images(), 0
    wanted = _IMAGE | frozenset(_REGIONS if options.ignore_regions else ())
    for position, image in enumerate(document.entries("images", wanted)):
        if image is None:
            n_strange += 1
            continue
        report = faults.at(f"images[{position}]")
        identity = whole_number(image.get("id"))
        if identity is None:
            report("label.image_id", f"id {show(image.get('id'))} {no_id(image.get('id'))}")
            continue
        if identity in by_id or identity in images.left_out:
            report("label.image_id", f"id {identity} is taken by another image")
        size = tuple(_side(image.get(side), side, report) for side in ("width", "height"))
        name = image.get("file_name")
        name = name.removeprefix("./") if isinstance(name, str) else name
        if (fault := path_fault(name)) is not None:
            # A backslash may be part of a name or stand between folders: only the author of the file knows.
            slashed = str(name).replace("\\", "/").removeprefix("./")
            hint = f", with slashes: {show(slashed)}" if "\\" in str(name) else ""
            what = "write it relative to the folder of the pictures"
            report("label.path", f"file_name {show(name)} {fault}; {what}{hint}")
        if _is_selected(image, options, report):
            regions = _regions(image, report) if options.ignore_regions else ()
            by_id[identity] = (str(name), (size[0], size[1]), regions)
        else:
            images.left_out.add(identity)
    if n_strange:
        faults.add("label.format", f"{n_strange} entries of 'images' are not objects")
    images.ids = sorted(by_id)
    images.names = [by_id[i][0] for i in images.ids]
    images.sizes = [by_id[i][1] for i in images.ids]
    images.regions = [by_id[i][2] for i in images.ids]
    if images.left_out and not images.ids:
        faults.add("label.empty", f"no image has a crowdIndex within {options.crowd_index}")
    return images


def _regions(image: dict[str, Any], report: Report) -> tuple[NDArray[np.float64], ...]:
    """Polygons of an image; none where it lists none, or none were asked for."""
    across, down = (image.get(name) or [] for name in _REGIONS)
    try:
        found = tuple(np.array([x, y], np.float64).T for x, y in zip(across, down, strict=True))
    except (TypeError, ValueError):
        found = (np.zeros((0, 3)),)
    if any(polygon.ndim != 2 or polygon.shape[1] != 2 or not np.isfinite(polygon).all() for polygon in found):
        report(
            "label.regions", f"{_REGIONS[0]} and {_REGIONS[1]} are not lists of polygons, x and y of one length each"
        )
        return ()
    return found


def _side(value: Any, side: str, report: Any) -> int:
    """Width or height; 0 where the file does not say, since the picture will."""
    if value is None:
        return 0
    length = whole_number(value)
    if length is None or not 0 < length < 1 << 31:
        report("label.size", f"{side} {show(value)} is not a positive whole number")
        return 0
    return length


def _is_selected(image: dict[str, Any], options: CocoOptions, report: Any) -> bool:
    if options.crowd_index is None:
        return True
    index = image.get("crowdIndex")
    if isinstance(index, bool) or not isinstance(index, int | float):
        report("label.crowd_index", f"crowdIndex {show(index)} is not a number, and the protocol selects by it")
        return True
    return bool(options.crowd_index[0] <= index < options.crowd_index[1])


def _fill(
    document: Document, images: Images, scored: Scored, persons: Persons, options: CocoOptions, faults: Faults
) -> list[str]:
    """Read every annotation: references first, then the persons at their places; returns notes."""
    row_I = {identity: row for row, identity in enumerate(images.ids)}
    references, n_unlisted = _references(document, images, scored, options, faults)
    image_A = np.array([-1 if image is None else row_I.get(image, -1) for _, image in references], np.int64)
    is_person = image_A >= 0
    order = np.argsort(image_A[is_person], kind="stable")  # file order inside an image
    place_A = np.full(len(references), -1, np.int64)
    place_A[np.flatnonzero(is_person)[order]] = np.arange(len(order))
    persons.allocate([references[i][0] for i in np.flatnonzero(is_person)[order]])
    persons.first_I1 = np.searchsorted(image_A[is_person][order], np.arange(len(images.ids) + 1))
    for position, (entry, place) in enumerate(
        zip(document.entries("annotations", persons.wanted, persons.unread), place_A.tolist(), strict=True)
    ):
        if entry is not None and place >= 0:
            report = faults.at(f"annotations[{position}] (id {show(entry.get('id'))})")
            persons.put(place, entry, report)
    if len(references) and not len(order) and scored.ids and not images.left_out and not faults.any:
        ids = ", ".join(map(str, sorted(scored.ids)))
        text = f"no annotation has category {ids} ({scored.name})"
        faults.add("label.category", f"{text}: nobody to score. Is it the file with the people?")
    notes = [f"Annotations of images that are not listed: {n_unlisted}; left out."] if n_unlisted else []
    if images.is_renumbered:
        notes.append("An annotation has id 0, whose match COCO evaluation counts as a miss: they are numbered from 1.")
    if any(size == (0, 0) for size in images.sizes):
        notes.append("The file declares no sizes: boxes are not clipped, and pictures are not compared with it.")
    return notes


def _references(
    document: Document, images: Images, scored: Scored, options: CocoOptions, faults: Faults
) -> tuple[list[tuple[int, int | None]], int]:
    """(annotation id, image id or None when it is not read) of every annotation; how many belong to no image."""
    known = set(images.ids) | images.left_out
    seen: set[int] = set()
    found: list[tuple[int, int | None]] = []
    n_strange = n_unlisted = 0
    for position, entry in enumerate(document.entries("annotations", _REFERENCE)):
        if entry is None:
            n_strange += 1
            found.append((0, None))
            continue
        report = faults.at(f"annotations[{position}] (id {show(entry.get('id'))})")
        identity = _annotation_id(entry.get("id"), seen, options, report)
        image, category = whole_number(entry.get("image_id")), whole_number(entry.get("category_id"))
        if image is None:
            given = entry.get("image_id")
            report("label.image_id", f"image_id {show(given)} {no_id(given)}")
        elif image not in known:
            n_unlisted += 1
            if options.unlisted == "refuse":
                report("label.unlisted", f"image_id {image} is not among the images")
        if category is None or category not in scored.declared:
            report("label.category", f"category {show(entry.get('category_id'))} is not declared")
        is_read = category in scored.ids and image in known and image not in images.left_out
        found.append((identity, image if is_read else None))
    if n_strange:
        faults.add("label.format", f"{n_strange} entries of 'annotations' are not objects")
    images.is_renumbered = options.renumber and 0 in seen
    if images.is_renumbered:
        found = [(number, image) for number, (_, image) in enumerate(found, start=1)]
    return found, n_unlisted


def _annotation_id(value: Any, seen: set[int], options: CocoOptions, report: Any) -> int:
    identity = whole_number(value)
    if identity is None:
        report("label.annotation_id", f"id {no_id(value)}")
        return 0
    if identity in seen:
        report("label.annotation_id", "id is taken by another annotation")
    elif identity == 0 and not options.renumber:
        report("label.id_zero", "id 0")
    seen.add(identity)
    return identity
