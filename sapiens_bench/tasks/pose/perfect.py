"""The prediction that scores best: what the oracle answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.overlap import iou
from sapiens_bench.tasks.pose.types import Floats, PosePrediction, PoseTarget


def perfect_prediction(target: PoseTarget) -> PosePrediction:
    """The annotated points of every person that counts, score 1; AP and AR are exactly 1.0.

    Crowds and people without a labelled point are ignored by the metric, so they are not predicted. Points that are not
    labelled still matter twice: for a part without a labelled point the instance must match its own, ignored person
    (all points within the person's box grown by its own size), and two people must not look alike to OKS-NMS. They are
    put in that grown box, where they are farthest from everybody else.

    Known limit: where several people's boxes lie in one another, APM or APL of a part can stay below 1, because COCO
    matching lets a person of another size take an ignored person's place (3 of 1,500 crowded random sets of 133
    points, always APL of the feet).
    """
    labelled_NK = target.visible_NK > 0
    people = np.flatnonzero(target.is_scored_N)
    keypoints = target.keypoints_NK2_px[people].astype(np.float64)
    taken = [_points(target, n) for n in range(len(target.area_N))]
    for row, person in enumerate(people):
        hidden = ~labelled_NK[person]
        if hidden.any():
            others = np.concatenate([p for n, p in enumerate(taken) if n != person] or [np.zeros((0, 2))])
            place = _farthest(target.boxes_xyxy_px_N4[person], others)
            keypoints[row, hidden] = place
            taken[person] = np.concatenate([taken[person], place[None]])
    return PosePrediction(
        keypoints_NK2_px=keypoints.astype(np.float32),
        keypoint_scores_NK=np.ones(labelled_NK[people].shape, np.float32),
        instance_scores_N=np.ones(len(people), np.float32),
        boxes_xyxy_px_N4=target.boxes_xyxy_px_N4[people].astype(np.float32),
        category_N=None if target.category_N is None else target.category_N[people],
    )


def per_box(best: PosePrediction, boxes_xyxy_px_N4: Floats, box_scores_N: Floats) -> PosePrediction:
    """What a perfect top-down model answers when it is driven by other boxes than the true ones.

    Each box gets the points of the person it overlaps most (IoU), or its own centre when it overlaps nobody, and its
    own score. What is lost against ``best`` is lost by the boxes. Where every box of ``best`` is given with score 1,
    ``best`` is the answer.
    """
    if len(boxes_xyxy_px_N4) == len(best.boxes_xyxy_px_N4) and not bool((np.asarray(box_scores_N) != 1).any()):
        return best
    boxes = np.asarray(boxes_xyxy_px_N4, np.float64)
    n, k = len(boxes), best.keypoints_NK2_px.shape[1]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    keypoints = np.repeat(centres[:, None], k, axis=1)
    if len(best.boxes_xyxy_px_N4):
        overlap_NM = iou(boxes, best.boxes_xyxy_px_N4)
        person_N = overlap_NM.argmax(axis=1)
        found = overlap_NM.max(axis=1) > 0
        keypoints[found] = best.keypoints_NK2_px[person_N[found]]
    return PosePrediction(
        keypoints_NK2_px=keypoints.astype(np.float32),
        keypoint_scores_NK=np.ones((n, k), np.float32),
        instance_scores_N=np.asarray(box_scores_N, np.float32),
        boxes_xyxy_px_N4=boxes.astype(np.float32),
    )


def _points(target: PoseTarget, person: int) -> NDArray[np.float64]:
    """Labelled points of one person [n, 2]."""
    points: NDArray[np.float64] = target.keypoints_NK2_px[person][target.visible_NK[person] > 0].astype(np.float64)
    return points


def _farthest(box_xyxy: NDArray[np.float64], others_P2: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place inside the grown box that is farthest from every other point."""
    low, high = box_xyxy[:2].astype(np.float64), box_xyxy[2:].astype(np.float64)
    steps = np.linspace(-0.9, 1.9, 5)  # inside the box grown by its size: -1 .. 2
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    places = low + grid * (high - low)
    if len(others_P2) == 0:
        return np.asarray((low + high) / 2)
    distance = np.linalg.norm(places[:, None] - others_P2, axis=2).min(axis=1)
    best: NDArray[np.float64] = places[int(np.argmax(distance))]
    return best
