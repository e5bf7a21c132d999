"""Mattes as 16-bit PNG, steps of 1 / 65535. Axes: H height, W width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.maps import About, read_map, write_map
from sapiens_bench.tasks.matting.types import MattingPrediction, MattingTarget

STEPS = 65535


class MattingCodec:
    """See ``types.MapCodec``."""

    def encode(self, prediction: MattingPrediction, target: MattingTarget, names: Sequence[str]) -> bytes:
        counts = np.rint(np.clip(prediction.alpha_HW.astype(np.float64), 0, 1) * STEPS).astype(np.uint16)
        return write_map(counts, {"task": "matting"})

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> MattingPrediction:
        return read_map(data, name, ("uint16", 2), {"task": "matting"}, _alpha)


def _alpha(counts_HW: NDArray[Any], about: About) -> MattingPrediction:
    return MattingPrediction((counts_HW / STEPS).astype(np.float32))
