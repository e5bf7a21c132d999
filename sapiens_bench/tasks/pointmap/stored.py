"""Point maps as people store them: arrays or EXR files of camera coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from sapiens_bench.tasks.pointmap.types import PointmapPrediction
from sapiens_bench.tasks.stored_options import StoredOptions

SUFFIXES = (".npy", ".npz", ".exr")  # coordinates are signed and have no largest value: no picture holds them
MEMBERS = ("points", "pointmap", "point_map", "xyz")
PLANES = (("X", "Y", "Z"), ("R", "G", "B"), ("x", "y", "z"))
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
Sign = Literal[-1, 1]


class StoredPoints(StoredOptions):
    """Of ``predictions`` for pointmap."""

    axis_sign: tuple[Sign, Sign, Sign] = (1, 1, 1)
    """Signs that bring the stored axes to x right, y down, z forward; [1, -1, -1] for OpenGL's axes."""
    unit: Literal["m", "cm", "mm"] = "m"
    """Of the stored numbers; matters where a protocol fits no factor."""


def read_points(path: Path, size_hw: tuple[int, int], options: StoredPoints) -> PointmapPrediction:
    """The points in a file, [H, W, 3] or arrays of (3, H, W), at the picture's size.

    Raises:
        SampleFault: ``label.shape``, ``label.array``, ``image.*``.
    """
    from sapiens_bench.pixels.dense_maps import Limits, read_numbers  # lists of tasks need no image library
    from sapiens_bench.pixels.exr import read_exr_choice
    from sapiens_bench.pixels.stored_shares import sized

    wanted = None if options.resize else size_hw
    if path.suffix.lower() == ".exr":
        values = sized(read_exr_choice(path, PLANES), path, wanted)
    else:
        values = read_numbers(path, MEMBERS, Limits(wanted), channels=3)
    points = options.resized(np.asarray(values, np.float32), size_hw, path)
    factor = np.asarray(options.axis_sign, np.float32) * np.float32(METRES[options.unit])
    return PointmapPrediction(points * factor)
