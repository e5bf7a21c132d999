"""A whole picture in a frame of fixed size that keeps its aspect; the rest repeats its border.

Used by heads of ``sapiens-bench probe`` both when they are fitted and when they run.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.models.parts.dense_frame import cv2_stretch, padded_frame

Frame = tuple[int, int, int, int]  # top, left, bottom, right of the picture in the input


def framed(image_HW3: NDArray[np.uint8], input_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], Frame]:
    """The picture in the middle of the frame, uint8 [h, w, 3], and where it lies."""
    inside = padded_frame(image_HW3.shape[0], image_HW3.shape[1], input_hw)
    top, left, bottom, right = inside
    small = cv2_stretch(image_HW3, (bottom - top, right - left))
    if inside == (0, 0, *input_hw):
        return small, inside
    border = (top, input_hw[0] - bottom, left, input_hw[1] - right)
    return np.asarray(cv2.copyMakeBorder(small, *border, cv2.BORDER_REPLICATE), np.uint8), inside


def frame_matrix(image_hw: tuple[int, int], inside: Frame) -> NDArray[np.float64]:
    """Picture -> frame as a 2 x 3 matrix between pixel centres."""
    top, left, bottom, right = inside
    down, across = (bottom - top) / image_hw[0], (right - left) / image_hw[1]
    return np.array([[across, 0.0, left + across / 2 - 0.5], [0.0, down, top + down / 2 - 0.5]])
