"""Records of point maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.types import Scene

CANONICAL_HW, CANONICAL_FOCAL = (1024, 768), 768.0  # network input and focal length of Sapiens2's point maps


@dataclass(frozen=True, slots=True)
class PointmapTarget:
    points_HW3: NDArray[np.float32]  # camera axes x right, y down, z forward, metres; undefined where mask_HW is False
    mask_HW: NDArray[np.bool_]  # True on pixels that are scored
    focal_px: float = float("nan")  # horizontal focal length of the picture; NaN where the data set does not know it

    @property
    def canonical_factor(self) -> float:
        """Metres -> lengths as a camera of focal length 768 would give them, of the picture fitted into 1024 x 768.

        Source: facebookresearch/sapiens2, ``pointmap_transforms.py`` (``PointmapResize``, ``PointmapGenerateTarget``).
        """
        height, width = self.mask_HW.shape
        fitted = min(CANONICAL_HW[1] / width, CANONICAL_HW[0] / height)
        return float(CANONICAL_FOCAL / (self.focal_px * fitted))


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
    focal = float(scene.intrinsics[0, 0])
    return PointmapTarget(np.where(mask[..., None], points, np.float32(0)), mask, focal)
