"""Procedural poses: twelve families with joint noise, as one rotation per bone.

A rotation acts in the rest frame (x to the body's left, y backwards, z up) around the bone's head and carries all its
children: ``global = global_of_parent @ local``. Angles are degrees.

Arms are posed by frames, not by Euler angles of the rig: the upper arm starts hanging (direction -z, elbow axis -x, so
that flexion lifts the forearm forward), is twisted about itself, raised sideways, then swung forward. The same frame
taken from the rest joints gives the rotation, so that the elbow always bends about its own hinge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.human_kit import SIDES, Doubles, Kit

FAMILIES: dict[str, float] = {
    "stand": 0.15,
    "walk": 0.14,
    "run": 0.08,
    "sit": 0.09,
    "squat": 0.05,
    "arms_up": 0.09,
    "wave": 0.08,
    "hips": 0.08,
    "crossed": 0.07,
    "dance": 0.08,
    "jump": 0.04,
    "lunge": 0.05,
}
X, Y, Z = np.eye(3)


@dataclass(slots=True)
class Arm:
    """Angles of one arm; positive ``twist`` turns the forearm towards the body's midline."""

    raise_deg: float = 12.0  # sideways, 0 hanging, 90 horizontal, 180 up
    forward_deg: float = 0.0  # swing about the left-right axis
    twist_deg: float = 0.0
    elbow_deg: float = 18.0
    pronation_deg: float = 0.0
    curl_deg: float = 20.0


@dataclass(slots=True)
class Leg:
    """Angles of one leg."""

    hip_deg: float = 0.0  # forward
    spread_deg: float = 0.0  # added to the slight spread of the rest pose
    turn_deg: float = 0.0
    knee_deg: float = 3.0
    foot_deg: float = 0.0  # toes up


@dataclass(slots=True)
class Pose:
    """One body pose in joint angles."""

    family: str
    arms: dict[str, Arm] = field(default_factory=lambda: {side: Arm() for side in SIDES})
    legs: dict[str, Leg] = field(default_factory=lambda: {side: Leg() for side in SIDES})
    lean_deg: float = 0.0  # forward
    bend_deg: float = 0.0  # sideways
    turn_deg: float = 0.0
    head_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)  # nod, turn, tilt
    lift_m: float = 0.0  # off the ground


