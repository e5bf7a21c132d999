"""Which boxes drive a top-down model: ground truth, jittered ground truth, or a detector's file.

Axes: I images, N boxes of one image, P persons.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.validate import PERSON, CocoPeople, Faults, is_id, is_number
from sapiens_bench.errors import DataMissing, UsageError
from sapiens_bench.pixels import strict_json


@dataclass(frozen=True, slots=True)
class Boxes:
    """The driving boxes of every image."""

    xyxy_px: tuple[NDArray[np.float32], ...]  # per image [N, 4]
    scores: tuple[NDArray[np.float32], ...]  # per image [N]
    source: str  # "ground truth", "ground truth, jittered by ...", or the file's name
    sha256: str  # of the detector file; "" for ground truth
    notes: tuple[str, ...] = ()


def make_boxes(choice: str, people: CocoPeople, root: Path, dataset: str) -> Boxes:
    """The boxes that ``choice`` names.

    Args:
        choice: ``gt``, ``jitter:<fraction>[,<seed>]``, or a detector file (below ``root``, or any path that exists).
        people: the checked annotations.
        root: folder of the data set.
        dataset: its id; part of the jitter's key.

    Raises:
        UsageError: the choice cannot be read.
        DataMissing, DatasetRejected: the detector file is absent or malformed.
    """
    if choice == "gt":
        return _per_image(people, _ground_truth(people), "ground truth")
    if choice.startswith("jitter:"):
        fraction, seed = _parse_jitter(choice)
        boxes = _jittered(_ground_truth(people), people.ids_P, f"{dataset}|{fraction!r}|{seed}", fraction)
        return _per_image(people, boxes, f"ground truth, jittered by {fraction:g} (seed {seed})")
    return _detected(_find(choice, root), people)


def _ground_truth(people: CocoPeople) -> NDArray[np.float32]:
    """Corners of every person, clipped to pixel centres of the picture, float32 [P, 4]; NaN for persons not driven.

    Left out: crowds, persons without keypoints, empty boxes, persons whose coordinates are all at or below zero.

    Source: MMPose 1.x, ``BaseCocoStyleDataset`` (specs of Sapiens v1, section 4).
    """
    last_P2 = np.repeat(people.sizes_I2, np.diff(people.first_I1), axis=0) - 1
    corners = people.boxes_xywh_P4.copy()
    corners[:, 2:] += corners[:, :2]
    corners = np.clip(corners, 0, np.tile(last_P2, 2))
    is_driven = ~people.is_crowd_P & (people.n_keypoints_P > 0)
    is_driven &= (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    is_driven &= (people.keypoints_PK3[:, :, :2] > 0).any(axis=(1, 2))
    return np.where(is_driven[:, None], corners, np.nan).astype(np.float32)


def _per_image(people: CocoPeople, corners_P4: NDArray[np.float32], source: str) -> Boxes:
    parts = [corners_P4[a:b] for a, b in zip(people.first_I1[:-1], people.first_I1[1:], strict=True)]
    kept = tuple(part[~np.isnan(part[:, 0])] for part in parts)
    return Boxes(kept, tuple(np.ones(len(part), np.float32) for part in kept), source, "")


def _parse_jitter(choice: str) -> tuple[float, int]:
    first, _, second = choice.removeprefix("jitter:").partition(",")
    try:
        fraction, seed = float(first), int(second or "0")
    except ValueError:
        fraction, seed = -1.0, 0
    if not 0 < fraction < 1:
        raise UsageError(f"boxes {choice!r}: write jitter:<fraction>[,<seed>] with a fraction between 0 and 1")
    return fraction, seed


def _jittered(
    corners_P4: NDArray[np.float32], ids_P: NDArray[np.int64], key: str, fraction: float
) -> NDArray[np.float32]:
    """Boxes moved by up to ``fraction`` of their sides and scaled by up to 1 -/+ ``fraction``, each side on its own.

    The four uniform draws of a person depend on data set, fraction, seed and annotation id alone (Philox keyed by
    SHA-256), so a subset of the images gives the same boxes. No clipping, as with a detector.
    """
    moved = corners_P4.copy()
    for row, identity in zip(moved, ids_P, strict=True):
        digest = hashlib.sha256(f"{key}|{identity}".encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
        u = generator.uniform(-fraction, fraction, 4)
        side = (row[2:] - row[:2]).astype(np.float64)
        center = (row[2:] + row[:2]).astype(np.float64) / 2 + u[:2] * side
        half = side * (1 + u[2:]) / 2
        row[:2], row[2:] = center - half, center + half
    return moved


def _find(choice: str, root: Path) -> Path:
    candidates = [root / choice, Path(choice)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataMissing(
        f"box file {choice!r} found neither below {root} nor as a path of its own. Detector boxes are published beside "
        "the data set; `boxes: gt` scores with ground-truth boxes instead (another protocol: about 2 AP higher)."
    )


def _detected(path: Path, people: CocoPeople) -> Boxes:
    data = strict_json.read_bytes(path)
    entries = strict_json.parse(data, path)
    faults = Faults()
    if not isinstance(entries, list):
        faults.add("boxes.format", "expected a list of {bbox, category_id, image_id, score}")
        faults.raise_any(path)
    index = {int(identity): i for i, identity in enumerate(people.image_ids_I)}
    per_image: list[list[tuple[float, ...]]] = [[] for _ in people.image_ids_I]
    n_foreign = n_empty = 0
    for position, entry in enumerate(entries):
        if not _is_detection(entry, position, faults) or entry["category_id"] != PERSON:
            continue
        if entry["image_id"] not in index:
            n_foreign += 1
        elif min(entry["bbox"][2:]) <= 0:
            n_empty += 1
        else:
            per_image[index[entry["image_id"]]].append((*entry["bbox"], entry["score"]))
    faults.raise_any(path)
    notes = [f"{n_foreign} boxes of images that are not annotated were left out"] if n_foreign else []
    notes += [f"{n_empty} boxes without extent were left out"] if n_empty else []
    arrays = [np.array(rows, np.float32).reshape(-1, 5) for rows in per_image]
    for rows in arrays:
        rows[:, 2:4] += rows[:, :2]
    return Boxes(
        tuple(rows[:, :4] for rows in arrays),
        tuple(rows[:, 4] for rows in arrays),
        path.name,
        hashlib.sha256(data).hexdigest(),
        tuple(notes),
    )


def _is_detection(entry: Any, position: int, faults: Faults) -> bool:
    where = f"[{position}]"
    if not isinstance(entry, dict):
        faults.add("boxes.format", f"{where} is not an object")
        return False
    box = entry.get("bbox")
    fault = ""
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        fault = "bbox is not 4 finite numbers"
    elif not is_number(entry.get("score")):
        fault = "score is not a finite number"
    elif not is_id(entry.get("image_id")) or not is_id(entry.get("category_id")):
        fault = "image_id or category_id is not a whole number"
    if fault:
        faults.add("boxes.entry", f"{where}: {fault}")
    return not fault
