"""Boxes and shares that masks of targets imply."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Masked(Protocol):
    """Truth with a mask of scored pixels."""

    @property
    def mask_HW(self) -> NDArray[np.bool_]:
        """True where it is scored."""
        ...


def box_around(mask_HW: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Outer edges of the true pixels, xyxy px [1, 4], pixel centres at integers; [0, 4] where none is true."""
    columns, rows = np.flatnonzero(mask_HW.any(axis=0)), np.flatnonzero(mask_HW.any(axis=1))
    if not len(columns):
        return np.zeros((0, 4))
    return np.array([[columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]])


def mask_boxes(target: Masked) -> NDArray[np.float64]:
    """``box_around`` the scored pixels: the person of a task that does not tell people apart."""
    return box_around(target.mask_HW)


def mask_attributes(target: Masked) -> dict[str, float]:
    """``person_share``: scored pixels of all."""
    return {"person_share": float(target.mask_HW.mean()) if target.mask_HW.size else math.nan}
