"""Records of albedo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import CardError
from sapiens_bench.types import Scene

ColourSpace = Literal["srgb", "linear"]  # values as pictures store them (IEC 61966-2-1), or in proportion to light


@dataclass(frozen=True, slots=True)
class AlbedoTarget:
    albedo_HW3: NDArray[np.float32]  # linear RGB 0..1; undefined where mask_HW is False
    mask_HW: NDArray[np.bool_]  # True on pixels that are scored


@dataclass(frozen=True, slots=True)
class AlbedoPrediction:
    albedo_HW3: NDArray[np.float32]  # RGB 0..1 at the target's size
    space: ColourSpace  # of the numbers; never guessed


def of_scene(scene: Scene) -> AlbedoTarget:
    """The base colour that the renderer lit, averaged over what the pixel shows of people.

    Raises:
        CardError: whoever made the scene did not work albedo out.
    """
    if scene.albedo_HW3 is None:
        raise CardError("This data set renders no albedo, so it has no truth for it.")
    mask = scene.mask_HW & np.isfinite(scene.albedo_HW3).all(axis=-1)
    return AlbedoTarget(np.where(mask[..., None], scene.albedo_HW3, np.float32(0)), mask)


def in_space(values: NDArray[np.floating[Any]], has: ColourSpace, wanted: ColourSpace) -> NDArray[np.float64]:
    """Colours 0..1 in another space, float64.

    Source: IEC 61966-2-1 (sRGB), transfer function.
    """
    v = values.astype(np.float64)
    if has == wanted:
        return v
    if wanted == "srgb":
        return np.asarray(np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 0.0031308) ** (1 / 2.4) - 0.055))
    return np.asarray(np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.04045) + 0.055) / 1.055) ** 2.4))
