"""COCO segmentations (polygons or run lengths) as masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault


def coco_mask(segmentation: Any, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask, bool [H, W], of a COCO ``segmentation`` entry.

    Args:
        segmentation: list of polygons ``[x, y, ...]``, or ``{"size": [H, W], "counts": list or text}``.
        size_wh: size of the picture.

    Raises:
        SampleFault: ``label.segmentation``; malformed, or of another size.

    Source: the COCO format as read by pycocotools (``annToRLE``).
    """
    width, height = size_wh
    if isinstance(segmentation, dict):
        runs = _checked_runs(segmentation, width, height)
    elif isinstance(segmentation, list) and segmentation:
        if not all(_is_polygon(p) for p in segmentation):
            raise SampleFault("label.segmentation", "a polygon needs an even number of at least 6 finite numbers")
        from pycocotools import mask as coco

        runs = _decompress(coco.merge(coco.frPyObjects(segmentation, height, width))["counts"])
    else:
        raise SampleFault("label.segmentation", f"neither polygons nor run lengths: {type(segmentation).__name__}")
    is_inside = np.arange(len(runs)) % 2 == 1  # runs alternate, background first, down the columns
    return np.ascontiguousarray(np.repeat(is_inside, runs).reshape(width, height).T)


def _is_polygon(points: Any) -> bool:
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in points)


def _checked_runs(entry: dict[str, Any], width: int, height: int) -> list[int]:
    """Run lengths that add up to the picture; pycocotools' own decoder overruns on others."""
    counts = entry.get("counts")
    if entry.get("size") != [height, width]:
        raise SampleFault("label.segmentation", f"run lengths are for {entry.get('size')}, not [{height}, {width}]")
    if isinstance(counts, str | bytes):
        counts = _decompress(counts.encode("ascii", "replace") if isinstance(counts, str) else counts)
    if not isinstance(counts, list) or not all(type(c) is int and c >= 0 for c in counts):
        raise SampleFault("label.segmentation", "run lengths are not whole numbers")
    if sum(counts) != width * height:
        raise SampleFault("label.segmentation", f"run lengths add up to {sum(counts)}, not {width} x {height}")
    return counts


def _decompress(data: bytes) -> list[int]:
    """Run lengths of COCO's text form: 5 bits a character, sign-extended, differences to the run two before."""
    runs: list[int] = []
    value, shift = 0, 0
    for character in data:
        bits = character - 48
        if not 0 <= bits < 64:
            raise SampleFault("label.segmentation", "compressed run lengths hold a foreign character")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0 or value >= 1 << 32:
            raise SampleFault("label.segmentation", "a run length is negative or too large")
        runs.append(value)
        value, shift = 0, 0
    if shift:
        raise SampleFault("label.segmentation", "compressed run lengths are cut")
    return runs
