"""Which prediction stands for which person, and how near each of its keypoints is: what distributions are made of.

Axes: I images, G people, D detections (both flattened over images), P pairs of a detection and its person, K keypoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.flatten import flatten_people, flatten_predictions
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.oks import EPSILON, Detections, People, falling
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

FOUND_AT = 0.1  # least OKS at which a detection stands for a person. Source: Ronchi and Perona, ICCV 2017, section 3.1
_CHUNK_PAIRS = 1 << 14


@dataclass(frozen=True, slots=True)
class Pairing:
    """Detections of a set of images, each with the person it stands for."""

    people: People
    detections: Detections  # those that may count: after score rule, suppression and the cut to max_detections
    keypoint_scores_DK: NDArray[np.floating[Any]]
    counts_G: NDArray[np.bool_]  # people that must be found
    person_D: NDArray[np.int64]  # index of the person, -1 for none
    oks_D: NDArray[np.float64]  # with that person; 0 for none
    n_images: int

    @property
    def paired(self) -> NDArray[np.int64]:
        """Indices of the detections that stand for a person [P]."""
        return np.flatnonzero(self.person_D >= 0)

    def oks_of_people(self) -> NDArray[np.float64]:
        """OKS of each person that must be found, 0 where nobody found it."""
        oks_G = np.zeros(len(self.counts_G))
        paired = self.paired
        oks_G[self.person_D[paired]] = self.oks_D[paired]
        found: NDArray[np.float64] = oks_G[self.counts_G]
        return found

    def oks_of_images(self) -> NDArray[np.float64]:
        """Mean OKS of the people of each image [I]; NaN where nobody must be found."""
        image = self.people.image_G[self.counts_G]
        n = np.bincount(image, minlength=self.n_images)
        total = np.bincount(image, weights=self.oks_of_people(), minlength=self.n_images)
        mean: NDArray[np.float64] = np.divide(total, n, out=np.full(self.n_images, np.nan), where=n > 0)
        return mean

    def distances(self) -> NDArray[np.float64]:
        """Of each keypoint of each pair, divided by the root of the person's area [P, K]; NaN where unlabelled."""
        d = self.paired
        g = self.person_D[d]
        dx = self.detections.x_DK[d] - self.people.x_GK[g]
        dy = self.detections.y_DK[d] - self.people.y_GK[g]
        scale = np.sqrt(self.people.area_G[g] + EPSILON)[:, None]
        return np.where(self.people.visible_GK[g], np.hypot(dx, dy) / scale, np.nan)


def similarity(
    x_PK: NDArray[np.float64],
    y_PK: NDArray[np.float64],
    people: People,
    person_P: NDArray[np.int64],
    variances_K: NDArray[np.float64],
    point_K: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """exp(-d² / (2 s² k²)) of each predicted point with a point of a person [P, K].

    Args:
        person_P: whose points.
        point_K: which of them; the same ones when None.

    Source: the terms of COCO's OKS; pycocotools ``computeOks``.
    """
    k = np.arange(x_PK.shape[1]) if point_K is None else point_K
    dx = x_PK - people.x_GK[person_P][:, k]
    dy = y_PK - people.y_GK[person_P][:, k]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        terms = (dx * dx + dy * dy) / variances_K / (people.area_G[person_P] + EPSILON)[:, None] / 2
        found: NDArray[np.float64] = np.nan_to_num(np.exp(-terms), nan=0.0)
    return found


def pair(metric: OksMetric, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> Pairing:
    """The pairing of the whole keypoint set: each detection, best score first, takes the person it fits best.

    Raises:
        ShapeError: a prediction has another number of keypoints.
    """
    n_keypoints = len(metric.variances_K)
    people = flatten_people(targets, n_keypoints)
    flat = flatten_predictions(predictions, n_keypoints, metric.scoring, metric.variances_K, metric.area_index)
    found = flat.detections
    if len(metric.groups) > 1 and "whole" in flat.parts:  # results that rank the whole set by a score of their own
        found = replace(found, scores_D=flat.parts["whole"])
    kept = _kept(found, flat.keypoint_scores_DK, metric, flat.is_final_D)
    detections = Detections(
        found.image_D[kept], found.x_DK[kept], found.y_DK[kept], found.scores_D[kept], found.area_D[kept]
    )
    counts_G: NDArray[np.bool_] = ~people.is_crowd_G & np.asarray(people.visible_GK.any(axis=1))
    if people.is_ignored_G is not None:
        counts_G &= ~people.is_ignored_G
    person, oks = _assign(people, counts_G, detections, metric.variances_K, len(targets))
    return Pairing(people, detections, flat.keypoint_scores_DK[kept], counts_G, person, oks, len(targets))


def _kept(
    detections: Detections, scores_DK: NDArray[np.floating[Any]], metric: OksMetric, is_final_D: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Indices by image, then falling score: the best ``max_detections`` of each image that take part."""
    order = falling(detections.scores_D)
    order = order[np.argsort(detections.image_D[order], kind="stable")]
    is_strict_D = np.full(len(is_final_D), metric.scoring.drop_zero_score)
    is_strict_D = (
        is_strict_D | is_final_D if len(metric.groups) > 1 else is_strict_D & ~is_final_D
    )  # as OksMetric has it
    is_seen_D: NDArray[np.bool_] = np.asarray((scores_DK > 0).any(axis=1))
    order = order[is_seen_D[order] | ~is_strict_D[order]]
    image = detections.image_D[order]
    n = np.bincount(image) if len(image) else np.zeros(0, np.int64)
    rank = np.arange(len(order)) - (np.cumsum(n) - n)[image]
    return order[rank < metric.scoring.max_detections]


def _assign(
    people: People,
    counts_G: NDArray[np.bool_],
    detections: Detections,
    variances_K: NDArray[np.float64],
    n_images: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Person (or -1) and OKS of each detection; detections come by image, then falling score."""
    person_D = np.full(len(detections.scores_D), -1, np.int64)
    oks_D = np.zeros(len(detections.scores_D))
    taken: set[int] = set()
    for d_P, g_P in _couples(np.flatnonzero(counts_G), people, detections, n_images):
        visible = people.visible_GK[g_P]
        near = similarity(detections.x_DK[d_P], detections.y_DK[d_P], people, g_P, variances_K)
        oks = np.where(visible, near, 0.0).sum(axis=1) / np.maximum(visible.sum(axis=1), 1)
        close = np.flatnonzero(oks >= FOUND_AT)
        order = close[np.lexsort((-oks[close], d_P[close]))]
        for d, g, value in zip(d_P[order].tolist(), g_P[order].tolist(), oks[order].tolist()):
            if person_D[d] < 0 and g not in taken:
                person_D[d], oks_D[d] = g, value
                taken.add(g)
    return person_D, oks_D


def _couples(
    who: NDArray[np.int64], people: People, detections: Detections, n_images: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every detection with every person ``who`` of its image, some thousand pairs at a time, a detection's together."""
    n_gt = np.bincount(people.image_G[who], minlength=n_images)
    first = np.cumsum(n_gt) - n_gt
    per_D = n_gt[detections.image_D]
    ends = np.cumsum(per_D)
    start = 0
    while start < len(per_D):
        limit = (ends[start - 1] if start else 0) + _CHUNK_PAIRS
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        d = np.repeat(np.arange(start, stop), per_D[start:stop])
        if len(d):
            within = np.arange(len(d)) - np.repeat(ends[start:stop] - per_D[start:stop] - ends[start] + per_D[start],
                                                   per_D[start:stop])  # fmt: skip
            yield d, who[first[detections.image_D[d]] + within]
        start = stop
