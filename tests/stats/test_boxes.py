"""Box quality against pycocotools, by hand, and for nobody."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sapiens_bench.stats.boxes import ImageBoxes, box_quality, overlaps


def image(boxes: Any, scores: Any, truth: Any, ignored: Any = None, crowd: Any = None) -> ImageBoxes:
    n = len(truth)
    none = [False] * n
    return ImageBoxes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(truth, np.float64).reshape(-1, 4),
        np.array(none if ignored is None else ignored, bool),
        np.array(none if crowd is None else crowd, bool),
    )


def random_images(seed: int) -> list[ImageBoxes]:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(12):
        g, n = int(rng.integers(0, 6)), int(rng.integers(0, 9))
        truth, boxes = rng.uniform(0, 60, (g, 4)).round(1), rng.uniform(0, 60, (n, 4))
        truth[:, 2:] = truth[:, :2] + rng.uniform(20, 50, (g, 2))
        boxes[:, 2:] = boxes[:, :2] + rng.uniform(20, 50, (n, 2))
        for k in range(n):
            if g and rng.random() < 0.8:
                boxes[k] = truth[rng.integers(g)] + rng.normal(0, 3, 4)
        ignored = rng.random(g) < 0.3
        images.append(image(boxes, rng.random(n).round(1), truth, ignored, ignored & (rng.random(g) < 0.5)))
    return images


def reference_ap(images: list[ImageBoxes]) -> float:
    """COCO's box AP; people that are not scored get the flag that crowds have."""
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for i, im in enumerate(images):
        for box, crowd in zip(im.truth_G4, im.is_crowd_G):
            x, y, w, h = (float(v) for v in (*box[:2], *(box[2:] - box[:2])))
            entry = {"image_id": i, "category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": int(crowd)}
            truth.append({"id": len(truth) + 1, **entry})
        for box, score in zip(im.boxes_N4.astype(float), im.scores_N.astype(float)):
            bbox = [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]
            results.append({"image_id": i, "category_id": 1, "bbox": bbox, "score": float(score)})
    is_ignored = dict(enumerate((bool(v) for im in images for v in im.is_ignored_G), start=1))

    class Evaluation(COCOeval):  # type: ignore[misc]
        def _prepare(self) -> None:
            super()._prepare()
            for entries in self._gts.values():
                for entry in entries:
                    entry["ignore"] = is_ignored[entry["id"]]

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(len(images))],
            "annotations": truth,
            "categories": [{"id": 1}],
        }
        coco.createIndex()
        evaluation = Evaluation(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.parametrize("seed", range(6))
def test_box_ap_equals_pycocotools(seed: int) -> None:
    images = random_images(seed)
    assert box_quality(images).ap == pytest.approx(reference_ap(images), abs=1e-12)


def test_two_people_by_hand() -> None:
    # One box is exact; the other covers the left half of its person: IoU 0.5, a hit at the first threshold only.
    truth = [[0, 0, 10, 10], [20, 0, 30, 10]]
    found = box_quality([image([[0, 0, 10, 10], [20, 0, 25, 10]], [0.9, 0.8], truth)])
    assert (found.n_boxes, found.n_people, found.recall50, found.mean_iou) == (2, 2, 1.0, 0.75)
    # AP is 1 at IoU 0.5; above it 51 of the 101 recalls (0 to 0.5) have precision 1.
    assert found.ap == pytest.approx((1 + 9 * 51 / 101) / 10)


def test_a_box_on_somebody_who_is_not_scored_is_neither_right_nor_wrong() -> None:
    truth = [[0, 0, 10, 10], [20, 0, 30, 10]]
    boxes, scores = [[20, 0, 30, 10], [0, 0, 10, 10]], [0.9, 0.8]
    assert box_quality([image(boxes, scores, truth, ignored=[False, True])]).ap == pytest.approx(1)
    assert box_quality([image(boxes, scores, truth[:1])]).ap == pytest.approx(0.5)


def test_a_crowd_takes_any_number_of_boxes() -> None:
    crowd = [[0, 0, 100, 100], [200, 0, 210, 10]]
    boxes = [[0, 0, 10, 10], [20, 20, 30, 30], [200, 0, 210, 10]]
    found = box_quality([image(boxes, [0.9, 0.8, 0.7], crowd, ignored=[True, False], crowd=[True, False])])
    assert found.ap == pytest.approx(1)


def test_nobody_is_undefined_and_no_box_is_zero() -> None:
    assert math.isnan(box_quality([]).ap)
    assert math.isnan(box_quality([image([[0, 0, 1, 1]], [1.0], [])]).mean_iou)
    empty = box_quality([image([], [], [[0, 0, 1, 1]])])
    assert (empty.ap, empty.recall50, empty.mean_iou) == (0, 0, 0)


def test_overlap_of_boxes_without_extent_is_zero() -> None:
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]
