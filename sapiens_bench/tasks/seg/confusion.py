"""Counts of two label maps: confusion of classes, and boundary bands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.seg.types import IGNORE

_EXACT = 1 << 24  # OpenCV counts in float32, exact up to here


def confusion(gt_HW: NDArray[np.uint8], pred_HW: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """Pixel counts [C, C + 1]: row = true class, column = predicted class; last column = no valid class predicted.

    Pixels whose truth is 255 are left out.

    Raises:
        ShapeError: the maps differ in shape or are not uint8.

    Source: the counts behind MMSegmentation's ``IoUMetric``.
    """
    _refuse_unlike(gt_HW, pred_HW)
    table = _pairs(gt_HW, pred_HW)
    out = np.zeros((n_classes, n_classes + 1), np.int64)
    out[:, :n_classes] = table[:n_classes, :n_classes]
    out[:, n_classes] = table[:n_classes, n_classes:].sum(axis=1)
    unknown = table[n_classes:IGNORE].sum()
    if unknown:
        raise ShapeError(f"{unknown} pixels have a true label between {n_classes} and 254")
    return out


def _refuse_unlike(gt_HW: NDArray[np.uint8], pred_HW: NDArray[np.uint8]) -> None:
    if gt_HW.shape != pred_HW.shape or gt_HW.dtype != np.uint8 or pred_HW.dtype != np.uint8:
        raise ShapeError(f"label maps {gt_HW.shape} {gt_HW.dtype} and {pred_HW.shape} {pred_HW.dtype} do not match")


def _pairs(first_HW: NDArray[np.uint8], second_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each pair of labels stands at one pixel, [256, 256]; takes the same time for smooth and noisy maps."""
    import cv2

    first, second = (np.ascontiguousarray(labels).reshape(-1) for labels in (first_HW, second_HW))
    table = np.zeros((256, 256), np.int64)
    for start in range(0, first.size, _EXACT):
        part = [labels[start : start + _EXACT, None] for labels in (first, second)]
        table += cv2.calcHist(part, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    return table


def boundary_counts(
    gt_HW: NDArray[np.uint8], pred_HW: NDArray[np.uint8], n_classes: int, ratio: float = 0.02
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per class, pixels in the intersection and in the union of the two boundary bands: each int64 [C].

    The band of a mask is what an erosion by d = ratio x image diagonal (at least 1 pixel) takes away; the image edge
    counts as outside. Ignored pixels belong to no mask. Classes in neither map have 0 and 0.

    Raises:
        ShapeError: the maps differ in shape or are not uint8.

    Source: Cheng et al., Boundary IoU, CVPR 2021, equation 2, with the d of its reference implementation. Their
    erosion is iterated with a 3x3 square; one erosion with a (2d+1) square is the same set.
    """
    _refuse_unlike(gt_HW, pred_HW)
    d = max(1, round(ratio * float(np.hypot(*gt_HW.shape))))
    pred = np.where(gt_HW == IGNORE, np.uint8(IGNORE), pred_HW)
    table = _pairs(_bands(gt_HW, d), _bands(pred, d))
    intersection = np.diagonal(table)[:n_classes].copy()
    return intersection, table[:n_classes].sum(axis=1) + table[:, :n_classes].sum(axis=0) - intersection


def _bands(labels_HW: NDArray[np.uint8], d: int) -> NDArray[np.uint8]:
    """The labels where another label, or the outside of the image, lies within ``d`` pixels (in a square); else 255.

    A mask's erosion keeps a pixel when its whole neighbourhood has the same label, that is, when the lowest and the
    highest label in it are its own: two filters serve all classes.
    """
    import cv2

    square, outside = np.ones((2 * d + 1, 2 * d + 1), np.uint8), (IGNORE,)
    labels = np.ascontiguousarray(labels_HW)
    lowest = cv2.erode(labels, square, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    highest = cv2.dilate(labels, square, borderType=cv2.BORDER_CONSTANT, borderValue=outside)
    band: NDArray[np.uint8] = np.where(lowest == highest, np.uint8(IGNORE), labels)
    return band
