"""Overlap of boxes, and who belongs to whom by it. Axes: N and M boxes, corners x1, y1, x2, y2 in px."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def iou(a_N4: NDArray[np.floating], b_M4: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of each box with each other one, [N, M]; 0 for boxes without area."""
    a, b = np.asarray(a_N4, np.float64), np.asarray(b_M4, np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=1) for x in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def pairs(iou_NM: NDArray[np.float64]) -> NDArray[np.int64]:
    """Partner of each of N boxes among M, int64 [N], -1 for none.

    Pairs are made by falling overlap, each box once; of equal ones the lower row, then the lower column goes first.
    """
    partner = np.full(iou_NM.shape[0], -1, np.int64)
    is_taken = np.zeros(iou_NM.shape[1], bool)
    rows, columns = np.nonzero(iou_NM > 0)
    for i in np.argsort(-iou_NM[rows, columns], kind="stable").tolist():
        row, column = rows[i], columns[i]
        if partner[row] < 0 and not is_taken[column]:
            partner[row], is_taken[column] = column, True
    return partner
