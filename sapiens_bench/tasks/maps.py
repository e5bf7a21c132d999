"""Dense predictions as PNG files that say themselves what they hold; each task's codec is in its own folder.

The meaning of the numbers stands in a text chunk of the file, so that a map of another task, label set or version is
refused instead of being misread.

Axes: H height, W width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.paths import path_fault

KEYWORD = "sapiens-bench"
SCHEMA = "map/1"
TOP = 65534  # steps of a 16-bit map; count 0 is "no value"
PredictionT = TypeVar("PredictionT")
About = Mapping[str, Any]


def map_name(key: str) -> str:
    """File of a sample's map below the model's folder: its key, or a hash of it where that is no safe path."""
    name = f"{key}.png"
    return name if path_fault(name) is None else f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"


def label_set(names: Sequence[str]) -> str:
    """A hash of class names, so that labels of another set are not read as one's own; "" without."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else ""


def write_map(pixels_HW: NDArray[Any], about: About) -> bytes:
    """The PNG file; ``about`` holds at least ``task``."""
    from sapiens_bench.pixels.png import encode_png  # lists of tasks need no image library

    return encode_png(pixels_HW, {KEYWORD: json.dumps({"schema": SCHEMA, **about}, allow_nan=False)})


def read_map(
    data: bytes, name: str, kind: tuple[str, int], wanted: About, read: Callable[[NDArray[Any], About], PredictionT]
) -> PredictionT:
    """The prediction of such a file.

    Args:
        name: of the file, for messages.
        kind: dtype and number of axes of its pixels.
        wanted: what the file must say about itself; ``task`` is among it.
        read: (pixels, what the file says) -> prediction; ValueError or KeyError when they do not fit.

    Raises:
        SampleFault: side ``prediction``; ``pred.unreadable``, or ``pred.map`` for a map of another task or label set.
    """
    from sapiens_bench.pixels.png import decode_png

    try:
        png = decode_png(data, name)
        about = json.loads(png.notes.get(KEYWORD, ""))
        if about["schema"] != SCHEMA:
            raise ValueError(about["schema"])
        if any(about.get(key) != value for key, value in wanted.items()):
            other = f"a map of {about['task']}" if about["task"] != wanted["task"] else "labels of another set"
            raise SampleFault("pred.map", f"{name} holds {other}", side="prediction")
        if (png.pixels.dtype.name, png.pixels.ndim) != kind:
            raise ValueError(f"{png.pixels.dtype} pixels of {png.pixels.ndim} axes")
        return read(np.asarray(png.pixels), about)
    except SampleFault as fault:
        code = fault.code if fault.code == "pred.map" else "pred.unreadable"
        raise SampleFault(code, fault.detail, side="prediction") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SampleFault("pred.unreadable", f"{name}: not a map of ours ({error})", side="prediction") from None
