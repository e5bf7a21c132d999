"""What the noisy oracle does to perfect albedo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.albedo.types import AlbedoPrediction, AlbedoTarget


class AlbedoNoise(Options):
    """How strong it is."""

    sigma: float = Field(default=0.03, ge=0)
    """Standard deviation added to every linear value; colours are cut to 0..1 afterwards."""


def add_noise(
    prediction: AlbedoPrediction, target: AlbedoTarget, rng: np.random.Generator, options: AlbedoNoise
) -> AlbedoPrediction:
    """Every value + ``sigma`` x a standard normal draw, 0..1."""
    values = prediction.albedo_HW3
    noisy = values + options.sigma * rng.standard_normal(values.shape)
    return replace(prediction, albedo_HW3=np.clip(noisy, 0, 1).astype(np.float32))
