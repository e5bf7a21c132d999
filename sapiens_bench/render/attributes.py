"""What a hit pixel carries: normals, interpolated attributes, texture colours, values of its face.

Axes: V vertices, F faces, H height, W width, C channels, N points, P covered pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.rasterise import Hits

Doubles = NDArray[np.float64]
Faces = NDArray[np.integer[Any]]

VIEWER_FROM_CAMERA = (1.0, -1.0, -1.0)  # OpenCV axes -> x right, y up, z towards the viewer
FACE_BLOCK = 1 << 15
PIXEL_BLOCK = 1 << 15
_ATAN_TERMS = 12  # of the Taylor series on |t| <= tan(pi / 8): relative error below 3e-11


@dataclass(frozen=True, slots=True)
class ShadedNormals:
    """Normals of one view."""

    normal_HW3: NDArray[np.float32]  # unit, viewer frame: x right, y up, z towards the viewer; NaN where nothing is hit
    flipped_share: float  # of covered pixels; above 0.01 the mesh has inverted faces; NaN when nothing is hit
    away_share: float  # of covered pixels whose normal still points away from the camera


def vertex_normals(vertices_V3: NDArray[np.floating[Any]], faces_F3: Faces) -> Doubles:
    """Unit vertex normals, float64 [V, 3]: unit face normals summed with the face's angle at the vertex as weight.

    ``faces_F3`` must be position indices: after splitting vertices at texture seams the normals on the seam are wrong.
    Counter-clockwise faces point outwards. Degenerate faces count nothing; a vertex without any normal (unused, or
    opposite faces cancel) gets the zero vector. Only + - * / and square roots are used, so machines agree on every bit.

    Source: Thuermer and Wuethrich 1998, "Computing vertex normals from polygonal facets".
    """
    vertices = np.asarray(vertices_V3, np.float64)
    n_vertices, n_faces = len(vertices), len(faces_F3)
    columns = [np.ascontiguousarray(vertices[:, k]) for k in range(3)]
    corners = np.ascontiguousarray(np.asarray(faces_F3).T, np.int64)
    unit_3F, angle_3F = np.empty((3, n_faces)), np.empty((3, n_faces))
    for start in range(0, n_faces, FACE_BLOCK):
        part = slice(start, start + FACE_BLOCK)
        unit_3F[:, part], angle_3F[:, part] = _face_normals_and_angles(columns, corners[:, part])
    total = np.zeros((3, n_vertices))
    for corner in range(3):
        for axis in range(3):
            weighted = unit_3F[axis] * angle_3F[corner]
            total[axis] += np.bincount(corners[corner], weighted, minlength=n_vertices)
    length = np.sqrt(total[0] * total[0] + total[1] * total[1] + total[2] * total[2])
    total /= np.where(length > 1e-12, length, np.inf)
    return np.ascontiguousarray(total.T)


def _face_normals_and_angles(columns: list[Doubles], corners: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = ([column[c] for column in columns] for c in corners)
    ux, uy, uz = bx - ax, by - ay, bz - az  # a -> b
    vx, vy, vz = cx - ax, cy - ay, cz - az  # a -> c
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    double_area = np.sqrt(nx * nx + ny * ny + nz * nz)
    dot_uv = ux * vx + uy * vy + uz * vz
    at_a = _angle(double_area, dot_uv)
    at_b = _angle(double_area, ux * ux + uy * uy + uz * uz - dot_uv)  # (a - b).(c - b)
    inverse = np.divide(1.0, double_area, out=np.zeros_like(double_area), where=double_area > 0)
    return np.stack([nx * inverse, ny * inverse, nz * inverse]), np.stack([at_a, at_b, math.pi - at_a - at_b])


def _angle(sine: Doubles, cosine: Doubles) -> Doubles:
    """Angle in [0, pi] from its sine (>= 0) and cosine, both times any positive factor; 0 when both are 0.

    Not ``arctan2``: its last bits differ between C libraries and vector units, and it is slower here.
    """
    size = np.abs(cosine)
    low, high = np.minimum(sine, size), np.maximum(sine, size)
    ratio = np.divide(low, high, out=np.zeros_like(low), where=high > 0)
    steep = ratio > math.sqrt(2.0) - 1.0  # tan(pi / 8)
    reduced = np.where(steep, (ratio - 1.0) / (ratio + 1.0), ratio)
    square = reduced * reduced
    series = np.full_like(square, (-1.0) ** _ATAN_TERMS / (2 * _ATAN_TERMS + 1))
    for k in range(_ATAN_TERMS - 1, -1, -1):
        series *= square
        series += (-1.0) ** k / (2 * k + 1)
    series *= reduced
    series += np.where(steep, math.pi / 4, 0.0)
    series = np.where(sine > size, math.pi / 2 - series, series)
    return np.where(cosine < 0, math.pi - series, series)


def interpolate(
    hits: Hits, faces_F3: Faces, attribute_VC: NDArray[np.floating[Any]], fill: float = math.nan
) -> Doubles:
    """Attribute at every pixel, float64 [H, W, C]: barycentric sum over the corners of the face seen there.

    Perspective-correct, since the barycentrics are those of the surface point. Give ``mesh.texture_faces`` with
    ``mesh.uv`` for texture coordinates, ``mesh.faces`` with whatever lives on vertices, or ``corner_faces(F)`` with an
    attribute of every corner [3 F, C].

    Args:
        fill: value of pixels that see nothing, or a face with an index of -1 (a corner without the attribute).
    """
    attribute = np.asarray(attribute_VC)
    if attribute.ndim != 2:
        raise ShapeError(f"attributes must be [V, C], got {attribute.shape}")
    out = np.full((hits.face_HW.size, attribute.shape[1]), fill)
    covered = np.flatnonzero(hits.face_HW >= 0)
    face_P, weight_P3 = hits.face_HW.reshape(-1), hits.barycentric_HW3.reshape(-1, 3)
    for start in range(0, len(covered), PIXEL_BLOCK):
        pixel = covered[start : start + PIXEL_BLOCK]
        corners, weights = faces_F3[face_P[pixel]], weight_P3[pixel]
        value = weights[:, :1] * attribute[corners[:, 0]]
        value += weights[:, 1:2] * attribute[corners[:, 1]]
        value += weights[:, 2:] * attribute[corners[:, 2]]
        value[(corners < 0).any(1)] = fill
        out[pixel] = value
    return out.reshape(*hits.face_HW.shape, attribute.shape[1])


def corner_faces(n_faces: int) -> NDArray[np.int64]:
    """The index table [F, 3] under which ``interpolate`` reads an attribute given per corner [3 F, C]."""
    return np.arange(3 * n_faces).reshape(n_faces, 3)


def face_values(hits: Hits, values_F: NDArray[Any], empty: Any) -> NDArray[Any]:
    """Value of the face seen at every pixel, [H, W, ...] in the dtype of ``values_F``; ``empty`` where nothing is."""
    values = np.asarray(values_F)
    out = np.full((hits.face_HW.size, *values.shape[1:]), empty, values.dtype)
    face = hits.face_HW.reshape(-1)
    covered = np.flatnonzero(face >= 0)
    out[covered] = values[face[covered]]
    return out.reshape(*hits.face_HW.shape, *values.shape[1:])


def shaded_normals(
    hits: Hits,
    vertices_V3: NDArray[np.floating[Any]],
    faces_F3: Faces,
    normals_V3: NDArray[np.floating[Any]],
    camera: Camera,
    *,
    turn: Literal["inverted", "all"] = "inverted",
) -> ShadedNormals:
    """Interpolated unit normals in the viewer frame (x right, y up, z towards the viewer).

    A normal that points away from the camera is turned round when the face itself also faces away (``inverted``: the
    mesh is wound the other way there) and kept otherwise, as happens at silhouettes of smooth surfaces. ``all`` turns
    every such normal instead. Where the corner normals cancel, the face normal stands in.

    Args:
        normals_V3: unit vertex normals in world axes (``vertex_normals``).
    """
    height, width = hits.face_HW.shape
    out = np.full((height * width, 3), np.nan, np.float32)
    covered = np.flatnonzero(hits.face_HW >= 0)
    vertices, normals = np.asarray(vertices_V3, np.float64), np.asarray(normals_V3, np.float64)
    n_flipped = n_away = 0
    for start in range(0, len(covered), PIXEL_BLOCK):
        pixel = covered[start : start + PIXEL_BLOCK]
        corners = np.asarray(faces_F3)[hits.face_HW.reshape(-1)[pixel]]
        weights = hits.barycentric_HW3.reshape(-1, 3)[pixel]
        y_px, x_px = np.divmod(pixel, width)
        ray = (*camera.rays(x_px.astype(np.float64), y_px.astype(np.float64)), 1.0)
        face = _turned(camera.R, _cross_of_faces(vertices, corners))
        normal = _turned(camera.R, [_mix(weights, normals[:, k][corners]) for k in range(3)])
        length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        lost = length < 1e-9
        if lost.any():
            normal = [np.where(lost, f, n) for f, n in zip(face, normal)]
            length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        away = _along(normal, ray) > 0
        flip = away if turn == "all" else away & (_along(face, ray) > 0)
        scale = np.where(flip, -1.0, 1.0) / np.where(length > 0, length, np.nan)
        for k, sign in enumerate(VIEWER_FROM_CAMERA):
            out[pixel, k] = normal[k] * scale * sign
        n_flipped += int(flip.sum())
        n_away += int((away & ~flip).sum())
    n = len(covered)
    shares = (n_flipped / n, n_away / n) if n else (math.nan, math.nan)
    return ShadedNormals(out.reshape(height, width, 3), *shares)


def _cross_of_faces(vertices_V3: Doubles, corners_N3: Faces) -> list[Doubles]:
    a, b, c = ([vertices_V3[:, k][corners_N3[:, corner]] for k in range(3)] for corner in range(3))
    u, v = ([p - q for p, q in zip(end, a)] for end in (b, c))
    return [u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3] for k in range(3)]


def _turned(R: Doubles, vector: list[Doubles]) -> list[Doubles]:
    return [R[k, 0] * vector[0] + R[k, 1] * vector[1] + R[k, 2] * vector[2] for k in range(3)]


def _mix(weights_N3: Doubles, value_N3: Doubles) -> Doubles:
    return weights_N3[:, 0] * value_N3[:, 0] + weights_N3[:, 1] * value_N3[:, 1] + weights_N3[:, 2] * value_N3[:, 2]


def _along(vector: list[Doubles], ray: tuple[Doubles, Doubles, float]) -> Doubles:
    return vector[0] * ray[0] + vector[1] * ray[1] + vector[2] * ray[2]


def sample_texture(
    image_HWC: NDArray[Any], uv_N2: NDArray[np.floating[Any]], *, wrap: bool = False
) -> NDArray[np.float32]:
    """Bilinear colours [N, C] at texture coordinates, in the units of the image; NaN coordinates give NaN.

    ``x = u W - 0.5``, ``y = (1 - v) H - 0.5`` (v points up in OBJ files), clamped at the border, or going on at the
    other side with ``wrap``.
    """
    image = np.asarray(image_HWC)
    if image.ndim != 3:
        raise ShapeError(f"a texture must be [H, W, C], got {image.shape}")
    height, width = image.shape[:2]
    uv = np.asarray(uv_N2, np.float64)
    x, y = uv[:, 0] * width - 0.5, (1.0 - uv[:, 1]) * height - 0.5
    undefined = ~(np.isfinite(x) & np.isfinite(y))
    if wrap:
        x, y = (np.mod(np.where(undefined, 0.0, at), size) for at, size in ((x, width), (y, height)))
    else:
        x, y = (np.clip(np.where(undefined, 0.0, at), 0, size - 1) for at, size in ((x, width), (y, height)))
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - x0).astype(np.float32)[:, None], (y - y0).astype(np.float32)[:, None]
    if wrap:  # a remainder just below the size may round up to it
        x0, y0, x1, y1 = x0 % width, y0 % height, (x0 + 1) % width, (y0 + 1) % height
    else:
        x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
    colour: NDArray[np.float32] = (top * (1 - fy) + bottom * fy).astype(np.float32, copy=False)
    colour[undefined] = np.nan
    return colour


def texture_colour(
    hits: Hits,
    texture_faces_F3: Faces,
    uv_T2: NDArray[np.floating[Any]],
    image_HWC: NDArray[Any],
    fill: float,
    *,
    repeat: bool = False,
) -> NDArray[np.float32]:
    """Texture colour of every pixel, float32 [H, W, C], in the units of the image; ``fill`` where nothing is hit.

    Faces without texture coordinates (index -1 in any corner) get ``fill`` as well. Outside [0, 1] the texture is
    clamped, or with ``repeat`` repeated: a face within one tile is read as in the first tile (clamped at its border, so
    that moving all coordinates by whole numbers changes nothing), one across tiles wraps.
    """
    covered = np.flatnonzero(hits.face_HW >= 0)
    corners = np.asarray(texture_faces_F3)[hits.face_HW.reshape(-1)[covered]]
    textured = (corners >= 0).all(1)
    covered, corners = covered[textured], corners[textured]
    weights = hits.barycentric_HW3.reshape(-1, 3)[covered]
    uv_all: Doubles = np.asarray(uv_T2, np.float64)
    uv = np.stack([_mix(weights, uv_all[:, k][corners]) for k in range(2)], 1)
    out = np.full((hits.face_HW.size, np.asarray(image_HWC).shape[2]), fill, np.float32)
    if repeat and len(corners) and not ((uv_all >= 0) & (uv_all <= 1)).all():
        tile, crosses = _tiles(uv_all[corners])
        colour = sample_texture(image_HWC, uv - tile)
        colour[crosses] = sample_texture(image_HWC, uv[crosses], wrap=True)
    else:
        colour = sample_texture(image_HWC, uv)
    out[covered] = colour
    return out.reshape(*hits.face_HW.shape, out.shape[1])


def _tiles(uv_N32: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """The tile (whole numbers [N, 2]) in which the three corners of each face lie, and faces that cross tiles."""
    low, high = uv_N32.min(1), uv_N32.max(1)
    tile = np.where((low >= 0) & (high <= 1), 0.0, np.minimum(np.floor(low), np.ceil(high) - 1.0))
    return tile, (high - tile > 1).any(1)


def average_down(image_HWC: NDArray[np.floating[Any]], factor: int) -> NDArray[np.floating[Any]]:
    """Mean of ``factor`` x ``factor`` blocks: how supersampled colour becomes an image. Never for ground truth."""
    height, width = image_HWC.shape[0] // factor, image_HWC.shape[1] // factor
    blocks = image_HWC[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    total = blocks[:, 0, :, 0].copy()
    for y in range(factor):
        for x in range(factor):
            if x or y:
                total += blocks[:, y, :, x]
    return total / (factor * factor)
