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
    parts: dict[str, NDArray[np.float64]]  # scores [D] that rank a part, of results that have them; see ResultScores
    is_final_D: NDArray[np.bool_]  # results whose scores are final
    has_own_area_D: NDArray[np.bool_]  # results that brought their area along


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
        is_ignored_G=_ignored(targets),
    )


def _ignored(targets: Sequence[PoseTarget]) -> NDArray[np.bool_] | None:
    """Whom a target leaves out though points are labelled; None where nobody is like that."""
    if all(t.is_ignored_N is None for t in targets):
        return None
    given = [np.zeros(len(t.area_N), bool) if t.is_ignored_N is None else t.is_ignored_N for t in targets]
    return _joined(given, ()).astype(bool)


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
    counts = [len(p.instance_scores_N) for p in predictions]
    image_D = np.repeat(np.arange(len(predictions)), counts)
    keypoints = _joined([p.keypoints_NK2_px for p in predictions], (n_keypoints, 2))
    keypoint_scores = _joined([p.keypoint_scores_NK for p in predictions], (n_keypoints,))
    given = _joined([p.instance_scores_N for p in predictions], ())
    scores = instance_scores(scoring, given, keypoint_scores)
    is_final = np.repeat([p.results is not None and p.results.is_final for p in predictions], counts).astype(bool)
    if is_final.any():
        scores = np.where(is_final, given.astype(np.float64), scores)
    parts = _parts(predictions, scores, counts)
    source = np.arange(len(scores))
    is_wanted_I = np.array([p.results is None or p.results.is_suppressed for p in predictions], bool)
    if scoring.nms_oks is not None and is_wanted_I.any():
        areas = padded_area(scoring, _joined([p.boxes_xyxy_px_N4 for p in predictions], (4,)))
        source = suppressed(scoring, keypoints, scores, areas, variances_K, image_D, len(predictions))
        if not is_wanted_I.all():  # final results among them keep what they have
            source = np.concatenate([source[is_wanted_I[image_D[source]]], np.flatnonzero(~is_wanted_I[image_D])])
            source = source[np.argsort(image_D[source], kind="stable")]
        keypoints, keypoint_scores = keypoints[source], keypoint_scores[source]
        scores, image_D, is_final = scores[source], image_D[source], is_final[source]
        parts = {name: values[source] for name, values in parts.items()}
    x = keypoints[..., 0].astype(np.float64, order="C")
    y = keypoints[..., 1].astype(np.float64, order="C")
    area = keypoint_area(columns_of(x, area_index), columns_of(y, area_index))
    own = _own_areas(predictions, counts)[source]
    has_own = ~np.isnan(own)
    found = Detections(image_D, x, y, scores, np.where(has_own, own, area))
    return FlatPredictions(found, keypoint_scores, source, parts, is_final, has_own)


def _own_areas(predictions: Sequence[PosePrediction], counts: Sequence[int]) -> NDArray[np.float64]:
    """Areas that results bring along, px²; NaN for instances without."""
    given = [None if p.results is None else p.results.area_N for p in predictions]
    if all(area is None for area in given):
        return np.full(sum(counts), np.nan)
    return np.concatenate([np.full(n, np.nan) if a is None else a for a, n in zip(given, counts, strict=True)])


def _parts(
    predictions: Sequence[PosePrediction], scores_D: NDArray[np.float64], counts: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Part -> the score that ranks each instance: its own where the results have one, else the instance's."""
    names = {name for p in predictions if p.results is not None for name in p.results.parts}
    parts = {name: scores_D.copy() for name in sorted(names)}
    ends = np.cumsum(counts)
    for prediction, end, count in zip(predictions, ends, counts, strict=True):
        if prediction.results is not None:
            for name, values in prediction.results.parts.items():
                parts[name][end - count : end] = values
    return parts


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
