"""Depth, normals and labels as people store them: arrays, pictures, EXR files; the numbers as they lie there.

Ground truth and predictions are read by the same functions. What the numbers mean (units, axes, label set) is the
caller's to know.

Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataError, SampleFault, raise_if_machine
from sapiens_bench.pixels.arrays import MAX_BYTES, TooManyBytes, load_npy, load_one
from sapiens_bench.pixels.codecs import depth_counts, labels_of, mask_of, stored_of
from sapiens_bench.pixels.coded_normals import Encoding, are_colours, decoded_normals
from sapiens_bench.pixels.decode import MAX_PIXELS, open_picture
from sapiens_bench.pixels.exr import DEPTH_CHANNELS, NORMAL_CHANNELS, read_exr_choice
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.pfm import read_pfm
from sapiens_bench.pixels.shapes import Shape, fitted, misfit, one_of_equal_channels

ARRAYS = (".npy", ".npz")
DEPTH_SUFFIXES = NORMAL_SUFFIXES = (*ARRAYS, ".exr", ".pfm", ".png", ".tif", ".tiff")
LABEL_SUFFIXES = (*ARRAYS, ".png", ".bmp", ".gif", ".tif", ".tiff")
_BYTES_PER_PIXEL = 48  # of an array whose size is known: three channels of float64, twice


class Limits(NamedTuple):
    """What a file may hold."""

    size_hw: Shape | None = None  # None: the file itself decides
    max_pixels: int = MAX_PIXELS

    @property
    def n_bytes(self) -> int:
        """Of one array, header aside."""
        if self.size_hw is None:
            return min(MAX_BYTES, _BYTES_PER_PIXEL * self.max_pixels // 2)
        return _BYTES_PER_PIXEL * self.size_hw[0] * self.size_hw[1] + 4096


class DepthNumbers(NamedTuple):
    """A depth map as stored."""

    values_HW: NDArray[Any]  # real numbers
    are_counts: bool  # of a picture, where 0 means no value


def read_depth_map(path: Path, limits: Limits) -> DepthNumbers:
    """The numbers of a depth map, [H, W].

    Raises:
        SampleFault: ``label.shape`` (both shapes), ``label.array``, ``label.mode``, ``label.channels``, ``image.*``.
    """
    ending = path.suffix.lower()
    if ending in ARRAYS:
        array = _numbers(path, ("depth", "depths"), limits)
        return DepthNumbers(_fit(array, path, limits), False)
    if ending == ".exr":
        planes = read_exr_choice(path, DEPTH_CHANNELS, max_pixels=limits.max_pixels)
        return DepthNumbers(_fit(planes[..., 0], path, limits), False)
    if ending == ".pfm":
        return DepthNumbers(_fit(read_pfm(path, limits.max_pixels), path, limits), False)
    counts = depth_counts(stored_of(open_picture(path, max_pixels=limits.max_pixels)))
    return DepthNumbers(_fit(counts, path, limits), counts.dtype == np.uint16)


def read_normal_map(
    path: Path, limits: Limits, encoding: Encoding = "auto", *, channels_first: bool = False
) -> NDArray[np.float32]:
    """Vectors of any length in the axes of the file, float32 [H, W, 3]; NaN where there is none.

    Args:
        encoding: ``colour`` for (n + 1) / 2 of the full range, ``vector`` for components as they are; ``auto`` takes
            unsigned whole numbers (pictures, arrays) for colours, floating-point numbers and integers of which some
            are negative for vectors; signed ones without a negative by their lengths (``are_colours``).
        channels_first: an array may be (3, H, W).

    Raises:
        SampleFault: as ``read_depth_map``.
    """
    ending = path.suffix.lower()
    empty: NDArray[np.bool_] | None = None
    if ending in ARRAYS:
        values = _numbers(path, ("normal", "normals"), limits)
    elif ending == ".exr":
        values = read_exr_choice(path, NORMAL_CHANNELS, max_pixels=limits.max_pixels)
    elif ending == ".pfm":
        values = read_pfm(path, limits.max_pixels)
    else:
        stored = stored_of(open_picture(path, max_pixels=limits.max_pixels))
        values = stored.values
        if values.ndim != 3:
            raise SampleFault("label.mode", f"{shown(path)}: one channel; normals need three")
        empty = None if stored.alpha_HW is None else stored.alpha_HW == 0
    fit = _fit(values, path, limits, channels=3, channels_first=channels_first)
    is_coded = encoding == "colour" or (encoding == "auto" and are_colours(fit, shown(path)))
    normals = decoded_normals(fit) if is_coded else fit.astype(np.float32)
    if empty is not None:
        normals[empty] = np.nan
    return normals


def read_label_map(path: Path, limits: Limits) -> NDArray[Any]:
    """An index map, [H, W], any integer dtype: booleans and whole floating-point numbers become integers.

    Raises:
        SampleFault: ``label.value`` for a number that is not whole, else as ``read_depth_map``.
    """
    if path.suffix.lower() not in ARRAYS:
        return _fit(labels_of(stored_of(open_picture(path, max_pixels=limits.max_pixels))), path, limits)
    labels = _fit(_numbers(path, ("label", "labels", "seg"), limits), path, limits)
    if labels.dtype.kind != "f":
        return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels
    whole = np.isfinite(labels) & (labels == np.rint(labels)) & (np.abs(labels) < 1 << 31)
    if not whole.all():
        raise SampleFault("label.value", f"{shown(path)}: {labels[~whole][0]:g} is no label; labels are whole numbers")
    return labels.astype(np.int64)


def read_mask_map(path: Path, limits: Limits) -> NDArray[np.bool_]:
    """A person mask, bool [H, W]: a picture by ``codecs.mask_of``, an array where it is above 0.

    Raises:
        SampleFault: as ``read_depth_map``.
    """
    if path.suffix.lower() not in ARRAYS:
        return _fit(mask_of(stored_of(open_picture(path, max_pixels=limits.max_pixels))), path, limits)
    array = _fit(_numbers(path, ("mask", "masks"), limits), path, limits)
    return np.asarray(np.nan_to_num(array) > 0 if array.dtype.kind == "f" else array > 0)


def read_numbers(path: Path, members: Sequence[str], limits: Limits, *, channels: int = 0) -> NDArray[Any]:
    """The array of a ``.npy`` or ``.npz`` file as [H, W], or, of several channels, as [H, W, C].

    Raises:
        SampleFault: ``label.shape``, ``label.array``.
    """
    return _fit(_numbers(path, members, limits), path, limits, channels=channels, channels_first=True)


def _numbers(path: Path, members: Sequence[str], limits: Limits) -> NDArray[Any]:
    """The array of a ``.npy`` file, or the first of ``members`` of a ``.npz``, else its only one."""
    try:
        if path.suffix.lower() == ".npy":
            array = load_npy(path, max_bytes=limits.n_bytes)
        else:
            array = load_one(path, members, max_member_bytes=limits.n_bytes)
    except DataError as error:
        raise_if_machine(error)
        needed = f" (needed is {limits.size_hw})" if limits.size_hw else ""
        if not limits.size_hw and limits.n_bytes < MAX_BYTES and isinstance(error, TooManyBytes):
            needed = f" for at most {limits.max_pixels} pixels (--max-pixels)"
        raise SampleFault("label.array", f"{' '.join(str(error).split())}{needed}") from None
    if array.dtype.kind not in "fiub":
        raise SampleFault("label.array", f"{shown(path)}: {array.dtype} values are not numbers")
    return array


def _fit(
    array: NDArray[Any], path: Path, limits: Limits, *, channels: int = 0, channels_first: bool = False
) -> NDArray[Any]:
    """The array in the shape that is needed; without a size, in the one that it obviously has."""
    wanted = _wanted(array.shape, limits.size_hw, channels, channels_first)
    fit = fitted(array, wanted, channels_first=channels_first)
    if fit is None and not channels:
        fit = one_of_equal_channels(array, wanted)
    if fit is None:
        raise SampleFault("label.shape", f"{shown(path)}: {misfit(array.shape, wanted)}")
    return fit


def _wanted(found: Shape, size_hw: Shape | None, channels: int, channels_first: bool) -> Shape:
    if size_hw is not None:
        return (*size_hw, channels) if channels else size_hw
    flat = tuple(n for n in found if n != 1)
    if channels and channels_first and flat[:1] == (channels,) and flat[-1:] != (channels,):
        return (*flat[1:3], channels)
    return (*flat[:2], channels) if channels else flat[:2]
