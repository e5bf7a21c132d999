"""Angles between predicted and true normals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.normal.median import BIN_DEG, N_BINS

THRESHOLDS_DEG = (5.0, 7.5, 11.25, 22.5, 30.0)


class AngleSums(NamedTuple):
    """Sums over the scored pixels of one image."""

    n: int
    angle_deg: float  # sum of angles
    angle_sq_deg: float  # sum of squared angles
    below: NDArray[np.int64]  # [5], pixels strictly below THRESHOLDS_DEG
    histogram: NDArray[np.int64]  # [3600], bins of 0.05 degrees; for the median


def angles_deg(pred_N3: NDArray[np.float32], gt_N3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Angles in degrees, float32 [N], for vectors of any positive length; NaN for a zero or non-finite vector.

    2 atan2(|a - b|, |a + b|) of the unit vectors: the same angle as arccos of their dot product, but exact to 1e-5
    degrees in float32 at small angles, where arccos loses 0.02.

    Source: Kahan, "How futile are mindless assessments of roundoff", 2006, section 12.
    """
    if pred_N3.shape != gt_N3.shape or pred_N3.ndim != 2 or pred_N3.shape[1] != 3:
        raise ShapeError(f"normals {pred_N3.shape} and {gt_N3.shape} must both be [N, 3]")
    a, b = _unit(pred_N3), _unit(gt_N3)
    minus, plus = a - b, a + b
    chord = np.sqrt(np.einsum("ni,ni->n", minus, minus))
    other = np.sqrt(np.einsum("ni,ni->n", plus, plus))
    out: NDArray[np.float32] = np.arctan2(chord, other)
    out *= np.float32(360.0 / np.pi)
    return out


def _unit(vectors_N3: NDArray[np.float32]) -> NDArray[np.float32]:
    v = np.asarray(vectors_N3, np.float32)
    length = np.sqrt(np.einsum("ni,ni->n", v, v))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(v / length[:, None], np.float32)


def angle_sums(pred_N3: NDArray[np.float32], gt_N3: NDArray[np.float32]) -> AngleSums:
    """Sums over pixels with a defined angle.

    Source: the official evaluator of Sapiens2 (specification of the protocols, section 6): clamped angles, shares
    strictly below each threshold, a histogram for the median (theirs 0.5 degrees wide, ours 0.05).
    """
    angle = angles_deg(pred_N3, gt_N3)
    angle = angle[np.isfinite(angle)]
    wide = angle.astype(np.float64)
    bins = np.minimum((angle * np.float32(1 / BIN_DEG)).astype(np.int64), N_BINS - 1)
    below = np.array([np.count_nonzero(angle < np.float32(t)) for t in THRESHOLDS_DEG], np.int64)
    histogram = np.bincount(bins, minlength=N_BINS)
    return AngleSums(len(angle), float(wide.sum()), float((wide * wide).sum()), below, histogram)
