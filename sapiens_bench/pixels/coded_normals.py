"""Normals as colours: (n + 1) / 2 of the full range.

Axes: H height, W width, N vectors.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Encoding = Literal["auto", "vector", "colour"]
SHORTEST = 0.1  # a coded normal shorter than this is the grey of "no value"


def decoded_normals(counts_HW3: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors of normals coded as colours, float32 [H, W, 3]; NaN for black and for grey, which code no direction.

    Args:
        counts_HW3: unsigned integers over their whole range, or floating-point numbers from 0 to 1.
    """
    top = float(np.iinfo(counts_HW3.dtype).max) if counts_HW3.dtype.kind in "iu" else 1.0
    normals = counts_HW3.astype(np.float32) / np.float32(top / 2) - 1
    nothing = (counts_HW3 == 0).all(axis=-1) | (np.einsum("hwc,hwc->hw", normals, normals) < SHORTEST**2)
    normals[nothing] = np.nan
    return np.asarray(normals, np.float32)


def looks_coded(vectors_N3: NDArray[np.floating[Any]]) -> bool:
    """Do vectors look like (n + 1) / 2, all between 0 and 1 and of no common length? Real normals have both signs."""
    finite = vectors_N3[np.isfinite(vectors_N3).all(axis=1) & (vectors_N3 != 0).any(axis=1)]
    if len(finite) < 50 or finite.min() < 0 or finite.max() > 1:
        return False
    return float(np.abs(np.linalg.norm(finite, axis=1) - 1).mean()) > 0.05
