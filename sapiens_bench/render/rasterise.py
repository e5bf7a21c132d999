"""The z-buffer: mesh + camera -> face id, depth and barycentric coordinates of every pixel.

Definition of the result (everything below only computes it fast):

1. A vertex projects to (x, y) pixels, float64. A face with a vertex at or behind the near plane is skipped; if another
   of its vertices lies in front, it is counted.
2. Pixel p is covered by face (a, b, c) when the edge functions
   ``w0 = (b.x - p.x)(c.y - p.y) - (b.y - p.y)(c.x - p.x)``, w1 (c, a) and w2 (a, b) are all >= 0 or all <= 0, and not
   all zero. Edges are inclusive, both windings count. Swapping b and c negates w0 exactly, also in floating point, so
   two faces that share an edge never leave a gap.
3. The nearest covering face wins: the largest ``(w0 / a.z + w1 / b.z + w2 / c.z) / (w0 + w1 + w2)``, ties to the
   smallest face index.
4. Depth and barycentrics of the winner come from the intersection of the pixel's ray with the face plane.

Only + - * / and comparisons are used, one IEEE 754 operation at a time and element by element, so the result depends on
neither chunk size, vector width nor C library.

How it is fast: bounding boxes come from per-vertex rounded positions packed four 16-bit numbers to the word (one gather
a corner, one vector minimum); faces that hold no pixel centre, most of a dense scan, go at once. The rest is split by
size: up to 3 x 3 pixels are tested cell by cell over all faces of one shape, larger ones row by row, very large ones
alone. Work moves in blocks that stay in the cache.

Axes: V vertices, F faces, H height, W width, P pixels (flat), N faces or hits at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.render.camera import Camera

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

NEAR_M = 1e-6  # the near plane; only keeps 1 / z finite
NO_FACE = np.iinfo(np.int64).max
FACE_BLOCK = 1 << 16  # faces culled at a time
WORK_BLOCK = 1 << 15  # faces, rows or pixels tested at a time: about a dozen float64 arrays of it fit into L2
SMALL_SIDE = 3  # bounding boxes up to this many pixels wide and high are tested cell by cell
HUGE_PIXELS = 1 << 14  # bounding boxes from this size on are tested one face at a time
SPAN_MARGIN_PX = 1e-3  # row spans are widened by this before the exact test; their error is below 1e-6


@dataclass(frozen=True, slots=True)
class Hits:
    """What each pixel of one view sees."""

    face_HW: Ints  # index of the face, -1 where nothing is hit
    depth_HW: Doubles  # metres along the optical axis; inf where nothing is hit
    barycentric_HW3: Doubles  # weights of the face's three corners, sum 1; 0 where nothing is hit
    n_near_skipped: int = 0  # faces that cross the near plane and were left out

    @property
    def mask_HW(self) -> NDArray[np.bool_]:
        """True on covered pixels."""
        mask: NDArray[np.bool_] = self.face_HW >= 0
        return mask


class _Screen(NamedTuple):
    """Vertices as seen by the camera, one contiguous array per coordinate."""

    camera_3V: Doubles  # camera frame, metres
    x_V: Doubles  # pixels
    y_V: Doubles
    inverse_z_V: Doubles  # grows towards the camera, linear on screen: 1 / z, for parallel rays ``far - z``
    far: float  # beyond every vertex
    corner_3F: Ints  # vertex index of each corner, contiguous per corner
    bounds_V: NDArray[Any]  # packed (ceil x, -floor x, ceil y, -floor y), clipped to the image
    behind_V: NDArray[np.bool_] | None  # vertices at or behind the near plane; None when there are none


class _Boxes(NamedTuple):
    """Faces that hold pixel centres in their bounding box, and that box (inclusive)."""

    face_N: Ints
    x0_N: Ints
    y0_N: Ints
    nx_N: Ints
    ny_N: Ints

    def pick(self, index: Any) -> _Boxes:
        return _Boxes(*(column[index] for column in self))


class _Canvas:
    """The running winner of every pixel."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.nearest_P = np.zeros(width * height)  # inverse depth, 0 = nothing yet
        self.face_P = np.full(width * height, NO_FACE)

    def add(self, pixel_N: Ints, inverse_z_N: Doubles, face_N: Ints) -> None:
        """Enter hits; several may fall on one pixel."""
        before = self.nearest_P[pixel_N]
        near = np.flatnonzero(inverse_z_N >= before)
        pixel, inverse_z, face, before = pixel_N[near], inverse_z_N[near], face_N[near], before[near]
        np.maximum.at(self.nearest_P, pixel, inverse_z)
        won = np.flatnonzero(inverse_z == self.nearest_P[pixel])
        pixel, inverse_z, face, before = pixel[won], inverse_z[won], face[won], before[won]
        self.face_P[pixel[inverse_z > before]] = NO_FACE
        np.minimum.at(self.face_P, pixel, face)


