"""Reading pictures for what they mean: colours, index maps, person masks, depth counts, coded normals.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.arrays import load_npy as load_npy
from sapiens_bench.pixels.arrays import load_npz as load_npz
from sapiens_bench.pixels.decode import MAX_PIXELS as MAX_PIXELS
from sapiens_bench.pixels.decode import ExifPolicy as ExifPolicy
from sapiens_bench.pixels.decode import Picture, open_picture, refuse_bomb
from sapiens_bench.pixels.exr import read_exr as read_exr
from sapiens_bench.pixels.paths import path_fault as path_fault
from sapiens_bench.pixels.paths import safe_join as safe_join


@dataclass(frozen=True, slots=True)
class Stored:
    """The numbers of a picture as they lie in the file."""

    name: str
    values: NDArray[Any]  # uint8, uint16 or float32; [H, W] (grey, palette indices) or [H, W, 3]
    alpha_HW: NDArray[Any] | None = None  # None where every pixel is opaque
    palette_K3: NDArray[np.uint8] | None = None  # colours of the indices
    bits: int = 0  # of a grey value in the file, where it is neither 8 nor 16: 1 (``values`` are 0 and 1) or 32

    @property
    def grey(self) -> NDArray[Any] | None:
        """[H, W]: the one channel, or three that are equal; None for colours."""
        if self.values.ndim == 2:
            return self.values
        first = self.values[..., 0]
        same = np.array_equal(first, self.values[..., 1]) and np.array_equal(first, self.values[..., 2])
        return first if same else None


def read_rgb(
    path: Path | str,
    *,
    exif: ExifPolicy = "ignore",
    sha256: str | None = None,
    max_pixels: int = MAX_PIXELS,
    expected_size: tuple[int, int] | None = None,
    root: Path | None = None,
) -> NDArray[np.uint8]:
    """A picture as uint8 RGB, [H, W, 3]. Alpha is dropped, 16-bit grey is divided by 257, the first frame counts.

    Args:
        path: the file; relative to ``root`` when that is given.
        exif: whether the orientation (EXIF, or a TIFF's own tag) is applied. ``unstated`` refuses an orientation that
            the declared size neither confirms nor rules out.
        sha256: expected hash of the file.
        max_pixels: larger pictures are refused from the header.
        expected_size: (width, height) that the annotation declares.
        root: folder the file must lie in, links resolved.

    Raises:
        SampleFault: side ``input``; ``image.missing``, ``.path``, ``.sha256``, ``.too_large``, ``.decode``,
            ``.truncated``, ``.size``, ``.exif_policy``.
    """
    picture = open_picture(path, root=root, sha256=sha256, max_pixels=max_pixels)
    return rgb_of(picture, picture.settled(exif, expected_size))


def rgb_of(picture: Picture, exif: ExifPolicy) -> NDArray[np.uint8]:
    """The pixels of an opened picture, uint8 RGB [H, W, 3]; ``exif`` is settled.

    Raises:
        SampleFault: ``image.too_large``, ``.decode``, ``.truncated``.
    """
    refuse_bomb(picture)
    with picture.loaded(exif) as image:
        return _to_rgb(image, picture.name)


def labels_of(stored: Stored) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The index map in a picture.

    Raises:
        SampleFault: ``label.mode``.
    """
    labels = stored.grey
    if labels is None:
        raise SampleFault(
            "label.mode",
            f"{stored.name}: 3 channels that differ; a label map holds indices (grey, palette, or 3 equal channels), "
            "not colours",
        )
    if stored.alpha_HW is not None and stored.palette_K3 is None:  # of a palette it is for display only
        raise SampleFault("label.mode", f"{stored.name}: its alpha varies; store the label map without alpha")
    if labels.dtype not in (np.uint8, np.uint16):
        raise SampleFault("label.mode", f"{stored.name}: {labels.dtype} pixels; a label map has 8 or 16 bits")
    return np.ascontiguousarray(labels)


def read_mask(path: Path | str, *, max_pixels: int = MAX_PIXELS, root: Path | None = None) -> NDArray[np.bool_]:
    """A person mask, bool [H, W]; see ``mask_of``.

    Raises:
        SampleFault: as ``read_rgb``.
    """
    return mask_of(stored_of(open_picture(path, root=root, max_pixels=max_pixels)))


def mask_of(stored: Stored) -> NDArray[np.bool_]:
    """Where a picture shows somebody, whatever the colour of each person.

    Alpha decides where it varies (at least half of its largest value); else any channel above 0; of a palette the
    colours that are not black, or, where no index is black or all are, the indices above 0.
    """
    if stored.alpha_HW is not None:
        alpha = stored.alpha_HW.astype(np.uint32)
        return np.asarray(2 * alpha >= alpha.max(initial=1))
    values = stored.values
    if stored.palette_K3 is None:
        return np.asarray((values > 0).any(axis=-1) if values.ndim == 3 else values > 0)
    used = np.unique(values)
    bright = np.zeros(256, np.bool_)
    bright[: len(stored.palette_K3)] = (stored.palette_K3 > 0).any(axis=1)
    if bright[used].all() or not bright[used].any():
        return np.asarray(values > 0)
    return np.asarray(bright[values])


def depth_counts(stored: Stored) -> NDArray[Any]:
    """What a depth picture holds, [H, W]: uint16 counts, or the float32 values of a TIFF.

    Raises:
        SampleFault: ``label.mode``; 8 bits (256 steps are no depth), or colours.
    """
    grey = stored.grey
    if grey is None or grey.dtype == np.uint8 or stored.palette_K3 is not None:
        what = "colours" if grey is None else "8 bits"
        raise SampleFault("label.mode", f"{stored.name}: {what}; a depth picture has 16-bit grey or float pixels")
    return grey


def stored_of(picture: Picture) -> Stored:
    """The numbers of a picture as they lie in the file.

    Raises:
        SampleFault: ``image.decode``, ``image.truncated``.
    """
    if _is_deep_colour(picture.data):  # Pillow keeps 8 of the 16 bits
        return _deep_colour(picture)
    with picture.loaded() as image:
        transparency = image.info.get("transparency")
        if image.mode == "P":
            return _palette(image, picture.name, transparency)
        if image.mode.startswith("I"):
            return Stored(picture.name, _sixteen_bit(image, picture.name), bits=32 if image.mode == "I" else 0)
        if image.mode in ("LA", "RGBA", "PA", "La", "RGBa"):
            pixels = np.asarray(image.convert("LA" if image.mode in ("LA", "La") else "RGBA"))
            colours = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
            return Stored(picture.name, colours.copy(), _varying(pixels[..., -1]))
        if image.mode not in ("1", "L", "F", "RGB"):
            image = image.convert("RGB")
        values = np.array(image)
        if values.dtype == np.bool_:
            return Stored(picture.name, values.astype(np.uint8), bits=1)
        return Stored(picture.name, values)


def _palette(image: Image.Image, name: str, transparency: object) -> Stored:
    indices = np.array(image)
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    alpha = np.full(256, 255, np.uint8)
    if isinstance(transparency, bytes):
        alpha[: len(transparency)] = np.frombuffer(transparency, np.uint8)
    elif isinstance(transparency, int):
        alpha[transparency] = 0
    return Stored(name, indices, _varying(alpha[indices]), colours)


def _varying(alpha_HW: NDArray[Any]) -> NDArray[Any] | None:
    """An alpha that says something, or None."""
    return alpha_HW.copy() if alpha_HW.size and alpha_HW.min() != alpha_HW.max() else None


def _is_deep_colour(data: bytes) -> bool:
    """A PNG of 16 bits per channel with colour or alpha: bit depth and colour type stand at fixed places."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 25 and data[24] == 16 and data[25] in (2, 4, 6)


def _deep_colour(picture: Picture) -> Stored:
    import cv2  # `list` does without

    from sapiens_bench.pixels.png import require_room

    decoded: Any
    with picture.loaded():  # Pillow finds cut and broken files, OpenCV the low bits
        decoded = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        require_room(picture.data)
    if decoded is None or decoded.ndim not in (2, 3):
        raise SampleFault("image.decode", f"{picture.name}: not a readable PNG file")
    if decoded.ndim == 2:
        return Stored(picture.name, decoded)
    alpha = _varying(decoded[..., -1]) if decoded.shape[2] in (2, 4) else None
    return Stored(picture.name, np.ascontiguousarray(decoded[..., 2::-1]), alpha)  # BGR(A) -> RGB


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow's own conversion clips: 40000 would become 255.
        grey = ((_sixteen_bit(image, name).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise SampleFault("image.decode", f"{name}: floating-point pixels have no agreed range; store 8 or 16 bits")
    image.info.pop("transparency", None)  # Pillow warns that it is lost, which is the intention
    return np.array(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def _sixteen_bit(image: Image.Image, name: str) -> NDArray[np.uint16]:
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise SampleFault("image.decode", f"{name}: grey values outside 0..65535")
    return values.astype(np.uint16)
