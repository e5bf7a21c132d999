"""Normals that need no learning: everything faces the viewer, or the surface of the inflated silhouette."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.pixels.inflate import balloon_normals, flat_normals
from sapiens_bench.tasks.normal.types import NormalPrediction


def flat(mask_HW: NDArray[np.bool_]) -> NormalPrediction:
    """(0, 0, 1) everywhere."""
    return NormalPrediction(flat_normals(mask_HW.shape))


def inflated(mask_HW: NDArray[np.bool_]) -> NormalPrediction:
    """The normals of the balloon; (0, 0, 1) off the person."""
    return NormalPrediction(balloon_normals(mask_HW))
