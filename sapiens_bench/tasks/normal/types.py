"""Records of surface-normal estimation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NormalTarget:
    normals_HW3: NDArray[np.float32]  # unit, camera axes: x right, y up, z towards the viewer
    mask_HW: NDArray[np.bool_]  # True on pixels that are scored


@dataclass(frozen=True, slots=True)
class NormalPrediction:
    normals_HW3: NDArray[np.float32]  # same axes and size; any positive length
