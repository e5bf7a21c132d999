"""What the noisy oracle does to a perfect matte."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.matting.types import MattingPrediction, MattingTarget


class MattingNoise(Options):
    """How strong it is."""

    sigma: float = Field(default=0.05, ge=0)
    """Standard deviation added to every pixel; alpha is cut to 0..1 afterwards."""


def add_noise(
    prediction: MattingPrediction, target: MattingTarget, rng: np.random.Generator, options: MattingNoise
) -> MattingPrediction:
    """Alpha + ``sigma`` x a standard normal draw at every pixel, 0..1."""
    alpha = prediction.alpha_HW
    noisy = alpha + options.sigma * rng.standard_normal(alpha.shape)
    return MattingPrediction(np.clip(noisy, 0, 1).astype(np.float32))
