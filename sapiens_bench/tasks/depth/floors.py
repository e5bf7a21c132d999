"""Depth that needs no learning: a constant, or the silhouette inflated like a balloon, towards the viewer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.types import DepthPrediction


def constant(mask_HW: NDArray[np.bool_]) -> DepthPrediction:
    """One metre everywhere: the protocol's alignment moves it to where the image is (its median or mean depth)."""
    return DepthPrediction(np.ones(mask_HW.shape, np.float32), "scale_invariant_depth")


def inflated(mask_HW: NDArray[np.bool_]) -> DepthPrediction:
    """Height towards the viewer makes a pixel nearer; only order and proportions matter after the fit."""
    from sapiens_bench.pixels.inflate import balloon_heights

    return DepthPrediction(-balloon_heights(mask_HW), "affine_invariant_depth")
