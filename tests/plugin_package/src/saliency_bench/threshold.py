"""What is bright is salient: a model without a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from saliency_bench.task import Saliency
from sapiens_bench.cards.options import Options
from sapiens_bench.models.context import ModelContext
from sapiens_bench.types import ModelInput, Prepared


class ThresholdOptions(Options):
    """Of the threshold."""

    level: int = 120
    """Grey value from which a pixel is salient."""


class Threshold:
    """The wrapper."""

    Options = ThresholdOptions

    def __init__(self, context: ModelContext) -> None:
        self.options: ThresholdOptions = context.options

    def prepare(self, x: ModelInput) -> Prepared:
        """No tensors: the picture itself is the geometry."""
        return Prepared({}, x.image_HW3[..., 0])

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Saliency:
        """1 where bright."""
        return Saliency((geometry >= self.options.level).astype(np.float32))
