"""A complete person: body, face, clothes, hair and their colours, all drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from sapiens_bench.render.body import Traits, draw_body, draw_expression, express, keypoints, posing
from sapiens_bench.render.body_shape import reshaped, stature
from sapiens_bench.render.draws import stream
from sapiens_bench.render.factors import AS_DRAWN, Redraw
from sapiens_bench.render.garments import HIDE_MARGIN_M, Tailor, Wardrobe, covered_level, draw_wardrobe
from sapiens_bench.render.hair import EYE_Z, Hair, Hairdresser, draw_hair
from sapiens_bench.render.human_kit import (
    BODY,
    LEFT_EYE,
    LOWER_TEETH,
    RIGHT_EYE,
    TONGUE,
    UPPER_TEETH,
    Doubles,
    Kit,
    load_kit,
    triangles,
)
from sapiens_bench.render.outfit import fallen, with_garment, with_style
from sapiens_bench.render.parts import LimbJoints, Material, Part, plain_part
from sapiens_bench.render.pose_library import Pose, draw_pose
from sapiens_bench.render.shell import Cut, TemplateFields, cut, template_fields
from sapiens_bench.render.surface_points import load_points

# sRGB values; used as linear albedo after ``linear``
SKIN_TONES = (
    (240, 200, 172),
    (228, 182, 146),
    (210, 158, 120),
    (190, 134, 96),
    (155, 102, 70),
    (118, 74, 50),
    (86, 54, 38),
)
HAIR_TONES = (
    (22, 18, 16), (40, 28, 20), (62, 42, 28), (92, 62, 38), (140, 104, 62),
    (190, 156, 104), (150, 148, 146), (120, 54, 28),
)  # fmt: skip
CLOTH_TONES = (
    (236, 236, 232), (32, 32, 36), (120, 122, 126), (60, 62, 68), (32, 44, 78), (58, 84, 128), (96, 130, 176),
    (150, 36, 40),
    (120, 24, 50), (52, 84, 56), (104, 110, 64), (196, 164, 118), (150, 112, 76), (214, 176, 60), (206, 108, 60),
    (186, 130, 150), (110, 80, 132), (60, 140, 140), (228, 214, 190), (70, 50, 40),
)  # fmt: skip
DENIM_TONES = ((50, 70, 110), (36, 46, 72), (92, 116, 150), (30, 31, 36), (110, 98, 80), (60, 60, 60))
SHOE_TONES = ((235, 235, 235), (28, 28, 30), (90, 60, 40), (130, 132, 136), (160, 40, 44), (40, 60, 110))
IRIS_TONES = ((70, 42, 22), (48, 30, 18), (88, 112, 140), (84, 104, 66), (112, 82, 46))
PATTERNS = ("plain", "stripes", "plaid", "dots", "block")


@dataclass(frozen=True, slots=True)
class Cloth:
    """Colour and pattern of a garment."""

    first: Doubles  # linear albedo
    second: Doubles
    pattern: str  # one of PATTERNS
    per_m: float  # repeats of the pattern


@dataclass(frozen=True, slots=True)
class Looks:
    """Colours of one person."""

    skin: Doubles
    skin_tone: float  # position along SKIN_TONES
    hair: Doubles
    iris: Doubles
    lip: Doubles
    brow: float
    stubble: float
    cloth: dict[Material, Cloth]
    sole: Doubles


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Posed, standing on z = 0 at the origin, looking along -y."""

    parts: tuple[Part, ...]
    keypoints_K3: Doubles  # of body.keypoints
    surface_N3: Doubles  # of surface_points
    looks: Looks
    pose: Pose
    traits: Traits
    born: Traits  # as drawn; clothes, hair and colours go with these
    height_m: float  # stature, standing upright
    wear: Wardrobe
    hair: Hair
    hip_height_m: float
    ground_m: float  # height of the floor before the body was lifted on to it
    seed: tuple[str | int, ...]


def linear(srgb: tuple[int, int, int] | Doubles) -> Doubles:
    """sRGB 0..255 to linear 0..1 (gamma 2.2)."""
    return np.asarray((np.asarray(srgb, np.float64) / 255) ** 2.2)


