"""What is seen of the people through a camera, and the ground truth read from it.

Axes: N people, K keypoints, H, W image, P visible samples of people on the fine grid (see ``render.scene``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.human_kit import Doubles
from sapiens_bench.render.parts import Surface, labels
from sapiens_bench.render.person import Person, limb_joints
from sapiens_bench.render.rasterise import Hits
from sapiens_bench.render.room import Backdrop
from sapiens_bench.render.surface_points import load_points

SEAT_TOLERANCE_M = 0.004
SAMPLE_BLOCK = 1 << 14  # samples at a time: their arrays stay in the cache
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
FACE_WITHIN_M = 0.012  # a point of the face's surface; hair over it is thicker
SKIN_WITHIN_M = 0.06  # a point of the skin that clothes may cover
_ON_BODY = ("neck", "olecranon", "cubital_fossa", "acromion")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image and its ground truth."""

    view: str
    rgb_HW3: NDArray[np.uint8]
    labels_HW: NDArray[np.uint8]  # order of parts.LABELS, 0 background
    instance_HW: NDArray[np.uint8]  # 0 background, i + 1 for person i
    depth_HW_m: NDArray[np.float32]  # along the optical axis; NaN off people
    normal_HW3: NDArray[np.float32]  # unit, viewer frame, n . v > 0 for the direction v to the camera; NaN off people
    keypoints_NK2_px: Doubles  # undefined where not visible_NK; 65 points of body.keypoints, then the surface points
    visible_NK: NDArray[np.uint8]  # 0 outside the image, 1 occluded, 2 visible
    camera: Camera
    about: Mapping[str, float | str] = field(default_factory=dict)  # see ``render.about``
    alpha_HW: NDArray[np.float32] | None = None  # where it is asked for: share of people in the pixel, 0..1
    albedo_HW3: NDArray[np.float32] | None = None  # likewise: their base colour, linear 0..1; NaN where alpha is 0


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Visible samples of people on the fine grid."""

    pixel_P: NDArray[np.int64]  # flat index in the fine grid
    face_P: NDArray[np.int64]
    weight_P3: Doubles
    depth_P: Doubles
    shape: tuple[int, int]
    hidden_share: float  # of the samples of people in the picture that things in front hide


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    labels: NDArray[np.uint8]
    instance: NDArray[np.uint8]
    depth: NDArray[np.float32]
    normal: NDArray[np.float32]
    keypoints: Doubles
    visible: NDArray[np.uint8]


def visible(hits: Hits, room: Backdrop) -> Seen:
    """Samples of people that no seat hides."""
    seat = np.repeat(np.repeat(room.seat_depth_HW, 2, 0), 2, 1)
    shown = (hits.face_HW >= 0) & (hits.depth_HW < seat + SEAT_TOLERANCE_M)
    pixel, n_covered = np.flatnonzero(shown), int((hits.face_HW >= 0).sum())
    return Seen(
        pixel,
        hits.face_HW.reshape(-1)[pixel],
        hits.barycentric_HW3.reshape(-1, 3)[pixel],
        hits.depth_HW.reshape(-1)[pixel],
        (hits.face_HW.shape[0], hits.face_HW.shape[1]),
        1 - len(pixel) / n_covered if n_covered else 0.0,
    )


def mixed(
    seen: Seen, surface: Surface, values_VC: NDArray[Any], chosen: NDArray[np.int64] | slice = slice(None)
) -> NDArray[Any]:
    """Vertex values interpolated at the samples, [P, C], in the dtype of the values."""
    face_P, weight_P3 = seen.face_P[chosen], seen.weight_P3[chosen]
    corner_3F, values_CV = np.ascontiguousarray(surface.faces_F3.T), np.ascontiguousarray(values_VC.T)
    out = np.empty((len(face_P), len(values_CV)), values_VC.dtype)
    for part in _blocks(len(face_P)):  # channel by channel: numpy is slow over an axis of three
        corners = [corner_F[face_P[part]] for corner_F in corner_3F]
        weights = [weight_P3[part, k].astype(values_VC.dtype) for k in range(3)]
        for channel, values_V in enumerate(values_CV):
            total = values_V[corners[0]] * weights[0]
            total += values_V[corners[1]] * weights[1]
            total += values_V[corners[2]] * weights[2]
            out[part, channel] = total
    return out


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + SAMPLE_BLOCK) for start in range(0, n, SAMPLE_BLOCK))


def normals(seen: Seen, surface: Surface, normals_V3: Doubles, camera: Camera) -> tuple[Doubles, Doubles, Doubles]:
    """Unit world normals that face the camera, unit directions to the camera, and world points, each [P, 3].

    The inside of an open surface (a sleeve, a skirt) shows its other side: normals are turned with the face. A normal
    that still leans away, at the silhouette of a smooth surface, is mirrored in the plane of the silhouette.
    """
    y_px, x_px = np.divmod(seen.pixel_P, camera.width)
    ray = np.stack(
        [(x_px - camera.K[0, 2]) / camera.K[0, 0], (y_px - camera.K[1, 2]) / camera.K[1, 1], np.ones(len(x_px))], 1
    )
    ray = ray @ camera.R
    a, b, c = (surface.vertices_V3[surface.faces_F3[:, k]] for k in range(3))
    flat_3F = np.ascontiguousarray(np.cross(b - a, c - a).T)
    normal = mixed(seen, surface, normals_V3)
    view, point = np.empty_like(ray), np.empty_like(ray)
    for part in _blocks(len(ray)):  # one array per coordinate: numpy is slow over an axis of three
        r = list(np.ascontiguousarray(ray[part].T))
        length = np.sqrt(_dot(r, r))
        v = [-r_k / length for r_k in r]
        face_N, depth_N = seen.face_P[part], seen.depth_P[part]
        n = _facing(list(normal[part].T), [flat_F[face_N] for flat_F in flat_3F], v)
        for k in range(3):
            point[part, k] = camera.centre[k] + r[k] * depth_N
            view[part, k], normal[part, k] = v[k], n[k]
    return normal, view, point


def _facing(normal: list[Doubles], flat: list[Doubles], view: list[Doubles]) -> list[Doubles]:
    """Unit normals towards the viewer; ``flat`` are those of the faces. All [N] per coordinate."""
    away = _dot(flat, view) < 0
    normal, flat = ([np.where(away, -x, x) for x in vector] for vector in (normal, flat))
    length = np.sqrt(_dot(normal, normal))
    lost = np.flatnonzero(length < 1e-6)
    length[lost] = 1.0
    of_face = [x[lost] for x in flat]
    of_face_length = np.maximum(np.sqrt(_dot(of_face, of_face)), 1e-300)
    for n, f in zip(normal, of_face):
        n[lost] = f / of_face_length
        n /= length
    along = _dot(normal, view)
    lean = np.flatnonzero(along < 1e-3)
    push = np.maximum(-along[lean], 1e-3) - along[lean]
    mirrored = [n[lean] + push * v[lean] for n, v in zip(normal, view)]
    mirrored_length = np.sqrt(_dot(mirrored, mirrored))
    for n, m in zip(normal, mirrored):
        n[lean] = m / mirrored_length
    return normal


def _dot(a: Sequence[Doubles], b: Sequence[Doubles]) -> Doubles:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def truth_of(seen: Seen, surface: Surface, normal_P3: Doubles, people: tuple[Person, ...], camera: Camera) -> Truth:
    """Ground truth at the pixel centres: every second sample of the fine grid."""
    y_px, x_px = np.divmod(seen.pixel_P, seen.shape[1])
    chosen = np.flatnonzero((y_px % 2 == 0) & (x_px % 2 == 0))
    at = (y_px[chosen] // 2, x_px[chosen] // 2)
    size = (camera.height, camera.width)
    material = surface.material_F[seen.face_P[chosen]]
    names = labels(
        material,
        mixed(seen, surface, surface.template_V3, chosen),
        mixed(seen, surface, surface.fields_VK, chosen),
        limb_joints(),
    )
    instance, label = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    depth, normal = np.full(size, np.nan, np.float32), np.full((*size, 3), np.nan, np.float32)
    label[at] = names
    instance[at] = surface.owner_F[seen.face_P[chosen]] + 1
    depth[at] = seen.depth_P[chosen]
    in_camera = normal_P3[chosen] @ camera.R.T
    normal[at] = in_camera * np.array([1.0, -1.0, -1.0])
    points, flags = zip(*(_keypoints(person, instance == i, depth, camera) for i, person in enumerate(people, 1)))
    return Truth(label, instance, depth, normal, np.array(points), np.array(flags))


def _keypoints(
    person: Person, own_HW: NDArray[np.bool_], depth_HW: NDArray[np.float32], camera: Camera
) -> tuple[Doubles, NDArray[np.uint8]]:
    """Where the points of one person are in the image [K, 2], and their flags."""
    joints = seen_points(person.keypoints_K3, VISIBLE_WITHIN_M, own_HW, depth_HW, camera)
    surface = seen_points(person.surface_N3, surface_within(), own_HW, depth_HW, camera)
    return np.concatenate([joints[0], surface[0]]), np.concatenate([joints[1], surface[1]])


def seen_points(
    points_K3: Doubles,
    within_K: Doubles,
    own_HW: NDArray[np.bool_],
    depth_HW: NDArray[np.float32],
    camera: Camera,
) -> tuple[Doubles, NDArray[np.uint8]]:
    """Where world points of one person are in the image, px [K, 2], and their flags: 0 outside, 1 hidden, 2 visible.

    Args:
        within_K: metres by which the surface seen at a point's pixel may lie in front of it.
        own_HW: pixels of the person.
    """
    uv, depth = camera.project(points_K3)
    near = np.rint(np.nan_to_num(uv, nan=-1e6, posinf=-1e6, neginf=-1e6)).astype(np.int64)
    inside = (depth > 0) & (near >= 0).all(1) & (near[:, 0] < camera.width) & (near[:, 1] < camera.height)
    x, y = near[:, 0].clip(0, camera.width - 1), near[:, 1].clip(0, camera.height - 1)
    own = own_HW[y, x]
    close = depth - np.where(own, depth_HW[y, x], -np.inf) < within_K
    flags = np.where(inside, np.where(own & close, 2, 1), 0).astype(np.uint8)
    return np.where(inside[:, None], uv, 0.0), flags


@lru_cache(maxsize=1)
def surface_within() -> Doubles:
    """How far in front of each surface point the surface seen there may be, metres."""
    return np.array([SKIN_WITHIN_M if n.endswith(_ON_BODY) else FACE_WITHIN_M for n in load_points().names])
