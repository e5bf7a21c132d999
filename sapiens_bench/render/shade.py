"""Colour: materials, one lamp with a shadow map, a hemisphere of ambient light, and the tone curve.

Ground truth never passes through here. Work is done in float32.

Axes: P points (samples of people or pixels of the room), H, W image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.factors import Redraw
from sapiens_bench.render.hair import CENTRE_Y, EYE_Z
from sapiens_bench.render.human_kit import Doubles, Ints
from sapiens_bench.render.parts import Material
from sapiens_bench.render.person import Cloth, Looks
from sapiens_bench.render.rasterise import rasterise

Image = NDArray[np.float32]
LAMP_M = 9.0  # distance of the lamp: nearly parallel light
SHADOW_BIAS_M = 0.012
POINT_BLOCK = 1 << 14  # points at a time: their arrays stay in the cache
# offsets of the shadow test in texels: a disc, for soft edges
DISC = (
    (0.0, 0.0),
    (1.2, 0.4),
    (-0.4, 1.2),
    (-1.2, -0.4),
    (0.4, -1.2),
    (2.0, 2.0),
    (-2.0, 2.0),
    (2.0, -2.0),
    (-2.0, -2.0),
)


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    direction: Doubles  # from the scene to the lamp, unit
    colour: Doubles
    sky: Doubles  # ambient from above
    ground: Doubles  # ambient from below
    exposure: float


@dataclass(frozen=True, slots=True, eq=False)
class ShadowMap:
    camera: Camera
    depth_HW: Image  # from the lamp; large where nothing stands
    spread: float  # multiplies DISC

    def lit(self, points_P3: Image, taps: int) -> Image:
        """Share of the lamp that reaches each point, 0..1."""
        c = self.camera
        q = points_P3 @ c.R.T.astype(np.float32) + c.t.astype(np.float32)
        z = q[:, 2]
        u = q[:, 0] / z * np.float32(c.K[0, 0]) + np.float32(c.K[0, 2])
        v = q[:, 1] / z * np.float32(c.K[1, 1]) + np.float32(c.K[1, 2])
        size = c.width
        out = np.ones(len(z), np.float32)
        near = np.flatnonzero((u > 3) & (u < size - 4) & (v > 3) & (v < size - 4))
        flat = self.depth_HW.reshape(-1)
        for start in range(0, len(near), POINT_BLOCK):
            part = near[start : start + POINT_BLOCK]
            u_N, v_N, z_N = u[part], v[part], z[part] - np.float32(SHADOW_BIAS_M)
            total = np.zeros(len(part), np.float32)
            columns = {du: self._texel(u_N, du) for du, _ in DISC[:taps]}
            rows = {dv: self._texel(v_N, dv) * size for _, dv in DISC[:taps]}
            for du, dv in DISC[:taps]:
                total += flat[rows[dv] + columns[du]] > z_N
            out[part] = total / taps
        return out

    def _texel(self, at_N: Image, offset: float) -> NDArray[np.int32]:
        """Nearest texel along one axis."""
        shifted: NDArray[np.int32] = np.rint(at_N + np.float32(offset * self.spread)).astype(np.int32)
        np.clip(shifted, 0, self.camera.width - 1, out=shifted)
        return shifted


def draw_light(rng: np.random.Generator, outdoors: bool) -> Light:
    side, back = rng.uniform(-1.1, 1.1), rng.uniform(0.25, 1.2)
    direction = np.array([side, -back, rng.uniform(0.7, 1.7) if outdoors else rng.uniform(0.5, 1.4)])
    warm = rng.uniform(-0.08, 0.12)
    strength = rng.uniform(1.1, 1.8) if outdoors else rng.uniform(0.7, 1.35)
    ambient = rng.uniform(0.26, 0.5)
    return Light(
        direction / np.sqrt((direction**2).sum()),
        strength * np.array([1 + warm, 1.0, 1 - 1.3 * warm]),
        ambient * np.array([0.95, 1.0, 1.08]),
        ambient * np.array([0.62, 0.56, 0.5]),
        rng.uniform(1.15, 1.75),
    )


def set_light(light: Light, redraw: Redraw) -> Light:
    """The light with what is set instead of drawn: the lamp's azimuth, as high as before; all of the light."""
    if redraw.light_turn_deg is not None:
        level = float(np.sqrt(light.direction[0] ** 2 + light.direction[1] ** 2))
        turn = np.deg2rad(redraw.light_turn_deg)
        direction = np.array([level * np.sin(turn), -level * np.cos(turn), light.direction[2]])
        light = replace(light, direction=direction)
    if redraw.light_stops is not None:
        share = 2.0**redraw.light_stops
        light = replace(light, colour=light.colour * share, sky=light.sky * share, ground=light.ground * share)
    return light