def rasterise(
    vertices_V3: NDArray[np.floating[Any]],
    faces_F3: NDArray[np.integer[Any]],
    camera: Camera,
    *,
    chunk: int = 4_000_000,
) -> Hits:
    """What every pixel of ``camera`` sees of a triangle mesh.

    Args:
        vertices_V3: float [V, 3], world metres.
        faces_F3: integer [F, 3], vertex indices; repeated indices make a face that covers nothing.
        camera: pixel centres at integers; pinhole or orthographic.
        chunk: most candidate pixels held at a time. Changes memory, never the result.

    Raises:
        ShapeError: wrong shapes, indices out of range, or vertices that are not finite.

    The module docstring defines the result.
    """
    vertices, faces = _checked(vertices_V3, faces_F3)
    screen = _project(vertices, faces, camera)
    canvas = _Canvas(camera.width, camera.height)
    block = max(1, min(chunk, WORK_BLOCK))
    n_near = 0
    larger: list[_Boxes] = []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        for start in range(0, faces.shape[0], FACE_BLOCK):
            boxes, skipped = _boxes(screen, slice(start, start + FACE_BLOCK))
            n_near += skipped
            is_small = (boxes.nx_N <= SMALL_SIDE) & (boxes.ny_N <= SMALL_SIDE)
            larger.append(boxes.pick(np.flatnonzero(~is_small)))
            _small_faces(screen, canvas, boxes.pick(np.flatnonzero(is_small)), block)
        rest = _Boxes(*(np.concatenate(column) for column in zip(*larger))) if larger else None
        if rest is not None and len(rest.face_N):
            is_huge = rest.nx_N * rest.ny_N >= HUGE_PIXELS
            _middle_faces(screen, canvas, rest.pick(np.flatnonzero(~is_huge)), block)
            _huge_faces(screen, canvas, rest.pick(np.flatnonzero(is_huge)), block)
        return _resolve(screen, canvas, camera, n_near)


def _checked(
    vertices_V3: NDArray[np.floating[Any]], faces_F3: NDArray[np.integer[Any]]
) -> tuple[Doubles, NDArray[np.integer[Any]]]:
    vertices, faces = np.asarray(vertices_V3, np.float64), np.asarray(faces_F3)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ShapeError(f"vertices must be [V, 3], got {vertices.shape}")
    if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
        raise ShapeError(f"faces must be integer [F, 3], got {faces.dtype} {faces.shape}")
    if not np.isfinite(vertices).all():
        raise ShapeError("vertices hold NaN or infinity; read the mesh through render.mesh to find the line")
    if faces.size and (int(faces.min()) < 0 or int(faces.max()) >= len(vertices)):
        raise ShapeError(f"face indices {faces.min()}..{faces.max()} leave the {len(vertices)} vertices")
    return vertices, faces


def _project(vertices_V3: Doubles, faces_F3: NDArray[np.integer[Any]], camera: Camera) -> _Screen:
    camera_3V = camera.to_camera(vertices_V3)
    z_V = camera_3V[2]
    behind_V = z_V <= NEAR_M
    any_behind = bool(behind_V.any())
    if any_behind:
        z_V = np.where(behind_V, 1.0, z_V)
    x_V, y_V = camera.to_pixels(camera_3V[0], camera_3V[1], z_V)
    fits = max(camera.width, camera.height) < np.iinfo(np.int16).max
    narrow, wide = (np.int16, np.int64) if fits else (np.int32, np.complex128)
    bounds = np.empty((len(x_V), 4), narrow)
    for k, (at, size) in enumerate(((x_V, camera.width), (y_V, camera.height))):
        bounds[:, 2 * k] = np.clip(np.ceil(at), 0, size)
        bounds[:, 2 * k + 1] = -np.clip(np.floor(at), -1, size - 1)
    corner_3F = np.ascontiguousarray(faces_F3.T, np.int64)
    far = 2.0 * float(z_V.max(initial=1.0))
    nearness_V = far - z_V if camera.is_orthographic else 1.0 / z_V
    hidden_V = behind_V if any_behind else None
    return _Screen(camera_3V, x_V, y_V, nearness_V, far, corner_3F, bounds.view(wide)[:, 0], hidden_V)


