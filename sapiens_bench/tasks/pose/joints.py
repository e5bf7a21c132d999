"""How far each keypoint of each person was missed, and in which direction: sums over the people of one image.

A shift of one pixel moves every point by the same vector. Beside the scatter of a model's errors that is little (AP
need not see it), but between two runs on the same pictures the scatter cancels and the vector is left.

A person's prediction is the instance whose box overlaps hers most (``overlap.pairs``). Results made elsewhere need not
have boxes: there it is the instance whose points are nearest. Errors are prediction minus truth, x right, y down; as a
share they are divided by the longer side of the person's annotated box.

Axes: I images, G people, N instances, P pairs of both in one image, K keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

COLUMNS = ("joint_points", "joint_dx", "joint_dy", "joint_distance", "joint_dx_px", "joint_dy_px")
_BLOCK = 64  # images at once: bounds the pairs that are held
_FARTHEST = 1e3  # sides of the box, and 1e3 x that in px: an error beyond counts as this
_NEAR, _LEAST_FIT = 0.1, 0.05  # of results without boxes: scale of a point's distance in sides, and the worst partner


def joint_columns(
    targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction], n_keypoints: int
) -> list[dict[str, Any]]:
    """One dictionary per image: ``joint_points`` int32 [K], how many labelled points of people with an instance;
    float32 [K] sums over those of ``joint_dx``, ``joint_dy``, ``joint_distance`` as shares, and ``joint_dx_px``,
    ``joint_dy_px``. People who are not scored, or whose box has no size, take no part.
    """
    found: list[dict[str, Any]] = []
    for start in range(0, len(targets), _BLOCK):
        found += _block(targets[start : start + _BLOCK], predictions[start : start + _BLOCK], n_keypoints)
    return found


def _block(
    targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction], n_keypoints: int
) -> list[dict[str, Any]]:
    n_images = len(targets)
    people = [np.flatnonzero(t.is_scored_N) for t in targets]
    counts_G = np.array([len(p) for p in people])
    counts_N = np.array([len(p.instance_scores_N) for p in predictions])
    truth = _joined([t.keypoints_NK2_px[i] for t, i in zip(targets, people)], (n_keypoints, 2))
    labelled = _joined([t.visible_NK[i] > 0 for t, i in zip(targets, people)], (n_keypoints,)).astype(bool)
    boxes = _joined([t.boxes_xyxy_px_N4[i] for t, i in zip(targets, people)], (4,))
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0)
    given = _joined([p.keypoints_NK2_px for p in predictions], (n_keypoints, 2))
    person_P, instance_P, image_P = _pairs(counts_G, counts_N)
    is_measured = np.isfinite(side) & (side > 0)
    person_P, instance_P, image_P = (x[is_measured[person_P]] for x in (person_P, instance_P, image_P))
    fit_P = _overlap(boxes[person_P], _joined([p.boxes_xyxy_px_N4 for p in predictions], (4,))[instance_P])
    by_points = np.array([p.results is not None for p in predictions], bool)[image_P]
    if by_points.any():
        at = np.flatnonzero(by_points)
        with np.errstate(over="ignore", invalid="ignore"):
            offset = given[instance_P[at]] - truth[person_P[at]]
        fit_P[at] = _nearness(offset, labelled[person_P[at]], side[person_P[at]])
    person, instance = _partners(person_P, instance_P, fit_P)
    image = np.repeat(np.arange(n_images), counts_G)[person]
    is_counted = labelled[person]
    with np.errstate(over="ignore", invalid="ignore"):  # points without a label may hold anything
        offset = np.where(is_counted[..., None], given[instance] - truth[person], 0.0)
    return _rows(image, offset, is_counted, side[person], n_images)


def _rows(
    image_G: NDArray[np.int64],
    offset_GK2: NDArray[np.float64],
    is_counted_GK: NDArray[np.bool_],
    side_G: NDArray[np.float64],
    n_images: int,
) -> list[dict[str, Any]]:
    """Sums over the people of each image, in the order of people: an image's do not depend on its neighbours."""
    far = _FARTHEST * 1e3
    pixels = np.clip(np.nan_to_num(offset_GK2, nan=0.0, posinf=far, neginf=-far), -far, far)
    shares = np.clip(pixels / side_G[:, None, None], -_FARTHEST, _FARTHEST)
    values = {
        "joint_dx": shares[..., 0],
        "joint_dy": shares[..., 1],
        "joint_distance": np.hypot(shares[..., 0], shares[..., 1]),
        "joint_dx_px": pixels[..., 0],
        "joint_dy_px": pixels[..., 1],
    }
    present, first = np.unique(image_G, return_index=True)
    points = np.zeros((n_images, is_counted_GK.shape[1]), np.int32)
    sums = {name: np.zeros(points.shape, np.float32) for name in values}
    if len(present):
        points[present] = np.add.reduceat(is_counted_GK, first, axis=0, dtype=np.int32)
        for name, of_person in values.items():
            sums[name][present] = np.add.reduceat(of_person, first, axis=0)
    return [{"joint_points": points[i], **{name: total[i] for name, total in sums.items()}} for i in range(n_images)]


