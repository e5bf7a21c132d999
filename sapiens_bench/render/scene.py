"""One synthetic image with its complete ground truth, from nothing but (version, split, index).

The whole image is rasterised once, on a grid twice as fine whose every second sample is a pixel centre. Ground truth is
read at those samples alone, so it is what a rasterisation at image size gives, and nothing is ever blended. Colour is
the mean of the 3 x 3 samples around the pixel centre with weights 1 2 1 (a tent two pixels wide).

World: z up, floor at z = 0, metres; people look along -y and the camera looks roughly along +y.

Axes: N people, K = 65 keypoints (COCO-17, six feet, 2 x 21 hand), H, W image, P visible samples of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.attributes import vertex_normals
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.draws import stream
from sapiens_bench.render.factors import AS_DRAWN, Redraw
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.parts import BORDER, Material, Surface, join, labels
from sapiens_bench.render.person import Person, limb_joints, linear, make_person, turned
from sapiens_bench.render.pose_library import X, Y, Z, rotation
from sapiens_bench.render.rasterise import Hits, rasterise
from sapiens_bench.render.room import Backdrop, Room, Slab, backdrop, draw_room, repainted
from sapiens_bench.render.shade import (
    Samples,
    dots,
    draw_light,
    light_people,
    light_room,
    set_light,
    shadow_map,
    softened,
    tent,
    tone,
)

VERSION = 1  # raised whenever a pixel or a number of the set can change
HEIGHT, WIDTH = 512, 384
VIEWS = {"full": 0.5, "upper": 0.2, "face": 0.13, "two": 0.17}
SEAT_TOLERANCE_M = 0.004
# A keypoint lies inside the body; it counts as visible when the surface seen at its pixel belongs to the same person
# and is at most this much in front of it (metres: half the thickness of the part, plus clothes).
VISIBLE_WITHIN_M = np.array(
    [0.04] * 3
    + [0.07] * 2
    + [0.13] * 2
    + [0.09] * 2
    + [0.07] * 2
    + [0.18] * 2
    + [0.11] * 2
    + [0.1] * 2
    + [0.06] * 6
    + [0.035] * 42
)
_GRID = 2.0**30  # camera matrices are rounded, so that machines agree on them (see render.camera)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and its ground truth."""

    view: str
    rgb_HW3: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]  # order of parts.LABELS, 0 background
    instance_HW: NDArray[np.uint8]  # 0 background, i + 1 for person i
    depth_HW_m: NDArray[np.float32]  # along the optical axis; NaN off people
    normal_HW3: NDArray[np.float32]  # unit, viewer frame, n . v > 0 for the direction v to the camera; NaN off people
    keypoints_NK2_px: Doubles  # undefined where not visible_NK
    visible_NK: NDArray[np.uint8]  # 0 outside the image, 1 occluded, 2 visible
    camera: Camera


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What is to be rendered."""

    view: str
    people: tuple[Person, ...]
    camera: Camera
    room: Room
    seed: tuple[str | int, ...]
    redraw: Redraw = AS_DRAWN  # what of the light is set instead of drawn


def seed_of(split: str, index: int) -> tuple[str | int, ...]:
    """Parts of the key of every draw of one image."""
    return (f"synthetic-humans/{VERSION}", split, index)


def render(split: str, index: int, *, height: int = HEIGHT, width: int = WIDTH, redraw: Redraw = AS_DRAWN) -> Picture:
    """The picture of a split and index. The same content at any size; ``height`` : ``width`` should stay 4 : 3.

    Args:
        redraw: one factor set to a level; everything else, and all ground truth, keeps its bits.
    """
    return render_setting(draw_setting(split, index, height, width, redraw))


# what stands where ---------------------------------------------------------------------------------------------------


def draw_setting(
    split: str, index: int, height: int = HEIGHT, width: int = WIDTH, redraw: Redraw = AS_DRAWN
) -> Setting:
    seed = seed_of(split, index)
    rng = stream(*seed, "layout")
    view = str(rng.choice(list(VIEWS), p=list(VIEWS.values())))
    n = 2 if view == "two" else 1
    people = tuple(_placed(seed, i, n, view, rng, redraw) for i in range(n))
    camera = _camera(view, people, rng, height, width)
    points = np.concatenate([person.keypoints_K3 for person in people])
    side = max(float(np.abs(points[:, 0]).max()), 1.0)
    room = draw_room(stream(*seed, "room"), float(points[:, 1].max()) + 0.3, side, _seats(people, seed))
    if redraw.background is not None:
        room = repainted(room, linear(redraw.background))
    return Setting(view, people, camera, room, seed, redraw)


def _placed(seed: tuple[str | int, ...], i: int, n: int, view: str, rng: np.random.Generator, redraw: Redraw) -> Person:
    family = "stand" if view == "face" and rng.random() < 0.7 else ""
    person = make_person(*seed, "person", i, family=family, redraw=redraw)
    if view == "face":
        yaw = rng.normal(0, 25)
    else:
        yaw = rng.normal(0, 40) if rng.random() < 0.75 else rng.uniform(-180, 180)
    shift = np.zeros(3)
    if n > 1:
        shift = np.array([(i - (n - 1) / 2) * rng.uniform(0.75, 1.05), rng.uniform(-0.35, 0.35), 0.0])
    return turned(person, rotation(Z, float(yaw)), shift)


def _seats(people: tuple[Person, ...], seed: tuple[str | int, ...]) -> tuple[Slab, ...]:
    """A stool under everyone who sits: behind the knees, as high as the lowest point of the seat."""
    slabs = []
    for i, person in enumerate(people):
        if person.pose.family != "sit":
            continue
        rng = stream(*seed, "seat", i)
        vertices = np.concatenate(
            [p.vertices_V3 for p in person.parts if p.material in (Material.BOTTOM, Material.SKIN)]
        )
        hips = person.keypoints_K3[[11, 12]].mean(0)
        near = vertices[(np.abs(vertices[:, :2] - hips[:2]) < 0.13).all(1) & (vertices[:, 2] > hips[2] - 0.35)]
        top = float(near[:, 2].min()) + 0.015
        half = rng.uniform(0.17, 0.21)
        colour = np.asarray(rng.uniform(0.03, 0.4, 3))
        slabs.append(
            Slab(
                np.array([hips[0] - half, hips[1] - half, 0]),
                np.array([hips[0] + half, hips[1] + half, top]),
                colour,
                True,
            )
        )
    rng = stream(*seed, "counter")
    if people and rng.random() < 0.16:  # something low stands in front
        x, y = rng.uniform(-0.6, 0.6), min(float(p.keypoints_K3[:, 1].min()) for p in people) - rng.uniform(0.25, 0.6)
        size = rng.uniform((0.2, 0.12, 0.3), (0.55, 0.2, 0.85))
        low = np.array([x - size[0], y - size[1], 0])
        slabs.append(
            Slab(low, np.array([x + size[0], y + size[1], size[2]]), np.asarray(rng.uniform(0.03, 0.5, 3)), True)
        )
    return tuple(slabs)


def _camera(view: str, people: tuple[Person, ...], rng: np.random.Generator, height: int, width: int) -> Camera:
    """A camera that frames the people: whole bodies, upper bodies or a face, a little off centre and off level."""
    points, margin = _framed(view, people, rng)
    centre = (points.min(0) + points.max(0)) / 2
    focal = rng.uniform(1.15, 2.0) * height
    pitch = {"full": rng.normal(5, 7), "two": rng.normal(5, 6)}.get(view, rng.normal(2, 6))
    looking = rotation(X, -float(np.clip(pitch, -12, 24))) @ Y
    right = np.cross(looking, Z)
    right /= np.sqrt((right**2).sum())
    R = rotation(Z, 0.0) @ np.stack([right, np.cross(looking, right), looking])
    roll = rotation(Z, float(rng.normal(0, 2)))
    R = np.round(roll @ R * _GRID) / _GRID
    x, y, z = R @ (points - centre).T
    half_w, half_h = width / 2 * (1 - margin), height / 2 * (1 - margin)
    distance = max(float((focal * np.abs(x) / half_w - z).max()), float((focal * np.abs(y) / half_h - z).max()))
    eye = centre - looking * distance
    eye = (
        eye
        + R[0] * rng.normal(0, 0.03) * distance * width / focal
        + R[1] * rng.normal(0, 0.02) * distance * height / focal
    )
    eye[2] = max(eye[2], 0.15)
    t = np.round(-(R @ eye) * _GRID) / _GRID
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(K, R, t, width, height)


def _framed(view: str, people: tuple[Person, ...], rng: np.random.Generator) -> tuple[Doubles, float]:
    """Points that must lie in the image, and the share of the image left empty around them."""
    if view in ("full", "two"):
        return np.concatenate([part.vertices_V3 for p in people for part in p.parts]), float(rng.uniform(0.03, 0.45))
    points = people[0].keypoints_K3
    head = points[:5].mean(0)
    around = np.array([[dx, dy, dz] for dx in (-1, 1) for dy in (-1, 1) for dz in (-1, 1)], np.float64)
    if view == "face":
        size = np.array([0.13, 0.1, 0.17]) * rng.uniform(0.95, 1.5)
        return head + np.array([0, 0.05, -0.01]) + around * size, 0.05
    trunk = points[[5, 6, 11, 12]].mean(0) * 0.55 + head * 0.45
    return trunk + around * np.array([0.3, 0.1, 0.42]) * rng.uniform(0.9, 1.2), 0.05


# rendering -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Visible samples of people on the fine grid."""

    pixel_P: NDArray[np.int64]  # flat index in the fine grid
    face_P: NDArray[np.int64]
    weight_P3: Doubles
    depth_P: Doubles
    shape: tuple[int, int]


