"""Maps of shares of one (alpha, colours 0..1) as people store them: pictures of full range, or arrays.

Axes: H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.codecs import Stored, stored_of
from sapiens_bench.pixels.decode import MAX_PIXELS, open_picture
from sapiens_bench.pixels.dense_maps import ARRAYS as ARRAYS
from sapiens_bench.pixels.dense_maps import Limits, read_numbers
from sapiens_bench.pixels.exr import read_exr_choice
from sapiens_bench.pixels.files import shown

_PLANES = {  # alpha last: renderers write one beside whatever the map is
    1: (("R", "G", "B", "A"), ("R", "G", "B"), ("Y", "A"), ("Y",), ("V",), ("R",), ("A",)),
    3: (("R", "G", "B", "A"), ("R", "G", "B"), ("r", "g", "b")),
}
_COUNTS = (np.dtype(np.uint8), np.dtype(np.uint16))
_WANTED = "store uint8 0..255, uint16 0..65535, booleans, or floating-point numbers 0..1"


class Shares(NamedTuple):
    """A map as stored, whole numbers divided by the largest of their type."""

    name: str
    values: NDArray[np.float32]  # [H, W] or [H, W, 3]
    alpha_HW: NDArray[np.float32] | None  # of a picture or an EXR file with an alpha that varies


def read_shares(
    path: Path, channels: int, members: Sequence[str], size_hw: tuple[int, int] | None, max_pixels: int = MAX_PIXELS
) -> Shares:
    """The shares in a file; ``channels`` is 1 ([H, W]) or 3 ([H, W, 3], or arrays of (3, H, W)).

    Args:
        members: names of the array in a ``.npz``; its only one is taken as well.
        size_hw: that it must have; None: the file itself decides.

    Raises:
        SampleFault: ``label.shape`` (both shapes), ``label.array``, ``label.mode``, ``image.*``. ``label.mode`` also
            for whole numbers that are no counts of 8 or 16 bits: by what they would have to be divided is not known.
    """
    limits = Limits(size_hw, max_pixels)
    suffix = path.suffix.lower()
    alpha: NDArray[np.float32] | None = None
    if suffix in ARRAYS:
        values = read_numbers(path, members, limits, channels=0 if channels == 1 else channels)
    elif suffix == ".exr":
        planes = sized(read_exr_choice(path, _PLANES[channels], max_pixels=max_pixels), path, size_hw)
        values, alpha = _of_planes(planes, channels, shown(path))
    else:
        stored = stored_of(open_picture(path, max_pixels=max_pixels))
        if stored.palette_K3 is not None:
            raise SampleFault("label.mode", f"{stored.name}: a palette; shares are stored as grey values or colours")
        if stored.bits == 32:
            raise SampleFault("label.mode", f"{stored.name}: 32-bit whole numbers; {_WANTED}")
        values = sized(_channels(stored, channels), path, size_hw)
        values = values > 0 if stored.bits == 1 else values
        alpha = None if stored.alpha_HW is None else as_shares(sized(stored.alpha_HW, path, size_hw), stored.name)
    return Shares(shown(path), as_shares(values, shown(path)), alpha)


def read_alpha_plane(path: Path, size_hw: tuple[int, int] | None, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """The channel A of an EXR file, [H, W], whatever else it holds.

    Raises:
        SampleFault: ``label.shape``, ``image.*``; also where it has no such channel.
    """
    return sized(read_exr_choice(path, (("A",),), max_pixels=max_pixels), path, size_hw)[..., 0]


def _of_planes(planes: NDArray[np.float32], channels: int, name: str) -> tuple[NDArray[np.float32], Any]:
    """The map of an EXR file, and its alpha where that varies."""
    alpha = planes[..., -1] if planes.shape[-1] in (2, 4) else None
    if alpha is not None and alpha.size and alpha.min() == alpha.max():
        alpha = None
    values = planes[..., :3] if planes.shape[-1] > 2 else planes[..., 0]
    if channels == 3:
        return values, alpha
    if values.ndim == 3 and alpha is None:
        if not (values == values[..., :1]).all():
            raise SampleFault("label.mode", f"{name}: colours, where one channel is needed")
        values = values[..., 0]
    return values, alpha


def _channels(stored: Stored, channels: int) -> NDArray[Any]:
    if channels == 1:
        whole = stored.grey if stored.alpha_HW is None else stored.values
        if whole is None:
            raise SampleFault("label.mode", f"{stored.name}: colours, where one channel is needed")
        return whole
    if stored.values.ndim != 3:
        raise SampleFault("label.mode", f"{stored.name}: one channel, where three are needed")
    return stored.values


def as_shares(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """float32; counts of 8 or 16 bits over the largest of their type, booleans as 0 and 1, other numbers as they are.

    Raises:
        SampleFault: ``label.mode``; whole numbers of another type.
    """
    if values.dtype.kind in "iu":
        if values.dtype not in _COUNTS:
            raise SampleFault("label.mode", f"{name}: whole numbers of type {values.dtype}; {_WANTED}")
        return np.asarray(values / np.float64(np.iinfo(values.dtype).max), np.float32)
    return values.astype(np.float32)


def sized(values: NDArray[Any], path: Path, size_hw: tuple[int, int] | None) -> NDArray[Any]:
    """``values`` [H, W] or [H, W, C] of a file that is to have this size, if any.

    Raises:
        SampleFault: ``label.shape``; another size.
    """
    if size_hw is not None and values.shape[:2] != size_hw:
        text = f"shape {values.shape[:2]}, needed is {size_hw}: another size"
        raise SampleFault("label.shape", f"{shown(path)}: {text}")
    return values
