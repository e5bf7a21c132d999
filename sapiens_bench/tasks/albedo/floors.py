"""Albedo that needs no learning: the picture as it is, or its mean colour everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.albedo.types import AlbedoPrediction, in_space


def the_picture(image_HW3: NDArray[np.uint8]) -> AlbedoPrediction:
    """As if there were no light: an estimate that removes none must be beaten."""
    return AlbedoPrediction(image_HW3.astype(np.float32) / np.float32(255), "srgb")


def mean_colour(image_HW3: NDArray[np.uint8]) -> AlbedoPrediction:
    """The mean over the whole picture, of linear values."""
    values = in_space(image_HW3.astype(np.float32) / np.float32(255), "srgb", "linear")
    colour = values.reshape(-1, 3).mean(axis=0).astype(np.float32)
    return AlbedoPrediction(np.broadcast_to(colour, image_HW3.shape).copy(), "linear")