def make_person(
    *seed: str | int,
    family: str = "",
    redraw: Redraw = AS_DRAWN,
    pose: Pose | None = None,
    ground_m: float | None = None,
    is_mended: bool = False,
) -> Person:
    """The person of a seed; every aspect has a stream of its own, so that one change leaves the others alone.

    Args:
        family: of the pose; drawn when empty.
        pose: instead of one that is drawn.
        ground_m: height of the floor in the pose, of someone who stands on it in other clothes; the lowest point when
            None.
        is_mended: hems and hair of the drawn outfit fall as ``outfit.fallen`` has them.
    """
    kit = load_kit()
    born = draw_body(stream(*seed, "identity"), kit)
    body = reshaped(born, redraw.body, kit)
    height_m = stature(body)
    body = express(body, draw_expression(stream(*seed, "expression")), kit)
    pose = pose or draw_pose(stream(*seed, "pose"), family)
    wear, hair = _outfit(seed, born.traits, redraw, pose.family if is_mended else None)
    looks = _restyled(draw_looks(stream(*seed, "looks"), born.traits, redraw.skin_tone), redraw)
    move = posing(body, pose, kit)
    posed = move.apply(body.vertices_V3, kit.skin_VB)
    parts = [
        _skin(posed, wear, hair, looks, kit),
        *_face_parts(posed, kit),
        *Tailor(body, move, wear, kit).garments(),
        *Hairdresser(body, move, hair, kit).parts(),
    ]
    points, surface = keypoints(posed, body.heads_B3, move, kit), load_points().on(posed)
    if ground_m is None:
        ground_m = min(float(part.vertices_V3[:, 2].min()) for part in parts if len(part.vertices_V3)) - pose.lift_m
    lift = np.array([0.0, 0.0, -ground_m])
    parts = [Part(p.material, p.vertices_V3 + lift, p.faces_F3, p.template_V3, p.fields_VK, p.colour_V3) for p in parts]
    hips = points[[11, 12]].mean(0)[2] - ground_m
    return Person(
        tuple(parts),
        points + lift,
        surface + lift,
        looks,
        pose,
        body.traits,
        born.traits,
        height_m,
        wear,
        hair,
        float(hips),
        ground_m,
        seed,
    )


def _outfit(seed: tuple[str | int, ...], born: Traits, redraw: Redraw, mended_in: str | None) -> tuple[Wardrobe, Hair]:
    """Clothes and hair as drawn, but for what is set.

    Args:
        mended_in: family of the pose in which they fall as they should; None: as they were first drawn.
    """
    wear = draw_wardrobe(stream(*seed, "clothes"), born.is_female)
    hair = draw_hair(stream(*seed, "hair"), born.is_female, born.age)
    if mended_in is not None:
        wear, hair = fallen(wear, hair, mended_in)
    if redraw.garment is not None:
        wear = with_garment(wear, redraw.garment)
    if redraw.hairstyle is not None:
        hair = with_style(hair, redraw.hairstyle)
    return wear, hair


def turned(person: Person, rotation_33: Doubles, shift_3: Doubles) -> Person:
    """The person moved rigidly."""
    parts = tuple(
        Part(p.material, p.vertices_V3 @ rotation_33.T + shift_3, p.faces_F3, p.template_V3, p.fields_VK, p.colour_V3)
        for p in person.parts
    )
    points, surface = (p @ rotation_33.T + shift_3 for p in (person.keypoints_K3, person.surface_N3))
    return replace(person, parts=parts, keypoints_K3=points, surface_N3=surface)


def restyled(person: Person, redraw: Redraw) -> Person:
    """The person in other colours, as ``make_person`` would colour it; every vertex stays where it is."""
    kit = load_kit()
    looks = _restyled(draw_looks(stream(*person.seed, "looks"), person.born, redraw.skin_tone), redraw)
    skin = person.parts[0]
    piece, fields = _skin_piece(person.wear, kit), _body_fields()
    recoloured = replace(skin, colour_V3=piece.carry(_skin_colour(looks, person.hair, kit, fields)))
    return replace(person, parts=(recoloured, *person.parts[1:]), looks=looks)


