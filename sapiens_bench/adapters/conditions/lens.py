"""Corruptions that mix neighbours or hide them: blur, compression, size, occlusion. Exact sums of whole numbers.

Lengths are those of a picture whose shorter side is 480 pixels, and grow with it (``Draw.length``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from sapiens_bench.adapters.conditions.draws import Draw

Image = NDArray[np.uint8]  # [H, W, 3]
SIGMA_PX = (1.2, 2.2, 3.5, 5.5, 8.0)
RADIUS_PX = (2.5, 4.0, 6.0, 8.5, 12.0)
TRACK_PX = (7, 13, 20, 29, 40)
QUALITY = (40, 25, 15, 9, 5)
SHRINK = (2, 3, 4, 6, 9)
_BLOCK = 1 << 16  # values of a strip: what is added up stays in the processor's cache
_WIDE_PX = 3.0  # sigma from which float sums of a blur are faster
HIDDEN = (0.25, 0.35, 0.45, 0.55, 0.65)  # of a box's width and height


def blur(image: Image, level: int, draw: Draw) -> Image:
    """OpenCV's Gaussian on bytes is fixed-point, the same on every machine (smooth.simd.hpp)."""
    sigma = max(0.5, round(draw.length(SIGMA_PX[level - 1]), 2))
    size = 2 * int(np.ceil(3 * sigma)) + 1
    taps = _taps(size, sigma) if sigma >= _WIDE_PX else None
    if taps is None:
        return np.asarray(cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8)
    # The same sums of whole numbers in float32: they stay below 2 ** 24 parts, so none is rounded, in any order.
    mixed = cv2.sepFilter2D(image, cv2.CV_32F, taps, taps, delta=0.5, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(mixed.astype(np.uint8))


@lru_cache(maxsize=64)
def _taps(size: int, sigma: float) -> NDArray[np.float32] | None:
    """OpenCV's weights on bytes without the zeros at their ends, read off the blur of one point.

    They are whole 256ths with sum 1; None where what was read off is not.
    """
    point = np.zeros((1, 2 * size + 1), np.uint8)
    point[0, size] = 255
    seen = cv2.GaussianBlur(point, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)[
        0
    ]  # one row: its height is not blurred
    weights = np.rint(seen.astype(np.float64) * 256 / 255)
    held = np.flatnonzero(weights)
    if weights.sum() != 256 or held[0] + held[-1] != 2 * size:
        return None
    return np.asarray(weights[held[0] : held[-1] + 1] / 256, np.float32)


def defocus(image: Image, level: int, draw: Draw) -> Image:
    """Mean over a disc, strip by strip of the picture."""
    radius = max(1.0, draw.length(RADIUS_PX[level - 1]))
    reach = int(radius)
    halves = [int(np.sqrt(radius * radius - dy * dy)) for dy in range(reach + 1)]
    padded = np.asarray(cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE), np.uint8)
    rows = max(reach, _BLOCK // image[0].size)
    room, out = _Room.of(min(rows, len(image)), image.shape[1], reach), np.empty_like(image)
    for top in range(0, len(image), rows):
        _disc_mean(padded[top : top + rows + 2 * reach], halves, room, out[top : top + rows])
    return out


class _Room(NamedTuple):
    """Where sums of a strip are made; new memory for each strip would cost as much as the sums."""

    wide: NDArray[np.unsignedinteger[Any]]
    row_sums: NDArray[np.unsignedinteger[Any]]
    part: NDArray[np.unsignedinteger[Any]]
    total: NDArray[np.uint32]

    @classmethod
    def of(cls, rows: int, width: int, reach: int) -> _Room:
        narrow = np.uint16 if (2 * reach + 1) * 255 <= np.iinfo(np.uint16).max else np.uint32  # a row's sum fits
        high = rows + 2 * reach
        return cls(
            np.empty((high, width + 2 * reach, 3), narrow), np.empty((high, width, 3), narrow),
            np.empty((rows, width, 3), narrow), np.empty((rows, width, 3), np.uint32),
        )  # fmt: skip


def _disc_mean(strip_HW3: Image, halves: list[int], room: _Room, out_HW3: Image) -> None:
    """Means over the disc whose row dy reaches ``halves[abs(dy)]`` to either side; its radius is cut off all round.

    Rows of one length are summed once, each from the next shorter one, in 16 bits as long as sums fit.
    """
    reach, (height, width) = len(halves) - 1, out_HW3.shape[:2]
    wide, row_sums = room.wide[: len(strip_HW3)], room.row_sums[: len(strip_HW3)]
    n = sum(2 * halves[abs(dy)] + 1 for dy in range(-reach, reach + 1))
    part = room.part[:height]
    total = part if n * 255 + n // 2 <= np.iinfo(part.dtype).max else room.total[:height]
    wide[...], total[...], part[...] = strip_HW3, 0, 0
    row_sums[...], half, held = wide[:, reach : reach + width], 0, 0
    for dy in range(reach, -1, -1):
        while half < halves[dy]:
            half += 1
            row_sums += wide[:, reach - half : reach - half + width]
            row_sums += wide[:, reach + half : reach + half + width]
        for row in {reach + dy, reach - dy}:
            if (held + 2 * half + 1) * 255 > np.iinfo(part.dtype).max:
                total += part
                part[...], held = 0, 0
            part += row_sums[row : row + height]
            held += 2 * half + 1
    if total is not part:
        total += part
    out_HW3[...] = _mean(total, n)


def motion(image: Image, level: int, draw: Draw) -> Image:
    """Mean along a straight track through the pixel; its direction is one of 16, by the picture's key."""
    length = max(3, round(draw.length(TRACK_PX[level - 1])))
    angle = np.pi * int(draw.rng.integers(16)) / 16
    along = np.arange(length) - (length - 1) / 2
    steps = [(int(np.rint(a * np.sin(angle))), int(np.rint(a * np.cos(angle)))) for a in along.round(1)]
    reach = length // 2 + 1
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    height, width = image.shape[:2]
    total = np.zeros(image.shape, np.int32 if length > 256 else np.uint16)
    for dy, dx in steps:
        total += padded[reach + dy : reach + dy + height, reach + dx : reach + dx + width]
    return _mean(total, length)


def jpeg(image: Image, level: int, draw: Draw) -> Image:
    turned = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, packed = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, QUALITY[level - 1]])
    opened = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(opened, cv2.COLOR_BGR2RGB), np.uint8)


