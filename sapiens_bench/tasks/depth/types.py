"""Records of depth estimation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# What a model's numbers mean, hence in which space a fit to the ground truth is made.
DepthKind = Literal[
    "metric_depth",  # metres along the optical axis
    "scale_invariant_depth",  # true depth up to one factor per image (point maps)
    "affine_invariant_depth",  # true depth up to factor and offset; larger = farther (Sapiens v1, DAViD)
    "affine_invariant_inverse_depth",  # 1 / depth up to factor and offset; larger = nearer (MiDaS, Depth Anything)
]


@dataclass(frozen=True, slots=True)
class DepthTarget:
    depth_HW: NDArray[np.float32]  # metres along the camera's z axis; undefined where mask_HW is False
    mask_HW: NDArray[np.bool_]  # True on pixels that are scored (human, finite, positive)


@dataclass(frozen=True, slots=True)
class DepthPrediction:
    depth_HW: NDArray[np.float32]  # at the target's size, in the meaning of ``kind``
    kind: DepthKind
