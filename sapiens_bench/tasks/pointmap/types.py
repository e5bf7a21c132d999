"""Records of point maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.types import Scene


@dataclass(frozen=True, slots=True)
class PointmapTarget:
    points_HW3: NDArray[np.float32]  # camera axes x right, y down, z forward, metres; undefined where mask_HW is False
    mask_HW: NDArray[np.bool_]  # True on pixels that are scored


@dataclass(frozen=True, slots=True)
class PointmapPrediction:
    points_HW3: NDArray[np.float32]  # same axes and size; up to one factor per image unless the protocol fits nothing


def of_scene(scene: Scene) -> PointmapTarget:
    """Depth along the optical axis and the pinhole of the camera: the point behind every pixel centre."""
    height, width = scene.depth_HW_m.shape
    u, v = np.arange(width) - scene.intrinsics[0, 2], np.arange(height) - scene.intrinsics[1, 2]
    z = scene.depth_HW_m.astype(np.float64)
    x, y = u / scene.intrinsics[0, 0] * z, v[:, None] / scene.intrinsics[1, 1] * z
    points = np.stack([x, y, z], axis=-1).astype(np.float32)
    mask = scene.mask_HW & np.isfinite(points).all(axis=-1)
    return PointmapTarget(np.where(mask[..., None], points, np.float32(0)), mask)
