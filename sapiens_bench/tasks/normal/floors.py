"""Normals that need no learning: everything faces the viewer, or the surface of the inflated silhouette."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.types import NormalPrediction


def flat(mask_HW: NDArray[np.bool_]) -> NormalPrediction:
    """(0, 0, 1) everywhere."""
    normals = np.zeros((*mask_HW.shape, 3), np.float32)
    normals[..., 2] = 1
    return NormalPrediction(normals)


def inflated(mask_HW: NDArray[np.bool_]) -> NormalPrediction:
    """The normals of the balloon; (0, 0, 1) off the person."""
    from sapiens_bench.pixels.inflate import balloon_normals

    return NormalPrediction(balloon_normals(mask_HW))