def render_setting(setting: Setting) -> Picture:
    surface = join([person.parts for person in setting.people])
    camera = setting.camera
    fine = Camera(np.diag([2.0, 2.0, 1.0]) @ camera.K, camera.R, camera.t, 2 * camera.width, 2 * camera.height)
    room = backdrop(setting.room, camera)
    hits = rasterise(surface.vertices_V3, surface.faces_F3, fine)
    seen = _visible(hits, room)
    normals_V3 = vertex_normals(surface.vertices_V3, surface.faces_F3)
    normal_P3, view_P3, point_P3 = _normals(seen, surface, normals_V3, fine)
    truth = _truth(seen, surface, normal_P3, camera)
    keypoints, visible = _keypoints(setting.people, truth, camera)
    rgb = _colour(setting, surface, seen, room, (normal_P3, view_P3, point_P3))
    return Picture(
        setting.view, rgb, truth.labels, truth.instance, truth.depth, truth.normal, keypoints, visible, camera
    )


def _visible(hits: Hits, room: Backdrop) -> _Seen:
    """Samples of people that no seat hides."""
    seat = np.repeat(np.repeat(room.seat_depth_HW, 2, 0), 2, 1)
    shown = (hits.face_HW >= 0) & (hits.depth_HW < seat + SEAT_TOLERANCE_M)
    pixel = np.flatnonzero(shown)
    return _Seen(
        pixel,
        hits.face_HW.reshape(-1)[pixel],
        hits.barycentric_HW3.reshape(-1, 3)[pixel],
        hits.depth_HW.reshape(-1)[pixel],
        (hits.face_HW.shape[0], hits.face_HW.shape[1]),
    )


