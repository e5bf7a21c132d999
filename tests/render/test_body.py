"""The baked body model, its poses and its skinning."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.render.body import draw_body, draw_expression, express, keypoints, posing
from sapiens_bench.render.draws import stream
from sapiens_bench.render.human_kit import SIDES, load_kit
from sapiens_bench.render.pose_library import FAMILIES, Pose, draw_pose, rotation

KIT = load_kit()


def a_body(seed: int = 0):
    return draw_body(stream("test", seed), KIT)


def joints(pose: Pose, seed: int = 0) -> dict[str, np.ndarray]:
    body = a_body(seed)
    move = posing(body, pose, KIT)
    posed = np.einsum("bij,bj->bi", move.rotation_B33, body.heads_B3) + move.shift_B3
    return {name: posed[i] for name, i in KIT.bones.items()}


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.rad2deg(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


def test_the_kit_is_consistent():
    assert KIT.quads_Q4.max() < len(KIT.mean_V3)
    np.testing.assert_allclose(KIT.skin_VB.sum(1), 1, atol=1e-12)
    for index, weight in KIT.keypoint_KV:
        assert weight.sum() == pytest.approx(1, abs=1e-5)
        assert index.max() < len(KIT.mean_V3)
    assert len(KIT.units) == 52
    assert (KIT.parents_B < np.arange(len(KIT.parents_B))).all(), "a parent must come before its children"


def test_template_is_a_grown_person_in_metres():
    height = np.ptp(KIT.mean_V3[:, 2])
    assert 1.5 < height < 1.95
    assert KIT.head("eye.L")[0] > 0 > KIT.head("eye.R")[0], "x points to the body's left"
    assert KIT.head("eye.L")[1] < KIT.head("head")[1], "the face looks along -y"


def test_the_same_seed_gives_the_same_body_and_another_seed_another_one():
    np.testing.assert_array_equal(a_body(3).vertices_V3, a_body(3).vertices_V3)
    assert np.abs(a_body(3).vertices_V3 - a_body(4).vertices_V3).max() > 0.01


def test_streams_do_not_depend_on_one_another():
    first = stream("a", 1).random(4)
    stream("a", 2).random(100)
    np.testing.assert_array_equal(first, stream("a", 1).random(4))
    assert not np.array_equal(first, stream("a", 11).random(4))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_bone_lengths(family: str):
    body = a_body()
    posed = joints(draw_pose(stream("pose", family), family))
    for name, index in KIT.bones.items():
        parent = int(KIT.parents_B[index])
        if parent >= 0:
            rest = np.linalg.norm(body.heads_B3[index] - body.heads_B3[parent])
            names = list(KIT.bones)
            assert np.linalg.norm(posed[name] - posed[names[parent]]) == pytest.approx(rest, abs=1e-9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("elbow", [5.0, 60.0, 110.0])
def test_the_elbow_bends_by_the_angle_asked_for(side: str, elbow: float):
    pose = Pose("stand")
    pose.arms[side].elbow_deg, pose.arms[side].twist_deg = elbow, 30
    at = joints(pose)
    upper = at[f"lowerarm01.{side}"] - at[f"upperarm01.{side}"]
    fore = at[f"wrist.{side}"] - at[f"lowerarm01.{side}"]
    assert angle(upper, fore) == pytest.approx(elbow, abs=0.5)


@pytest.mark.parametrize(("side", "outward"), [("L", 1.0), ("R", -1.0)])
def test_raised_arms_point_sideways_and_hanging_arms_down(side: str, outward: float):
    pose = Pose("stand")
    for raise_deg, expected in ((0.0, (0, 0, -1)), (90.0, (outward, 0, 0)), (180.0, (0, 0, 1))):
        pose.arms[side].raise_deg, pose.arms[side].forward_deg = raise_deg, 0
        at = joints(pose)
        assert angle(at[f"lowerarm01.{side}"] - at[f"upperarm01.{side}"], np.array(expected, float)) < 1


@pytest.mark.parametrize("side", SIDES)
def test_an_elbow_lifts_the_forearm_to_the_front_and_a_knee_takes_the_shin_back(side: str):
    pose = Pose("stand")
    pose.arms[side].raise_deg, pose.arms[side].elbow_deg = 5, 80
    pose.legs[side].knee_deg = 60
    at = joints(pose)
    assert at[f"wrist.{side}"][1] < at[f"lowerarm01.{side}"][1] - 0.1
    assert at[f"foot.{side}"][1] > at[f"lowerleg01.{side}"][1] + 0.1


@pytest.mark.parametrize("side", SIDES)
def test_curling_closes_the_fingers_towards_the_palm(side: str):
    """The palm looks away from the knuckles: fingertips must come nearer to the wrist, on the palm's side."""
    reach = []
    for curl in (0.0, 40.0, 80.0):
        pose = Pose("stand")
        pose.arms[side].curl_deg = curl
        body = a_body()
        move = posing(body, pose, KIT)
        points = keypoints(move.apply(body.vertices_V3, KIT.skin_VB), body.heads_B3, move, KIT)
        hand = points[23:44] if side == "L" else points[44:65]
        reach.append(np.linalg.norm(hand[[8, 12, 16, 20]] - hand[0], axis=1))
    assert (reach[0] > reach[1]).all()
    assert (reach[1] > reach[2]).all()


def test_a_rigid_turn_of_all_bones_is_a_rigid_turn_of_the_skin():
    body = a_body()
    move = posing(body, Pose("stand"), KIT)
    turned = rotation(np.array([0.0, 0.0, 1.0]), 40)
    spun = type(move)(turned @ move.rotation_B33, move.shift_B3 @ turned.T)
    plain = move.apply(body.vertices_V3, KIT.skin_VB)
    np.testing.assert_allclose(spun.apply(body.vertices_V3, KIT.skin_VB), plain @ turned.T, atol=2e-6)


def test_expressions_move_the_face_alone():
    body = a_body()
    changed = express(body, draw_expression(stream("face", 1)) | {"jawOpen": 0.8}, KIT)
    moved = np.abs(changed.vertices_V3 - body.vertices_V3).max(1) > 1e-6
    assert moved.any()
    assert (KIT.mean_V3[moved, 2] > KIT.head("neck01")[2] - 0.05).all()


def test_keypoints_lie_where_their_names_say():
    body = a_body()
    move = posing(body, Pose("stand"), KIT)
    points = keypoints(move.apply(body.vertices_V3, KIT.skin_VB), body.heads_B3, move, KIT)
    assert points.shape == (65, 3)
    nose, left_eye, right_eye, left_ear = points[:4]
    assert left_eye[0] > nose[0] > right_eye[0]
    assert left_ear[1] > left_eye[1], "ears lie behind the eyes"
    assert points[5, 2] > points[11, 2] > points[13, 2] > points[15, 2], "shoulder, hip, knee, ankle from top to bottom"
    assert points[17, 1] < points[19, 1], "toes lie before the heel"
