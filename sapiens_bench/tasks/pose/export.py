"""Predictions as a COCO results file, so that a score can be checked with pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.pose.flatten import FlatPredictions, flatten_predictions
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.types import PART_SCORES, PosePrediction, PoseTarget


def coco_results(
    predictions: Sequence[PosePrediction], image_ids: Sequence[int], metric: OksMetric, category_id: int = 1
) -> list[dict[str, Any]]:
    """One dict per detection, after score rule and suppression, as ``pycocotools.coco.COCO.loadRes`` reads it.

    Numbers keep their full precision, so AP from the file equals ours. ``bbox`` [x, y, width, height] is the extent of
    the keypoints that give a detection's area: ``loadRes`` takes the area from it. Results that brought an area along
    get a box of that area. Where the protocol has ``drop_zero_score``, detections without a positive keypoint score are
    left out.

    Raises:
        ShapeError: as many image ids as predictions are needed.
    """
    if len(predictions) != len(image_ids):
        raise ShapeError(f"{len(predictions)} predictions and {len(image_ids)} image ids: need one each per image.")
    n_keypoints = len(metric.variances_K)
    flat = flatten_predictions(predictions, n_keypoints, metric.scoring, metric.variances_K, metric.area_index)
    found, given = flat.detections, [p.category_N for p in predictions if p.category_N is not None]
    category_D = np.concatenate(given)[flat.source_D] if given else np.full(len(flat.source_D), category_id)
    results = []
    for i, image in enumerate(found.image_D):
        keypoint_scores = flat.keypoint_scores_DK[i].astype(np.float64)
        is_strict = metric.scoring.drop_zero_score and not flat.is_final_D[i]
        if is_strict and not (keypoint_scores > 0).any():
            continue
        results.append(
            {
                "image_id": image_ids[image],
                "category_id": int(category_D[i]),
                "score": float(found.scores_D[i]),
                "keypoints": np.stack([found.x_DK[i], found.y_DK[i], keypoint_scores], axis=1).ravel().tolist(),
                "bbox": _box_of_area(flat, i, metric),
                **{PART_SCORES[part]: float(scores[i]) for part, scores in flat.parts.items()},
            }
        )
    return results


def _box_of_area(flat: FlatPredictions, i: int, metric: OksMetric) -> list[float]:
    """x, y, width, height of a box that has the detection's area: the extent of its keypoints, or one of its own."""
    found = flat.detections
    x, y = found.x_DK[i, metric.area_index], found.y_DK[i, metric.area_index]
    width, height = float(x.max() - x.min()), float(y.max() - y.min())
    if flat.has_own_area_D[i]:
        width, height = float(found.area_D[i]), 1.0
    return [float(x.min()), float(y.min()), width, height]


def coco_truth(targets: Sequence[PoseTarget], image_ids: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """COCO annotations of the targets, as ``pycocotools.coco.COCO`` reads them; ids are counted from 1.

    Args:
        targets: one per image.
        image_ids: likewise.
        names: keypoint names, for the category.
    """
    annotations: list[dict[str, Any]] = []
    for image_id, target in zip(image_ids, targets, strict=True):
        for i in range(len(target.area_N)):
            visible = np.asarray(target.visible_NK[i], np.float64)
            points = np.where(visible[:, None] > 0, target.keypoints_NK2_px[i], 0.0).astype(np.float64)
            x0, y0, x1, y1 = (float(v) for v in target.boxes_xyxy_px_N4[i])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": int(target.is_crowd_N[i]),
                    "area": float(target.area_N[i]),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "num_keypoints": int((visible > 0).sum()),
                    "keypoints": np.concatenate([points, visible[:, None]], axis=1).ravel().tolist(),
                }
            )
    category = {"id": 1, "name": "person", "keypoints": list(names)}
    return {"images": [{"id": i} for i in image_ids], "annotations": annotations, "categories": [category]}
