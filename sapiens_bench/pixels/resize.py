"""Resizing, one function per kind of map.

All follow the half-pixel convention of OpenCV and of torch with ``align_corners=False``: output pixel i looks at input
coordinate ``(i + 0.5) * (n_in / n_out) - 0.5``, clamped to the picture.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError

_CHANNELS_AT_ONCE = 4  # OpenCV resizes more only by another code path


def resize_image(image_HWC: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[Any]:
    """A picture, bilinear without antialiasing, same dtype (uint8 rounded by OpenCV's fixed-point kernel)."""
    return _resize(image_HWC, size_wh, cv2.INTER_LINEAR)


def resize_labels(labels_HW: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[Any]:
    """An index map, nearest at exact pixel centres; no label appears that was not there. Same dtype.

    ``floor((i + 0.5) * n_in / n_out)`` in integers, so that no rounding of a float scale can pick a neighbour
    (``INTER_NEAREST`` of OpenCV looks at ``floor(i * n_in / n_out)``, half a pixel off).
    """
    if labels_HW.ndim != 2:
        raise ShapeError(f"labels have shape {labels_HW.shape}, expected [H, W]")
    _check(labels_HW, size_wh)
    rows = (2 * np.arange(size_wh[1]) + 1) * labels_HW.shape[0] // (2 * size_wh[1])
    columns = (2 * np.arange(size_wh[0]) + 1) * labels_HW.shape[1] // (2 * size_wh[0])
    resized: NDArray[Any] = labels_HW[np.ix_(rows, columns)]
    return resized


def resize_depth(depth_HW: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """A depth or score map, bilinear, float32. NaN spreads to every output pixel it touches."""
    return _resize(depth_HW.astype(np.float32, copy=False), size_wh, cv2.INTER_LINEAR)


def resize_normals(normals_HW3: NDArray[Any], size_wh: tuple[int, int], epsilon: float = 1e-5) -> NDArray[np.float32]:
    """A normal map: bilinear on the components, then ``n / (|n| + epsilon)``. Float32.

    Source: Sapiens v1 resizes the raw channels first and normalises after, with 1e-5.
    """
    if normals_HW3.ndim != 3 or normals_HW3.shape[2] != 3:
        raise ShapeError(f"normals have shape {normals_HW3.shape}, expected [H, W, 3]")
    resized = _resize(normals_HW3.astype(np.float32, copy=False), size_wh, cv2.INTER_LINEAR)
    length = np.sqrt(np.sum(np.square(resized, dtype=np.float32), axis=2, keepdims=True))
    return np.asarray(resized / (length + np.float32(epsilon)), dtype=np.float32)


def resize_scores(scores_CHW: NDArray[Any], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """A stack of class scores or heatmaps, bilinear per channel, float32 [C, H, W]."""
    if scores_CHW.ndim != 3:
        raise ShapeError(f"scores have shape {scores_CHW.shape}, expected [C, H, W]")
    _check(scores_CHW[0] if len(scores_CHW) else scores_CHW, size_wh)
    out = np.empty((len(scores_CHW), size_wh[1], size_wh[0]), np.float32)
    for c, channel in enumerate(scores_CHW):
        out[c] = cv2.resize(channel.astype(np.float32, copy=False), size_wh, interpolation=cv2.INTER_LINEAR)
    return out


def _resize(array: NDArray[Any], size_wh: tuple[int, int], how: int) -> NDArray[Any]:
    _check(array, size_wh)
    if array.ndim == 3 and array.shape[2] > _CHANNELS_AT_ONCE:
        raise ShapeError(f"{array.shape[2]} channels; use resize_scores for stacks")
    resized: NDArray[Any] = cv2.resize(np.ascontiguousarray(array), size_wh, interpolation=how)
    return resized


def _check(array: NDArray[Any], size_wh: tuple[int, int]) -> None:
    if array.ndim not in (2, 3) or 0 in array.shape or min(size_wh) < 1:
        raise ShapeError(f"cannot resize an array of shape {array.shape} to {size_wh[0]}x{size_wh[1]}")
