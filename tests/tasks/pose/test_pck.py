"""PCK, AUC, EPE and NME: hand-made people, an independent formula, and laws."""

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
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CardError
from sapiens_bench.tasks.pose import task as pose
from sapiens_bench.tasks.pose.overlap import iou, pairs
from sapiens_bench.tasks.pose.pck import PckMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, ResultScores, empty_prediction

NAMES = ("head_top", "left_shoulder", "right_shoulder", "left_hip", "right_hip")


def target(points: NDArray[np.float64], visible: NDArray[np.int64] | None = None, **changes: Any) -> PoseTarget:
    """People whose boxes are 100 x 200 px, side by side, with heads 20 px long."""
    n = len(points)
    corners = np.stack([np.array([150.0 * i, 0, 150.0 * i + 100, 200]) for i in range(n)]).reshape(n, 4)
    made = PoseTarget(
        keypoints_NK2_px=points,
        visible_NK=np.full(points.shape[:2], 2.0) if visible is None else visible.astype(np.float64),
        area_N=np.full(n, 1e4),
        is_crowd_N=np.zeros(n, bool),
        boxes_xyxy_px_N4=corners,
        ids_N=np.arange(1, n + 1),
        head_size_px_N=np.full(n, 20.0),
    )
    return replace(made, **changes)


def found(truth: PoseTarget, offsets: NDArray[np.float64]) -> PosePrediction:
    n, k = truth.visible_NK.shape
    return PosePrediction(
        truth.keypoints_NK2_px + offsets, np.ones((n, k)), np.ones(n), truth.boxes_xyxy_px_N4.astype(np.float32)
    )


def rows(metric: PckMetric, *images: tuple[PoseTarget, PosePrediction]) -> pa.Table:
    measured = [metric.measure(*image) for image in images]
    return pa.table({f"pck/{name}": [m[name] for m in measured] for name in measured[0]})


def scores(metric: PckMetric, *images: tuple[PoseTarget, PosePrediction]) -> dict[str, float]:
    return metric.aggregate(rows(metric, *images))(None)


def right(distance_px: float, k: int = 5) -> NDArray[np.float64]:
    return np.broadcast_to([distance_px, 0.0], (1, k, 2)).copy()


POINTS = np.array([[[50.0, 10], [20, 60], [80, 60], [35, 120], [65, 120]]])
BESIDE = np.array([150.0, 0.0])
HEAD = PoseScoring(pck="head", pck_thresholds=(0.5, 0.1))


def test_a_point_at_the_threshold_is_right_and_beyond_it_wrong() -> None:
    metric, truth = PckMetric(NAMES, HEAD), target(POINTS)
    offsets = right(0.0)
    offsets[0, :, 0] = [0.0, 2.0, 2.5, 10.0, 10.001]  # the head is 20 px: 0.5 is 10 px, 0.1 is 2 px
    result = scores(metric, (truth, found(truth, offsets)))
    assert result["PCKh_0_5"] == 4 / 5
    assert result["PCKh_0_1"] == 2 / 5
    assert result["EPE_px"] == pytest.approx(24.501 / 5)
    assert result["NME"] == pytest.approx(24.501 / 5 / 20)
    assert result["head_top/PCKh_0_5"] == 1
    assert result["hip/PCKh_0_5"] == 0.5
    assert result["AUC"] == pytest.approx(np.mean([1, 0.8, 0.75, 0, 0]))  # 1 - distance / 10 px


def test_perfect_poses_score_one_everywhere_and_nobody_found_scores_nothing() -> None:
    metric, truth = PckMetric(NAMES, HEAD), target(POINTS)
    perfect = scores(metric, (truth, found(truth, right(0))))
    assert [perfect[key] for key in ("PCKh_0_5", "PCKh_0_1", "AUC", "found", "EPE_px")] == [1, 1, 1, 1, 0]
    nobody = scores(metric, (truth, empty_prediction(5)))
    assert [nobody[key] for key in ("PCKh_0_5", "AUC", "found")] == [0, 0, 0]
    assert math.isnan(nobody["EPE_px"])


