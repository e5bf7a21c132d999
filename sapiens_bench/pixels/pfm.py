"""Portable float maps (PFM), as MiDaS and stereo programs write depth: rows from the bottom up, either byte order.

Axes: H height, W width.

Source: P. Debevec, "HDRShop", PFM portable floatmap image format; isl-org/MiDaS, utils.py, ``write_pfm``.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault, raise_if_machine
from sapiens_bench.pixels.decode import MAX_PIXELS
from sapiens_bench.pixels.files import open_regular, shown

_HEADER = re.compile(rb"P([fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.0-9eE]{1,30})(?:\r\n|\s)")
_HEADER_BYTES = 256


def read_pfm(path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """The numbers of a PFM file, float32 [H, W] (``Pf``) or [H, W, 3] (``PF``), top row first.

    The sign of the scale is the byte order. A scale of another size than 1 is refused: some programs multiply by it,
    others do not look at it.

    Raises:
        SampleFault: ``image.missing``, ``image.decode``, ``image.too_large``, ``image.truncated``.
    """
    name = shown(path)
    try:
        with open_regular(path) as file:
            header = _HEADER.match(file.read(_HEADER_BYTES))
            if header is None:
                raise SampleFault("image.decode", f"{name}: not a PFM file (Pf or PF, width, height, scale)")
            shape, scale = _header(header, name, max_pixels)
            n_bytes = 4 * math.prod(shape)
            if (found := os.fstat(file.fileno()).st_size - header.end()) != n_bytes:
                code = "image.truncated" if found < n_bytes else "image.decode"
                raise SampleFault(code, f"{name}: {found} bytes of numbers, {n_bytes} make {shape[1]}x{shape[0]}")
            file.seek(header.end())
            numbers = np.frombuffer(file.read(n_bytes), "<f4" if scale < 0 else ">f4")
    except OSError as error:
        raise_if_machine(error)
        raise SampleFault("image.missing", f"{name}: {error.strerror or error}") from None
    return np.ascontiguousarray(numbers.reshape(shape)[::-1], np.float32)


def _header(found: re.Match[bytes], name: str, max_pixels: int) -> tuple[tuple[int, ...], float]:
    """Shape and scale."""
    width, height = int(found[2]), int(found[3])
    if width < 1 or height < 1:
        raise SampleFault("image.decode", f"{name}: width {width}, height {height}")
    if width * height > max_pixels:
        raise SampleFault("image.too_large", f"{name}: {width}x{height} is over {max_pixels} pixels (--max-pixels)")
    try:
        scale = float(found[4])
    except ValueError:
        scale = math.nan
    if abs(scale) != 1:
        text = found[4].decode()
        raise SampleFault("image.decode", f"{name}: scale {text}; programs differ on what it means, write 1 or -1")
    return ((height, width) if found[1] == b"f" else (height, width, 3)), scale
