"""What the noisy oracle does to perfect depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget


class DepthNoise(Options):
    """How strong it is."""

    relative: float = Field(default=0.05, ge=0)
    """Standard deviation of every value, as a share of it."""


def add_noise(
    prediction: DepthPrediction, target: DepthTarget, rng: np.random.Generator, options: DepthNoise
) -> DepthPrediction:
    """Every value times 1 + ``relative`` x a standard normal draw, kept positive."""
    depth = np.asarray(prediction.depth_HW)
    factor = np.maximum(1.0 + options.relative * rng.standard_normal(depth.shape), 0.05)
    return replace(prediction, depth_HW=(depth * factor).astype(depth.dtype))