def _restyled(looks: Looks, redraw: Redraw) -> Looks:
    """Hair and garments in the colours that are set."""
    if redraw.hair is not None:
        looks = replace(looks, hair=linear(redraw.hair))
    if redraw.cloth is not None:
        plain = Cloth(linear(redraw.cloth), linear(redraw.cloth), PATTERNS[0], 1.0)
        kept = (Material.SHOE, Material.SOCK)
        looks = replace(looks, cloth={m: c if m in kept else plain for m, c in looks.cloth.items()})
    return looks


def draw_looks(rng: np.random.Generator, traits: Traits, skin_tone: float | None = None) -> Looks:
    """Colours of a person.

    Args:
        skin_tone: of skin and lips instead of the one drawn; hair and eyes stay those that go with the one drawn.
    """
    drawn = rng.uniform(0, len(SKIN_TONES) - 1)
    tone = drawn if skin_tone is None else skin_tone
    low = int(tone)
    skin = np.array(SKIN_TONES[low]) * (1 - tone + low) + np.array(SKIN_TONES[min(low + 1, 6)]) * (tone - low)
    skin = linear(skin * rng.uniform(0.96, 1.04, 3))
    dark = drawn > 3.2
    hair = linear(HAIR_TONES[int(rng.integers(3 if dark else 8))])
    if traits.age > 0.85 and rng.random() < 0.7:
        hair = linear((168, 166, 164)) * rng.uniform(0.6, 1.2)
    cloth = {m: _draw_cloth(rng, CLOTH_TONES, 0.45) for m in (Material.TOP, Material.HAT, Material.SCARF)}
    jeans = rng.random() < 0.6
    cloth[Material.BOTTOM] = _draw_cloth(rng, DENIM_TONES if jeans else CLOTH_TONES, 0.0 if jeans else 0.25)
    cloth[Material.SHOE] = _draw_cloth(rng, SHOE_TONES, 0.0)
    cloth[Material.SOCK] = _draw_cloth(rng, CLOTH_TONES[:4], 0.15)
    lip = skin * np.array([0.82, 0.5, 0.5])
    if traits.is_female and rng.random() < 0.45:
        lip = 0.45 * lip + 0.55 * linear((160, 40, 56)) * rng.uniform(0.6, 1.2)
    return Looks(
        skin,
        float(tone),
        hair * rng.uniform(0.8, 1.2),
        linear(IRIS_TONES[int(rng.integers(2 if dark else 5))]),
        lip,
        rng.uniform(0.55, 0.9),
        0.0 if traits.is_female or traits.age < 0.6 else float(rng.choice([0.0, 0.25, 0.75], p=[0.4, 0.4, 0.2])),
        cloth,
        linear((225, 222, 215)) if rng.random() < 0.6 else linear((30, 30, 30)),
    )


def _draw_cloth(rng: np.random.Generator, tones: tuple[tuple[int, int, int], ...], patterned: float) -> Cloth:
    first, second = (linear(tones[int(rng.integers(len(tones)))]) * rng.uniform(0.75, 1.1, 3) for _ in range(2))
    pattern = str(rng.choice(PATTERNS[1:])) if rng.random() < patterned else "plain"
    return Cloth(first, second, pattern, float(rng.uniform(9, 30)))


@lru_cache(maxsize=1)
def limb_joints() -> LimbJoints:
    """Where limbs change name on the template."""
    kit = load_kit()

    def length(a: str, b: str) -> float:
        return float(np.sqrt(((kit.head(a) - kit.head(b)) ** 2).sum()))

    upper_arm, fore_arm = length("upperarm01.L", "lowerarm01.L"), length("lowerarm01.L", "wrist.L")
    thigh, shin = length("upperleg01.L", "lowerleg01.L"), length("lowerleg01.L", "foot.L")
    return LimbJoints(upper_arm, upper_arm + fore_arm, thigh, thigh + shin)


@lru_cache(maxsize=1)
def _body_fields() -> TemplateFields:
    kit = load_kit()
    return template_fields(kit.mean_V3, kit.skin_VB, kit)


@lru_cache(maxsize=1)
def _lower_lip() -> Doubles:
    """1 on what the jaw carries (the lower lip), 0 on the upper lip."""
    kit = load_kit()
    index, delta = kit.units["jawOpen"]
    moved = np.zeros(len(kit.mean_V3))
    moved[index] = -delta[:, 2]
    lips = kit.masks["lips"] > 0.4
    return np.clip(moved / np.quantile(moved[lips], 0.9), 0, 1)


