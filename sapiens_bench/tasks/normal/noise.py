"""What the noisy oracle does to perfect normals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget


class NormalNoise(Options):
    """How strong it is."""

    sigma: float = Field(default=0.2, ge=0)
    """Standard deviation added to each component before the length is made 1 again."""


def add_noise(
    prediction: NormalPrediction, target: NormalTarget, rng: np.random.Generator, options: NormalNoise
) -> NormalPrediction:
    """Each component plus ``sigma`` x a standard normal draw, then unit length again."""
    normals = np.asarray(prediction.normals_HW3, np.float64)
    noisy = normals + options.sigma * rng.standard_normal(normals.shape)
    length = np.linalg.norm(noisy, axis=-1, keepdims=True)
    unit = np.where(length > 1e-6, noisy / np.maximum(length, 1e-6), normals)
    return replace(prediction, normals_HW3=unit.astype(np.asarray(prediction.normals_HW3).dtype))
