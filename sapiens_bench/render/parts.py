"""Pieces of a dressed person: posed triangles with everything shading and labels need.

Labels are the 28 body parts of the label set ``body28``, in its order.

Axes: V vertices, F triangles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.human_kit import Doubles, Ints

LABELS = (
    "Background", "Apparel", "Face_Neck", "Hair", "Left_Foot", "Left_Hand", "Left_Lower_Arm", "Left_Lower_Leg",
    "Left_Shoe", "Left_Sock", "Left_Upper_Arm", "Left_Upper_Leg", "Lower_Clothing", "Right_Foot", "Right_Hand",
    "Right_Lower_Arm", "Right_Lower_Leg", "Right_Shoe", "Right_Sock", "Right_Upper_Arm", "Right_Upper_Leg", "Torso",
    "Upper_Clothing", "Lower_Lip", "Upper_Lip", "Lower_Teeth", "Upper_Teeth", "Tongue",
)  # fmt: skip
LABEL = {name: i for i, name in enumerate(LABELS)}

N_FIELDS = 7
ARM_M, ARM_W, LEG_M, LEG_W, NECK, LIP, LOWER_LIP = range(N_FIELDS)  # columns of Part.fields; see shell.TemplateFields
BORDER = 0  # column of the distance to a garment's border


class Material(IntEnum):
    SKIN = 0
    EYE = 1
    UPPER_TEETH = 2
    LOWER_TEETH = 3
    TONGUE = 4
    HAIR = 5
    HAT = 6
    TOP = 7
    BOTTOM = 8
    SHOE = 9
    SOCK = 10
    SCARF = 11


# the label of a material that is one label everywhere; skin, shoes and socks are split further
PLAIN_LABEL: dict[Material, int] = {
    Material.EYE: LABEL["Face_Neck"],
    Material.UPPER_TEETH: LABEL["Upper_Teeth"],
    Material.LOWER_TEETH: LABEL["Lower_Teeth"],
    Material.TONGUE: LABEL["Tongue"],
    Material.HAIR: LABEL["Hair"],
    Material.HAT: LABEL["Apparel"],
    Material.SCARF: LABEL["Apparel"],
    Material.TOP: LABEL["Upper_Clothing"],
    Material.BOTTOM: LABEL["Lower_Clothing"],
}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One surface.

    ``fields_VK`` and ``colour_V3`` are those of the body for skin. Garments keep the distance to their border in column
    ``BORDER`` (negative inside, metres); the rest is zero.
    """

    material: Material
    vertices_V3: Doubles  # posed
    faces_F3: Ints
    template_V3: Doubles  # texture coordinate: the same point on the mean body
    fields_VK: Doubles
    colour_V3: Doubles  # linear albedo


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Parts joined into one mesh."""

    vertices_V3: Doubles
    faces_F3: Ints
    template_V3: Doubles
    fields_VK: Doubles
    colour_V3: Doubles
    material_F: NDArray[np.int64]
    owner_F: NDArray[np.int64]  # which person


def plain_part(
    material: Material, vertices_V3: Doubles, faces_F3: Ints, template_V3: Doubles, border_V: Doubles | None = None
) -> Part:
    """A part without body fields and vertex colours."""
    n = len(vertices_V3)
    fields = np.zeros((n, N_FIELDS))
    fields[:, BORDER] = -1.0 if border_V is None else border_V
    return Part(material, vertices_V3, faces_F3, template_V3, fields, np.zeros((n, 3)))


def join(people: Sequence[Sequence[Part]]) -> Surface:
    """All parts of all people as one mesh, in order."""
    parts = [(owner, part) for owner, person in enumerate(people) for part in person if len(part.faces_F3)]
    start = np.cumsum([0, *(len(part.vertices_V3) for _, part in parts)])
    return Surface(
        vertices_V3=np.concatenate([part.vertices_V3 for _, part in parts]),
        faces_F3=np.concatenate([part.faces_F3 + at for at, (_, part) in zip(start, parts)]),
        template_V3=np.concatenate([part.template_V3 for _, part in parts]),
        fields_VK=np.concatenate([part.fields_VK for _, part in parts]),
        colour_V3=np.concatenate([part.colour_V3 for _, part in parts]),
        material_F=np.concatenate([np.full(len(part.faces_F3), int(part.material)) for _, part in parts]),
        owner_F=np.concatenate([np.full(len(part.faces_F3), owner) for owner, part in parts]),
    )


def labels(material_N: Ints, template_N3: Doubles, fields_NK: Doubles, joints: LimbJoints) -> NDArray[np.uint8]:
    """Label of surface points, from fields interpolated at the point: borders are smooth at any resolution."""
    out = np.zeros(len(material_N), np.uint8)
    for material, label in PLAIN_LABEL.items():
        out[material_N == material] = label
    is_left = template_N3[:, 0] >= 0
    for material, name in ((Material.SHOE, "Shoe"), (Material.SOCK, "Sock")):
        here = material_N == material
        out[here] = np.where(is_left[here], LABEL[f"Left_{name}"], LABEL[f"Right_{name}"])
    skin = material_N == Material.SKIN
    out[skin] = _skin_labels(is_left[skin], fields_NK[skin], joints)
    return out


@dataclass(frozen=True, slots=True)
class LimbJoints:
    """Where limbs change name, metres along the template's arm and leg."""

    elbow_m: float
    wrist_m: float
    knee_m: float
    ankle_m: float


def _skin_labels(is_left: NDArray[np.bool_], fields: Doubles, joints: LimbJoints) -> NDArray[np.uint8]:
    arm_m, leg_m = fields[:, ARM_M], fields[:, LEG_M]
    is_arm, is_leg = fields[:, ARM_W] > 0.5, fields[:, LEG_W] > 0.5
    arm = np.where(arm_m < joints.elbow_m, 0, np.where(arm_m < joints.wrist_m, 1, 2))
    leg = np.where(leg_m < joints.knee_m, 3, np.where(leg_m < joints.ankle_m, 4, 5))
    names = ("Upper_Arm", "Lower_Arm", "Hand", "Upper_Leg", "Lower_Leg", "Foot")
    left = np.array([LABEL[f"Left_{name}"] for name in names], np.uint8)
    right = np.array([LABEL[f"Right_{name}"] for name in names], np.uint8)
    limb = np.where(is_arm, arm, leg)
    out = np.where(is_left, left[limb], right[limb])
    trunk = ~(is_arm | is_leg)
    out[trunk] = np.where(fields[trunk, NECK] > 0, LABEL["Face_Neck"], LABEL["Torso"])
    lip = trunk & (fields[:, LIP] > 0.5)
    out[lip] = np.where(fields[lip, LOWER_LIP] > 0.5, LABEL["Lower_Lip"], LABEL["Upper_Lip"])
    return out
