"""The files of a plain dense folder (adapters/dense/folder.py), read into our units and axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.dense.frames import DepthFrame, NormalFrame
from sapiens_bench.adapters.dense.holes import Holes, find_holes
from sapiens_bench.adapters.dense.layout import Layout
from sapiens_bench.adapters.folders import read_matrix
from sapiens_bench.adapters.surface import ray_factor
from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.decode import Picture, open_picture, refuse_bomb
from sapiens_bench.pixels.dense_maps import (
    Limits,
    read_depth_map,
    read_label_map,
    read_mask_map,
    read_normal_map,
)
from sapiens_bench.pixels.shapes import Shape


class Depth(NamedTuple):
    """A depth map and the person in it."""

    depth_HW: NDArray[np.float32]  # metres along z, or relative units; NaN or not positive where there is none
    mask_HW: NDArray[np.bool_]  # the person, with a value or not
    holes: Holes  # numbers inside the mask that stand for "none"


class DenseFiles:
    """Reads the samples of a layout. Every fault is the sample's own: ``SampleFault``, side ``input``."""

    def __init__(self, layout: Layout, max_pixels: int) -> None:
        self.layout, self._max_pixels = layout, max_pixels

    def has(self, role: str, index: int) -> bool:
        """Is there such a file for this sample?"""
        return self.layout.path(role, index) is not None

    def path(self, role: str, index: int) -> Path:
        """Its path; raises SampleFault ``label.missing``."""
        path = self.layout.path(role, index)
        if path is None:
            raise SampleFault("label.missing", f"{self.layout.stems[index]} has no {role}")
        return path

    def picture(self, index: int) -> Picture:
        """The picture, its pixels not yet decoded: a bomb is refused before the truth is read."""
        picture = open_picture(self.path("image", index), max_pixels=self._max_pixels)
        refuse_bomb(picture)
        return picture

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """bool [H, W]; None where the folder has no masks."""
        if not self.layout.has_role("mask"):
            return None
        return read_mask_map(self.path("mask", index), self._limits())

    def camera(self, index: int) -> NDArray[np.float64]:
        """Intrinsics, float64 [3, 3], pixels."""
        return read_matrix(self.path("camera", index))

    def labels(self, index: int) -> NDArray[Any]:
        """Labels as stored, integers [H, W]."""
        return read_label_map(self.path("seg", index), self._limits())

    def depth(self, index: int, frame: DepthFrame, mask_HW: NDArray[np.bool_] | None) -> Depth:
        """The depth of a sample; without a mask every pixel belongs to the person."""
        path = self.path("depth", index)
        numbers = read_depth_map(path, self._limits(None if mask_HW is None else mask_HW.shape))
        values = numbers.values_HW.astype(np.float32)
        if numbers.are_counts:
            values[numbers.values_HW == 0] = np.nan
        for none in frame.none:
            values[values == np.float32(none)] = np.nan
        mask = np.ones(values.shape, np.bool_) if mask_HW is None else mask_HW
        holes = find_holes(values, mask, is_relative=frame.unit == "relative")
        if holes.pixels_HW is not None:
            values[holes.pixels_HW] = np.nan
        depth = values * np.float32(frame.count * frame.metres if numbers.are_counts else frame.metres)
        if frame.along == "ray":
            depth = (depth / ray_factor((depth.shape[0], depth.shape[1]), self.camera(index))).astype(np.float32)
        return Depth(depth, mask, holes)

    def normals(self, index: int, frame: NormalFrame, size_hw: Shape | None) -> NDArray[np.float32]:
        """Vectors as stored, float32 [H, W, 3] in the axes of the file, any length; NaN where there is none."""
        return read_normal_map(self.path("normal", index), self._limits(size_hw), frame.encoding, channels_first=True)

    def _limits(self, size_hw: Shape | None = None) -> Limits:
        return Limits(size_hw, self._max_pixels)
