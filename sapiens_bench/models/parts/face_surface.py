"""The points of a face network as a surface: triangles, and the normals that a picture sees of them.

The network's 468 points come without triangles. Turned to the front by their own depth they lie side by side, so the
Delaunay triangles of that view join neighbours whichever way the head looks; eyes and mouth are closed by it.

Axes: P points, F triangles, H, W picture. Points: x right, y down, z away from the viewer, all in pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.rasterise import rasterise

Doubles = NDArray[np.float64]
RIGHT_EYE, LEFT_EYE, FOREHEAD, CHIN = 33, 263, 10, 152  # outer corners of the eyes; ends of the face's middle line
LONGEST_EDGE = 0.5  # of the points' spread; longer ones close the outline where it is hollow
BEHIND = 1e4  # pixels by which the surface is moved away from the camera's plane


def frontal_triangles(points_P3: Doubles) -> NDArray[np.int64]:
    """Triangles [F, 3] of a face's points; none where the points do not span a face."""
    from scipy.spatial import Delaunay, QhullError

    across = points_P3[LEFT_EYE] - points_P3[RIGHT_EYE]
    down = points_P3[CHIN] - points_P3[FOREHEAD]
    across = across / max(float(np.linalg.norm(across)), 1e-9)
    down = down - (down @ across) * across
    down = down / max(float(np.linalg.norm(down)), 1e-9)
    flat = (points_P3 - points_P3.mean(0)) @ np.stack([across, down], 1)
    spread = float(np.sqrt((flat**2).sum(1).mean()))
    try:
        found = Delaunay(flat).simplices.astype(np.int64)
    except (QhullError, ValueError):  # all on one line, or not finite
        return np.zeros((0, 3), np.int64)
    edges = np.linalg.norm(flat[found] - flat[np.roll(found, 1, axis=1)], axis=2)
    kept: NDArray[np.int64] = found[edges.max(axis=1) < LONGEST_EDGE * spread]
    return kept


def surface_normals(points_P3: Doubles, size_hw: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What a picture sees of the surface: unit normals [H, W, 3] (x right, y up, z towards the viewer), and where.

    Normals are those of the points (means over their triangles by area), interpolated.
    """
    height, width = size_hw
    triangles = frontal_triangles(points_P3)
    nothing = np.zeros((height, width, 3), np.float32)
    if not len(triangles):
        return nothing, np.zeros((height, width), np.bool_)
    a, b, c = (points_P3[triangles[:, corner]] for corner in range(3))
    faced = np.cross(b - a, c - a)
    faced[faced[:, 2] > 0] *= -1  # towards the viewer, who looks along +z
    vectors = np.zeros_like(points_P3)
    for corner in range(3):
        np.add.at(vectors, triangles[:, corner], faced)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    camera = Camera(np.eye(3), np.eye(3), np.array([0.0, 0.0, BEHIND]), width, height, is_orthographic=True)
    hits = rasterise(points_P3, triangles, camera)
    seen = hits.mask_HW
    mixed = (vectors[triangles[hits.face_HW[seen]]] * hits.barycentric_HW3[seen][..., None]).sum(1)
    mixed *= (1, -1, -1)
    nothing[seen] = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)
    return nothing, seen
