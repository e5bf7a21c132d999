"""Dense predictions as PNG files that say themselves what they hold: labels in 8 bits, depth and normals in 16.

Depth: 0 is no value, 1..65535 is ``offset + step * (count - 1)``, over the range of that image's scored pixels.
Normals: (0, 0, 0) is no value, else ``2 (count - 1) / 65534 - 1`` per axis: an angle is kept to 0.002 degrees.
Depth and normals are kept on scored pixels only. The meaning stands in a text chunk of the file.

Axes: H height, W width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault, ShapeError
from sapiens_bench.pixels.png import Png, decode_png, encode_png
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import Task

KEYWORD = "sapiens-bench"
SCHEMA = "map/1"
TOP = 65534


def label_set(names: Sequence[str]) -> str:
    """A hash of class names, so that labels of another set are not read as one's own; "" without."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else ""


def encode_map(prediction: Any, target: Any, task: Task) -> bytes:
    """The PNG file of a prediction that has passed the task's check.

    Raises:
        ShapeError: not a prediction of segmentation, depth or normals.
    """
    if isinstance(prediction, SegPrediction):
        return _file(prediction.labels_HW.astype(np.uint8), {"task": "seg", "labels": label_set(_names(task))})
    if isinstance(prediction, DepthPrediction):
        return _encode_depth(prediction, target.mask_HW)
    if isinstance(prediction, NormalPrediction):
        return _encode_normals(prediction, target.mask_HW)
    raise ShapeError(f"{type(prediction).__name__} is not a map")


def decode_map(
    data: bytes, name: str, task: str, labels: Sequence[str] = ()
) -> SegPrediction | DepthPrediction | NormalPrediction:
    """The prediction of such a file; NaN where it holds no value.

    Args:
        name: of the file, for messages.
        task: seg, depth or normal.
        labels: class names that the labels must be indices of.

    Raises:
        SampleFault: side ``prediction``; ``pred.unreadable``, or ``pred.map`` for a map of another task or label set.
    """
    try:
        png = decode_png(data, name)
        about = json.loads(png.notes.get(KEYWORD, ""))
        if about["schema"] != SCHEMA:
            raise ValueError(about["schema"])
        found = about["task"]
        if found != task or (found == "seg" and about["labels"] != label_set(labels)):
            what = f"a map of {found}" if found != task else "labels of another set"
            raise SampleFault("pred.map", f"{name} holds {what}", side="prediction")
        return _decode(png, about)
    except SampleFault as fault:
        code = fault.code if fault.code == "pred.map" else "pred.unreadable"
        raise SampleFault(code, fault.detail, side="prediction") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SampleFault("pred.unreadable", f"{name}: not a map of ours ({error})", side="prediction") from None


def _names(task: Task) -> tuple[str, ...]:
    return tuple(getattr(task.metrics[0], "names", ()))


def _decode(png: Png, about: dict[str, Any]) -> SegPrediction | DepthPrediction | NormalPrediction:
    expected = {"seg": ("uint8", 2), "depth": ("uint16", 2), "normal": ("uint16", 3)}[about["task"]]
    if (png.pixels.dtype.name, png.pixels.ndim) != expected:
        raise ValueError(f"{png.pixels.dtype} pixels of {png.pixels.ndim} axes")
    if about["task"] == "seg":
        return SegPrediction(png.pixels)
    nothing = png.pixels == 0
    if about["task"] == "normal":
        normals = (png.pixels.astype(np.float64) - 1) * (2 / TOP) - 1
        normals[nothing.all(axis=-1)] = np.nan
        return NormalPrediction(normals.astype(np.float32))
    if about["kind"] not in get_args(DepthKind):
        raise ValueError(f"kind {about['kind']!r}")
    depth = float(about["offset"]) + float(about["step"]) * (png.pixels.astype(np.float64) - 1)
    depth[nothing] = np.nan
    return DepthPrediction(depth.astype(np.float32), about["kind"])


def _encode_depth(prediction: DepthPrediction, mask_HW: NDArray[np.bool_]) -> bytes:
    values = prediction.depth_HW.astype(np.float64)
    has = mask_HW & np.isfinite(values)
    low, high = (float(values[has].min()), float(values[has].max())) if has.any() else (0.0, 0.0)
    step = (high - low) / TOP
    counts = np.zeros(values.shape, np.uint16)
    counts[has] = 1 + (np.rint((values[has] - low) / step) if step > 0 else 0)
    about = {"task": "depth", "kind": prediction.kind, "offset": low, "step": step, "mask": "scored pixels"}
    return _file(counts, about)


def _encode_normals(prediction: NormalPrediction, mask_HW: NDArray[np.bool_]) -> bytes:
    values = prediction.normals_HW3.astype(np.float64)
    length = np.linalg.norm(values, axis=-1)
    has = mask_HW & np.isfinite(length) & (length > 0)
    counts = np.zeros(values.shape, np.uint16)
    counts[has] = 1 + np.rint((values[has] / length[has][:, None] + 1) * (TOP / 2))
    about = {"task": "normal", "frame": "x right, y up, z towards the viewer", "mask": "scored pixels"}
    return _file(counts, about)


def _file(pixels: NDArray[Any], about: dict[str, Any]) -> bytes:
    return encode_png(pixels, {KEYWORD: json.dumps({"schema": SCHEMA, **about}, allow_nan=False)})