def rotation(axis: NDArray[np.float64], degrees: float) -> Doubles:
    """Rotation matrix about an axis, right-handed. Source: Rodrigues' formula."""
    a = axis / np.sqrt((axis**2).sum())
    angle = np.deg2rad(degrees)
    cross = np.array([[0.0, -a[2], a[1]], [a[2], 0.0, -a[0]], [-a[1], a[0], 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross))


def draw_pose(rng: np.random.Generator, family: str = "") -> Pose:
    """A pose of a family (drawn when empty)."""
    names = list(FAMILIES)
    shares = np.array(list(FAMILIES.values()))
    drawn = str(rng.choice(names, p=shares / shares.sum()))
    pose = Pose(family or drawn)
    for side in SIDES:
        pose.arms[side] = Arm(
            raise_deg=9 + abs(rng.normal(0, 6)),
            forward_deg=rng.normal(2, 9),
            twist_deg=rng.normal(8, 8),
            elbow_deg=10 + abs(rng.normal(0, 14)),
            pronation_deg=rng.normal(0, 18),
            curl_deg=rng.uniform(8, 45),
        )
        pose.legs[side] = Leg(
            hip_deg=rng.normal(0, 4),
            spread_deg=rng.uniform(-5, 3),
            turn_deg=rng.normal(5, 6),
            knee_deg=abs(rng.normal(0, 5)) + 1,
        )
    pose.lean_deg, pose.bend_deg, pose.turn_deg = rng.normal(0, 3), rng.normal(0, 3), rng.normal(0, 6)
    pose.head_deg = (rng.normal(2, 7), rng.normal(0, 14), rng.normal(0, 5))
    _SHAPERS[pose.family](pose, rng)
    return pose


def _stand(pose: Pose, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:  # weight on one leg
        leg = pose.legs[str(rng.choice(SIDES))]
        leg.hip_deg, leg.knee_deg, leg.turn_deg = rng.uniform(5, 14), rng.uniform(12, 28), rng.uniform(5, 20)
    if rng.random() < 0.35:  # something in one hand: a phone, a cup
        arm = pose.arms[str(rng.choice(SIDES))]
        arm.elbow_deg, arm.forward_deg, arm.twist_deg = rng.uniform(70, 120), rng.uniform(5, 30), rng.uniform(10, 40)


def _stride(pose: Pose, rng: np.random.Generator, reach: float, arm_elbow: tuple[float, float]) -> None:
    ahead = str(rng.choice(SIDES))
    for side in SIDES:
        sign = 1.0 if side == ahead else -1.0
        leg, arm = pose.legs[side], pose.arms[side]
        leg.hip_deg = sign * reach * rng.uniform(0.8, 1.1) + 4
        arm.forward_deg = -sign * reach * rng.uniform(0.6, 1.0)
        arm.elbow_deg = rng.uniform(*arm_elbow)


def _walk(pose: Pose, rng: np.random.Generator) -> None:
    reach = rng.uniform(12, 28)
    _stride(pose, rng, reach, (12, 40))
    for leg in pose.legs.values():
        leg.knee_deg = rng.uniform(3, 14) if leg.hip_deg > 0 else rng.uniform(12, 45)
        leg.foot_deg = 10 if leg.hip_deg > 0 else -12
    pose.lean_deg = rng.uniform(0, 7)


def _run(pose: Pose, rng: np.random.Generator) -> None:
    _stride(pose, rng, rng.uniform(28, 50), (65, 110))
    for leg in pose.legs.values():
        leg.knee_deg = rng.uniform(25, 80) if leg.hip_deg > 0 else rng.uniform(35, 95)
        leg.foot_deg = -15
    pose.lean_deg, pose.lift_m = rng.uniform(6, 16), rng.uniform(0.0, 0.12)


def _sit(pose: Pose, rng: np.random.Generator) -> None:
    for leg in pose.legs.values():
        leg.hip_deg, leg.knee_deg = rng.uniform(78, 92), rng.uniform(72, 98)
        leg.spread_deg = rng.uniform(-4, 9)
    for arm in pose.arms.values():
        arm.forward_deg, arm.elbow_deg, arm.twist_deg = rng.uniform(10, 38), rng.uniform(30, 85), rng.uniform(0, 25)
    pose.lean_deg = rng.uniform(-8, 10)


def _squat(pose: Pose, rng: np.random.Generator) -> None:
    depth = rng.uniform(55, 100)
    for leg in pose.legs.values():
        leg.hip_deg, leg.knee_deg = depth + rng.normal(0, 4), depth + rng.uniform(5, 20)
        leg.spread_deg, leg.turn_deg, leg.foot_deg = rng.uniform(6, 20), rng.uniform(8, 25), rng.uniform(8, 18)
    for arm in pose.arms.values():
        arm.forward_deg, arm.elbow_deg = rng.uniform(40, 85), rng.uniform(8, 60)
    pose.lean_deg = rng.uniform(14, 28)


def _arms_up(pose: Pose, rng: np.random.Generator) -> None:
    level = rng.uniform(85, 165)
    for arm in pose.arms.values():
        arm.raise_deg = level + rng.normal(0, 10)
        arm.elbow_deg, arm.forward_deg, arm.twist_deg = rng.uniform(5, 70), rng.normal(8, 8), rng.normal(-60, 20)


def _wave(pose: Pose, rng: np.random.Generator) -> None:
    arm = pose.arms[str(rng.choice(SIDES))]
    arm.raise_deg, arm.elbow_deg = rng.uniform(55, 120), rng.uniform(40, 105)
    arm.forward_deg, arm.twist_deg, arm.curl_deg = rng.uniform(5, 25), rng.uniform(-95, -70), rng.uniform(3, 15)


def _hips(pose: Pose, rng: np.random.Generator) -> None:
    for arm in pose.arms.values():
        arm.raise_deg, arm.forward_deg = rng.uniform(38, 48), rng.uniform(-22, -10)
        arm.twist_deg, arm.elbow_deg, arm.curl_deg = rng.uniform(62, 78), rng.uniform(82, 96), rng.uniform(10, 35)


def _crossed(pose: Pose, rng: np.random.Generator) -> None:
    for side, offset in zip(SIDES, (0.0, 9.0)):
        arm = pose.arms[side]
        arm.raise_deg, arm.forward_deg = rng.uniform(10, 15), 22 + offset + rng.normal(0, 2)
        arm.twist_deg, arm.elbow_deg = rng.uniform(56, 66), rng.uniform(88, 98)


def _dance(pose: Pose, rng: np.random.Generator) -> None:
    for side in SIDES:
        arm, leg = pose.arms[side], pose.legs[side]
        arm.raise_deg, arm.forward_deg = rng.uniform(20, 150), rng.uniform(-15, 50)
        arm.elbow_deg, arm.twist_deg = rng.uniform(5, 110), rng.normal(-15, 35)
        leg.hip_deg, leg.knee_deg = rng.uniform(-12, 55), rng.uniform(2, 75)
        leg.spread_deg, leg.turn_deg = rng.uniform(-2, 28), rng.normal(8, 10)
    pose.lean_deg, pose.bend_deg, pose.turn_deg = rng.normal(0, 8), rng.normal(0, 8), rng.normal(0, 14)


def _jump(pose: Pose, rng: np.random.Generator) -> None:
    _dance(pose, rng)
    for leg in pose.legs.values():
        leg.knee_deg, leg.foot_deg = rng.uniform(15, 95), -25
    pose.lift_m = rng.uniform(0.08, 0.35)


def _lunge(pose: Pose, rng: np.random.Generator) -> None:
    ahead = str(rng.choice(SIDES))
    for side in SIDES:
        leg = pose.legs[side]
        if side == ahead:
            leg.hip_deg, leg.knee_deg = rng.uniform(55, 80), rng.uniform(60, 90)
        else:
            leg.hip_deg, leg.knee_deg, leg.foot_deg = -rng.uniform(8, 22), rng.uniform(8, 55), 15


_SHAPERS = {
    "stand": _stand,
    "walk": _walk,
    "run": _run,
    "sit": _sit,
    "squat": _squat,
    "arms_up": _arms_up,
    "wave": _wave,
    "hips": _hips,
    "crossed": _crossed,
    "dance": _dance,
    "jump": _jump,
    "lunge": _lunge,
}


def bone_rotations(pose: Pose, kit: Kit, heads_B3: Doubles, tips_10x3: Doubles) -> dict[int, Doubles]:
    """Local rotation of every posed bone, by bone index.

    Args:
        heads_B3: rest bone heads of this body, metres.
        tips_10x3: rest fingertips of this body.
    """
    local: dict[str, Doubles] = {}
    for part in ("spine05", "spine04", "spine03", "spine02", "spine01"):
        local[part] = rotation(X, pose.lean_deg / 5) @ rotation(Z, pose.turn_deg / 5) @ rotation(Y, pose.bend_deg / 5)
    nod, turn, tilt = (angle / 4 for angle in pose.head_deg)
    for part in ("neck01", "neck02", "neck03", "head"):
        local[part] = rotation(Z, turn) @ rotation(X, nod) @ rotation(Y, tilt)
    for side, sign in zip(SIDES, (1.0, -1.0)):
        _leg(local, pose.legs[side], side, sign)
        at = {name: heads_B3[i] for name, i in kit.bones.items() if name.endswith("." + side)}
        _arm(local, pose.arms[side], side, sign, at)
        _hand(local, pose.arms[side], side, at, tips_10x3[:5] if side == "L" else tips_10x3[5:])
    return {kit.bones[name]: matrix for name, matrix in local.items()}


def _leg(local: dict[str, Doubles], leg: Leg, side: str, sign: float) -> None:
    local[f"upperleg01.{side}"] = (
        rotation(X, -leg.hip_deg) @ rotation(Y, -sign * leg.spread_deg) @ rotation(Z, sign * leg.turn_deg)
    )
    local[f"lowerleg01.{side}"] = rotation(X, leg.knee_deg)
    local[f"foot.{side}"] = rotation(X, -leg.foot_deg)


def _frame(direction: Doubles, hinge: Doubles) -> Doubles:
    return np.stack([direction, hinge, np.cross(direction, hinge)], 1)


def _arm(local: dict[str, Doubles], arm: Arm, side: str, sign: float, at: dict[str, Doubles]) -> None:
    upper = _unit(at[f"lowerarm01.{side}"] - at[f"upperarm01.{side}"])
    fore = _unit(at[f"wrist.{side}"] - at[f"lowerarm01.{side}"])
    hinge = _unit(np.cross(upper, fore))
    rest_elbow = float(np.rad2deg(np.arccos(np.clip(upper @ fore, -1, 1))))
    # hanging arm: direction -z, hinge -x; the twist turns about -z, mirrored between the sides
    hanging = rotation(Z, -sign * arm.twist_deg)
    raised = rotation(X, -arm.forward_deg) @ rotation(Y, -sign * arm.raise_deg) @ hanging
    whole = _frame(raised @ -Z, raised @ -X) @ _frame(upper, hinge).T
    shrug = float(np.clip((arm.raise_deg - 60) * 0.25, 0, 24))  # the collar bone takes part of a raised arm
    clavicle = rotation(Y, -sign * shrug)
    local[f"clavicle.{side}"] = clavicle
    half = rotation(upper, _twist_about(whole, upper) / 2)
    local[f"upperarm01.{side}"] = clavicle.T @ whole @ half.T
    local[f"upperarm02.{side}"] = half
    local[f"lowerarm01.{side}"] = rotation(hinge, arm.elbow_deg - rest_elbow)
    local[f"lowerarm02.{side}"] = rotation(fore, sign * arm.pronation_deg / 2)
    local[f"wrist.{side}"] = rotation(fore, sign * arm.pronation_deg / 2)


def _twist_about(matrix: Doubles, axis: Doubles) -> float:
    """Angle of the part of a rotation that turns about ``axis``, degrees (swing-twist decomposition)."""
    w = 1 + np.trace(matrix)
    vector = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    angle = np.rad2deg(2 * np.arctan2(vector @ axis, max(w, 1e-9)))
    return float((angle + 180) % 360 - 180)


def _hand(local: dict[str, Doubles], arm: Arm, side: str, at: dict[str, Doubles], tips_5x3: Doubles) -> None:
    knuckles = _unit(at[f"finger5-1.{side}"] - at[f"finger2-1.{side}"])
    bend = np.zeros(3)  # the slight flexion of the resting fingers tells which way they close
    for finger in range(2, 6):
        joints = [at[f"finger{finger}-{j}.{side}"] for j in (1, 2, 3)]
        bend += np.cross(joints[1] - joints[0], joints[2] - joints[1])
        bend += np.cross(joints[2] - joints[1], tips_5x3[finger - 1] - joints[2])
    knuckles = knuckles if bend @ knuckles > 0 else -knuckles
    for finger in range(2, 6):
        along = _unit(at[f"finger{finger}-3.{side}"] - at[f"finger{finger}-1.{side}"])
        axis = _unit(knuckles - along * (knuckles @ along))
        spread = 0.75 + 0.09 * (finger - 2)  # the little finger closes most
        for joint, share in zip((1, 2, 3), (0.8, 1.0, 0.7)):
            local[f"finger{finger}-{joint}.{side}"] = rotation(axis, arm.curl_deg * spread * share)
    thumb = [at[f"finger1-{j}.{side}"] for j in (1, 2, 3)]
    axis = np.cross(thumb[1] - thumb[0], tips_5x3[0] - thumb[1])
    axis = _unit(axis) if (axis**2).sum() > 1e-9 else knuckles
    for joint in (2, 3):
        local[f"finger1-{joint}.{side}"] = rotation(axis, arm.curl_deg * 0.35)


def _unit(vector: Doubles) -> Doubles:
    return np.asarray(vector / np.sqrt((vector**2).sum()))
