"""Depth maps as 16-bit PNG.

0 is no value, 1..65535 is ``offset + step * (count - 1)``, over the range of that image's scored pixels; other pixels
are not kept. Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget
from sapiens_bench.tasks.maps import TOP, About, read_map, write_map


class DepthCodec:
    """See ``types.MapCodec``. The file carries the depth's kind, offset and step."""

    def encode(self, prediction: DepthPrediction, target: DepthTarget, names: Sequence[str]) -> bytes:
        values = prediction.depth_HW.astype(np.float64)
        has = target.mask_HW & np.isfinite(values)
        low, high = (float(values[has].min()), float(values[has].max())) if has.any() else (0.0, 0.0)
        step = (high - low) / TOP
        counts = np.zeros(values.shape, np.uint16)
        counts[has] = 1 + (np.rint((values[has] - low) / step) if step > 0 else 0)
        about = {"task": "depth", "kind": prediction.kind, "offset": low, "step": step, "mask": "scored pixels"}
        return write_map(counts, about)

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> DepthPrediction:
        return read_map(data, name, ("uint16", 2), {"task": "depth"}, _depth)


def _depth(counts_HW: NDArray[Any], about: About) -> DepthPrediction:
    if about["kind"] not in get_args(DepthKind):
        raise ValueError(f"kind {about['kind']!r}")
    depth = float(about["offset"]) + float(about["step"]) * (counts_HW.astype(np.float64) - 1)
    depth[counts_HW == 0] = np.nan
    return DepthPrediction(depth.astype(np.float32), about["kind"])
