"""Where each point was missed, by how much and to which side."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from sapiens_bench.tasks.pose.joints import COLUMNS, joint_columns
from sapiens_bench.tasks.pose.overlap import iou, pairs
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, ResultScores, empty_prediction

K = 5


def one_person(corner: tuple[float, float], side: float) -> tuple[PoseTarget, PosePrediction]:
    """A box of ``side`` x ``side`` / 2 with K labelled points, found exactly."""
    at = np.array(corner)
    keypoints = (at + np.linspace(0, side / 2, K)[:, None])[None]
    boxes = np.concatenate([at, at + np.array([side / 2, side])])[None]
    target = PoseTarget(
        keypoints_NK2_px=keypoints, visible_NK=np.full((1, K), 2.0), area_N=np.array([side**2 / 2]),
        is_crowd_N=np.zeros(1, bool), boxes_xyxy_px_N4=boxes, ids_N=np.array([1]),
    )  # fmt: skip
    return target, PosePrediction(keypoints, np.ones((1, K)), np.ones(1), boxes)


def test_an_offset_is_told_by_joint_in_pixels_and_in_sides_of_the_box() -> None:
    target, prediction = one_person((10, 20), 200)
    moved = prediction.keypoints_NK2_px.copy()
    moved[0, 3] += (6, -8)
    (row,) = joint_columns([target], [replace(prediction, keypoints_NK2_px=moved)], K)
    assert tuple(row) == COLUMNS
    assert row["joint_points"].tolist() == [1] * K
    assert row["joint_dx_px"].tolist() == [0, 0, 0, 6, 0]
    assert row["joint_dy_px"].tolist() == [0, 0, 0, -8, 0]
    np.testing.assert_allclose(row["joint_dx"][3], 0.03, rtol=1e-6)  # 6 of 200 px
    np.testing.assert_allclose(row["joint_dy"][3], -0.04, rtol=1e-6)
    np.testing.assert_allclose(row["joint_distance"][3], 0.05, rtol=1e-6)


def test_unlabelled_points_missed_people_and_crowds_take_no_part() -> None:
    target, prediction = one_person((0, 0), 100)
    (missed,) = joint_columns([target], [empty_prediction(K)], K)
    assert missed["joint_points"].tolist() == [0] * K
    visible = np.array([[0.0, 2, 1, 0, 2]])
    undefined = np.where(visible[..., None] > 0, target.keypoints_NK2_px, np.inf)
    (part,) = joint_columns([replace(target, visible_NK=visible, keypoints_NK2_px=undefined)], [prediction], K)
    assert part["joint_points"].tolist() == [0, 1, 1, 0, 1]
    assert not part["joint_distance"].any()
    (crowd,) = joint_columns([replace(target, is_crowd_N=np.ones(1, bool))], [prediction], K)
    assert not crowd["joint_points"].any()
    (flat,) = joint_columns([replace(target, boxes_xyxy_px_N4=np.zeros((1, 4)))], [prediction], K)
    assert not flat["joint_points"].any()


def test_an_error_without_bound_is_bounded_and_finite() -> None:
    target, prediction = one_person((0, 0), 100)
    wild = np.where(np.arange(K)[:, None] == 2, 1e300, prediction.keypoints_NK2_px)
    (row,) = joint_columns([target], [replace(prediction, keypoints_NK2_px=wild)], K)
    assert all(np.isfinite(row[name]).all() for name in COLUMNS)
    assert row["joint_dx"][2] == 1e3


@pytest.mark.parametrize("seed", range(20))
def test_people_meet_the_instances_that_overlap_them_most_and_neighbouring_images_change_nothing(
    poses: ModuleType, seed: int
) -> None:
    targets, predictions = poses.suite(seed, 12, K)
    together = joint_columns(targets, predictions, K)
    for row, target, prediction in zip(together, targets, predictions, strict=True):
        (alone,) = joint_columns([target], [prediction], K)
        for name in COLUMNS:
            np.testing.assert_array_equal(row[name], alone[name], strict=True)
        people = np.flatnonzero(target.is_scored_N)
        partner = pairs(iou(target.boxes_xyxy_px_N4[people], prediction.boxes_xyxy_px_N4))
        own = partner >= 0
        labelled = target.visible_NK[people][own] > 0
        offset = prediction.keypoints_NK2_px[partner[own]].astype(float) - target.keypoints_NK2_px[people][own]
        np.testing.assert_array_equal(row["joint_points"], labelled.sum(axis=0))
        expected = np.where(labelled[..., None], offset, 0).sum(axis=0)
        np.testing.assert_allclose(row["joint_dx_px"], expected[:, 0], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(row["joint_dy_px"], expected[:, 1], rtol=1e-5, atol=1e-3)


def test_results_without_boxes_meet_the_people_whose_points_are_near() -> None:
    target, prediction = one_person((0, 0), 100)
    other, _ = one_person((300, 300), 100)
    both = PoseTarget(
        *(np.concatenate([getattr(target, f), getattr(other, f)]) for f in (
            "keypoints_NK2_px", "visible_NK", "area_N", "is_crowd_N", "boxes_xyxy_px_N4", "ids_N",
        ))
    )  # fmt: skip
    near = np.stack(
        [other.keypoints_NK2_px[0] + 1, target.keypoints_NK2_px[0] + 2, prediction.keypoints_NK2_px[0] + 9e3]
    )
    found = PosePrediction(near, np.ones((3, K)), np.ones(3), np.zeros((3, 4)), ResultScores())
    (row,) = joint_columns([both], [found], K)
    assert row["joint_points"].tolist() == [2] * K
    assert row["joint_dx_px"].tolist() == [3] * K