def _boxes(screen: _Screen, part: slice) -> tuple[_Boxes, int]:
    """Bounding boxes of the faces in ``part`` that hold a pixel centre; how many faces cross the near plane."""
    a, b, c = (screen.corner_3F[k, part] for k in range(3))
    narrow = np.int16 if screen.bounds_V.dtype == np.int64 else np.int32
    least: NDArray[np.signedinteger[Any]] = screen.bounds_V[a].view(narrow)
    np.minimum(least, screen.bounds_V[b].view(narrow), out=least)
    np.minimum(least, screen.bounds_V[c].view(narrow), out=least)
    box_N4 = least.reshape(-1, 4)
    below_x, below_y = box_N4[:, 0] + box_N4[:, 1], box_N4[:, 2] + box_N4[:, 3]  # 1 - number of pixels
    keep = (below_x <= 0) & (below_y <= 0)
    n_crossing = 0
    if screen.behind_V is not None:
        behind = screen.behind_V[a].astype(np.int8) + screen.behind_V[b] + screen.behind_V[c]
        n_crossing = int(((behind > 0) & (behind < 3)).sum())
        keep &= behind == 0
    index = np.flatnonzero(keep)
    boxes = _Boxes(
        index + part.start,
        box_N4[index, 0].astype(np.int64),
        box_N4[index, 2].astype(np.int64),
        1 - below_x[index].astype(np.int64),
        1 - below_y[index].astype(np.int64),
    )
    return boxes, n_crossing


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _inside(w0: Doubles, w1: Doubles, w2: Doubles) -> NDArray[np.bool_]:
    low = np.minimum(np.minimum(w0, w1), w2)
    high = np.maximum(np.maximum(w0, w1), w2)
    inside: NDArray[np.bool_] = (low >= 0) ^ (high <= 0)  # both hold only where all are zero
    return inside


def _small_faces(screen: _Screen, canvas: _Canvas, boxes: _Boxes, block: int) -> None:
    """Faces of one bounding-box shape at a time, cell by cell."""
    shape = boxes.nx_N * (SMALL_SIDE + 1) + boxes.ny_N
    for nx in range(1, SMALL_SIDE + 1):
        for ny in range(1, SMALL_SIDE + 1):
            chosen = np.flatnonzero(shape == nx * (SMALL_SIDE + 1) + ny)
            for part in _blocks(len(chosen), max(1, block // (nx * ny))):
                _one_shape(screen, canvas, boxes.pick(chosen[part]), nx, ny)


def _one_shape(screen: _Screen, canvas: _Canvas, boxes: _Boxes, nx: int, ny: int) -> None:
    corners = [screen.corner_3F[k, boxes.face_N] for k in range(3)]
    ax, bx, cx = (screen.x_V[c] for c in corners)
    ay, by, cy = (screen.y_V[c] for c in corners)
    rows = [(ay - py, by - py, cy - py) for py in (boxes.y0_N + float(i) for i in range(ny))]
    hits = []
    for ix in range(nx):
        px = boxes.x0_N + float(ix)
        dax, dbx, dcx = ax - px, bx - px, cx - px
        for iy, (day, dby, dcy) in enumerate(rows):
            w0 = dbx * dcy - dby * dcx
            w1 = dcx * day - dcy * dax
            w2 = dax * dby - day * dbx
            hit = np.flatnonzero(_inside(w0, w1, w2))
            w0, w1, w2 = w0[hit], w1[hit], w2[hit]
            near = [screen.inverse_z_V[c[hit]] for c in corners]
            inverse_z = (w0 * near[0] + w1 * near[1] + w2 * near[2]) / (w0 + w1 + w2)
            pixel = (boxes.y0_N[hit] + iy) * canvas.width + (boxes.x0_N[hit] + ix)
            hits.append((pixel, inverse_z, boxes.face_N[hit]))
    canvas.add(*(np.concatenate(column) for column in zip(*hits)))


def _middle_faces(screen: _Screen, canvas: _Canvas, boxes: _Boxes, block: int) -> None:
    """Faces cut into pixel rows; rows of a block sorted by length, so that step k works on a prefix."""
    total = np.cumsum(boxes.nx_N * boxes.ny_N)
    start = 0
    while start < len(total):
        done = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + 4 * block, "right")))
        _rows(screen, canvas, boxes.pick(slice(start, stop)))
        start = stop


