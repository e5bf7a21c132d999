"""Albedo as 16-bit colour PNG in the colour space of the prediction, which the file names. Axes: H height, W width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.albedo.types import AlbedoPrediction, AlbedoTarget, ColourSpace
from sapiens_bench.tasks.maps import About, read_map, write_map

STEPS = 65535


class AlbedoCodec:
    """See ``types.MapCodec``."""

    def encode(self, prediction: AlbedoPrediction, target: AlbedoTarget, names: Sequence[str]) -> bytes:
        values = np.where(target.mask_HW[..., None], prediction.albedo_HW3.astype(np.float64), 0)
        counts = np.rint(np.clip(values, 0, 1) * STEPS).astype(np.uint16)
        return write_map(counts, {"task": "albedo", "space": prediction.space, "mask": "scored pixels"})

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> AlbedoPrediction:
        return read_map(data, name, ("uint16", 3), {"task": "albedo"}, _albedo)


def _albedo(counts_HW3: NDArray[Any], about: About) -> AlbedoPrediction:
    if about["space"] not in get_args(ColourSpace):
        raise ValueError(f"space {about['space']!r}")
    return AlbedoPrediction((counts_HW3 / STEPS).astype(np.float32), about["space"])
