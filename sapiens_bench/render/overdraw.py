"""How much work a mesh is to rasterise, known before it is done: a hostile file must not keep a run busy for days.

Axes: V vertices, F faces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera

_BLOCK = 1 << 16


def overdraw(vertices_V3: NDArray[np.float64], faces_F3: NDArray[np.integer[Any]], camera: Camera) -> float:
    """How many times the bounding boxes of all faces cover the image; faces behind the camera count nothing."""
    seen = camera.project(vertices_V3)
    limits = np.array([camera.width, camera.height], np.float64)
    at_V2 = np.clip(np.nan_to_num(seen.uv_V2_px, nan=0.0, posinf=1e9, neginf=-1e9), -1.0, limits)
    in_front_V = seen.depth_V_m > 0
    total = 0.0
    for start in range(0, len(faces_F3), _BLOCK):
        corners = faces_F3[start : start + _BLOCK]
        corners = corners[in_front_V[corners].all(1)]
        a, b, c = (at_V2[corners[:, k]] for k in range(3))
        sides = np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)
        total += float((sides[:, 0] * sides[:, 1]).sum())
    return total / float(limits.prod())