def _mixed(
    seen: _Seen, surface: Surface, values_VC: NDArray[Any], chosen: NDArray[np.int64] | slice = slice(None)
) -> NDArray[Any]:
    """Vertex values interpolated at the samples, [P, C], in the dtype of the values."""
    corners = surface.faces_F3[seen.face_P[chosen]]
    weight = seen.weight_P3[chosen].astype(values_VC.dtype)
    out = values_VC[corners[:, 0]] * weight[:, :1]
    out += values_VC[corners[:, 1]] * weight[:, 1:2]
    out += values_VC[corners[:, 2]] * weight[:, 2:]
    return np.asarray(out)


def _normals(seen: _Seen, surface: Surface, normals_V3: Doubles, camera: Camera) -> tuple[Doubles, Doubles, Doubles]:
    """Unit world normals that face the camera, unit directions to the camera, and world points, each [P, 3].

    The inside of an open surface (a sleeve, a skirt) shows its other side: normals are turned with the face. A normal
    that still leans away, at the silhouette of a smooth surface, is mirrored in the plane of the silhouette.
    """
    y_px, x_px = np.divmod(seen.pixel_P, camera.width)
    ray = np.stack(
        [(x_px - camera.K[0, 2]) / camera.K[0, 0], (y_px - camera.K[1, 2]) / camera.K[1, 1], np.ones(len(x_px))], 1
    )
    ray = ray @ camera.R
    point = camera.centre + ray * seen.depth_P[:, None]
    view = -ray / np.sqrt(dots(ray, ray))[:, None]
    normal = _mixed(seen, surface, normals_V3)
    a, b, c = (surface.vertices_V3[surface.faces_F3[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)[seen.face_P]
    flat_away = dots(flat, view) < 0
    normal[flat_away] *= -1
    flat[flat_away] *= -1
    length = np.sqrt(dots(normal, normal))[:, None]
    lost = length[:, 0] < 1e-6
    normal[lost] = flat[lost] / np.maximum(np.sqrt((flat[lost] ** 2).sum(1, keepdims=True)), 1e-300)
    normal /= np.where(lost[:, None], 1.0, length)
    along = dots(normal, view)
    lean = along < 1e-3
    normal[lean] += (np.maximum(-along[lean], 1e-3) - along[lean])[:, None] * view[lean]
    normal[lean] /= np.sqrt((normal[lean] ** 2).sum(1, keepdims=True))
    return normal, view, point


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    labels: NDArray[np.uint8]
    instance: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]


def _truth(seen: _Seen, surface: Surface, normal_P3: Doubles, camera: Camera) -> _Truth:
    """Ground truth at the pixel centres: every second sample of the fine grid."""
    y_px, x_px = np.divmod(seen.pixel_P, seen.shape[1])
    chosen = np.flatnonzero((y_px % 2 == 0) & (x_px % 2 == 0))
    at = (y_px[chosen] // 2, x_px[chosen] // 2)
    size = (camera.height, camera.width)
    material = surface.material_F[seen.face_P[chosen]]
    names = labels(
        material,
        _mixed(seen, surface, surface.template_V3, chosen),
        _mixed(seen, surface, surface.fields_VK, chosen),
        limb_joints(),
    )
    truth = _Truth(
        np.zeros(size, np.uint8),
        np.zeros(size, np.uint8),
        np.full(size, np.nan, np.float32),
        np.full((*size, 3), np.nan, np.float32),
    )
    truth.labels[at] = names
    truth.instance[at] = surface.owner_F[seen.face_P[chosen]] + 1
    truth.depth[at] = seen.depth_P[chosen]
    in_camera = normal_P3[chosen] @ camera.R.T
    truth.normal[at] = in_camera * np.array([1.0, -1.0, -1.0])
    return truth


def _keypoints(people: tuple[Person, ...], truth: _Truth, camera: Camera) -> tuple[Doubles, NDArray[np.uint8]]:
    points, flags = [], []
    for i, person in enumerate(people):
        uv, depth = camera.project(person.keypoints_K3)
        near = np.rint(np.nan_to_num(uv, nan=-1e6, posinf=-1e6, neginf=-1e6)).astype(np.int64)
        inside = (depth > 0) & (near >= 0).all(1) & (near[:, 0] < camera.width) & (near[:, 1] < camera.height)
        x, y = near[:, 0].clip(0, camera.width - 1), near[:, 1].clip(0, camera.height - 1)
        own = truth.instance[y, x] == i + 1
        close = depth - np.where(own, truth.depth[y, x], -np.inf) < VISIBLE_WITHIN_M
        flags.append(np.where(inside, np.where(own & close, 2, 1), 0).astype(np.uint8))
        points.append(np.where(inside[:, None], uv, 0.0))
    return np.array(points), np.array(flags)


# colour --------------------------------------------------------------------------------------------------------------


def _colour(
    setting: Setting, surface: Surface, seen: _Seen, room: Backdrop, geometry: tuple[Doubles, Doubles, Doubles]
) -> NDArray[np.uint8]:
    rng = stream(*setting.seed, "light")
    light = set_light(draw_light(rng, setting.room.kind == "street"), setting.redraw)
    normal, view, point = (g.astype(np.float32) for g in geometry)
    bounds = _lit_bounds(setting.view, surface, point)
    lamp = shadow_map(surface.vertices_V3, surface.faces_F3, bounds, light.direction, 448, 1.0)
    above = shadow_map(surface.vertices_V3, surface.faces_F3, bounds, np.array([0.02, 0.03, 0.9993]), 128, 2.2)
    columns = np.concatenate(
        [surface.template_V3, surface.fields_VK[:, BORDER : BORDER + 1], surface.colour_V3], 1, dtype=np.float32
    )
    mixed = np.asarray(_mixed(seen, surface, columns), np.float32)
    samples = Samples(
        surface.material_F[seen.face_P],
        surface.owner_F[seen.face_P],
        mixed[:, :3],
        mixed[:, 3],
        mixed[:, 4:],
        point,
        normal,
        view,
    )
    people = light_people(samples, tuple(p.looks for p in setting.people), light, lamp, above)
    height, width = room.depth_HW.shape
    flat = light_room(
        room.albedo_HW3.reshape(-1, 3),
        room.normal_HW3.reshape(-1, 3),
        room.point_HW3.reshape(-1, 3),
        light,
        lamp,
        above,
    ).reshape(height, width, 3)
    flat[room.is_sky_HW] = room.albedo_HW3[room.is_sky_HW] * 1.4
    plate = tone(softened(flat), light.exposure)
    canvas = np.repeat(np.repeat(plate, 2, 0), 2, 1)
    canvas.reshape(-1, 3)[seen.pixel_P] = tone(people, light.exposure)
    image = tent(canvas)
    noise = rng.uniform(0.003, 0.012)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(noise)
    return np.asarray(np.rint(np.clip(image, 0, 1) * 255), np.uint8)


def _lit_bounds(view: str, surface: Surface, point_P3: NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    """What the shadow maps cover: everyone; in close views what is seen and a little around it, for finer texels."""
    if view in ("full", "two") or not len(point_P3):
        return surface.vertices_V3.min(0), surface.vertices_V3.max(0)
    return point_P3.min(0) - 0.12, point_P3.max(0) + 0.12
