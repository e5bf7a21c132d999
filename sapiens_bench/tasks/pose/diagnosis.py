"""Where a pose model loses AP: errors taken away one kind after the other until nothing is wrong.

The kinds are those of Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation, ICCV 2017:
a keypoint that is near its true place (similarity >= 0.5) is *jitter* (>= 0.85: *good*); one that is near its mirror
image on the same person is an *inversion*; one that is near that point, or its mirror image, of another person is a
*swap*; any other is a *miss*. Beside these stand detections of nobody (*background*), detections ranked otherwise than
by how good they are (*score order*) and people whom no detection stands for (*not found*).

AP is taken again after each step, in the order of ``KINDS``. Losses are the gains of the steps, so that they and the AP
add up to 1. Departures from the paper: a wrong keypoint is moved to its true place, so that what jitter loses includes
the little that good keypoints lose at high thresholds; and background is taken away first, since after the scores are
set right a detection of nobody costs nothing.

Axes: D detections, P pairs, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.average_precision import Elements, PartOutcomes
from sapiens_bench.tasks.pose.matching import match
from sapiens_bench.tasks.pose.metrics import WHOLE, OksMetric
from sapiens_bench.tasks.pose.oks import Detections, Group
from sapiens_bench.tasks.pose.pairing import Pairing, similarity

GOOD, NEAR = 0.85, 0.5  # similarities. Source: Ronchi and Perona, section 3.1
CLASSES = ("good", "jitter", "inversion", "swap", "miss")
KINDS = ("background", "score order", "miss", "swap", "inversion", "jitter", "not found")
_STEPS = (("miss", "miss"), ("swap", "swap"), ("inversion", "inversion"), ("jitter", "jitter"))
_UNLABELLED = len(CLASSES)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong, and what it costs."""

    ap: float  # of the whole keypoint set
    lost: Mapping[str, float]  # AP by kind, in the order of KINDS; with ``ap`` they add up to 1
    keypoints: Mapping[str, int]  # labelled keypoints of people that were found, by CLASSES
    classes_KC: NDArray[np.int64]  # the same for each keypoint [K, 5]
    n_people: int
    n_found: int
    n_background: int


def diagnose(metric: OksMetric, found: Pairing, flip_index: Sequence[int] = ()) -> Diagnosis:
    """Take the errors of a set of images away, one kind after the other.

    Args:
        flip_index: mirror image of each keypoint, itself where it has none; without it there are no inversions.
    """
    group = metric.groups[WHOLE]
    mirror = np.asarray(flip_index, np.int64) if flip_index else np.arange(len(group.variances))
    classes_PK = _classes(found, group, mirror)
    steps = _steps(metric, found, group, classes_PK)
    ends = {"not found": 1.0, **steps} if np.isfinite(steps["as it is"]) else {**steps, "not found": np.nan}
    before, lost = ends["as it is"], {}
    for kind in KINDS[:-1]:
        lost[kind] = ends[kind] - before
        before = ends[kind]
    lost["not found"] = (1.0 - ends["as it is"]) - sum(lost.values())
    counts = np.stack([(classes_PK == c).sum(axis=0) for c in range(len(CLASSES))], axis=1)
    return Diagnosis(
        ap=ends["as it is"],
        lost={kind: float(lost[kind]) for kind in KINDS},
        keypoints=dict(zip(CLASSES, counts.sum(axis=0).tolist())),
        classes_KC=counts,
        n_people=int(found.counts_G.sum()),
        n_found=len(found.paired),
        n_background=int((found.person_D < 0).sum()),
    )


