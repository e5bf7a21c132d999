"""Depth and normals of one picture must describe the same surface: that tells conventions apart without asking anyone.

Frames: normals x right, y up, z towards the viewer; camera x right, y down, z forward; depth along z.
Axes: H height, W width, N pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.angles import angles_deg
from sapiens_bench.tasks.normal.evidence import SIGNS, Sign

MAX_PIXELS = 40_000  # looked at per picture
MIN_PIXELS = 200  # fewer say nothing
PLAUSIBLE_M = (0.2, 20.0)  # median distance of a person from the camera


def ray_factor(shape_hw: tuple[int, int], K: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ray length of a point at z = 1 through each pixel centre, float64 [H, W]."""
    v, u = np.mgrid[: shape_hw[0], : shape_hw[1]].astype(np.float64)
    y = (v - K[1, 2]) / K[1, 1]
    x = (u - K[0, 2] - K[0, 1] * y) / K[0, 0]
    return np.asarray(np.sqrt(x * x + y * y + 1.0))


def normals_from_depth(depth_HW: NDArray[np.floating], K: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unit normals of the surface a z-depth map describes, float32 [H, W, 3]; NaN at the rim and beside gaps.

    Central differences of the back-projected points; the side that faces the camera.
    """
    z = np.asarray(depth_HW, np.float64)
    v, u = np.mgrid[: z.shape[0], : z.shape[1]].astype(np.float64)
    y = (v - K[1, 2]) / K[1, 1]
    x = (u - K[0, 2] - K[0, 1] * y) / K[0, 0]
    points = np.stack([x * z, y * z, z], axis=-1)
    normals = np.full(points.shape, np.nan, np.float32)
    if min(z.shape) < 3:
        return normals
    inner = np.s_[1:-1, 1:-1]
    along_u = points[1:-1, 2:] - points[1:-1, :-2]
    along_v = points[2:, 1:-1] - points[:-2, 1:-1]
    n = np.cross(along_u, along_v)
    away = np.einsum("hwc,hwc->hw", n, points[inner]) > 0
    n[away] *= -1
    with np.errstate(invalid="ignore", divide="ignore"):
        n /= np.linalg.norm(n, axis=-1, keepdims=True)
    normals[inner] = n * np.array([1.0, -1.0, -1.0])
    return normals


def sign_angles(
    normals_HW3: NDArray[np.floating], reference_HW3: NDArray[np.float32], mask_HW: NDArray[np.bool_]
) -> dict[Sign, float]:
    """Median angle in degrees between ``normals * sign`` and the reference, for the eight signs; NaN without pixels."""
    given, reference = _usable(normals_HW3, reference_HW3, mask_HW)
    if len(given) < MIN_PIXELS:
        return {sign: float("nan") for sign in SIGNS}
    return {sign: float(np.median(angles_deg(given * np.asarray(sign, np.float32), reference))) for sign in SIGNS}


def best_sign(angles: dict[Sign, float]) -> Sign | None:
    """The sign with the smallest angle; None when nothing is defined."""
    defined = {sign: angle for sign, angle in angles.items() if np.isfinite(angle)}
    return min(defined, key=lambda sign: defined[sign]) if defined else None


def _usable(
    a_HW3: NDArray[np.floating], b_HW3: NDArray[np.float32], mask_HW: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels where both have a vector, evenly thinned out."""
    a, b = a_HW3[mask_HW].astype(np.float32), b_HW3[mask_HW]
    both = np.isfinite(a).all(1) & np.isfinite(b).all(1) & (a != 0).any(1)
    a, b = a[both], b[both]
    step = max(1, len(a) // MAX_PIXELS)
    return a[::step], b[::step]
