"""Clips with exact motion: one person between three poses of the library, seen by a camera that stands or moves.

Frame f of clip c is a scene of its own, so its truth is as exact as that of a still picture. Joint angles go from pose
to pose with zero speed at each (a raised cosine), everyone keeps body, clothes, light and room; sensor noise is new in
every frame. The camera of even clips stands still; that of odd clips turns about the person and comes nearer.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.draws import stream
from sapiens_bench.render.factors import AS_DRAWN
from sapiens_bench.render.framing import aim
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.person import Person, make_person, turned
from sapiens_bench.render.pose_library import FAMILIES, Arm, Leg, Pose, Z, draw_pose, rotation
from sapiens_bench.render.room import Room, draw_room

FRAMES = 24  # of a clip; at 24 a second it lasts one
FRAMES_A_MOVE = 12  # from one pose to the next
N_CLIPS = 20
STANDING = tuple(name for name in FAMILIES if name not in ("sit", "squat", "jump"))
ORBIT_DEG, APPROACH = 25.0, 0.15  # of a moving camera over a clip
_GRID = 2.0**30


class Take(NamedTuple):
    """What a clip's frames share."""

    seed: tuple[str | int, ...]
    poses: tuple[Pose, ...]
    yaw_deg: float
    camera: Camera  # of the first frame
    middle_3: Doubles  # what a moving camera turns about
    room: Room
    turn_deg: float  # 0: the camera stands


class Frame(NamedTuple):
    """One moment."""

    person: Person
    camera: Camera
    room: Room


def frame(seed: tuple[str | int, ...], clip: int, number: int, height: int, width: int) -> Frame:
    """Frame ``number`` of a clip."""
    take = _take(seed, clip, height, width)
    person = _person(take.seed, _pose_at(take.poses, number), take.yaw_deg)
    return Frame(person, _camera_at(take, number / (FRAMES - 1)), take.room)


@lru_cache(maxsize=4)
def _take(seed: tuple[str | int, ...], clip: int, height: int, width: int) -> Take:
    own = (*seed, "clip", clip)
    rng = stream(*own, "take")
    names = [str(name) for name in rng.choice(STANDING, FRAMES // FRAMES_A_MOVE + 1, replace=False)]
    poses = tuple(draw_pose(stream(*own, "pose", i), name) for i, name in enumerate(names))
    yaw = float(rng.normal(0, 35))
    people = tuple(_person(own, pose, yaw) for pose in poses)
    camera = aim("full", people, rng, height, width, AS_DRAWN)
    vertices = np.concatenate([part.vertices_V3 for person in people for part in person.parts])
    points = np.concatenate([person.keypoints_K3 for person in people])
    side = max(float(np.abs(points[:, 0]).max()), 1.0)
    room = draw_room(stream(*own, "room"), float(points[:, 1].max()) + 0.3, side, ())
    sign = 1.0 if rng.random() < 0.5 else -1.0
    middle = (vertices.min(0) + vertices.max(0)) / 2
    return Take(own, poses, yaw, camera, middle, room, sign * ORBIT_DEG if clip % 2 else 0.0)


def _person(seed: tuple[str | int, ...], pose: Pose, yaw_deg: float) -> Person:
    return turned(make_person(*seed, "person", pose=pose), rotation(Z, yaw_deg), np.zeros(3))


def _pose_at(poses: tuple[Pose, ...], number: int) -> Pose:
    """Between two poses, every angle by the same share."""
    move, step = divmod(number, FRAMES_A_MOVE)
    share = 0.5 - 0.5 * float(np.cos(np.pi * step / FRAMES_A_MOVE))
    return between(poses[move], poses[move + 1], share)


def between(a: Pose, b: Pose, share: float) -> Pose:
    """The pose a ``share`` of the way from a to b, angle by angle."""

    def mix(x: float, y: float) -> float:
        return x + share * (y - x)

    def limb(x: Arm | Leg, y: Arm | Leg) -> dict[str, float]:
        return {f.name: mix(getattr(x, f.name), getattr(y, f.name)) for f in fields(x)}

    nod, turn, tilt = (mix(x, y) for x, y in zip(a.head_deg, b.head_deg))
    return replace(
        a,
        arms={side: Arm(**limb(a.arms[side], b.arms[side])) for side in a.arms},
        legs={side: Leg(**limb(a.legs[side], b.legs[side])) for side in a.legs},
        lean_deg=mix(a.lean_deg, b.lean_deg), bend_deg=mix(a.bend_deg, b.bend_deg),
        turn_deg=mix(a.turn_deg, b.turn_deg), head_deg=(nod, turn, tilt), lift_m=mix(a.lift_m, b.lift_m),
    )  # fmt: skip


def _camera_at(take: Take, share: float) -> Camera:
    """The camera turned about a vertical axis through the person, and nearer."""
    if not take.turn_deg:
        return take.camera
    turn = rotation(Z, take.turn_deg * share)
    centre = take.middle_3 + turn @ (take.camera.centre - take.middle_3) * (1 - APPROACH * share)
    R = np.round(take.camera.R @ turn.T * _GRID) / _GRID
    return replace(take.camera, R=R, t=np.round(-(R @ centre) * _GRID) / _GRID)
