"""Pictures of a mesh's textures, bounded from their headers before any of them is decoded."""

from __future__ import annotations

import hashlib
import math
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TgaImagePlugin

from sapiens_bench.errors import SampleFault, raise_if_machine
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.render.files import read_plain
from sapiens_bench.render.materials import Coats
from sapiens_bench.render.paint import Paint

MAX_TEXTURE_PIXELS = 300_000_000  # of all textures of a mesh: four 8k atlases, or one of 16k
_MAX_BYTES = 1 << 30


def load_paint(coats: Coats) -> tuple[Paint, list[str]]:
    """The coats with their pictures, and the SHA-256 of each picture's file, in the order of the coats.

    Raises:
        SampleFault: scan.texture; a picture is missing, damaged, or all together are too large.
    """
    left = MAX_TEXTURE_PIXELS
    pictures: dict[Path, NDArray[np.uint8]] = {}
    hashes: list[str] = []
    for image in dict.fromkeys(coat.map.image for coat in coats.coats if coat.map):
        pictures[image] = read_texture(image, left)
        left -= math.prod(pictures[image].shape[:2])
        hashes.append(hashlib.sha256(image.read_bytes()).hexdigest())
    textures = tuple(pictures[coat.map.image] if coat.map else None for coat in coats.coats)
    return Paint(coats, textures), hashes


def read_texture(path: Path, max_pixels: int = MAX_TEXTURE_PIXELS) -> NDArray[np.uint8]:
    """A texture, uint8 RGB [H, W, 3] as stored; 16-bit grey is divided by 257, alpha is dropped.

    Raises:
        SampleFault: scan.texture.
    """
    try:
        return _read_tga(path, max_pixels) if path.suffix.lower() == ".tga" else read_rgb(path, max_pixels=max_pixels)
    except SampleFault as fault:
        raise_if_machine(fault)
        raise SampleFault("scan.texture", fault.detail.replace(" (--max-pixels)", " for textures")) from None


def _read_tga(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    """Targa has no signature, so the common decoder cannot know it."""
    data = read_plain(path, "scan.texture", _MAX_BYTES)
    try:
        image: Image.Image = TgaImagePlugin.TgaImageFile(BytesIO(data), "")
        if math.prod(image.size) > max_pixels:
            raise SampleFault("scan.texture", f"{path}: {image.size[0]}x{image.size[1]} is over {max_pixels} pixels")
        return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, IndexError) as error:
        raise SampleFault("scan.texture", f"{path} is not a readable image: {error}") from error
