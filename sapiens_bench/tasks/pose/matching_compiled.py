"""COCO matching of detections to people by compiled kernels; the exponential is numpy's, so that every bit is, too.

Axes: G people, D detections (both flattened over images), S selected detections, P pairs (of each person all selected
detections of its image), I images, K keypoints, A area ranges.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.oks import (
    AREA_RANGES_A2,
    EPSILON,
    Detections,
    Group,
    People,
    columns_of,
    ignored,
)

_BUFFER_VALUES = 1 << 14  # terms of the similarity held at once; fits the second-level cache


def match_group(
    kernels: ModuleType,
    people: People,
    detections: Detections,
    selected: NDArray[np.int64],
    n_images: int,
    group: Group,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Outcome bits of the selected detections [S], and people that count [I, A]."""
    ignored_GA, image_G = ignored(people, group), people.image_G
    n_gt = np.bincount(image_G, minlength=n_images)
    n_dt = np.bincount(detections.image_D[selected], minlength=n_images)
    first_gt, first_dt = np.cumsum(n_gt) - n_gt, np.cumsum(n_dt) - n_dt
    n_dt_G = n_dt[image_G]
    first_pair_G = np.concatenate([[0], np.cumsum(n_dt_G)])
    oks_P = _similarity(kernels, people, detections, group, selected, first_dt[image_G], n_dt_G, first_pair_G)
    bits, n_people = np.empty(len(selected), np.int64), np.zeros((n_images, len(AREA_RANGES_A2)), np.int64)
    kernels.match_images(
        oks_P, first_pair_G, first_gt, n_gt, first_dt, n_dt, _ready(image_G), ignored_GA, _ready(people.is_crowd_G),
        _ready(detections.area_D), selected, bits, n_people,
    )  # fmt: skip
    return bits, n_people


def _similarity(
    kernels: ModuleType,
    people: People,
    detections: Detections,
    group: Group,
    selected: NDArray[np.int64],
    first_dt_G: NDArray[np.int64],
    n_dt_G: NDArray[np.int64],
    first_pair_G: NDArray[np.int64],
) -> NDArray[np.float64]:
    """OKS of each pair [P] on the group's keypoints; 0 where it is below the lowest threshold for certain."""
    coordinates_D = [_ready(columns_of(values, group.index)) for values in (detections.x_DK, detections.y_DK)]
    coordinates_G = [_ready(columns_of(v, group.index)) for v in (people.x_GK, people.y_GK, people.visible_GK)]
    oks, n_points = np.empty(first_pair_G[-1]), np.empty(first_pair_G[-1], np.int64)
    buffer = np.empty(max(_BUFFER_VALUES, int(n_dt_G.max(initial=0)) * len(group.index)))
    done = 0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        while done < len(n_dt_G):
            end, n_values = kernels.exponents(
                done, buffer, n_points, *coordinates_D, selected, first_dt_G, n_dt_G, first_pair_G, *coordinates_G,
                people.area_G + EPSILON, _ready(people.boxes_xywh_G4), _ready(group.variances),
            )  # fmt: skip
            terms = buffer[:n_values]
            np.exp(terms, out=terms)
            kernels.means(first_pair_G[done], first_pair_G[end], terms, n_points, oks)
            done = end
    return oks


def _ready(array: NDArray[Any]) -> NDArray[Any]:
    """As the kernels are compiled for: rows contiguous, writable; copied only where it is not."""
    return np.require(array, requirements=("C_CONTIGUOUS", "WRITEABLE"))
