"""Several categories: each is scored on its own, and scores are their mean, as pycocotools makes it."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.pose.checking import check_prediction
from sapiens_bench.tasks.pose.export import coco_results
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.task import prediction_from_columns, prediction_to_columns
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import ModelInput

K = 5
SIGMAS = np.linspace(0.03, 0.1, K)
PLAIN = PoseScoring(nms_oks=None, score="instance")
Images = tuple[list[PoseTarget], list[PosePrediction]]


def suite(poses: ModuleType, seed: int, n_images: int = 12) -> Images:
    """Three categories of people; of the detections' categories one has nobody in the truth, and one is often wrong."""
    rng = np.random.default_rng(seed)
    targets, predictions = poses.suite(seed, n_images, K)
    return (
        [replace(t, category_N=rng.choice([2, 3, 9], len(t.area_N))) for t in targets],
        [replace(p, category_N=rng.choice([2, 3, 9, 11], len(p.instance_scores_N))) for p in predictions],
    )


def table(metric: OksMetric, rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{f"{metric.name}/{k}": v for k, v in row.items()} for row in rows])


def theirs(poses: ModuleType, images: Images, metric: OksMetric) -> dict[str, float]:
    targets, predictions = images
    truth = poses.coco_truth(targets)
    categories = np.concatenate([t.category_N for t in targets]).tolist()
    for entry, category in zip(truth["annotations"], categories, strict=True):
        entry["category_id"] = category
    truth["categories"] = [{"id": i, "name": str(i)} for i in (2, 3, 9, 11)]
    results = coco_results(predictions, range(1, len(targets) + 1), metric)
    found: dict[str, float] = poses.Pycocotools(truth, results, SIGMAS).run()
    return found


def assert_close(ours: dict[str, float], found: dict[str, float]) -> None:
    for name, value in found.items():
        assert ours[name] == value or (math.isnan(ours[name]) and math.isnan(value)), name


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_mean_over_categories_is_that_of_pycocotools(poses: ModuleType, seed: int) -> None:
    images = suite(poses, seed)
    metric = OksMetric(SIGMAS.tolist(), {}, PLAIN)
    rows = metric.measure_many(*images)
    assert_close(metric.aggregate(table(metric, rows))(None), theirs(poses, images, metric))
    for row, target, prediction in list(zip(rows, *images, strict=True))[:3]:
        alone = metric.measure(target, prediction)
        assert {k: v.tolist() for k, v in alone.items()} == {k: v.tolist() for k, v in row.items()}  # type: ignore[union-attr]


def test_a_weight_stands_for_copies_of_the_image(poses: ModuleType) -> None:
    targets, predictions = suite(poses, 4, 6)
    metric = OksMetric(SIGMAS.tolist(), {}, PLAIN)
    weights = np.array([2, 0, 1, 3, 0, 1])
    weighted = metric.aggregate(table(metric, metric.measure_many(targets, predictions)))(weights)
    drawn = np.repeat(np.arange(6), weights)
    copies = ([targets[i] for i in drawn], [predictions[i] for i in drawn])
    assert_close(weighted, theirs(poses, copies, metric))
    assert 0 < weighted["AP"] < 1


def test_parts_that_results_rank_themselves_keep_their_order(poses: ModuleType) -> None:
    targets, predictions = suite(poses, 7)
    metric = OksMetric(SIGMAS.tolist(), {"face": [0, 1]}, PLAIN)
    for category in (2, 3):  # with one category alone the mean is that category's own score
        people = [t.take(np.flatnonzero(t.category_N == category)) for t in targets]
        found = []
        for i, p in enumerate(predictions):
            one = p.take(np.flatnonzero(p.category_N == category))
            scores = np.random.default_rng(i).random(len(one.instance_scores_N))
            found.append(replace(one, results=one.results or _results(scores)))
        plain = [[replace(x, category_N=None) for x in images] for images in (people, found)]
        ours = metric.aggregate(table(metric, metric.measure_many(people, found)))(None)
        alone = metric.aggregate(table(metric, metric.measure_many(*plain)))(None)  # type: ignore[arg-type]
        assert ours == pytest.approx(alone, nan_ok=True)
        assert not math.isnan(ours["face/AP"])


def _results(scores: np.ndarray) -> Any:
    from sapiens_bench.tasks.pose.types import ResultScores

    return ResultScores(parts={"face": scores})


def test_suppression_sees_all_categories_and_order_of_equals_is_kept() -> None:
    points = np.tile(np.linspace(0, 50, K)[:, None], (1, 2)).astype(np.float32)
    prediction = PosePrediction(
        np.stack([points, points + 0.1]), np.ones((2, K), np.float32), np.array([0.5, 0.9], np.float32),
        np.tile(np.float32([0, 0, 50, 50]), (2, 1)), category_N=np.array([2, 3]),
    )  # fmt: skip
    target = PoseTarget(
        points[None], np.ones((1, K), np.float32), np.array([900.0]), np.zeros(1, bool), np.array([[0, 0, 50, 50.0]]),
        np.array([1]), category_N=np.array([2]),
    )  # fmt: skip
    for nms_oks, ap in ((0.9, 0.0), (None, 1.0)):
        metric = OksMetric(SIGMAS.tolist(), {}, PLAIN.model_copy(update={"nms_oks": nms_oks}))
        assert metric.aggregate(table(metric, metric.measure_many([target], [prediction])))(None)[
            "AP"
        ] == pytest.approx(ap)


def test_an_instance_has_the_category_of_its_box() -> None:
    boxes = np.float32([[0, 0, 10, 10], [100, 100, 150, 150]])
    x = ModelInput("a", np.zeros((0, 0, 3), np.uint8), boxes, np.ones(2, np.float32), box_categories=np.array([4, 8]))

    def found(*index: int) -> PosePrediction:
        n = len(index)
        moved = boxes[list(index)] + 1
        made = PosePrediction(np.zeros((n, K, 2), np.float32), np.ones((n, K)), np.ones(n), moved)
        safe, _ = check_prediction(made, K, np.arange(K), x)
        return safe

    assert found(0, 1).category_N.tolist() == [4, 8]  # type: ignore[union-attr]
    assert found(1).category_N.tolist() == [8]  # type: ignore[union-attr]
    columns = prediction_to_columns(found(1))
    assert prediction_from_columns(columns, K).category_N.tolist() == [8]  # type: ignore[union-attr]


def test_people_or_detections_without_a_category_are_refused(poses: ModuleType) -> None:
    targets, predictions = suite(poses, 1)
    metric = OksMetric(SIGMAS.tolist(), {}, PLAIN)
    with pytest.raises(ShapeError, match="every detection needs one"):
        metric.measure_many(targets, [replace(p, category_N=None) for p in predictions])
