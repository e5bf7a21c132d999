"""No fault of a prediction ends a run, and none raises a score."""

from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.pose.export import coco_results
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import ModelInput, Task


@pytest.fixture(scope="module")
def task(spaces: dict[str, SpaceCard]) -> Task:
    scoring = {"nms_oks": None, "score": "instance"}  # ranks by one number each: faults cannot hide behind NMS
    return task_for(EvalProtocol(task="pose", title="t", space="coco17", scoring=scoring), spaces["coco17"])


def input_for(prediction: PosePrediction) -> ModelInput:
    boxes = np.asarray(prediction.boxes_xyxy_px_N4, np.float32).copy()
    return ModelInput("k", np.zeros((8, 8, 3), np.uint8), boxes, np.ones(len(boxes), np.float32))


def score(task: Task, targets: list[PoseTarget], predictions: list[PosePrediction]) -> dict[str, float]:
    metric = task.metrics[0]
    assert isinstance(metric, OksMetric)
    return metric.aggregate(metric.measure_table(targets, predictions))(None)


def test_all_nan_predictions_score_zero_where_pycocotools_gives_one(
    poses: ModuleType, task: Task, spaces: dict[str, SpaceCard]
) -> None:
    targets, _ = poses.suite(0, 20, 17)
    perfect = [task.perfect(t) for t in targets]
    broken = [dataclasses.replace(p, keypoints_NK2_px=np.full_like(p.keypoints_NK2_px, np.nan)) for p in perfect]
    results = coco_results(broken, range(1, 21), task.metrics[0])
    for result in results:
        del result["bbox"]  # as a plain results file would come
    theirs = poses.pycocotools_statistics(poses.coco_truth(targets), results, spaces["coco17"].sigmas)
    assert theirs["AP"] == pytest.approx(1.0)  # every NaN similarity counts as a match
    assert theirs["AR"] == 1.0
    checked = [task.check(p, input_for(q), t) for p, q, t in zip(broken, perfect, targets, strict=True)]
    ours = score(task, targets, [prediction for prediction, _ in checked])
    assert (ours["AP"], ours["AR"], ours["APM"], ours["APL"]) == (0.0, 0.0, 0.0, 0.0)
    faults = [fault for _, fault in checked if fault is not None]
    assert {(f.code, f.side) for f in faults} == {("pred.nonfinite", "prediction")}
    assert len(faults) == sum(len(p.instance_scores_N) > 0 for p in perfect)
    assert score(task, targets, broken)["AP"] == 0.0  # even unchecked, NaN never matches here


def inject(rng: np.random.Generator, prediction: PosePrediction, kind: str) -> PosePrediction:
    """The prediction with one fault; unchanged where it has no instance to spoil."""
    n = len(prediction.instance_scores_N)
    if n == 0:
        return prediction
    i = int(rng.integers(n))
    keypoints, keypoint_scores = prediction.keypoints_NK2_px.copy(), prediction.keypoint_scores_NK.copy()
    scores, boxes = prediction.instance_scores_N.copy(), prediction.boxes_xyxy_px_N4.copy()
    if kind == "nan coordinate":
        keypoints[i, rng.integers(17), rng.integers(2)] = np.nan
    elif kind == "infinite coordinate":
        keypoints[i, rng.integers(17)] = np.inf
    elif kind == "huge coordinate":
        keypoints[i, 0] = [1e30, -1e30]
    elif kind == "nan score":
        scores[i] = np.nan
    elif kind == "infinite score":
        scores[i] = np.inf
    elif kind == "nan keypoint score":
        keypoint_scores[i, 0] = np.nan
    elif kind == "nan box":
        boxes[i] = np.nan
    index = np.arange(n)
    if kind == "repeated":
        index = np.append(index, i)
    return PosePrediction(keypoints[index], keypoint_scores[index], scores[index], boxes[index])


KINDS = ["nan coordinate", "infinite coordinate", "huge coordinate", "nan score", "infinite score",
         "nan keypoint score", "nan box", "repeated"]  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
