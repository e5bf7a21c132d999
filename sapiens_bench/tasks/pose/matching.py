"""The COCO matching of detections to people, for many images at once.

Axes: G people, D detections (both flattened over images), I images, A area ranges.

Matches pycocotools 2.0 ``COCOeval.computeOks`` and ``evaluateImg`` bit for bit: points are summed in the same order
(only the visible ones, by numpy's pairwise sum), equal scores keep their order, of equal OKS the last person wins,
crowds may be matched many times. One departure: a similarity that is NaN never matches (there it always does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose import matching_arrays, matching_compiled
from sapiens_bench.tasks.pose.compiled import KERNELS
from sapiens_bench.tasks.pose.oks import Detections, Group, Matches, People, falling

_Engine = Callable[
    [People, Detections, NDArray[np.int64], int, Group], tuple[NDArray[np.int64], NDArray[np.int64]]
]  # people, detections, selected, number of images, group -> (oks.Matches outcomes of the selected, people that count)
_NUMPY_PAIR_S, _NUMPY_POINT_S = 4e-7, 1.2e-8  # about what numpy takes for a pair, and for each of its keypoints


def match(
    people: People,
    detections: Detections,
    n_images: int,
    groups: Mapping[str, Group],
    max_detections: int = 20,
    present: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Matches:
    """Match every image's detections to its people, once per group.

    Args:
        groups: parts to score; each is matched on its own.
        max_detections: the best-scored detections of an image that take part.
        present: group -> bool [D]; False removes a detection from that group before the cut to ``max_detections``.
    """
    by_score = _by_image(detections)
    selected = {
        name: _best(by_score, detections.image_D, (present or {}).get(name), n_images, max_detections)
        for name in groups
    }
    engine = _engine(people, detections, n_images, groups)
    is_kept = np.zeros(len(by_score), bool)
    for index in selected.values():
        is_kept[index] = True
    kept = by_score[is_kept[by_score]]
    position = np.full(len(by_score), -1, np.int64)
    position[kept] = np.arange(len(kept))

    outcomes, n_people = {}, {}
    for name, group in groups.items():
        outcomes[name] = np.zeros(len(kept), np.int64)
        bits, n_people[name] = engine(people, detections, selected[name], n_images, group)
        outcomes[name][position[selected[name]]] = bits
    return Matches(kept, outcomes, n_people)


def _by_image(detections: Detections) -> NDArray[np.int64]:
    """Indices by image, then falling score; equal scores keep their order."""
    order = falling(detections.scores_D)
    n = max(1, len(order))
    by_image = detections.image_D[order] * n + np.arange(len(order))
    by_image.sort()
    by_image %= n
    by_score: NDArray[np.int64] = order[by_image]
    return by_score


def _best(
    by_score: NDArray[np.int64],
    image_D: NDArray[np.int64],
    present: NDArray[np.bool_] | None,
    n_images: int,
    limit: int,
) -> NDArray[np.int64]:
    """Indices of the ``limit`` best detections of each image, by image, then falling score."""
    order = by_score if present is None else by_score[present[by_score]]
    image = image_D[order]
    counts = np.bincount(image, minlength=n_images)
    if counts.max(initial=0) <= limit:
        return order
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[image]
    return order[rank < limit]


def _engine(people: People, detections: Detections, n_images: int, groups: Mapping[str, Group]) -> _Engine:
    """The compiled matching where it is there and worth its loading, else numpy's; the outcomes are the same."""
    n_pairs = int(np.bincount(people.image_G, minlength=n_images)[detections.image_D].sum())
    n_points = sum(len(group.index) for group in groups.values())
    kernels = KERNELS.get(n_pairs * (_NUMPY_PAIR_S * len(groups) + _NUMPY_POINT_S * n_points))
    return matching_arrays.match_group if kernels is None else partial(matching_compiled.match_group, kernels)
