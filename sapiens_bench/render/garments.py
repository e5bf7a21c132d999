"""Clothes: the tights and skirt helpers of the body model, smoothed, blown up and cut at collars, cuffs and hems.

A garment is a region of the body, given as a level that is negative inside (metres on the template), and an offset from
the skin. Its border is the zero line of the level, cut through the triangles. The same level, drawn in by a margin,
removes the skin underneath, so skin cannot show through cloth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sapiens_bench.render.body import Posing, RestBody
from sapiens_bench.render.human_kit import SKIRT, TIGHTS, Doubles, Kit, load_kit
from sapiens_bench.render.parts import Material, Part, plain_part
from sapiens_bench.render.shell import Shell, TemplateFields, cut, normals_at_rest, shell, template_fields

HIDE_MARGIN_M = 0.03  # how far inside its border a garment hides what is under it
LAYER_M = 0.006  # gap between a garment and the one over it
COLLARS = ("crew", "scoop", "vee", "high")


@dataclass(frozen=True, slots=True)
class Top:
    sleeve_m: float  # along the arm from the shoulder joint; below 0.03 sleeveless
    hem_m: float  # height of the lower edge on the template
    collar: str  # one of COLLARS
    loose_m: float
    smooth: int  # smoothing steps of the shell
    fold_m: float  # depth of folds


@dataclass(frozen=True, slots=True)
class Bottom:
    waist_m: float
    leg_m: float  # along the leg from the hip joint
    is_skirt: bool
    loose_m: float
    fold_m: float


@dataclass(frozen=True, slots=True)
class Shoe:
    top_m: float  # along the leg
    sole_m: float


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """What is worn; None: not worn."""

    top: Top | None
    bottom: Bottom
    shoe: Shoe | None
    sock_m: float | None  # upper edge along the leg
    scarf: bool
    phase: tuple[float, ...]  # phases of the folds


def draw_wardrobe(rng: np.random.Generator, is_female: bool) -> Wardrobe:
    """A set of clothes."""
    kinds = {"tank": 0.12, "tee": 0.38, "half": 0.1, "long": 0.26, "sweater": 0.14}
    kind = str(rng.choice(list(kinds), p=list(kinds.values())))
    sleeve = {
        "tank": rng.uniform(-0.01, 0.015),
        "tee": rng.uniform(0.13, 0.22),
        "half": rng.uniform(0.25, 0.38),
        "long": rng.uniform(0.49, 0.53),
        "sweater": rng.uniform(0.5, 0.535),
    }[kind]
    loose = {"tank": 0.006, "tee": 0.018, "half": 0.014, "long": 0.01, "sweater": 0.024}[kind] * rng.uniform(0.5, 1.5)
    collar = "crew" if kind == "sweater" else str(rng.choice(COLLARS, p=[0.45, 0.27, 0.2, 0.08]))
    top: Top | None = Top(
        sleeve, rng.uniform(0.05, 0.17), collar, loose, int(rng.integers(6, 14)), rng.uniform(0.002, 0.005)
    )
    if not is_female and rng.random() < 0.07:
        top = None
    style = str(
        rng.choice(["long", "tight", "short", "skirt"], p=[0.42, 0.2, 0.2, 0.18] if is_female else [0.6, 0.1, 0.3, 0])
    )
    bottom = Bottom(
        waist_m=rng.uniform(0.2, 0.25),
        leg_m={"long": rng.uniform(0.84, 0.88), "tight": rng.uniform(0.6, 0.87), "short": rng.uniform(0.14, 0.42)}.get(
            style, rng.uniform(0.2, 0.62)
        ),
        is_skirt=style == "skirt",
        loose_m=0.002 if style == "tight" else rng.uniform(0.006, 0.022),
        fold_m=0.001 if style == "tight" else rng.uniform(0.002, 0.004),
    )
    feet = str(rng.choice(["shoe", "sock", "bare"], p=[0.74, 0.12, 0.14]))
    shoe = Shoe(
        rng.choice([rng.uniform(0.885, 0.9), rng.uniform(0.74, 0.86)], p=[0.75, 0.25]), rng.uniform(0.012, 0.03)
    )
    sock = rng.uniform(0.62, 0.86) if feet == "sock" or (feet == "shoe" and rng.random() < 0.65) else None
    return Wardrobe(
        top,
        bottom,
        shoe if feet == "shoe" else None,
        sock,
        bool(rng.random() < 0.07),
        tuple(rng.uniform(0, 2 * np.pi, 8)),
    )


# levels --------------------------------------------------------------------------------------------------------------


def top_level(top: Top, template_N3: Doubles, fields: TemplateFields) -> Doubles:
    x, y, z = template_N3.T
    collar = fields.neck.copy()
    front = np.clip((-0.05 - y) / 0.03, 0, 1)
    if top.collar == "crew":
        collar += 0.004
    elif top.collar == "scoop":
        collar += 0.012 + 0.055 * front * np.clip(1 - (x / 0.085) ** 2, 0, 1)
    elif top.collar == "vee":
        collar += 0.008 + 0.1 * front * np.clip(1 - np.abs(x) / 0.075, 0, 1)
    else:
        collar -= 0.06
    hem = top.hem_m - (z + fields.arm_w)
    level = np.maximum(np.maximum(collar, hem), fields.arm_m - top.sleeve_m)
    if top.sleeve_m < 0.03:  # the arm hole also takes a little of the shoulder
        level = np.maximum(level, (fields.arm_w - 0.42) * 0.1)
    return np.asarray(level)


def bottom_level(bottom: Bottom, template_N3: Doubles, fields: TemplateFields) -> Doubles:
    waist = template_N3[:, 2] + fields.arm_w - bottom.waist_m + 0.15 * np.maximum(-template_N3[:, 1] - 0.05, 0)
    return np.asarray(np.maximum(waist, fields.leg_m - bottom.leg_m))


def feet_level(top_m: float, fields: TemplateFields) -> Doubles:
    return np.asarray(np.where(fields.arm_w > 0.5, 1.0, top_m - fields.leg_m))


def scarf_level(template_N3: Doubles, fields: TemplateFields) -> Doubles:
    return np.asarray(np.abs(fields.neck - 0.012) - 0.032)


def covered_level(wear: Wardrobe, template_N3: Doubles, fields: TemplateFields) -> Doubles:
    """Negative where any garment lies; the skin there is dropped beyond ``HIDE_MARGIN_M``."""
    levels = [bottom_level(wear.bottom, template_N3, fields)]
    if wear.top:
        levels.append(top_level(wear.top, template_N3, fields))
    if wear.shoe:
        levels.append(feet_level(wear.shoe.top_m, fields) + 0.5 * HIDE_MARGIN_M)
    if wear.sock_m is not None:
        levels.append(feet_level(wear.sock_m, fields))
    if wear.scarf:
        levels.append(scarf_level(template_N3, fields) + 0.015)
    return np.asarray(np.minimum.reduce(levels))


# geometry ------------------------------------------------------------------------------------------------------------


def folds(template_N3: Doubles, fields: TemplateFields, phase: tuple[float, ...]) -> Doubles:
    """Folds of cloth, 0..1: two ridged waves bent by slower ones; rings around limbs, falls on the trunk."""
    x, y, z = template_N3.T
    limb = np.maximum(fields.arm_m, 0) + np.maximum(fields.leg_m, 0)
    bend = 1.7 * np.sin(9 * x + 7 * z + phase[0]) + 1.4 * np.sin(11 * y - 8 * z + phase[1])
    along = np.sin(34 * limb + 20 * z + bend + phase[2])
    across = np.sin(38 * x + 31 * y + 1.3 * bend + 9 * z + phase[3])
    diagonal = np.sin(24 * (x + y) - 27 * z + bend + phase[4])
    ridge = 0.4 * (1 - np.abs(along)) + 0.35 * (1 - np.abs(across)) + 0.25 * (1 - np.abs(diagonal))
    return np.asarray(ridge)


def _ramp(value: Doubles, low: float, high: float) -> Doubles:
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


@lru_cache(maxsize=1)
def _tights_fields() -> TemplateFields:
    tights = shell(TIGHTS)
    return template_fields(tights.template_S3, tights.skin_SB, load_kit())


class Tailor:
    """Makes the garments of one body in one pose."""

    def __init__(self, body: RestBody, move: Posing, wear: Wardrobe, kit: Kit) -> None:
        self.body, self.move, self.wear, self.kit = body, move, wear, kit
        self.tights = shell(TIGHTS)
        self.fields = _tights_fields()
        self.fold = folds(self.tights.template_S3, self.fields, wear.phase)

    def garments(self) -> list[Part]:
        """All garments worn."""
        wear, template, fields = self.wear, self.tights.template_S3, self.fields
        top = top_level(wear.top, template, fields) if wear.top else np.ones(len(template))
        bottom = bottom_level(wear.bottom, template, fields)
        shoe = feet_level(wear.shoe.top_m, fields) if wear.shoe else np.ones(len(template))
        parts = []
        if wear.top:
            parts.append(self._made(Material.TOP, top, self._top_offset(wear.top), wear.top.smooth))
        under_top = np.maximum(bottom, -(top + HIDE_MARGIN_M))
        if wear.bottom.is_skirt:
            parts.append(self._skirt(wear.bottom, wear.top))
        else:
            parts.append(self._made(Material.BOTTOM, under_top, self._bottom_offset(wear.bottom), 3))
        if wear.shoe:
            level = shoe if wear.bottom.is_skirt else np.maximum(shoe, -(bottom + HIDE_MARGIN_M))
            parts.append(self._shoe(wear.shoe, level))
        if wear.sock_m is not None:
            level = np.maximum(feet_level(wear.sock_m, fields), -(shoe + 0.02))
            if not wear.bottom.is_skirt:
                level = np.maximum(level, -(bottom + HIDE_MARGIN_M))
            parts.append(self._made(Material.SOCK, level, np.full(len(template), 0.0035), 0))
        if wear.scarf:
            thick = 0.014 + 0.012 * self.fold
            parts.append(self._made(Material.SCARF, scarf_level(template, fields), thick, 2))
        return parts

    def _top_offset(self, top: Top) -> Doubles:
        z = self.tights.template_S3[:, 2]
        on_trunk = 1 - self.fields.arm_w
        fall = _ramp(-z, -0.55, -top.hem_m) * on_trunk
        cuff = np.clip(self.fields.arm_m / max(top.sleeve_m, 0.05), 0, 1) * self.fields.arm_w
        base = LAYER_M + (0.004 + self.wear.bottom.loose_m * 0.4) * _ramp(-z, -0.38, -0.12) * on_trunk
        return np.asarray(base + top.loose_m * (0.25 + 0.75 * fall + 0.5 * cuff) + top.fold_m * 2 * self.fold)

    def _bottom_offset(self, bottom: Bottom) -> Doubles:
        down = _ramp(self.fields.leg_m, -0.05, 0.3)
        return np.asarray(0.005 + bottom.loose_m * down + bottom.fold_m * self.fold * 2 * (0.3 + 0.7 * down))

    def _rest(self, source: Shell, smooth: int) -> tuple[Doubles, Doubles]:
        coarse = source.smooth(self.body.vertices_V3[source.coarse_V], smooth)
        fine = source.refine(coarse)
        return fine, normals_at_rest(fine, source.faces_F3)

    def _made(self, material: Material, level: Doubles, offset: Doubles, smooth: int) -> Part:
        fine, normal = self._rest(self.tights, smooth)
        return self._posed(material, self.tights, fine + normal * offset[:, None], level)

    def _posed(self, material: Material, source: Shell, rest_S3: Doubles, level: Doubles) -> Part:
        piece = cut(source.faces_F3, level)
        used = np.unique(np.concatenate([piece.first_N, piece.second_N]))
        posed = np.zeros_like(rest_S3)
        posed[used] = self.move.apply(rest_S3[used], source.skin_SB[used])
        return plain_part(
            material,
            piece.carry(posed),
            piece.faces_F3,
            piece.carry(source.template_S3),
            piece.carry(level[:, None])[:, 0],
        )

    def _shoe(self, shoe: Shoe, level: Doubles) -> Part:
        fine, normal = self._rest(self.tights, 1)
        below = _ramp(-self.tights.template_S3[:, 2], 0.785, 0.81)  # the lowest part of the foot becomes a sole
        made = fine + normal * (0.009 + 0.003 * below)[:, None]
        floor = fine[self.fields.leg_m > 0.9, 2].min() - shoe.sole_m
        flat = _ramp(-normal[:, 2], 0.2, 0.6) * below
        made[:, 2] = made[:, 2] * (1 - flat) + floor * flat
        return self._posed(Material.SHOE, self.tights, made, level)

    def _skirt(self, bottom: Bottom, top: Top | None) -> Part:
        source = shell(SKIRT)
        z = source.template_S3[:, 2]
        hem = self.kit.head("upperleg01.L")[2] - bottom.leg_m
        level = np.maximum(z - bottom.waist_m, hem - z)
        if top:
            level = np.maximum(level, z - top.hem_m - HIDE_MARGIN_M)
        fine, normal = self._rest(source, 1)
        x, y, _ = source.template_S3.T
        pleat = np.sin(np.arctan2(x, -y) * 14 + self.wear.phase[5]) * _ramp(-z, -0.1, 0.25)
        made = fine + normal * (0.006 + 0.005 * pleat + bottom.loose_m * _ramp(-z, -0.2, 0.2))[:, None]
        return self._posed(Material.BOTTOM, source, made, level)