def _skin(posed_V3: Doubles, wear: Wardrobe, hair: Hair, looks: Looks, kit: Kit) -> Part:
    """The bare body where no garment hides it."""
    fields, piece = _body_fields(), _skin_piece(wear, kit)
    columns = np.stack([*fields, kit.masks["lips"], _lower_lip()], 1)
    colour = _skin_colour(looks, hair, kit, fields)
    return Part(
        Material.SKIN,
        piece.carry(posed_V3),
        piece.faces_F3,
        piece.carry(kit.mean_V3),
        piece.carry(columns),
        piece.carry(colour),
    )


def _skin_piece(wear: Wardrobe, kit: Kit) -> Cut:
    covered = covered_level(wear, kit.mean_V3, _body_fields())
    return cut(triangles(kit.quads(BODY)), -(covered + HIDE_MARGIN_M))


def _skin_colour(looks: Looks, hair: Hair, kit: Kit, fields: TemplateFields) -> Doubles:
    """Linear albedo per vertex: mottled skin, flushed cheeks and joints, lips, nails, stubble, mouth."""
    x, y, z = kit.mean_V3.T
    phase = np.array(hair.phase)
    mottle = sum(
        np.sin(f * (x * a + y * b + z * c) + phase[i])
        for i, (f, a, b, c) in enumerate(
            [(37, 1, 0.4, 0.3), (61, -0.3, 1, 0.5), (83, 0.6, -0.5, 1), (29, 0.5, 0.5, -1)]
        )
    )
    colour = looks.skin * (1 + 0.018 * np.asarray(mottle)[:, None])
    cheeks = np.exp(-(((np.abs(x) - 0.045) / 0.02) ** 2) - ((z - EYE_Z + 0.045) / 0.022) ** 2) * (y < -0.08)
    nose = np.exp(-((x / 0.018) ** 2) - ((z - EYE_Z + 0.035) / 0.02) ** 2) * (y < -0.165)
    hands = np.clip((fields.arm_m - 0.58) / 0.1, 0, 1) * (fields.arm_w > 0.5)
    red = 0.7 * cheeks + 0.6 * nose + 0.5 * kit.masks["ears"] + 0.35 * hands
    colour = colour * (1 + red[:, None] * np.array([0.06, -0.14, -0.12]))
    front = (y < -0.06) & (fields.neck > -0.02)
    beard = np.clip((EYE_Z - 0.052 - z) / 0.012, 0, 1) * np.clip((z - EYE_Z + 0.14) / 0.02, 0, 1) * front
    beard = looks.stubble * beard * np.clip((-y - 0.06) / 0.02, 0, 1)
    colour = colour * (1 - beard[:, None]) + beard[:, None] * (0.7 * looks.hair + 0.1 * looks.skin)
    for name, paint, strength in (
        ("lips", looks.lip, 0.9),
        ("fingernails", looks.skin * 0.6 + 0.35, 0.6),
        ("toenails", looks.skin * 0.6 + 0.35, 0.6),
        ("areola", looks.skin * np.array([0.6, 0.4, 0.38]), 0.7),
        ("mouth", np.array([0.16, 0.03, 0.03]), 1.0),
        ("eyelids", looks.skin * np.array([0.72, 0.62, 0.62]), 0.45),
    ):
        share = strength * kit.masks[name][:, None]
        colour = colour * (1 - share) + share * paint
    return np.asarray(colour)


def _face_parts(posed_V3: Doubles, kit: Kit) -> list[Part]:
    parts = []
    for group, material in (
        (LEFT_EYE, Material.EYE),
        (RIGHT_EYE, Material.EYE),
        (UPPER_TEETH, Material.UPPER_TEETH),
        (LOWER_TEETH, Material.LOWER_TEETH),
        (TONGUE, Material.TONGUE),
    ):
        used, local = np.unique(kit.quads(group), return_inverse=True)
        faces = triangles(local.reshape(-1, 4))
        parts.append(plain_part(material, posed_V3[used], faces, kit.mean_V3[used]))
    return parts
