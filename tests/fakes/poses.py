"""Seeded people and predictions with everything that makes COCO matching hard, and pycocotools beside them."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

STATISTICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def people(rng: np.random.Generator, n: int, k: int) -> PoseTarget:
    """Persons of 20 to 400 px, one in eight a crowd, one in eight without a labelled point, some areas tiny."""
    size = np.round(rng.uniform(20, 400, (n, 2)))
    corner = np.round(rng.uniform(0, 400, (n, 2)))
    keypoints = np.round(corner[:, None] + rng.uniform(0, 1, (n, k, 2)) * size[:, None], 2)
    visible = np.where(rng.random((n, k)) < 0.75, rng.integers(1, 3, (n, k)), 0).astype(np.float32)
    visible[rng.random(n) < 0.125] = 0
    area = np.round(size.prod(axis=1) * rng.choice([0.001, 0.3, 0.6], n), 2)
    return PoseTarget(
        keypoints_NK2_px=keypoints,
        visible_NK=visible,
        area_N=area,
        is_crowd_N=rng.random(n) < 0.125,
        boxes_xyxy_px_N4=np.concatenate([corner, corner + size], axis=1),
        ids_N=np.arange(1, n + 1),
    )


def detections(rng: np.random.Generator, target: PoseTarget, n: int, k: int) -> PosePrediction:
    """Noisy copies of the people, duplicates and strays; scores of one decimal, so that many are equal."""
    source = rng.integers(0, len(target.area_N), n) if len(target.area_N) else np.zeros(n, int)
    if len(target.area_N):
        keypoints = target.keypoints_NK2_px[source].copy()
        spread = rng.choice([0.0, 0.02, 0.1, 1.0], n) * np.sqrt(target.area_N[source])
        boxes = target.boxes_xyxy_px_N4[source]
    else:
        keypoints, spread = rng.uniform(0, 400, (n, k, 2)), np.zeros(n)
        boxes = np.tile([0.0, 0.0, 50.0, 100.0], (n, 1))
    keypoints = keypoints + rng.normal(size=keypoints.shape) * spread[:, None, None]
    return PosePrediction(
        keypoints_NK2_px=keypoints.astype(np.float32),
        keypoint_scores_NK=np.round(rng.random((n, k)), 1).astype(np.float32),
        instance_scores_N=np.round(rng.random(n), 1).astype(np.float32),
        boxes_xyxy_px_N4=boxes.astype(np.float32),
    )


def suite(
    seed: int, n_images: int, k: int, max_people: int = 5, max_detections: int = 8
) -> tuple[list[PoseTarget], list[PosePrediction]]:
    """Images with none to several people and detections each."""
    rng = np.random.default_rng(seed)
    targets = [people(rng, int(rng.integers(0, max_people + 1)), k) for _ in range(n_images)]
    return targets, [detections(rng, t, int(rng.integers(0, max_detections + 1)), k) for t in targets]


def coco_truth(targets: list[PoseTarget]) -> dict[str, Any]:
    """A COCO annotation file of the people; image i has id i + 1."""
    annotations = []
    for image, target in enumerate(targets):
        boxes = target.boxes_xyxy_px_N4.copy()
        boxes[:, 2:] -= boxes[:, :2]
        for n in range(len(target.area_N)):
            triples = np.concatenate([target.keypoints_NK2_px[n], target.visible_NK[n][:, None]], axis=1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image + 1,
                    "category_id": 1,
                    "iscrowd": int(target.is_crowd_N[n]),
                    "area": float(target.area_N[n]),
                    "bbox": boxes[n].tolist(),
                    "num_keypoints": int((target.visible_NK[n] > 0).sum()),
                    "keypoints": triples.ravel().tolist(),
                }
            )
    images = [{"id": i + 1, "width": 1000, "height": 1000} for i in range(len(targets))]
    return {"info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}


def part_of(entries: list[dict[str, Any]], index: Any) -> list[dict[str, Any]]:
    """Copies of annotations or results with the keypoints of one part; labelled points counted anew."""
    copies = copy.deepcopy(entries)
    for entry in copies:
        triples = np.reshape(entry["keypoints"], (-1, 3))[np.asarray(index)]
        entry["keypoints"] = triples.ravel().tolist()
        entry["num_keypoints"] = int((triples[:, 2] > 0).sum())
    return copies


class Pycocotools:
    """An evaluation by pycocotools, set up so that ``run`` is what a user's script does after reading the files."""

    def __init__(self, truth: dict[str, Any], results: list[dict[str, Any]], sigmas: Any) -> None:
        self.truth, self.results = copy.deepcopy(truth), copy.deepcopy(results)
        self._sigmas = np.asarray(sigmas, np.float64)

    def run(self) -> dict[str, float]:
        """The ten numbers; -1 becomes NaN."""
        return self.loaded()()

    def loaded(self) -> Callable[[], dict[str, float]]:
        """Index annotations and results; what is returned evaluates them."""
        from pycocotools.coco import COCO

        with contextlib.redirect_stdout(io.StringIO()):
            annotated = COCO()
            annotated.dataset = self.truth
            annotated.createIndex()
            found = annotated.loadRes(self.results)
        return lambda: self._evaluate(annotated, found)

    def _evaluate(self, annotated: Any, found: Any) -> dict[str, float]:
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(annotated, found, "keypoints")
            evaluation.params.kpt_oks_sigmas = self._sigmas
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        values = [float("nan") if v == -1 else float(v) for v in evaluation.stats]
        return dict(zip(STATISTICS, values, strict=True))


def pycocotools_statistics(truth: dict[str, Any], results: list[dict[str, Any]], sigmas: Any) -> dict[str, float]:
    """The ten numbers as pycocotools computes them; its -1 becomes NaN."""
    return Pycocotools(truth, results, sigmas).run()
