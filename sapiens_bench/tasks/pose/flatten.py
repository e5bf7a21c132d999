"""Records of many images laid end to end, in float64, as the matching wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.oks import Detections, People, columns_of, keypoint_area
from sapiens_bench.tasks.pose.scoring import PoseScoring, instance_scores, padded_area, suppress_all
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget


class FlatPredictions(NamedTuple):
    """Instances of all images after score rule and suppression."""

    detections: Detections
    keypoint_scores_DK: NDArray[np.floating[Any]]
    source_D: NDArray[np.int64]  # position in the predictions laid end to end, before suppression


def flatten_people(targets: Sequence[PoseTarget], n_keypoints: int) -> People:
    """All annotated people, in the order given."""
    counts = [len(t.area_N) for t in targets]
    keypoints = _joined([t.keypoints_NK2_px for t in targets], (n_keypoints, 2))
    boxes = _joined([t.boxes_xyxy_px_N4 for t in targets], (4,)).astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return People(
        image_G=np.repeat(np.arange(len(targets)), counts),
        x_GK=keypoints[..., 0].astype(np.float64, order="C"),
        y_GK=keypoints[..., 1].astype(np.float64, order="C"),
        visible_GK=_joined([t.visible_NK for t in targets], (n_keypoints,)) > 0,
        area_G=_joined([t.area_N for t in targets], ()).astype(np.float64),
        is_crowd_G=_joined([t.is_crowd_N for t in targets], ()).astype(bool),
        boxes_xywh_G4=boxes,
    )


def flatten_predictions(
    predictions: Sequence[PosePrediction],
    n_keypoints: int,
    scoring: PoseScoring,
    variances_K: NDArray[np.float64],
    area_index: NDArray[np.int64],
) -> FlatPredictions:
    """All instances with their final scores, suppressed ones left out.

    Args:
        area_index: keypoints whose extent gives a detection's area (the body where the set has parts).
    """
    image_D = np.repeat(np.arange(len(predictions)), [len(p.instance_scores_N) for p in predictions])
    keypoints = _joined([p.keypoints_NK2_px for p in predictions], (n_keypoints, 2))
    keypoint_scores = _joined([p.keypoint_scores_NK for p in predictions], (n_keypoints,))
    scores = instance_scores(scoring, _joined([p.instance_scores_N for p in predictions], ()), keypoint_scores)
    source = np.arange(len(scores))
    if scoring.nms_oks is not None:
        areas = padded_area(scoring, _joined([p.boxes_xyxy_px_N4 for p in predictions], (4,)))
        source = suppressed(scoring, keypoints, scores, areas, variances_K, image_D, len(predictions))
        keypoints, keypoint_scores = keypoints[source], keypoint_scores[source]
        scores, image_D = scores[source], image_D[source]
    x = keypoints[..., 0].astype(np.float64, order="C")
    y = keypoints[..., 1].astype(np.float64, order="C")
    area = keypoint_area(columns_of(x, area_index), columns_of(y, area_index))
    return FlatPredictions(Detections(image_D, x, y, scores, area), keypoint_scores, source)


def suppressed(
    scoring: PoseScoring,
    keypoints_DK2: NDArray[np.floating[Any]],
    scores_D: NDArray[np.float64],
    area_D: NDArray[np.float64],
    variances_K: NDArray[np.float64],
    image_D: NDArray[np.int64],
    n_images: int,
) -> NDArray[np.int64]:
    """Indices of the instances that stay after suppression inside each image; ``image_D`` ascends."""
    counts_I = np.bincount(image_D, minlength=n_images)
    return suppress_all(scoring, keypoints_DK2, scores_D, area_D, variances_K, counts_I)


def _joined(arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """Arrays end to end; [0, *shape] where there are none."""
    filled = [a for a in arrays if len(a)]
    return np.concatenate(filled) if filled else np.zeros((0, *shape))
