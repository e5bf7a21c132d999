"""One person's bare body: identity, expression, pose, keypoints. Linear blend skinning in float64.

Axes: V kit vertices, B bones, S shell vertices, K keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sapiens_bench.render.human_kit import SIDES, Doubles, Kit
from sapiens_bench.render.pose_library import Pose, bone_rotations

# Skinning goes through matrix products and sines, whose last bits differ between libraries. Positions on a grid of one
# micrometre make machines agree on (almost) every vertex; the rasteriser behind it is exact arithmetic.
GRID_PER_M = 2.0**20
FINGER_JOINTS = (1, 2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What an identity is like."""

    is_female: bool  # what is worn and how hair is cut is drawn by this
    gender: float  # of the shape: 0 male to 1 female
    age: float  # 0.5 a child of ten, 0.67 a young adult, 1 about eighty
    weight: float
    height: float


@dataclass(frozen=True, slots=True, eq=False)
class RestBody:
    """A body in the rest pose."""

    vertices_V3: Doubles
    heads_B3: Doubles
    traits: Traits


@dataclass(frozen=True, slots=True, eq=False)
class Posing:
    """Bone transforms of a posed body: ``x -> rotation x + shift``."""

    rotation_B33: Doubles
    shift_B3: Doubles

    def apply(self, points_N3: Doubles, skin_NB: Doubles) -> Doubles:
        """Linear blend skinning of points with dense weights [N, B]; rounded to a micrometre grid."""
        flat = np.concatenate([self.rotation_B33.reshape(-1, 9), self.shift_B3], 1)
        blended = skin_NB @ flat
        posed = np.einsum("nij,nj->ni", blended[:, :9].reshape(-1, 3, 3), points_N3) + blended[:, 9:]
        return np.asarray(np.rint(posed * GRID_PER_M) / GRID_PER_M)


def draw_body(rng: np.random.Generator, kit: Kit) -> RestBody:
    """An identity: one of the kit's bodies, mixed a little with another of the same sex."""
    first = int(rng.integers(len(kit.identities_NC)))
    is_female = kit.attributes_N5[first, 0] > 0.5
    same = np.flatnonzero((kit.attributes_N5[:, 0] > 0.5) == is_female)
    second = int(rng.choice(same))
    share = float(rng.uniform(0, 0.4))
    coefficients = (1 - share) * kit.identities_NC[first] + share * kit.identities_NC[second]
    gender, age, weight, height, _ = (1 - share) * kit.attributes_N5[first] + share * kit.attributes_N5[second]
    offset = np.tensordot(coefficients.astype(np.float32), kit.basis_CP3, 1).astype(np.float64)
    n = len(kit.mean_V3)
    traits = Traits(gender > 0.5, gender, age, weight, height)
    return RestBody(kit.mean_V3 + offset[:n], kit.mean_heads_B3 + offset[n:], traits)


def draw_expression(rng: np.random.Generator) -> dict[str, float]:
    """Weights of face units: a smile, an open mouth, teeth or tongue shown, brows, half-closed eyes."""
    units: dict[str, float] = {}
    mood = rng.random()
    if mood < 0.45:
        smile = rng.uniform(0.25, 0.85)
        units |= {"mouthSmileLeft": smile, "mouthSmileRight": smile * rng.uniform(0.85, 1)}
        units |= {"cheekSquintLeft": smile * 0.5, "cheekSquintRight": smile * 0.5}
    if 0.25 < mood < 0.5:
        teeth = rng.uniform(0.35, 0.9)
        units |= dict.fromkeys(("mouthUpperUpLeft", "mouthUpperUpRight"), teeth)
        units |= dict.fromkeys(("mouthLowerDownLeft", "mouthLowerDownRight"), teeth * rng.uniform(0.4, 1))
    if mood > 0.6:
        units["jawOpen"] = rng.uniform(0.08, 0.75)
        if mood > 0.88:
            units["tongueOut"] = rng.uniform(0.3, 1.0)
    units["browInnerUp"] = rng.uniform(0, 0.5)
    units |= dict.fromkeys(("eyeBlinkLeft", "eyeBlinkRight"), rng.uniform(0, 0.3))
    return {name: float(value) for name, value in units.items()}


def express(body: RestBody, units: dict[str, float], kit: Kit) -> RestBody:
    """The body with face units applied (weights 0..1 by unit name)."""
    vertices = body.vertices_V3.copy()
    for name, value in units.items():
        index, delta = kit.units[name]
        vertices[index] += value * delta
    return RestBody(vertices, body.heads_B3, body.traits)


def posing(body: RestBody, pose: Pose, kit: Kit) -> Posing:
    """Bone transforms of a pose; the root stays where it is."""
    local = bone_rotations(pose, kit, body.heads_B3, body.vertices_V3[kit.fingertips])
    n = len(kit.bones)
    rotations, positions = np.empty((n, 3, 3)), np.empty((n, 3))
    for b in range(n):  # parents come before their children
        parent = int(kit.parents_B[b])
        turned, head = np.eye(3), body.heads_B3[b]
        if parent >= 0:
            turned = rotations[parent]
            head = positions[parent] + turned @ (head - body.heads_B3[parent])
        rotations[b] = turned @ local[b] if b in local else turned
        positions[b] = head
    shift = positions - np.einsum("bij,bj->bi", rotations, body.heads_B3)
    return Posing(rotations, shift)


def keypoints(posed_V3: Doubles, heads_B3: Doubles, move: Posing, kit: Kit) -> Doubles:
    """65 points: COCO-17, six feet, left hand 21, right hand 21 (order of COCO-WholeBody), float64 [65, 3].

    Hand joints are bone heads, fingertips are the farthest vertices of the last finger bones.
    """
    points = [weight @ posed_V3[index] for index, weight in kit.keypoint_KV]
    posed_heads = np.einsum("bij,bj->bi", move.rotation_B33, heads_B3) + move.shift_B3
    for s, side in enumerate(SIDES):
        points.append(posed_heads[kit.bones[f"wrist.{side}"]])
        for finger in range(1, 6):
            points += [posed_heads[kit.bones[f"finger{finger}-{joint}.{side}"]] for joint in FINGER_JOINTS]
            points.append(posed_V3[kit.fingertips[5 * s + finger - 1]])
    return np.rint(np.array(points) * GRID_PER_M) / GRID_PER_M