def test_joints_may_be_left_out_and_hidden_points_never_count() -> None:
    metric = PckMetric(NAMES, PoseScoring(pck="head", pck_leave_out=("head_top",)))
    truth = target(POINTS, np.array([[2, 1, 0, 2, 2]]))
    offsets = right(0.0)
    offsets[0, :3, 0] = 99.0  # wrong: a joint left out, a labelled one, a hidden one
    assert scores(metric, (truth, found(truth, offsets)))["PCKh_0_5"] == 2 / 3


def test_the_mean_of_joints_is_not_the_mean_of_points() -> None:
    one, two = target(POINTS), target(POINTS, np.array([[2, 0, 0, 0, 0]]))
    images = [(one, found(one, right(0))), (two, found(two, right(99)))]
    pooled = scores(PckMetric(NAMES, PoseScoring(pck="head")), *images)["PCKh_0_5"]
    by_joint = scores(PckMetric(NAMES, PoseScoring(pck="head", pck_mean="joints")), *images)["PCKh_0_5"]
    assert (pooled, by_joint) == (5 / 6, (0.5 + 4) / 5)


def test_each_normaliser_measures_its_own_length() -> None:
    truth = target(POINTS)  # box 200 px high; left shoulder to right hip is 75 px
    for normaliser, length, key in (("head", 20, "PCKh"), ("box", 200, "PCK"), ("torso", 75, "tPCK")):
        metric = PckMetric(NAMES, PoseScoring(pck=normaliser, pck_thresholds=(0.2,)))
        for factor, share in ((0.999, 1.0), (1.001, 0.0)):
            result = scores(metric, (truth, found(truth, right(0.2 * length * factor))))
            assert result[f"{key}_0_2"] == share


def test_people_without_a_length_are_counted_and_not_scored() -> None:
    metric = PckMetric(NAMES, HEAD)
    truth = target(np.concatenate([POINTS, POINTS + BESIDE]), head_size_px_N=np.array([np.nan, 20.0]))
    result = scores(metric, (truth, found(truth, np.zeros((2, 5, 2)))))
    assert (result["unmeasured"], result["PCKh_0_5"]) == (1, 1)
    assert math.isnan(scores(metric, (target(POINTS, head_size_px_N=None), empty_prediction(5)))["PCKh_0_5"])
    torso = PckMetric(NAMES, PoseScoring(pck="torso"))
    assert scores(torso, (target(POINTS, np.array([[2, 0, 2, 2, 2]])), empty_prediction(5)))["unmeasured"] == 1


def test_people_are_compared_with_the_instance_of_their_own_box() -> None:
    truth = target(np.concatenate([POINTS, POINTS + BESIDE]))
    prediction = found(truth, np.zeros((2, 5, 2))).take(np.array([1, 0]))
    metric = PckMetric(NAMES, HEAD)
    assert scores(metric, (truth, prediction))["PCKh_0_5"] == 1
    assert scores(metric, (truth, prediction.take(np.array([0]))))["found"] == 0.5
    crowd = replace(truth, is_crowd_N=np.array([False, True]))
    assert scores(metric, (crowd, prediction.take(np.array([1]))))["PCKh_0_5"] == 1


def test_results_made_elsewhere_belong_to_whom_they_fit_whatever_box_they_carry() -> None:
    truth = target(np.concatenate([POINTS, POINTS + BESIDE]))
    answer = replace(found(truth, np.zeros((2, 5, 2))), boxes_xyxy_px_N4=truth.boxes_xyxy_px_N4[::-1])
    metric = PckMetric(NAMES, HEAD)
    assert scores(metric, (truth, answer))["PCKh_0_5"] == 0
    assert scores(metric, (truth, replace(answer, results=ResultScores())))["PCKh_0_5"] == 1


