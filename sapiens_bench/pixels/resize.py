"""Resizing, one function per kind of map.

All follow the half-pixel convention of OpenCV and of torch with ``align_corners=False``: output pixel i looks at input
coordinate ``(i + 0.5) * (n_in / n_out) - 0.5``, clamped to the picture.

Axes: H height, W width.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError


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
    return _bilinear(depth_HW.astype(np.float32, copy=False), size_wh)


def resize_normals(normals_HW3: NDArray[Any], size_wh: tuple[int, int], epsilon: float = 1e-5) -> NDArray[np.float32]:
    """A normal map: bilinear on the components, then ``n / (|n| + epsilon)``. Float32.

    Source: Sapiens v1 resizes the raw channels first and normalises after, with 1e-5.
    """
    if normals_HW3.ndim != 3 or normals_HW3.shape[2] != 3:
        raise ShapeError(f"normals have shape {normals_HW3.shape}, expected [H, W, 3]")
    resized = _bilinear(normals_HW3.astype(np.float32, copy=False), size_wh)
    length = np.sqrt(np.sum(np.square(resized, dtype=np.float32), axis=2, keepdims=True))
    return np.asarray(resized / (length + np.float32(epsilon)), dtype=np.float32)


def _bilinear(array: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
    _check(array, size_wh)
    resized: NDArray[Any] = cv2.resize(np.ascontiguousarray(array), size_wh, interpolation=cv2.INTER_LINEAR)
    return resized


def _check(array: NDArray[Any], size_wh: tuple[int, int]) -> None:
    if array.ndim not in (2, 3) or 0 in array.shape or min(size_wh) < 1:
        raise ShapeError(f"cannot resize an array of shape {array.shape} to {size_wh[0]}x{size_wh[1]}")
