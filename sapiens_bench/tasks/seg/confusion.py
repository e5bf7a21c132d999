"""Confusion counts of two label maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.seg.types import IGNORE


def confusion(gt_HW: NDArray[np.uint8], pred_HW: NDArray[np.uint8], n_classes: int) -> NDArray[np.int64]:
    """Pixel counts [C, C + 1]: row = true class, column = predicted class; last column = no valid class predicted.

    Pixels whose truth is 255 are left out. Label maps are smooth, so the pixels are counted by runs of equal
    (truth, prediction) pairs; noisy maps fall back to a plain histogram. The counts are the same.

    Raises:
        ShapeError: the maps differ in shape or are not uint8.

    Source: the counts behind MMSegmentation's ``IoUMetric`` (specification of the official code, section 6).
    """
    if gt_HW.shape != pred_HW.shape or gt_HW.dtype != np.uint8 or pred_HW.dtype != np.uint8:
        raise ShapeError(f"label maps {gt_HW.shape} {gt_HW.dtype} and {pred_HW.shape} {pred_HW.dtype} do not match")
    pair = gt_HW.astype(np.uint16).ravel()
    pair <<= 8
    pair |= pred_HW.ravel()
    if pair.size == 0:
        return np.zeros((n_classes, n_classes + 1), np.int64)
    change = np.flatnonzero(pair[1:] != pair[:-1])
    if len(change) * 8 < pair.size:
        starts = np.concatenate([[0], change + 1])
        lengths = np.diff(np.concatenate([starts, [pair.size]]))
        counts = np.bincount(pair[starts], weights=lengths, minlength=65536).astype(np.int64)
    else:
        counts = np.bincount(pair, minlength=65536)
    table = counts.reshape(256, 256)
    out = np.zeros((n_classes, n_classes + 1), np.int64)
    out[:, :n_classes] = table[:n_classes, :n_classes]
    out[:, n_classes] = table[:n_classes, n_classes:].sum(axis=1)
    unknown = table[n_classes:IGNORE].sum()
    if unknown:
        raise ShapeError(f"{unknown} pixels have a true label between {n_classes} and 254")
    return out


def boundary_counts(
    gt_HW: NDArray[np.uint8], pred_HW: NDArray[np.uint8], n_classes: int, ratio: float = 0.02
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Per class, pixels in the intersection and in the union of the two boundary bands: each int64 [C].

    The band of a mask is what an erosion by d = ratio x image diagonal (at least 1 pixel) takes away; the image edge
    counts as outside. Ignored pixels belong to no mask. Classes in neither map have 0 and 0.

    Source: Cheng et al., Boundary IoU, CVPR 2021, equation 2, with the d of its reference implementation. Their
    erosion is iterated with a 3x3 square; one erosion with a (2d+1) square is the same set.
    """
    import cv2

    height, width = gt_HW.shape
    d = max(1, round(ratio * float(np.hypot(height, width))))
    valid = gt_HW != IGNORE
    kernel = np.ones((2 * d + 1, 2 * d + 1), np.uint8)
    intersection, union = np.zeros(n_classes, np.int64), np.zeros(n_classes, np.int64)
    present = np.union1d(np.unique(gt_HW), np.unique(pred_HW))
    for c in present[present < n_classes].tolist():
        bands = []
        masks = [(gt_HW == c) & valid, (pred_HW == c) & valid]
        rows, columns = np.flatnonzero((masks[0] | masks[1]).any(1)), np.flatnonzero((masks[0] | masks[1]).any(0))
        if not len(rows):
            continue
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for mask in masks:
            # Everything outside the window is outside the mask, as is everything outside the image.
            inner = cv2.copyMakeBorder(mask[window].view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
            eroded = cv2.erode(inner, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))[1:-1, 1:-1]
            bands.append(mask[window] & (eroded == 0))
        intersection[c] = np.count_nonzero(bands[0] & bands[1])
        union[c] = np.count_nonzero(bands[0] | bands[1])
    return intersection, union