def test_overlap_pairs_fall_by_overlap_and_take_each_box_once() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [100, 0, 110, 10.0]])
    assert iou(boxes[:1], boxes).round(3).tolist() == [[1, 0.333, 0]]
    assert pairs(iou(boxes[[1, 0, 2]], boxes[:2])).tolist() == [1, 0, -1]
    assert pairs(iou(boxes[:1], boxes[[0, 0]])).tolist() == [0]
    assert pairs(iou(boxes[:0], boxes)).tolist() == []


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_scores_equal_the_formula_and_weights_are_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(4):
        n = int(rng.integers(1, 4))
        truth = target(
            POINTS.repeat(n, axis=0) + BESIDE * np.arange(n)[:, None, None], rng.integers(0, 3, (n, 5)),
            head_size_px_N=rng.uniform(5, 40, n),
        )  # fmt: skip
        images.append((truth, found(truth, rng.normal(0, 8, (n, 5, 2)))))
    metric = PckMetric(NAMES, HEAD)
    distance = np.concatenate([np.linalg.norm(p.keypoints_NK2_px - t.keypoints_NK2_px, axis=2) for t, p in images])
    head = np.concatenate([np.asarray(t.head_size_px_N) for t, _ in images])
    labelled = np.concatenate([t.visible_NK > 0 for t, _ in images])
    share = (distance / head[:, None])[labelled]
    result = scores(metric, *images)
    if share.size:
        assert result["PCKh_0_5"] == pytest.approx(np.mean(share <= 0.5))
        curve = [np.mean(share <= t) for t in np.linspace(0, 0.5, 5001)]
        assert result["AUC"] == pytest.approx(np.mean(curve), abs=3e-4)
        assert result["NME"] == pytest.approx(share.mean())
    weights = rng.integers(0, 3, 4)
    copies = [image for image, w in zip(images, weights, strict=True) for _ in range(w)]
    weighted = metric.aggregate(rows(metric, *images))(weights)
    repeated = scores(metric, *copies) if copies else {}
    for key, value in repeated.items():
        assert weighted[key] == pytest.approx(value, nan_ok=True), key


def test_a_protocol_asks_for_it_and_ranks_by_it() -> None:
    catalog = Catalog.load()
    card = catalog.dataset("mpii")
    made = pose.make(read_options(PoseScoring, card.protocols["pckh"].scoring, "mpii"), catalog.space("mpii-16"))
    assert (made.headline, [m.name for m in made.metrics]) == ("pck/PCKh_0_5", ["oks", "pck"])
    assert len(pose.make(PoseScoring(), catalog.space("coco17")).metrics) == 1
    for scoring, part in (
        (PoseScoring(pck="torso"), "left_shoulder, right_hip"),
        (PoseScoring(pck="head", pck_leave_out=("tail",)), "tail"),
    ):
        with pytest.raises(CardError, match=part):
            PckMetric(("nose", "neck"), scoring)


def test_weights_may_be_held_in_parts(poses: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, predictions = poses.suite(4, 30, 3)
    metric = PckMetric(["left_knee", "right_knee", "nose"], PoseScoring(pck="box"))
    found = [metric.measure(t, p) for t, p in zip(targets, predictions, strict=True)]
    scores = metric.aggregate(pa.table({f"pck/{name}": pa.array([row[name] for row in found]) for name in found[0]}))
    weights = np.random.default_rng(0).integers(0, 3, (11, 30)).astype(np.uint8)
    whole = scores.batch(weights)
    monkeypatch.setattr("sapiens_bench.tasks.pose.pck._WEIGHTS_AT_ONCE", 100)
    for key, values in scores.batch(weights).items():
        np.testing.assert_allclose(values, whole[key], rtol=1e-13)  # a BLAS adds in another order for another shape
    assert scores.batch(weights[:0], ["AUC"])["AUC"].shape == (0,)
