"""Records and rules of COCO keypoint scoring (object keypoint similarity), shared by all that match and count.

Axes: G people, D detections (both flattened over images), I images, K keypoints, A area ranges (all, medium, large),
T OKS thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREA_NAMES = ("all", "medium", "large")
AREA_RANGES_A2 = np.array([[0, 1e5**2], [32**2, 96**2], [96**2, 1e5**2]], dtype=np.float64)  # px², ends included
N_CELLS = len(AREA_RANGES_A2) * len(OKS_THRESHOLDS)  # 30 outcomes of one detection, area-major
EPSILON = np.spacing(1)
FALSE_BITS_A = ((1 << len(OKS_THRESHOLDS)) - 1) << (N_CELLS + len(OKS_THRESHOLDS) * np.arange(len(AREA_RANGES_A2)))


@dataclass(frozen=True, slots=True)
class People:
    """Annotated people, in the order of the annotation file, images ascending."""

    image_G: NDArray[np.int64]
    x_GK: NDArray[np.float64]
    y_GK: NDArray[np.float64]
    visible_GK: NDArray[np.bool_]
    area_G: NDArray[np.float64]
    is_crowd_G: NDArray[np.bool_]
    boxes_xywh_G4: NDArray[np.float64]
    is_ignored_G: NDArray[np.bool_] | None = None  # not scored whatever is visible; unlike a crowd, matched only once


@dataclass(frozen=True, slots=True)
class Detections:
    """Predicted people with their final scores, in any order."""

    image_D: NDArray[np.int64]
    x_DK: NDArray[np.float64]
    y_DK: NDArray[np.float64]
    scores_D: NDArray[np.float64]
    area_D: NDArray[np.float64]  # px², from keypoint extents


@dataclass(frozen=True, slots=True)
class Group:
    """A scored part of the keypoint set."""

    index: NDArray[np.int64]  # keypoints of the part
    variances: NDArray[np.float64]  # (2 sigma)² of those keypoints


class Matches(NamedTuple):
    """``kept`` are detections that may count, by image, then falling score.

    Bit ``area * 10 + threshold`` of an outcome is set for a true positive, the bit 30 places higher for a false
    positive, neither where the detection is ignored.
    """

    kept: NDArray[np.int64]  # [D'] indices into the detections
    outcomes: dict[str, NDArray[np.int64]]  # group -> [D']
    n_people: dict[str, NDArray[np.int64]]  # group -> [I, A] people that count


def variances(sigmas: NDArray[np.floating]) -> NDArray[np.float64]:
    """(2 sigma)² per keypoint, squared in the dtype of ``sigmas``. Source: pycocotools ``computeOks``."""
    return ((sigmas * 2) ** 2).astype(np.float64)


def keypoint_area(x_DK: NDArray[np.float64], y_DK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of the box around all points of each detection, px². Source: pycocotools ``COCO.loadRes``."""
    if x_DK.size == 0:
        return np.zeros(len(x_DK))
    area: NDArray[np.float64] = _extent(x_DK) * _extent(y_DK)
    return area


def _extent(values_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest less lowest of each row; of many short rows column by column, three times as fast."""
    n, k = values_NK.shape
    if n < 16 * k:
        return np.asarray(values_NK.max(axis=1) - values_NK.min(axis=1))
    high, low = values_NK[:, 0].copy(), values_NK[:, 0].copy()
    for column in values_NK.T[1:]:
        np.maximum(high, column, out=high)
        np.minimum(low, column, out=low)
    high -= low
    return high


def seen(keypoint_scores_DK: NDArray[np.floating[Any]], groups: Mapping[str, Group]) -> dict[str, NDArray[np.bool_]]:
    """Group -> bool [D]: the detection has a positive keypoint score in the group."""
    is_positive = keypoint_scores_DK > 0
    return {name: np.asarray(is_positive[:, group.index].any(axis=1)) for name, group in groups.items()}


def outside_ranges(area_N: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bool [N, A]: the area is outside the range."""
    return (area_N[:, None] < AREA_RANGES_A2[:, 0]) | (area_N[:, None] > AREA_RANGES_A2[:, 1])


def ignored(people: People, group: Group) -> NDArray[np.bool_]:
    """Bool [G, A]: matching the person is neither right nor wrong (a crowd, left out by the truth, no visible
    point, or outside the range)."""
    is_ignored_G = people.is_crowd_G | ~people.visible_GK[:, group.index].any(axis=1)
    if people.is_ignored_G is not None:
        is_ignored_G |= people.is_ignored_G
    return is_ignored_G[:, None] | outside_ranges(people.area_G)


def columns_of(values_NK: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """The columns of a group of keypoints, rows contiguous (sums depend on it); no copy where it is everything."""
    is_whole = np.array_equal(index, np.arange(values_NK.shape[1]))
    return values_NK if is_whole else np.take(values_NK, index, axis=1)


def falling(scores_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order by falling score, equal scores as they came: a stable sort, made of two fast ones."""
    order = np.argsort(-scores_N)
    sorted_N = scores_N[order]
    if len(order) == 0 or np.isnan(sorted_N[-1]):
        return np.argsort(-scores_N, kind="stable")
    run = np.zeros(len(order), np.int64)
    np.cumsum(sorted_N[1:] != sorted_N[:-1], out=run[1:])
    run *= len(order)
    run += order
    run.sort()
    run %= len(order)
    return run