def _classes(found: Pairing, group: Group, mirror_K: NDArray[np.int64]) -> NDArray[np.int8]:
    """Index into CLASSES of each keypoint of each pair [P, K]; ``_UNLABELLED`` where the truth has no such point."""
    d = found.paired
    g, people = found.person_D[d], found.people
    x, y = found.detections.x_DK[d], found.detections.y_DK[d]
    near = similarity(x, y, people, g, group.variances)
    turned = similarity(x, y, people, g, group.variances, mirror_K)
    has_mirror = mirror_K != np.arange(len(mirror_K))
    is_inverted = (turned >= NEAR) & has_mirror & people.visible_GK[g][:, mirror_K]
    chosen = np.full(near.shape, CLASSES.index("miss"), np.int8)
    chosen[_near_others(found, group, mirror_K, d, g)] = CLASSES.index("swap")
    chosen[is_inverted] = CLASSES.index("inversion")
    chosen[near >= NEAR] = CLASSES.index("jitter")
    chosen[near >= GOOD] = CLASSES.index("good")
    chosen[~people.visible_GK[g]] = _UNLABELLED
    return chosen


def _near_others(
    found: Pairing, group: Group, mirror_K: NDArray[np.int64], d_P: NDArray[np.int64], g_P: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Bool [P, K]: the point is near that point, or its mirror image, of another person of the image."""
    people, out = found.people, np.zeros((len(d_P), len(mirror_K)), bool)
    members: dict[int, list[int]] = {}
    for g in np.flatnonzero(found.counts_G).tolist():
        members.setdefault(int(people.image_G[g]), []).append(g)
    own = [(p, h) for p, g in enumerate(g_P.tolist()) for h in members[int(people.image_G[g])] if h != g]
    for start in range(0, len(own), 1 << 14):
        at = np.array(own[start : start + (1 << 14)], np.int64)
        p, h = at[:, 0], at[:, 1]
        x, y = found.detections.x_DK[d_P[p]], found.detections.y_DK[d_P[p]]
        same = (similarity(x, y, people, h, group.variances) >= NEAR) & people.visible_GK[h]
        turned = similarity(x, y, people, h, group.variances, mirror_K) >= NEAR
        np.logical_or.at(out, p, same | (turned & people.visible_GK[h][:, mirror_K]))
    return out


def _steps(metric: OksMetric, found: Pairing, group: Group, classes_PK: NDArray[np.int8]) -> dict[str, float]:
    """AP as it is, and after each step."""
    result = {"as it is": _ap(metric, found, found.detections)}
    paired = found.paired
    left = _taken(found.detections, paired)
    result["background"] = _ap(metric, found, left)
    left = replace(left, scores_D=_oks(found, group, left))
    result["score order"] = _ap(metric, found, left)
    g = found.person_D[paired]
    for kind, name in _STEPS:
        wrong = classes_PK == CLASSES.index(name)
        if kind == "jitter":
            wrong |= classes_PK == CLASSES.index("good")
        x = np.where(wrong, found.people.x_GK[g], left.x_DK)
        y = np.where(wrong, found.people.y_GK[g], left.y_DK)
        left = replace(left, x_DK=x, y_DK=y)
        left = replace(left, scores_D=_oks(found, group, left))
        result[kind] = _ap(metric, found, left)
    return result


def _taken(detections: Detections, index: NDArray[np.int64]) -> Detections:
    return Detections(
        detections.image_D[index],
        detections.x_DK[index],
        detections.y_DK[index],
        detections.scores_D[index],
        detections.area_D[index],
    )


def _oks(found: Pairing, group: Group, paired: Detections) -> NDArray[np.float64]:
    """OKS of each pair: the score that ranks best, whatever the threshold."""
    g = found.person_D[found.paired]
    visible = found.people.visible_GK[g]
    near = similarity(paired.x_DK, paired.y_DK, found.people, g, group.variances)
    oks: NDArray[np.float64] = np.where(visible, near, 0.0).sum(axis=1) / np.maximum(visible.sum(axis=1), 1)
    return oks


def _ap(metric: OksMetric, found: Pairing, detections: Detections) -> float:
    matches = match(found.people, detections, found.n_images, {WHOLE: metric.groups[WHOLE]},
                    metric.scoring.max_detections)  # fmt: skip
    elements = Elements.sort(detections.scores_D[matches.kept], detections.image_D[matches.kept])
    part = PartOutcomes(elements, matches.outcomes[WHOLE][elements.order_E], matches.n_people[WHOLE])
    return float(part.statistics(np.ones((1, found.n_images), np.uint8), ("AP",))["AP"][0])