def _rows(screen: _Screen, canvas: _Canvas, boxes: _Boxes) -> None:
    row_of = np.repeat(np.arange(len(boxes.face_N)), boxes.ny_N)
    first = np.cumsum(boxes.ny_N) - boxes.ny_N
    y = boxes.y0_N[row_of] + (np.arange(len(row_of)) - first[row_of])
    corners = [screen.corner_3F[k, boxes.face_N] for k in range(3)]
    xs = [screen.x_V[c][row_of] for c in corners]
    dys = [screen.y_V[c][row_of] - y for c in corners]
    low, high = _spans(xs, dys)
    x0 = boxes.x0_N[row_of]
    x1 = x0 + (boxes.nx_N[row_of] - 1)
    x0 = np.maximum(np.ceil(low - SPAN_MARGIN_PX), x0).astype(np.int64)
    length = np.minimum(np.floor(high + SPAN_MARGIN_PX), x1).astype(np.int64) - x0 + 1
    key = np.int16 if canvas.width < np.iinfo(np.int16).max else np.int32  # 16 bits: radix sort
    order = np.argsort(-np.maximum(length, 0).astype(key), kind="stable")
    length = length[order]
    order = order[: int(np.count_nonzero(length > 0))]
    if not len(order):
        return
    (ax, bx, cx), (day, dby, dcy) = [a[order] for a in xs], [a[order] for a in dys]
    of = row_of[order]
    near = [screen.inverse_z_V[c[of]] for c in corners]
    face, x0, pixel0 = boxes.face_N[of], x0[order], y[order] * canvas.width + x0[order]
    counts = np.bincount(length[: len(order)])
    longer_than = len(order) - np.cumsum(counts)  # rows with more than k pixels
    hits = []
    for k, n in enumerate(longer_than[:-1].tolist()):
        px = x0[:n] + float(k)
        dax, dbx, dcx = ax[:n] - px, bx[:n] - px, cx[:n] - px
        w0 = dbx * dcy[:n] - dby[:n] * dcx
        w1 = dcx * day[:n] - dcy[:n] * dax
        w2 = dax * dby[:n] - day[:n] * dbx
        hit = np.flatnonzero(_inside(w0, w1, w2))
        inverse_z = (w0 * near[0][:n] + w1 * near[1][:n] + w2 * near[2][:n]) / (w0 + w1 + w2)
        hits.append((pixel0[hit] + k, inverse_z[hit], face[hit]))
    canvas.add(*(np.concatenate(column) for column in zip(*hits)))


