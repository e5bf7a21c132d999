"""Normal maps as 16-bit PNG.

(0, 0, 0) is no value, else ``2 (count - 1) / 65534 - 1`` per axis: an angle is kept to 0.002 degrees. Only scored
pixels are kept. Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.maps import TOP, About, read_map, write_map
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget


class NormalCodec:
    """See ``types.MapCodec``. The file names the frame."""

    def encode(self, prediction: NormalPrediction, target: NormalTarget, names: Sequence[str]) -> bytes:
        values = prediction.normals_HW3.astype(np.float64)
        length = np.linalg.norm(values, axis=-1)
        has = target.mask_HW & np.isfinite(length) & (length > 0)
        counts = np.zeros(values.shape, np.uint16)
        counts[has] = 1 + np.rint((values[has] / length[has][:, None] + 1) * (TOP / 2))
        about = {"task": "normal", "frame": "x right, y up, z towards the viewer", "mask": "scored pixels"}
        return write_map(counts, about)

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> NormalPrediction:
        return read_map(data, name, ("uint16", 3), {"task": "normal"}, _normals)


def _normals(counts_HW3: NDArray[Any], about: About) -> NormalPrediction:
    normals = (counts_HW3.astype(np.float64) - 1) * (2 / TOP) - 1
    normals[(counts_HW3 == 0).all(axis=-1)] = np.nan
    return NormalPrediction(normals.astype(np.float32))