def _pairs(
    counts_G: NDArray[np.int64], counts_N: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Every person with every instance of the same image: positions of both end to end, and the image; [P] each."""
    counts_P = counts_G * counts_N
    image_P = np.repeat(np.arange(len(counts_P)), counts_P)
    inside_P = np.arange(len(image_P)) - (np.cumsum(counts_P) - counts_P)[image_P]
    first_G, first_N = (np.cumsum(c) - c for c in (counts_G, counts_N))
    width_P = counts_N[image_P]
    return first_G[image_P] + inside_P // width_P, first_N[image_P] + inside_P % width_P, image_P


def _overlap(a_P4: NDArray[np.float64], b_P4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of two boxes each, [P]; 0 without area."""
    shared = np.clip(np.minimum(a_P4[:, 2:], b_P4[:, 2:]) - np.maximum(a_P4[:, :2], b_P4[:, :2]), 0, None).prod(axis=1)
    areas = [np.clip(x[:, 2:] - x[:, :2], 0, None).prod(axis=1) for x in (a_P4, b_P4)]
    union = areas[0] + areas[1] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _nearness(
    offset_PK2: NDArray[np.float64], labelled_PK: NDArray[np.bool_], side_P: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean of exp(-d² / 2) over the labelled points, d in tenths of the side; 0 where that is next to nothing."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squared = (offset_PK2**2).sum(axis=2) / (_NEAR * side_P[:, None]) ** 2
        near = np.where(labelled_PK, np.exp(-squared / 2), 0.0).sum(axis=1) / np.maximum(labelled_PK.sum(axis=1), 1)
    return np.where(near >= _LEAST_FIT, near, 0.0)


def _partners(
    person_P: NDArray[np.int64], instance_P: NDArray[np.int64], fit_P: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """People with an instance, and which; by falling fit, each once, as ``overlap.pairs`` does in one image."""
    fits = np.flatnonzero(fit_P > 0)
    order = fits[np.argsort(-fit_P[fits], kind="stable")]
    taken_people: set[int] = set()
    taken_instances: set[int] = set()
    chosen: list[tuple[int, int]] = []
    for person, instance in zip(person_P[order].tolist(), instance_P[order].tolist()):
        if person not in taken_people and instance not in taken_instances:
            taken_people.add(person)
            taken_instances.add(instance)
            chosen.append((person, instance))
    found = np.array(sorted(chosen), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _joined(arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """Arrays end to end in float64; [0, *shape] where there are none."""
    filled = [np.asarray(a, np.float64) for a in arrays if len(a)]
    return np.concatenate(filled) if filled else np.zeros((0, *shape))
