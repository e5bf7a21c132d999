"""What the noisy oracle does to perfect labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget


class SegNoise(Options):
    """How strong it is."""

    flip: float = Field(default=0.1, ge=0, le=1)
    """Share of pixels that take the label of a pixel drawn anywhere in the image."""


def add_noise(
    prediction: SegPrediction, target: SegTarget, rng: np.random.Generator, options: SegNoise
) -> SegPrediction:
    """Labels with a share ``flip`` of them replaced."""
    labels = np.asarray(prediction.labels_HW)
    flipped = rng.random(labels.shape) < options.flip
    drawn = labels.reshape(-1)[rng.integers(0, max(labels.size, 1), size=labels.shape)]
    return replace(prediction, labels_HW=np.where(flipped, drawn, labels).astype(labels.dtype))
