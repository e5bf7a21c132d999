"""Point maps as 16-bit PNG: (0, 0, 0) is no point, else ``offset + step * (count - 1)`` on each axis, over the range of
that image's scored pixels. Axes: H height, W width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.maps import TOP, About, read_map, write_map
from sapiens_bench.tasks.pointmap.types import PointmapPrediction, PointmapTarget


class PointmapCodec:
    """See ``types.MapCodec``. The file carries offset and step of each axis."""

    def encode(self, prediction: PointmapPrediction, target: PointmapTarget, names: Sequence[str]) -> bytes:
        values = prediction.points_HW3.astype(np.float64)
        has = target.mask_HW & np.isfinite(values).all(axis=-1)
        low, high = (values[has].min(0), values[has].max(0)) if has.any() else (np.zeros(3), np.zeros(3))
        step = (high - low) / TOP
        counts = np.zeros(values.shape, np.uint16)
        counts[has] = 1 + np.rint((values[has] - low) / np.where(step > 0, step, 1))
        return write_map(counts, {"task": "pointmap", "offset": low.tolist(), "step": step.tolist()})

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> PointmapPrediction:
        return read_map(data, name, ("uint16", 3), {"task": "pointmap"}, _points)


def _points(counts_HW3: NDArray[Any], about: About) -> PointmapPrediction:
    offset, step = (np.asarray(about[key], np.float64).reshape(3) for key in ("offset", "step"))
    points = offset + step * (counts_HW3.astype(np.float64) - 1)
    points[(counts_HW3 == 0).all(axis=-1)] = np.nan
    return PointmapPrediction(points.astype(np.float32))
