"""Boxes that targets imply."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def box_around(mask_HW: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Outer edges of the true pixels, xyxy px [1, 4], pixel centres at integers; [0, 4] where none is true."""
    columns, rows = np.flatnonzero(mask_HW.any(axis=0)), np.flatnonzero(mask_HW.any(axis=1))
    if not len(columns):
        return np.zeros((0, 4))
    return np.array([[columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]])
