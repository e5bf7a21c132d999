"""SimCC: one vector per keypoint and axis, several bins for each pixel of the crop; the keypoint lies at both maxima.

Source: Li et al., SimCC (ECCV 2022), section 3; MMPose 1.x ``get_simcc_maximum`` and ``flip_vectors``, rtmlib
``get_simcc_maximum``. Axes: B crops, K keypoints, X and Y bins.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

ScoreRule = Literal["min", "mean"]
Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]


class Peaks(NamedTuple):
    """Decoded vectors."""

    xy_BK2: NDArray[np.float32]  # bins; (-1, -1) where the score is not positive
    score_BK: NDArray[np.float32]


def decode(x_BKX: NDArray[np.floating[Any]], y_BKY: NDArray[np.floating[Any]], score: ScoreRule = "min") -> Peaks:
    """First maxima of both vectors; the score is the smaller maximum (the authors' rule) or their mean (rtmlib's).

    Under "min" a keypoint whose score is not positive lies at (-1, -1), as in MMPose; under "mean" rtmlib's test is
    kept, too, which looks at the mean.
    """
    x, y = np.asarray(x_BKX, np.float32), np.asarray(y_BKY, np.float32)
    best_x, best_y = x.max(axis=2), y.max(axis=2)
    value = np.minimum(best_x, best_y) if score == "min" else (best_x + best_y) * np.float32(0.5)
    xy = np.stack([x.argmax(axis=2), y.argmax(axis=2)], axis=2).astype(np.float32)
    xy[value <= 0] = -1.0
    return Peaks(xy, value.astype(np.float32))


def merge_flipped(plain: Vectors, mirrored: Vectors, flip_index: NDArray[Any]) -> Vectors:
    """Mean of the (x, y) vectors and those of the mirrored crop: keypoints swapped, x mirrored back."""
    x = (plain[0] + mirrored[0][:, flip_index, ::-1]) * np.float32(0.5)
    y = (plain[1] + mirrored[1][:, flip_index]) * np.float32(0.5)
    return x, y
