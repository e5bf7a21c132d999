"""Records of alpha matting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import CardError
from sapiens_bench.types import Scene


@dataclass(frozen=True, slots=True)
class MattingTarget:
    alpha_HW: NDArray[np.float32]  # share of people in the pixel, 0..1
    unknown_HW: NDArray[np.bool_] | None = None  # what a trimap of the data set leaves open; None: it has none


@dataclass(frozen=True, slots=True)
class MattingPrediction:
    alpha_HW: NDArray[np.float32]  # at the target's size, 0..1


def of_scene(scene: Scene) -> MattingTarget:
    """The share with which the renderer mixed people into each pixel.

    Raises:
        CardError: whoever made the scene did not work alpha out.
    """
    if scene.alpha_HW is None:
        raise CardError("This data set renders no alpha, so it has no truth for matting.")
    return MattingTarget(scene.alpha_HW)