def resize(image: Image, level: int, draw: Draw) -> Image:
    return through_size(image, image.shape[1] / SHRINK[level - 1], image.shape[0] / SHRINK[level - 1])


def resolution(image: Image, level: int, draw: Draw) -> Image:
    """No more detail than a picture with ``level`` pixels along its shorter side has; smaller pictures stay."""
    if level >= draw.shorter_px:
        return image
    share = level / draw.shorter_px
    return through_size(image, image.shape[1] * share, image.shape[0] * share)


def through_size(image: Image, width: float, height: float) -> Image:
    """Shrunk to a size and enlarged again. Pillow's resampling of bytes is fixed-point (Resample.c)."""
    size = max(1, round(width)), max(1, round(height))
    small = Pillow.fromarray(image).resize(size, Pillow.Resampling.BOX)
    return np.asarray(small.resize((image.shape[1], image.shape[0]), Pillow.Resampling.BILINEAR))


def occlusion(image: Image, level: int, draw: Draw) -> Image:
    """One rectangle of one colour somewhere in every box; the whole picture counts as a box where there is none."""
    height, width = image.shape[:2]
    boxes = draw.boxes_xyxy_px if len(draw.boxes_xyxy_px) else np.array([[-0.5, -0.5, width - 0.5, height - 0.5]])
    out = image.copy()
    for x0, y0, x1, y1 in np.asarray(boxes, np.float64):
        place_x, place_y = (int(draw.rng.integers(1 << 16)) / (1 << 16) for _ in range(2))
        colour = draw.rng.integers(0, 256, 3).astype(np.uint8)
        share = HIDDEN[level - 1]
        left, top = (x0 + place_x * (1 - share) * (x1 - x0), y0 + place_y * (1 - share) * (y1 - y0))
        right, bottom = left + share * (x1 - x0), top + share * (y1 - y0)
        columns, rows = ([int(np.clip(np.rint(end + 0.5), 0, most)) for end in ends] for ends, most in
                         (((left, right), width), ((top, bottom), height)))  # fmt: skip
        out[rows[0] : rows[1], columns[0] : columns[1]] = colour
    return out


def _mean(total: NDArray[np.integer], n: int) -> Image:
    """The mean, rounded; ``total`` is used up."""
    total += total.dtype.type(n // 2)
    total //= total.dtype.type(n)
    return np.asarray(total, np.uint8)
