"""Label maps as PNG: one byte a pixel, 254 for no class. Axes: H height, W width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sapiens_bench.tasks.maps import label_set, read_map, write_map
from sapiens_bench.tasks.seg.types import SegPrediction


class LabelCodec:
    """See ``types.MapCodec``. The file carries a hash of the class names."""

    def encode(self, prediction: SegPrediction, target: Any, names: Sequence[str]) -> bytes:
        return write_map(prediction.labels_HW.astype(np.uint8), {"task": "seg", "labels": label_set(names)})

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> SegPrediction:
        wanted = {"task": "seg", "labels": label_set(names)}
        return read_map(data, name, ("uint8", 2), wanted, lambda pixels, about: SegPrediction(pixels))
