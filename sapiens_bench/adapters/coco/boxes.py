"""Which boxes drive a top-down model: ground truth, jittered ground truth, a detector's file, or none at all.

Axes: I images, N boxes of one image, P persons.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.people import CocoPeople
from sapiens_bench.errors import UsageError

NONE = "none"


@dataclass(frozen=True, slots=True)
class Boxes:
    """The driving boxes of every image."""

    xyxy_px: tuple[NDArray[np.float32], ...]  # per image [N, 4]
    scores: tuple[NDArray[np.float32], ...]  # per image [N]
    source: str  # "ground truth", "ground truth, jittered by ...", or the file's name
    sha256: str  # of the detector file; "" for ground truth
    notes: tuple[str, ...] = ()
    is_none: bool = False  # no model is driven by boxes
    categories: tuple[NDArray[np.int64], ...] | None = None  # per image [N]; None: one category is scored


def boxes_of_people(choice: str, people: CocoPeople, dataset: str) -> Boxes | None:
    """The boxes that ``choice`` makes of the annotated people; None when it names a file.

    Args:
        choice: ``gt``, ``none``, ``jitter:<fraction>[,<seed>]``, or something else.
        people: the checked annotations.
        dataset: its id; part of the jitter's key.

    Raises:
        UsageError: the jitter cannot be read.
    """
    if choice == "gt":
        return _per_image(people, ground_truth(people), "ground truth")
    if choice == NONE:
        nobody = np.full((len(people.ids_P), 4), np.nan, np.float32)
        return replace(_per_image(people, nobody, "none: every detection counts"), is_none=True)
    if not choice.startswith("jitter:"):
        return None
    fraction, seed = _parse_jitter(choice)
    boxes = _jittered(ground_truth(people), people.ids_P, f"{dataset}|{fraction!r}|{seed}", fraction)
    return _per_image(people, boxes, f"ground truth, jittered by {fraction:g} (seed {seed})")


def ground_truth(people: CocoPeople) -> NDArray[np.float32]:
    """Corners of every person, clipped to pixel centres of the picture, float32 [P, 4]; NaN for persons not driven.

    Left out: crowds, persons without keypoints, empty boxes, persons whose coordinates are all at or below zero.

    Source: MMPose 1.x, ``BaseCocoStyleDataset.parse_data_info``.
    """
    size_P2 = people.sizes_I2[people.image_P].astype(np.float64)
    last_P2 = np.where(size_P2 > 0, size_P2 - 1, np.inf)  # no declared size: nothing to clip to
    corners = people.boxes_xywh_P4.copy()
    corners[:, 2:] += corners[:, :2]
    corners = np.clip(corners, 0, np.tile(last_P2, 2))
    is_driven = people.is_driven_P & (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    is_driven &= (people.keypoints_PK3[:, :, :2] > 0).any(axis=(1, 2))
    return np.where(is_driven[:, None], corners, np.nan).astype(np.float32)


def _per_image(people: CocoPeople, corners_P4: NDArray[np.float32], source: str) -> Boxes:
    parts = [corners_P4[a:b] for a, b in zip(people.first_I1[:-1], people.first_I1[1:], strict=True)]
    kept = tuple(part[~np.isnan(part[:, 0])] for part in parts)
    categories = None
    if people.category_P is not None:
        is_driven = ~np.isnan(corners_P4[:, 0])
        bounds = zip(people.first_I1[:-1], people.first_I1[1:], strict=True)
        categories = tuple(people.category_P[a:b][is_driven[a:b]] for a, b in bounds)
    return Boxes(kept, tuple(np.ones(len(part), np.float32) for part in kept), source, "", categories=categories)


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
    corners_P4: NDArray[np.float32], ids_P: NDArray[np.integer], key: str, fraction: float
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


def find_file(choice: str, root: Path) -> tuple[Path, float | None] | None:
    """The file that ``choice`` names, below the root or as a path of its own, and its score threshold.

    A name with ``,<number>`` at its end is one unless a file of that very name exists.

    Raises:
        UsageError: the threshold is no number that a score could have.
    """
    for text, threshold in ((choice, ""), choice.rpartition(",")[::2]):
        for candidate in (root / text, Path(text)):
            if text and candidate.exists() and not candidate.is_dir():
                return candidate, _threshold(threshold, choice) if threshold else None
    return None


def _threshold(text: str, choice: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise UsageError(f"boxes {choice!r}: write FILE,<score threshold>; {text!r} is no number")
    return float(value)
