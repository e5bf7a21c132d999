"""Arrays as small pictures inside the page: photographs, labels in their colours, depth, normals, heat maps of errors.

Axes: H height, W width.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST = 480  # px of the longer side
_QUALITY = 72
# Anchors of a map from dark to bright with even steps of lightness (black, violet, red, orange, pale yellow).
_HEAT = np.array([[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], np.float64)


def size_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) of the embedded picture of an array [H, W, ...]."""
    height, width = shape[:2]
    scale = min(1.0, LONGEST / max(height, width, 1))
    return max(1, round(width * scale)), max(1, round(height * scale))


def photograph(image_HW3: NDArray[np.uint8]) -> str:
    """A picture as a data: address."""
    return _encoded(image_HW3)


def coloured(labels_HW: NDArray[np.integer[Any]], colours: Sequence[Sequence[int]]) -> str:
    """Labels in the colours of their classes; class 0 and labels without a colour are clear."""
    table = np.zeros((256, 4), np.uint8)
    for i, rgb in enumerate(colours[:256]):
        table[i] = (*rgb, 0 if i == 0 else 200)
    return _encoded(table[np.clip(labels_HW, 0, 255)], is_smooth=False)


def heat(values_HW: NDArray[np.floating[Any]], most: float) -> str:
    """Values from 0 (dark) to ``most`` (bright); clear where undefined."""
    share = np.clip(np.nan_to_num(values_HW / most if most > 0 else values_HW * 0), 0, 1) * (len(_HEAT) - 1)
    low = np.minimum(share.astype(np.int64), len(_HEAT) - 2)
    part = (share - low)[..., None]
    rgb = _HEAT[low] * (1 - part) + _HEAT[low + 1] * part
    return _with_mask(rgb, np.isfinite(values_HW))


def depth(depth_HW: NDArray[np.floating[Any]], near: float, far: float) -> str:
    """Near is bright, far is dark."""
    span = far - near
    return heat(np.where(np.isfinite(depth_HW), far - depth_HW, np.nan), span) if span > 0 else heat(depth_HW * 0, 1.0)


def normals(normals_HW3: NDArray[np.floating[Any]]) -> str:
    """The usual colours: each axis from -1 (0) to 1 (255)."""
    length = np.linalg.norm(normals_HW3, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = normals_HW3 / length
    has = np.isfinite(unit).all(axis=-1)
    return _with_mask((np.nan_to_num(unit) + 1) * 127.5, has)


def shares(values_HW3: NDArray[np.floating[Any]], has_HW: NDArray[np.bool_]) -> str:
    """Colours of 0 to 1; clear where ``has_HW`` is False."""
    return _with_mask(np.nan_to_num(values_HW3) * 255, has_HW)


def _with_mask(rgb_HW3: NDArray[np.floating[Any]], has_HW: NDArray[np.bool_]) -> str:
    alpha = np.where(has_HW, 255, 0)[..., None]
    return _encoded(np.concatenate([np.clip(rgb_HW3, 0, 255), alpha], axis=-1).astype(np.uint8))


def _encoded(pixels: NDArray[np.uint8], *, is_smooth: bool = True) -> str:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if picture.size != size_of(pixels.shape):
        picture = picture.resize(size_of(pixels.shape), Image.Resampling.BOX if is_smooth else Image.Resampling.NEAREST)
    sink = BytesIO()
    picture.save(sink, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(sink.getvalue()).decode()