def shadow_map(
    vertices_V3: Doubles, faces_F3: Ints, bounds: tuple[Doubles, Doubles], direction: Doubles, size: int, spread: float
) -> ShadowMap:
    """Depth of the people as seen from a lamp far away in ``direction``; ``bounds`` (low, high) is what it covers."""
    low, high = bounds
    centre, radius = (low + high) / 2, float(np.sqrt(((high - low) ** 2).sum()) / 2)
    up = np.array([0.0, 0.0, 1.0]) if abs(direction[2]) < 0.95 else np.array([0.0, 1.0, 0.0])
    forward = -direction
    right = np.cross(forward, up)
    right /= np.sqrt((right**2).sum())
    R = np.stack([right, np.cross(forward, right), forward])
    distance = max(LAMP_M, 3 * radius)
    focal = (size / 2 - 4) * distance / radius * 0.96
    K = np.array([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    camera = Camera(K, R, -R @ (centre + direction * distance), size, size)
    depth = np.minimum(rasterise(vertices_V3, faces_F3, camera).depth_HW, 1e6).astype(np.float32)
    return ShadowMap(camera, depth, spread)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Visible points of people."""

    material_P: NDArray[np.int64]
    owner_P: NDArray[np.int64]
    template_P3: Image
    border_P: Image  # distance to the border of a garment, negative inside, metres
    colour_P3: Image
    point_P3: Image
    normal_P3: Image  # world, towards the camera
    view_P3: Image  # unit, to the camera


@dataclass(slots=True)
class _Finish:
    albedo: Image
    gloss: Image  # strength of the highlight
    power: Image  # sharpness of the highlight
    wrap: Image  # light that creeps round the terminator


@dataclass(frozen=True, slots=True, eq=False)
class Shadows:
    """How much of each light reaches the points, 0..1; of the sky: of the room's floor, or of people."""

    lamp_P: Image
    sky_P: Image


def shadows_on_people(point_P3: Image, normal_P3: Image, lamp: ShadowMap, above: ShadowMap) -> Shadows:
    """Shadows of people on people; they depend on the lamp's direction and on no colour."""
    return Shadows(
        lamp.lit(point_P3 + normal_P3 * np.float32(0.008), 9),
        above.lit(point_P3 + normal_P3 * np.float32(0.02), 5),
    )


def shadows_on_room(point: Image, lamp: ShadowMap, above: ShadowMap) -> Shadows:
    """Shadows of people on the room."""
    return Shadows(lamp.lit(point, 9), above.lit(point, 9))


def light_people(samples: Samples, looks: tuple[Looks, ...], light: Light, shadows: Shadows) -> Image:
    """Linear colour of every sample [P, 3]."""
    finish = _finish(samples, looks)
    lit = shadows.lamp_P
    open_sky = 0.35 + 0.65 * shadows.sky_P
    n, direction = samples.normal_P3, light.direction.astype(np.float32)
    cosine = n @ direction
    wrapped = np.clip((cosine + finish.wrap) / (1 + finish.wrap), 0, 1)
    lit = np.where(cosine < 0, np.float32(1), lit) * wrapped
    facing = 0.5 + 0.5 * n[:, 2]
    below, above = 1 - facing, facing * open_sky
    toward = np.clip(dots(n, samples.view_P3), 0, 1)
    half = samples.view_P3 + direction
    half /= np.sqrt(dots(half, half))[:, None]
    shine = finish.gloss * np.clip(dots(n, half), 0, 1) ** finish.power * np.clip(lit * 3, 0, 1)
    rim = 0.12 * (1 - toward) ** 3  # grazing reflection of the surroundings
    raised, glint = 1 + rim, finish.gloss * rim * 0.6
    out = np.empty_like(finish.albedo)
    for channel in range(3):  # numpy is slow over an axis of three
        ambient = light.ground[channel] * below + light.sky[channel] * above
        one = finish.albedo[:, channel] * (lit * light.colour[channel] + ambient * raised)
        one += shine * light.colour[channel] + glint * light.sky[channel]
        out[:, channel] = one
    return out


def base_colour(samples: Samples, looks: tuple[Looks, ...]) -> Image:
    """Linear albedo of every sample [P, 3]: what ``light_people`` multiplies light with."""
    return _finish(samples, looks).albedo


def light_room(albedo: Image, normal: Image, point: Image, light: Light, shadows: Shadows) -> Image:
    """Linear colour of the room [P, 3]."""
    cosine = np.clip(normal @ light.direction.astype(np.float32), 0, 1) * shadows.lamp_P
    is_floor = normal[:, 2] > 0.9
    shade = np.where(is_floor, 0.45 + 0.55 * shadows.sky_P, 1.0)
    facing = 0.5 + 0.5 * normal[:, 2]
    corner = np.clip(0.72 + 0.5 * point[:, 2], 0.72, 1.0)  # walls darken towards the floor
    below, share = 1 - facing, shade * np.where(is_floor, 1.0, corner)
    out = np.empty_like(albedo)
    for channel in range(3):  # numpy is slow over an axis of three
        ambient = (light.ground[channel] * below + light.sky[channel] * facing) * share
        out[:, channel] = albedo[:, channel] * (cosine * light.colour[channel] + ambient)
    return out


def dots(a_P3: NDArray[Any], b_P3: NDArray[Any]) -> NDArray[Any]:
    """Scalar products of rows; written out, since a sum over an axis of three is slow."""
    return np.asarray(a_P3[:, 0] * b_P3[:, 0] + a_P3[:, 1] * b_P3[:, 1] + a_P3[:, 2] * b_P3[:, 2])


def tone(colour: Image, exposure: float) -> Image:
    """Linear to display values 0..1: exponential shoulder, gamma 2.2."""
    return np.asarray((1 - np.exp(-np.maximum(colour, 0) * np.float32(exposure))) ** np.float32(1 / 2.2), np.float32)


def softened(image: Image) -> Image:
    """The room a little out of focus: binomial weights 1 2 1 along both axes."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), "edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16, np.float32)


def tent(canvas: Image) -> Image:
    """Fine samples to pixels: weights 1 2 1 around every second sample; the border repeats."""
    padded = np.pad(canvas, ((1, 0), (1, 0), (0, 0)), "edge")
    rows = padded[:-2:2] + 2 * padded[1:-1:2] + padded[2::2]
    return np.asarray((rows[:, :-2:2] + 2 * rows[:, 1:-1:2] + rows[:, 2::2]) / 16, np.float32)


def _finish(samples: Samples, looks: tuple[Looks, ...]) -> _Finish:
    n = len(samples.material_P)
    finish = _Finish(
        samples.colour_P3.copy(), np.zeros(n, np.float32), np.full(n, 20, np.float32), np.zeros(n, np.float32)
    )
    for owner, look in enumerate(looks):
        mine = samples.owner_P == owner
        for material in Material:
            here = np.flatnonzero(mine & (samples.material_P == material))
            if len(here):
                _paint(finish, here, material, look, samples)
    return finish


def _paint(finish: _Finish, here: Ints, material: Material, look: Looks, samples: Samples) -> None:
    p = samples.template_P3[here]
    if material == Material.SKIN:
        finish.albedo[here] = _brows(finish.albedo[here], p, look)
        finish.gloss[here], finish.power[here], finish.wrap[here] = 0.07, 18, 0.25
    elif material == Material.EYE:
        finish.albedo[here] = _eye(p, look)
        finish.gloss[here], finish.power[here], finish.wrap[here] = 0.7, 90, 0.3
    elif material in (Material.UPPER_TEETH, Material.LOWER_TEETH):
        finish.albedo[here] = (0.72, 0.68, 0.58)
        finish.gloss[here] = 0.2
    elif material == Material.TONGUE:
        finish.albedo[here] = (0.5, 0.17, 0.16)
        finish.gloss[here] = 0.15
    elif material == Material.HAIR:
        finish.albedo[here] = look.hair * _strands(p)[:, None]
        finish.gloss[here], finish.power[here], finish.wrap[here] = 0.06 * _strands(p), 12, 0.2
    else:
        finish.albedo[here] = _cloth(p, look.cloth[material]) * _hems(samples.border_P[here])
        if material == Material.SHOE:
            sole = p[:, 2] < -0.8
            finish.albedo[here[sole]] = look.sole
            finish.gloss[here] = 0.12
        else:
            finish.gloss[here], finish.power[here], finish.wrap[here] = 0.015, 8, 0.12


def _brows(albedo: Image, p: Image, look: Looks) -> Image:
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2] - np.float32(EYE_Z)
    face = np.flatnonzero((y < -0.1) & (np.abs(z - 0.02) < 0.03) & (x < 0.07))
    x, z = x[face], z[face]
    arch = 0.0225 - 2.6 * (x - 0.034) ** 2 - 0.12 * np.maximum(x - 0.04, 0)
    thick = 0.0048 - 0.055 * np.maximum(x - 0.03, 0)
    hairs = 0.93 + 0.07 * np.sin(1500 * x + 700 * z)
    inside = np.clip(1.3 - np.abs(z - arch) / np.maximum(thick, 5e-4), 0, 1) * np.clip((x - 0.009) / 0.006, 0, 1)
    inside = np.clip(inside * 1.5, 0, 1) * np.clip((0.062 - x) / 0.01, 0, 1) * hairs * look.brow
    albedo[face] = albedo[face] * (1 - inside[:, None]) + inside[:, None] * (0.8 * look.hair + 0.06 * look.skin)
    return albedo


def _eye(p: Image, look: Looks) -> Image:
    centre = np.where(p[:, :1] > 0, 1.0, -1.0) * np.array([0.0311, 0, 0]) + np.array([0, -0.1309, 0.8834])
    e = p - centre
    e /= np.sqrt((e**2).sum(1, keepdims=True))
    cosine = -e[:, 1:2]
    white = np.array([0.74, 0.7, 0.67])
    ring = np.clip((cosine - 0.905) / 0.02, 0, 1)
    colour = white * (1 - ring) + look.iris * np.clip(0.55 + (cosine - 0.905) * 9, 0.5, 1.3) * ring
    pupil = np.clip((cosine - 0.978) / 0.006, 0, 1)
    return np.asarray(colour * (1 - pupil) + 0.008 * pupil, np.float32)


def _strands(p: Image) -> Image:
    angle = np.arctan2(p[:, 0], p[:, 1] - np.float32(CENTRE_Y))
    wave = angle + 0.02 * np.sin(60 * p[:, 2] + 5 * angle)
    value = 1 + 0.2 * np.sin(97 * wave) + 0.14 * np.sin(229 * wave + 3) + 0.1 * np.sin(31 * wave + 1)
    return np.asarray(value, np.float32)


def _hems(border: Image) -> Image:
    """A seam a finger's breadth inside the border, and a little dirt of light on the very edge."""
    seam = np.exp(-(((border + 0.016) / 0.0022) ** 2))
    edge = np.clip(1 + border / 0.004, 0, 1)
    return np.asarray((1 - 0.3 * seam - 0.2 * edge)[:, None], np.float32)


def _cloth(p: Image, cloth: Cloth) -> Image:
    x, y, z = p.T * np.float32(2 * np.pi * cloth.per_m)
    if cloth.pattern == "stripes":
        share = np.clip(np.sin(z) * 6, 0, 1)
    elif cloth.pattern == "plaid":
        share = 0.4 * np.clip(np.sin(z * 0.6) * 6, 0, 1) + 0.4 * np.clip(np.sin((x + y) * 0.6) * 6, 0, 1)
    elif cloth.pattern == "dots":
        share = np.clip((np.sin(z) * np.sin(x + y) - 0.45) * 8, 0, 1)
    elif cloth.pattern == "block":
        share = np.clip((0.5 - p[:, 2]) * 60, 0, 1)
    else:
        share = np.zeros(len(p), np.float32)
    weave = 1 + 0.03 * np.sin(900 * p[:, 2]) * np.sin(900 * (p[:, 0] + p[:, 1]))
    worn = 1 + 0.05 * np.sin(14 * p[:, 2] + 9 * p[:, 0]) * np.sin(17 * p[:, 0] - 8 * p[:, 2] + 2)
    colour = cloth.first + (cloth.second - cloth.first) * share[:, None]
    return np.asarray(colour * (weave * worn)[:, None], np.float32)
