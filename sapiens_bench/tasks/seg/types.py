"""Records of body-part segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = 255  # in a target: not scored
NO_CLASS = 254  # in a prediction: no class of the set (a converted label set has no word for it)


@dataclass(frozen=True, slots=True)
class SegTarget:
    labels_HW: NDArray[np.uint8]  # class index in the protocol's label set, 255 = ignored


@dataclass(frozen=True, slots=True)
class SegPrediction:
    labels_HW: NDArray[np.uint8]  # class index, or NO_CLASS; at the target's size