def _spans(xs: list[Doubles], dys: list[Doubles]) -> tuple[Doubles, Doubles]:
    """Where each triangle begins and ends on its row: the outermost crossings of its three edges."""
    low, high = np.full(len(xs[0]), np.inf), np.full(len(xs[0]), -np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        share = dys[i] / (dys[i] - dys[j])
        at = xs[i] + share * (xs[j] - xs[i])
        crosses = (share >= 0) & (share <= 1)
        np.minimum(low, at, out=low, where=crosses)
        np.maximum(high, at, out=high, where=crosses)
    return low, high


def _huge_faces(screen: _Screen, canvas: _Canvas, boxes: _Boxes, block: int) -> None:
    """One face at a time, in strips of rows."""
    nearest_HW = canvas.nearest_P.reshape(canvas.height, canvas.width)
    face_HW = canvas.face_P.reshape(canvas.height, canvas.width)
    for face, x0, y0, nx, ny in zip(*(column.tolist() for column in boxes)):
        corners = screen.corner_3F[:, face]
        near = screen.inverse_z_V[corners]
        dax, dbx, dcx = screen.x_V[corners][:, None] - np.arange(x0, x0 + nx, dtype=np.float64)
        for part in _blocks(ny, max(1, block // nx)):
            rows = slice(y0 + part.start, y0 + part.stop)
            py = np.arange(rows.start, rows.stop, dtype=np.float64)
            day, dby, dcy = (screen.y_V[c] - py[:, None] for c in corners)
            w0 = dbx * dcy - dby * dcx
            w1 = dcx * day - dcy * dax
            w2 = dax * dby - day * dbx
            inverse_z = (w0 * near[0] + w1 * near[1] + w2 * near[2]) / (w0 + w1 + w2)
            window = (rows, slice(x0, x0 + nx))
            best, owner = nearest_HW[window], face_HW[window]
            wins = _inside(w0, w1, w2) & ((inverse_z > best) | ((inverse_z == best) & (face < owner)))
            best[wins] = inverse_z[wins]
            owner[wins] = face


def _resolve(screen: _Screen, canvas: _Canvas, camera: Camera, n_near: int) -> Hits:
    """Intersect the rays of covered pixels with the planes of their faces."""
    size = camera.width * camera.height
    depth_P, barycentric_P3 = np.full(size, np.inf), np.zeros((size, 3))
    covered = np.flatnonzero(canvas.face_P != NO_FACE)
    for part in _blocks(len(covered), WORK_BLOCK // 2):
        pixel = covered[part]
        corners = screen.corner_3F[:, canvas.face_P[pixel]]
        y, x = np.divmod(pixel, camera.width)
        at = x.astype(np.float64), y.astype(np.float64)
        starts = camera.origins(*at) if camera.is_orthographic else None
        depth, weights = _ray_plane(screen.camera_3V, corners, *camera.rays(*at), starts)
        nearest = canvas.nearest_P[pixel]
        _mend(depth, weights, screen.far - nearest if camera.is_orthographic else 1.0 / nearest)
        depth_P[pixel] = depth
        barycentric_P3[pixel] = weights
    face_P = canvas.face_P
    face_P[face_P == NO_FACE] = -1
    shape = (camera.height, camera.width)
    return Hits(face_P.reshape(shape), depth_P.reshape(shape), barycentric_P3.reshape(*shape, 3), n_near)


def _mend(depth_N: Doubles, weights_N3: Doubles, screen_depth_N: Doubles) -> None:
    """Faces seen edge-on to within rounding: take the depth found on screen, and weights inside the face."""
    least = np.minimum(np.minimum(weights_N3[:, 0], weights_N3[:, 1]), weights_N3[:, 2])
    bad = np.flatnonzero(~(least >= -1e-6) | ~np.isfinite(depth_N))
    if len(bad):
        depth_N[bad] = screen_depth_N[bad]
        weights = np.clip(np.nan_to_num(weights_N3[bad], nan=1.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
        weights_N3[bad] = weights / weights.sum(1, keepdims=True)


def _ray_plane(
    camera_3V: Doubles, corner_3N: Ints, dx: Doubles, dy: Doubles, starts: tuple[Doubles, Doubles] | None
) -> tuple[Doubles, Doubles]:
    """z-depth and barycentric weights where the ray (dx, dy, 1) meets each face's plane; it starts in the origin, or at
    the given x and y with z = 0.

    The depth is limited to the range of the face's corners, which only rounding on slivers could leave.

    Source: Moeller and Trumbore 1997, with the origin in the camera.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = ([row[c] for row in camera_3V] for c in corner_3N)
    if starts is not None:
        ax, bx, cx = (x - starts[0] for x in (ax, bx, cx))
        ay, by, cy = (y - starts[1] for y in (ay, by, cy))
    e1x, e1y, e1z = bx - ax, by - ay, bz - az
    e2x, e2y, e2z = cx - ax, cy - ay, cz - az
    px, py, pz = dy * e2z - e2y, e2x - dx * e2z, dx * e2y - dy * e2x  # ray x e2
    scale = 1.0 / (e1x * px + e1y * py + e1z * pz)
    u = -(ax * px + ay * py + az * pz) * scale
    qx, qy, qz = az * e1y - ay * e1z, ax * e1z - az * e1x, ay * e1x - ax * e1y  # e1 x a = (-a) x e1
    v = (dx * qx + dy * qy + qz) * scale
    depth = (e2x * qx + e2y * qy + e2z * qz) * scale
    nearest, farthest = np.minimum(np.minimum(az, bz), cz), np.maximum(np.maximum(az, bz), cz)
    return np.minimum(np.maximum(depth, nearest), farthest), np.stack([1.0 - u - v, u, v], 1)
