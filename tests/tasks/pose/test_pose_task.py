"""The task of a protocol: its options, the oracle, remapping, stored predictions."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, ShapeError
from sapiens_bench.tasks import TASKS, task_for, task_kind
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring, instance_scores, padded_area
from sapiens_bench.tasks.pose.task import POSE
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Task


def protocol(**scoring: Any) -> EvalProtocol:
    return EvalProtocol(task="pose", title="t", scoring=scoring)


def test_the_task_table_names_this_object() -> None:
    assert task_kind("pose") is POSE
    assert TASKS["pose"].endswith(":POSE")


@pytest.mark.parametrize("space_id", ["coco17", "coco-wholebody133"])
def test_the_oracle_scores_exactly_one_beside_crowds_and_unlabelled_people(
    poses: ModuleType, spaces: dict[str, SpaceCard], space_id: str
) -> None:
    task = task_for(protocol(), spaces[space_id])
    metric = task.metrics[0]
    assert isinstance(metric, OksMetric)
    for seed in range(40):
        targets, _ = poses.suite(seed, 6, len(metric.variances_K))
        rows = metric.measure_table(targets, [task.perfect(t) for t in targets])
        twice = metric.aggregate(rows)(np.full(6, 2))
        assert all(np.isnan(value) or value == 1.0 for value in twice.values()), (seed, twice)
        # in a range with one single person pycocotools' 1 / (1 + epsilon) is just below 1, and so are we
        once = metric.aggregate(rows)(None)
        assert all(np.isnan(value) or value >= 1 - 1e-15 for value in once.values()), (seed, once)


def test_the_oracle_passes_its_own_check(poses: ModuleType, spaces: dict[str, SpaceCard]) -> None:
    task = task_for(protocol(), spaces["coco17"])
    targets, _ = poses.suite(3, 20, 17)
    for target in targets:
        perfect = task.perfect(target)
        x = ModelInput("k", np.zeros((4, 4, 3), np.uint8), perfect.boxes_xyxy_px_N4, perfect.instance_scores_N)
        assert task.check(perfect, x, target)[1] is None


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        ({"scor": "instance"}, "scoring, option 'scor': unknown key; did you mean .*'score'"),
        ({"score": "best"}, "box_x_keypoints.*best"),
        ({"nms_oks": 0}, "nms_oks.*greater than or equal"),
        ({"nms_oks": True}, "nms_oks.*valid number"),
        ({"max_detections": 2.5}, "max_detections.*valid integer"),
        ({"nms_area": {"pad": 1}}, "padding and aspect"),
        ({"drop_zero_score": 1}, "drop_zero_score.*valid boolean"),
        ({"score_threshold": float("nan")}, "score_threshold.*finite"),
    ],
)
def test_a_wrong_scoring_key_is_named(spaces: dict[str, SpaceCard], scoring: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        task_for(protocol(**scoring), spaces["coco17"])


def test_a_protocol_without_keypoint_set_is_refused() -> None:
    with pytest.raises(CardError, match="needs a keypoint set"):
        task_for(protocol(), None)


def test_a_set_without_further_parts_has_only_the_whole(spaces: dict[str, SpaceCard]) -> None:
    assert len(task_for(protocol(), spaces["coco17"]).metrics[0].scores) == 10
    keys = task_for(protocol(), spaces["coco-wholebody133"]).metrics[0].scores
    parts = ["", "body/", "foot/", "face/", "left_hand/", "right_hand/", "hand/", "both_hands/"]
    assert [k for k in keys if k.endswith("AP")] == [f"{p}AP" for p in parts]


def test_scoring_keys_reach_the_metric(spaces: dict[str, SpaceCard]) -> None:
    options = {"score": "instance", "nms_oks": None, "nms_area": {"padding": 1.0, "aspect": 1}, "drop_zero_score": True}
    metric = task_for(protocol(**options), spaces["coco17"]).metrics[0]
    assert isinstance(metric, OksMetric)
    assert metric.scoring == PoseScoring(
        score="instance", nms_oks=None, nms_padding=1.0, nms_aspect=1, drop_zero_score=True
    )


def test_score_rules_worked_by_hand() -> None:
    # scores 0.1, 0.2, 0.4, 0.8 and threshold 0.2: only 0.4 and 0.8 are above it, mean 0.6; box score 0.5
    keypoints = np.array([[0.1, 0.2, 0.4, 0.8], [0.0, 0.1, 0.2, 0.2]])
    box = np.array([0.5, 0.5])
    expected = {
        "box_x_keypoints": [0.3, 0.0],
        "instance": [0.5, 0.5],
        "keypoints": [0.375, 0.125],
        "box_plus_keypoints": [0.5 + 0.375 + 0.8, 0.5 + 0.125 + 0.2],
    }
    for rule, values in expected.items():
        np.testing.assert_allclose(instance_scores(PoseScoring(score=rule), box, keypoints), values, atol=1e-15)


def test_padded_area_worked_by_hand() -> None:
    # 40 x 80 grows to 50 x 100; 50 < 0.75 * 100, so 75 x 100. 80 x 40 grows to 100 x 50; 100 > 37.5, so 100 x 133.3.
    boxes = np.array([[0, 0, 40, 80], [10, 10, 90, 50]], float)
    np.testing.assert_allclose(padded_area(PoseScoring(), boxes), [7500, 100 * 100 / 0.75])


def prediction(poses: ModuleType, n: int, k: int) -> PosePrediction:
    rng = np.random.default_rng(0)
    result: PosePrediction = poses.detections(rng, poses.people(rng, 3, k), n, k)
    return result


@pytest.mark.parametrize("n", [0, 1, 4])
def test_stored_predictions_come_back_bit_for_bit(poses: ModuleType, spaces: dict[str, SpaceCard], n: int) -> None:
    task = task_for(protocol(), spaces["coco17"])
    given_ = prediction(poses, n, 17)
    assert task.to_columns is not None
    assert task.from_columns is not None
    columns = task.to_columns(given_)
    assert all(c.ndim == 1 for c in columns.values())
    back = task.from_columns(columns)
    for name in ("keypoints_NK2_px", "keypoint_scores_NK", "instance_scores_N", "boxes_xyxy_px_N4"):
        np.testing.assert_array_equal(getattr(back, name), getattr(given_, name))
        assert getattr(back, name).dtype == getattr(given_, name).dtype


def test_stored_predictions_of_another_set_are_refused(poses: ModuleType, spaces: dict[str, SpaceCard]) -> None:
    task: Task = task_for(protocol(), spaces["coco17"])
    assert task.to_columns is not None
    assert task.from_columns is not None
    with pytest.raises(ShapeError, match="stored keypoints has 40 values"):
        task.from_columns(task.to_columns(prediction(poses, 2, 10)))


def test_remapping_takes_the_named_source_points(poses: ModuleType, spaces: dict[str, SpaceCard]) -> None:
    task = task_for(protocol(), spaces["coco17"])
    given_ = prediction(poses, 3, 20)
    index = np.arange(19, 2, -1)
    assert task.remap is not None
    mapped = task.remap(given_, index)
    np.testing.assert_array_equal(mapped.keypoints_NK2_px[:, 0], given_.keypoints_NK2_px[:, 19])
    np.testing.assert_array_equal(mapped.keypoint_scores_NK, given_.keypoint_scores_NK[:, index])
    for bad in (-1, 20):
        with pytest.raises(ShapeError, match="of a set of 20"):
            task.remap(given_, np.array([0, bad]))
