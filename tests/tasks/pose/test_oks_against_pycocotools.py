"""The ten statistics equal those of pycocotools, with no difference at all."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.tasks.pose.export import coco_results
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.task import make_metric

PLAIN = PoseScoring(nms_oks=None, score="instance")
SEEDS = st.integers(0, 2**32 - 1)


def assert_identical(ours: dict[str, float], theirs: dict[str, float], prefix: str = "") -> None:
    for name, value in theirs.items():
        mine = ours[prefix + name]
        assert mine == value or (math.isnan(mine) and math.isnan(value)), f"{prefix}{name}: {mine} and {value}"


def sigmas_of(k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.01, 0.11, k)


@pytest.mark.parametrize(
    ("k", "n_images", "seed"), [(1, 60, 0), (17, 120, 1), (17, 120, 2), (133, 50, 3), (308, 30, 4)]
)
def test_ten_statistics_are_bit_identical(poses: ModuleType, k: int, n_images: int, seed: int) -> None:
    targets, predictions = poses.suite(seed, n_images, k)
    metric = OksMetric(sigmas_of(k, seed).tolist(), {}, PLAIN)
    ours = metric.aggregate(metric.measure_table(targets, predictions))(None)
    results = coco_results(predictions, range(1, n_images + 1), metric)
    assert_identical(ours, poses.pycocotools_statistics(poses.coco_truth(targets), results, sigmas_of(k, seed)))
    assert 0 < ours["AP"] < 1  # the suite is neither trivial nor hopeless


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, k=st.sampled_from([1, 2, 5, 9, 17]), crowded=st.booleans())
def test_random_suites_are_bit_identical(poses: ModuleType, seed: int, k: int, crowded: bool) -> None:
    targets, predictions = poses.suite(seed, 8, k, 12 if crowded else 3, 30 if crowded else 4)
    metric = OksMetric(sigmas_of(k, seed).tolist(), {}, PLAIN)
    results = coco_results(predictions, range(1, 9), metric)
    if not results:  # pycocotools cannot read an empty list
        return
    ours = metric.aggregate(metric.measure_table(targets, predictions))(None)
    assert_identical(ours, poses.pycocotools_statistics(poses.coco_truth(targets), results, sigmas_of(k, seed)))


@pytest.mark.parametrize("scoring", [PoseScoring(), PoseScoring(nms="soft"), PoseScoring(score="keypoints")])
def test_exported_results_give_the_same_numbers_after_score_rule_and_nms(
    poses: ModuleType, scoring: PoseScoring
) -> None:
    targets, predictions = poses.suite(11, 80, 17)
    metric = OksMetric(sigmas_of(17, 11).tolist(), {}, scoring)
    results = coco_results(predictions, range(1, 81), metric)
    ours = metric.aggregate(metric.measure_table(targets, predictions))(None)
    assert_identical(ours, poses.pycocotools_statistics(poses.coco_truth(targets), results, sigmas_of(17, 11)))
    if scoring == PoseScoring():
        assert len(results) < sum(len(p.instance_scores_N) for p in predictions)  # something was suppressed


@pytest.mark.parametrize("space_id", ["coco-wholebody133", "goliath308"])
def test_parts_are_bit_identical_with_the_area_of_the_body_points(
    poses: ModuleType, spaces: dict[str, SpaceCard], space_id: str
) -> None:
    space = spaces[space_id]
    targets, predictions = poses.suite(5, 40, len(space.names))
    metric = make_metric(PLAIN, space)
    truth = poses.coco_truth(targets)
    results = coco_results(predictions, range(1, 41), metric)  # its bbox makes loadRes take the body's area
    ours = metric.aggregate(metric.measure_table(targets, predictions))(None)
    assert_identical(ours, poses.pycocotools_statistics(truth, results, space.sigmas))
    both = [i for hand in ("left_hand", "right_hand") for i in space.groups[hand]]
    parts = {n: i for n, i in space.groups.items() if n != "extra"} | {"both_hands": both}
    for name, index in parts.items():
        part_truth = {**truth, "annotations": poses.part_of(truth["annotations"], index)}
        part_results = poses.part_of(results, index)
        theirs = poses.pycocotools_statistics(part_truth, part_results, np.asarray(space.sigmas)[list(index)])
        assert_identical(ours, theirs, f"{name}/")
    assert ours["hand/AP"] == (ours["left_hand/AP"] + ours["right_hand/AP"]) / 2
    assert "extra/AP" not in ours


def test_one_image_at_a_time_and_any_shards_give_the_same_bits(poses: ModuleType) -> None:
    targets, predictions = poses.suite(6, 90, 17)
    metric = OksMetric(sigmas_of(17, 6).tolist(), {"body": range(17)}, PoseScoring())
    whole = metric.measure_table(targets, predictions)
    rows = [metric.measure(t, p) for t, p in zip(targets, predictions, strict=True)]
    single = pa.table(
        {
            f"oks/{k}": pa.array([r[k] for r in rows], whole.schema.field(f"oks/{k}").type)
            for k in rows[0]
            if f"oks/{k}" in whole.column_names
        }
    )
    assert single.equals(whole)
    for alone, together in zip(rows, metric.measure_many(targets, predictions), strict=True):
        assert list(alone) == list(together)
        for key, values in alone.items():
            np.testing.assert_array_equal(together[key], values, strict=True)  # dtypes and shapes, too
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.choice(90, 7, replace=False))
    shards = [single.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, 90], strict=True)]
    assert metric.aggregate(pa.concat_tables(shards))(None) == metric.aggregate(whole)(None)


def test_a_hand_worked_case_of_two_images() -> None:
    # Two images, one person each, one keypoint, sigma 0.05, area 100: OKS = exp(-d² / (0.1² * 100 * 2)) = exp(-d²/2).
    # d = 0 gives 1; d = 0.5 gives 0.8825, a match up to threshold 0.85 (8 of 10).
    # Sorted: the exact one (0.9), then the other (0.8). Up to 0.85 both match: precision 1 up to recall 1, AP 1.
    # At 0.90 and 0.95 only the first does: precision 1 up to recall 0.5, 51 of 101 levels. AR: (8 * 1 + 2 * 0.5) / 10.
    from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

    def target() -> PoseTarget:
        return PoseTarget(
            keypoints_NK2_px=np.array([[[10.0, 10.0]]]),
            visible_NK=np.array([[2.0]]),
            area_N=np.array([100.0]),
            is_crowd_N=np.array([False]),
            boxes_xyxy_px_N4=np.array([[5.0, 5.0, 15.0, 15.0]]),
            ids_N=np.array([1]),
        )

    def found(x: float, score: float) -> PosePrediction:
        box = np.array([[5.0, 5.0, 15.0, 15.0]], np.float32)
        one = np.ones((1, 1), np.float32)
        return PosePrediction(np.array([[[x, 10.0]]]), one, np.array([score]), box)

    metric = OksMetric([0.05], {}, PoseScoring())
    scores = metric.aggregate(metric.measure_table([target()] * 2, [found(10.0, 0.9), found(10.5, 0.8)]))(None)
    assert scores["AP"] == pytest.approx((8 + 2 * 51 / 101) / 10, abs=1e-12)
    assert scores["AR"] == pytest.approx(0.9, abs=1e-12)
    assert math.isnan(scores["APM"])  # both persons are smaller than 32² px
    assert math.isnan(scores["ARL"])


def test_no_people_is_undefined_and_no_detections_is_zero(poses: ModuleType) -> None:
    from sapiens_bench.tasks.pose.types import empty_prediction

    metric = OksMetric([0.05] * 17, {}, PoseScoring())
    rng = np.random.default_rng(0)
    nobody = poses.people(rng, 0, 17)
    empty = metric.aggregate(metric.measure_table([nobody], [poses.detections(rng, nobody, 3, 17)]))(None)
    assert all(math.isnan(v) for v in empty.values())
    targets, _ = poses.suite(1, 10, 17)
    missed = metric.aggregate(metric.measure_table(targets, [empty_prediction(17)] * 10))(None)
    assert (missed["AP"], missed["AR"]) == (0.0, 0.0)
    none = metric.aggregate(metric.measure_table([], []))(None)
    assert all(math.isnan(v) for v in none.values())