def test_no_fault_raises_average_precision(poses: ModuleType, task: Task, seed: int, kinds: list[str]) -> None:
    rng = np.random.default_rng(seed)
    targets, predictions = poses.suite(seed, 8, 17)
    honest = score(task, targets, predictions)
    faulty = list(predictions)
    for kind in kinds:
        image = int(rng.integers(8))
        faulty[image] = inject(rng, faulty[image], kind)
    checked = [task.check(f, input_for(p), t)[0] for f, p, t in zip(faulty, predictions, targets, strict=True)]
    spoilt = score(task, targets, checked)
    for key in ("AP", "AP50", "AP75", "AR", "AR50", "AR75"):
        assert not spoilt[key] > honest[key] + 1e-12, key


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("nan coordinate", "pred.nonfinite"),
        ("infinite coordinate", "pred.nonfinite"),
        ("nan box", "pred.nonfinite"),
        ("huge coordinate", "pred.range"),
        ("nan score", "pred.score"),
        ("infinite score", "pred.score"),
        ("nan keypoint score", "pred.score"),
        ("repeated", "pred.duplicate"),
    ],
)
def test_each_fault_has_its_code(poses: ModuleType, task: Task, kind: str, code: str) -> None:
    rng = np.random.default_rng(1)
    target = poses.people(rng, 3, 17)
    prediction = poses.detections(rng, target, 5, 17)
    bad = inject(rng, prediction, kind)
    safe, fault = task.check(bad, input_for(prediction), target)
    assert fault is not None
    assert (fault.code, fault.side) == (code, "prediction")
    assert len(safe.instance_scores_N) == 5
    assert np.isfinite(safe.keypoints_NK2_px).all()
    assert np.isfinite(safe.instance_scores_N).all()


def test_a_sound_prediction_passes_unchanged(poses: ModuleType, task: Task) -> None:
    rng = np.random.default_rng(1)
    target = poses.people(rng, 3, 17)
    prediction = poses.detections(rng, target, 5, 17)
    safe, fault = task.check(prediction, input_for(prediction), target)
    assert fault is None
    for name in ("keypoints_NK2_px", "keypoint_scores_NK", "instance_scores_N", "boxes_xyxy_px_N4"):
        np.testing.assert_array_equal(getattr(safe, name), getattr(prediction, name))


def test_two_equal_boxes_may_have_two_equal_instances(poses: ModuleType, task: Task) -> None:
    rng = np.random.default_rng(1)
    target = poses.people(rng, 1, 17)
    one = poses.detections(rng, target, 1, 17)
    two = inject(rng, one, "repeated")
    assert task.check(two, input_for(two), target)[1] is None


@pytest.mark.parametrize(
    "change",
    [
        {"keypoints_NK2_px": np.zeros((2, 16, 2), np.float32)},
        {"keypoints_NK2_px": np.zeros((2, 17, 3), np.float32)},
        {"keypoints_NK2_px": np.zeros((17, 2, 2), np.float32)},
        {"keypoints_NK2_px": np.zeros((2, 17, 2), np.int64)},
        {"keypoints_NK2_px": [[0.0]]},
        {"keypoint_scores_NK": np.zeros((3, 17), np.float32)},
        {"instance_scores_N": np.zeros((2, 1), np.float32)},
        {"boxes_xyxy_px_N4": np.zeros((2, 5), np.float32)},
    ],
)
def test_a_wrong_shape_or_type_is_a_detection_of_nobody(poses: ModuleType, task: Task, change: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    target = poses.people(rng, 2, 17)
    prediction = poses.detections(rng, target, 2, 17)
    safe, fault = task.check(dataclasses.replace(prediction, **change), input_for(prediction), target)
    assert fault is not None
    assert fault.code == "pred.shape"
    assert len(safe.instance_scores_N) == 0
    assert task.check(None, input_for(prediction), target)[1].code == "pred.shape"  # type: ignore[union-attr]


def test_scores_that_are_text_are_certain_false_positives(poses: ModuleType, task: Task) -> None:
    rng = np.random.default_rng(1)
    target = poses.people(rng, 2, 17)
    prediction = poses.detections(rng, target, 2, 17)
    bad = dataclasses.replace(prediction, instance_scores_N=np.array(["high", "low"]))
    safe, fault = task.check(bad, input_for(prediction), target)
    assert fault is not None
    assert fault.code == "pred.score"
    row = task.metrics[0].measure(target, safe)
    false_everywhere = sum(1 << bit for bit in range(30, 60))
    assert row["outcomes"].tolist() == [false_everywhere] * 2


def test_too_few_and_too_many_instances_are_reported(poses: ModuleType, task: Task) -> None:
    rng = np.random.default_rng(1)
    target = poses.people(rng, 2, 17)
    prediction = poses.detections(rng, target, 4, 17)
    x = input_for(prediction)
    nobody, fault = task.check(task.miss(target), x, target)
    assert fault is not None
    assert (fault.code, len(nobody.instance_scores_N)) == ("pred.missing", 0)
    more = dataclasses.replace(x, boxes_xyxy_px=x.boxes_xyxy_px[:3], box_scores=x.box_scores[:3])
    safe, fault = task.check(prediction, more, target)
    assert fault is not None
    assert (fault.code, len(safe.instance_scores_N)) == ("pred.extra", 3)
    none = dataclasses.replace(x, boxes_xyxy_px=x.boxes_xyxy_px[:0], box_scores=x.box_scores[:0])
    assert task.check(task.miss(target), none, target)[1] is None
