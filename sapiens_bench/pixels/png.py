"""PNG with 16 bits per channel, which Pillow cannot read or write in colour, and with a note inside the file.

Axes: H height, W width.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault, ShapeError
from sapiens_bench.pixels.decode import MAX_PIXELS

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_TEXT = 1 << 16


class Png(NamedTuple):
    """A decoded file."""

    pixels: NDArray[Any]  # uint8 or uint16; [H, W] or [H, W, 3] RGB
    notes: dict[str, str]  # its tEXt chunks, by keyword


def encode_png(pixels: NDArray[Any], notes: Mapping[str, str] | None = None) -> bytes:
    """A PNG file of uint8 or uint16 pixels, [H, W] or RGB [H, W, 3], with ASCII notes as tEXt chunks.

    Raises:
        ShapeError: another shape or dtype, or a note that is not short ASCII text.
    """
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ShapeError(f"cannot write {pixels.shape} {pixels.dtype} as PNG")
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        raise ShapeError(f"a colour PNG has 3 channels, not {pixels.shape[2]}")
    ordered = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    done, buffer = cv2.imencode(".png", ordered)
    if not done:
        raise ShapeError(f"cannot write {pixels.shape} {pixels.dtype} as PNG")
    data: bytes = buffer.tobytes()
    chunks = b"".join(_text_chunk(keyword, text) for keyword, text in (notes or {}).items())
    header = len(_SIGNATURE) + 25  # IHDR is always 13 bytes in a chunk of 25
    return data[:header] + chunks + data[header:]


def decode_png(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Png:
    """Pixels and notes of a PNG file; every checksum inside it is verified first.

    Raises:
        SampleFault: ``image.decode``, ``image.truncated``, ``image.too_large``.
    """
    notes = _walk(data, name, max_pixels)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        require_room(data)
        raise SampleFault("image.decode", f"{name}: not a readable PNG file")
    pixels: NDArray[Any] = decoded
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., 2::-1])  # BGR(A) -> RGB
    return Png(pixels, notes)


def require_room(data: bytes) -> None:
    """OpenCV answers None to a damaged PNG and to a lack of memory alike: is there room for its pixels?

    Raises:
        MemoryError: no.
    """
    width, height = struct.unpack_from(">II", data, len(_SIGNATURE) + 8)
    np.empty((height, width, 4), np.uint16)


def _walk(data: bytes, name: str, max_pixels: int) -> dict[str, str]:
    """Check the file's structure; its notes."""
    if data[:8] != _SIGNATURE:
        raise SampleFault("image.decode", f"{name}: not a PNG file; it starts with {data[:8]!r}")
    notes: dict[str, str] = {}
    position = 8
    while True:
        if position + 12 > len(data):
            raise SampleFault("image.truncated", f"{name}: the file ends before its last chunk")
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        end = position + 12 + length
        if end > len(data):
            raise SampleFault("image.truncated", f"{name}: a chunk is cut")
        if struct.unpack_from(">I", data, end - 4)[0] != zlib.crc32(kind + body):
            raise SampleFault("image.decode", f"{name}: a chunk's checksum is wrong")
        if position == 8:
            if kind != b"IHDR" or length != 13:
                raise SampleFault("image.decode", f"{name}: broken PNG header")
            width, height = struct.unpack_from(">II", body)
            if width * height > max_pixels or not width * height:
                limit = f"1 to {max_pixels} pixels are allowed (--max-pixels)"
                raise SampleFault("image.too_large", f"{name}: {width}x{height}, {limit}")
        elif kind == b"tEXt" and length < _MAX_TEXT:
            keyword, _, text = body.partition(b"\0")
            notes[keyword.decode("latin-1")] = text.decode("latin-1")
        elif kind == b"IEND":
            return notes
        position = end


def _text_chunk(keyword: str, text: str) -> bytes:
    if not (0 < len(keyword) < 80 and keyword.isascii() and text.isascii() and len(text) < _MAX_TEXT - 80):
        raise ShapeError(f"note {keyword[:80]!r} must be short ASCII text")
    body = b"tEXt" + keyword.encode() + b"\0" + text.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
