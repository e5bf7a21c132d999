"""A detector's boxes from a COCO results file (``image_id, category_id, bbox [x, y, w, h], score``)."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.boxes import Boxes, find_file
from sapiens_bench.adapters.coco.faults import Faults, no_id, show, whole_number
from sapiens_bench.adapters.coco.people import CocoPeople
from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.pixels import json_parts, strict_json
from sapiens_bench.stats.boxes import overlaps
from sapiens_bench.tasks.pose.categories import NobodyScored, identities, is_person

_FITS = 0.3  # mean overlap of people with their best box, below which the boxes are hardly theirs
_FEW = 0.5  # share of the images with people that should have a box


def detected_boxes(choice: str, people: CocoPeople, root: Path) -> Boxes:
    """The boxes of a detector's file.

    Args:
        choice: the file, below ``root`` or any path that exists; ``FILE,<score>`` leaves boxes below the score out.

    Raises:
        DataMissing: no such file.
        DatasetRejected: it is malformed, or none of its boxes belongs to an annotated image.
    """
    found = find_file(choice, root)
    if found is None:
        raise DataMissing(
            f"box file {choice!r} found neither below {root} nor as a path of its own. Detector boxes are published "
            "beside the data set; `boxes: gt` scores with ground-truth boxes instead (another protocol: about 2 AP "
            "higher)."
        )
    path, threshold = found
    data = strict_json.read_bytes(path)
    rows_I, notes = _rows(_entries(data, path), path, people, threshold)
    arrays = [np.array([row[:5] for row in rows], np.float32).reshape(-1, 5) for rows in rows_I]
    categories = None
    if people.category_P is not None:
        categories = tuple(np.array([row[5] for row in rows], np.int64) for rows in rows_I)
    for rows in arrays:
        rows[:, 2:4] += rows[:, :2]
    boxes = tuple(rows[:, :4] for rows in arrays)
    notes += [*_few(boxes, people), *_misfits(boxes, people)]
    source = path.name if threshold is None else f"{path.name}, score at least {threshold:g}"
    scores, sha256 = tuple(rows[:, 4] for rows in arrays), hashlib.sha256(data).hexdigest()
    return Boxes(boxes, scores, source, sha256, tuple(notes), categories=categories)


def _entries(data: bytes, path: Path) -> list[Any]:
    try:
        content = json_parts.read(data)
    except json_parts.Doubtful:
        content = strict_json.parse(data, path)
    if not isinstance(content, list):
        what = "an annotation file" if isinstance(content, dict) and "annotations" in content else "something else"
        fault = f"boxes.format: expected a list of {{bbox, category_id, image_id, score}}, found {what}"
        raise DatasetRejected(str(path), [fault], "Give a detector's results in the COCO results format.")
    if not content:
        raise DatasetRejected(str(path), ["boxes.empty: the list is empty"], "Give a file with boxes, or `boxes: gt`.")
    return content


def _rows(
    entries: list[Any], path: Path, people: CocoPeople, threshold: float | None
) -> tuple[list[list[tuple[float, ...]]], list[str]]:
    """x, y, width, height, score, category (where several are scored) of the boxes of each image; what was left out."""
    faults = Faults()
    given = [e.get("category_id") if isinstance(e, dict) else None for e in entries]
    try:
        counts, category_notes = is_person(given, people.categories, people.category_ids)
        kinds = identities(given, people.categories) if people.category_P is not None else None
    except NobodyScored as error:
        raise DatasetRejected(str(path), [f"boxes.category: {error}"], "Is it the box file of this data set?") from None
    index = {identity: i for i, identity in enumerate(people.image_ids)}
    rows_I: list[list[tuple[float, ...]]] = [[] for _ in people.image_ids]
    left: Counter[str] = Counter()
    for position, (entry, is_one) in enumerate(zip(entries, counts, strict=True)):
        box = _detection(entry, position, faults)
        if box is None:
            continue
        if not is_one:
            left["of other categories"] += 1
        elif box[0] not in index:
            left["of images that are not annotated"] += 1
        elif min(box[1][2:4]) <= 0:
            left["without extent"] += 1
        elif threshold is not None and box[1][4] < threshold:
            left[f"with a score below {threshold:g}"] += 1
        else:
            rows_I[index[box[0]]].append(box[1] if kinds is None else (*box[1], kinds[position]))
    faults.raise_any(path)
    if not any(rows_I):
        why = "; ".join(f"{n} {what}" for what, n in left.items())
        raise DatasetRejected(
            str(path),
            [f"boxes.none: no box is left of {len(entries)}: {why}"],
            "Is it the box file of this data set, with its image and category ids?",
        )
    said = [f"{n} boxes {what} were left out" if n > 1 else f"1 box {what} was left out" for what, n in left.items()]
    return rows_I, [*category_notes, *said]


def _detection(entry: Any, position: int, faults: Faults) -> tuple[int, tuple[float, ...]] | None:
    """Image id and x, y, width, height, score. Of five numbers the first four are the box, as MMPose reads them."""
    where = f"[{position}]"
    if not isinstance(entry, dict):
        faults.add("boxes.format", f"{where} is not an object")
        return None
    listed = entry.get("bbox")
    box = json_parts.numbers(listed, 5 if isinstance(listed, list) and len(listed) == 5 else 4)
    score = json_parts.numbers([entry.get("score", float(box[4]) if box is not None and len(box) == 5 else None)], 1)
    image = whole_number(entry.get("image_id"))
    if box is None:
        faults.add("boxes.entry", f"{where}: bbox {show(listed)} is not 4 finite numbers")
    elif score is None:
        faults.add("boxes.entry", f"{where}: score {show(entry.get('score'))} is not a finite number")
    elif image is None:
        faults.add("boxes.entry", f"{where}: image_id {show(entry.get('image_id'))} {no_id(entry.get('image_id'))}")
    else:
        return image, (*box[:4].tolist(), float(score[0]))
    return None


def _few(boxes_I: tuple[NDArray[np.float32], ...], people: CocoPeople) -> list[str]:
    with_people = np.unique(people.image_P[people.is_driven_P])
    n_boxed = sum(len(boxes_I[i]) > 0 for i in with_people)
    if n_boxed >= _FEW * len(with_people):
        return []
    return [f"only {n_boxed} of {len(with_people)} images with people have a box: is it the box file of this data set?"]


def _misfits(boxes_I: tuple[NDArray[np.float32], ...], people: CocoPeople) -> list[str]:
    """Whether the boxes are hardly those of the people, and whether they look like corners."""
    as_read, as_corners, n = 0.0, 0.0, 0
    truth = people.boxes_xywh_P4.copy()
    truth[:, 2:] += truth[:, :2]
    for i, boxes in enumerate(boxes_I):
        persons = slice(int(people.first_I1[i]), int(people.first_I1[i + 1]))
        scored = truth[persons][people.is_driven_P[persons]]
        if len(boxes) and len(scored):
            corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
            as_read += float(overlaps(boxes, scored).max(axis=0).sum())
            as_corners += float(overlaps(corners, scored).max(axis=0).sum())
            n += len(scored)
    if n == 0:
        return []
    if as_corners / n > max(2 * as_read / n, _FITS):
        return ["the boxes look like x1, y1, x2, y2, but are read as x, y, width, height (the COCO results format)"]
    if as_read / n < _FITS:
        return [f"the boxes fit nobody well (mean overlap of people with their best box {as_read / n:.2f})"]
    return []
