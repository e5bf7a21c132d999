"""Angles between predicted and true normals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.stats.sums import BLOCK, tree_sum
from sapiens_bench.tasks.normal.median import BIN_DEG, N_BINS

THRESHOLDS_DEG = (5.0, 7.5, 11.25, 22.5, 30.0)
AnyFloats = NDArray[np.floating[Any]]


class AngleSums(NamedTuple):
    """Sums over the scored pixels of one image."""

    n: int
    angle_deg: float  # sum of angles
    angle_sq_deg: float  # sum of squared angles
    below: NDArray[np.int64]  # [5], pixels strictly below THRESHOLDS_DEG
    histogram: NDArray[np.int64]  # [3600], bins of 0.05 degrees; for the median


def angles_deg(pred_N3: AnyFloats, gt_N3: AnyFloats, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Angles in degrees, float32 [N], for vectors of any positive length; NaN for a zero or non-finite vector.

    2 atan2(|a - b|, |a + b|) of the unit vectors: the same angle as arccos of their dot product, but exact to 1e-5
    degrees in float32 at small angles, where arccos loses 0.02.

    Args:
        rows: vectors to look at, all when None.

    Source: Kahan, "How futile are mindless assessments of roundoff", 2006, section 12.
    """
    if pred_N3.shape != gt_N3.shape or pred_N3.ndim != 2 or pred_N3.shape[1] != 3:
        raise ShapeError(f"normals {pred_N3.shape} and {gt_N3.shape} must both be [N, 3]")
    out = np.empty(len(pred_N3) if rows is None else len(rows), np.float32)
    scratch = np.empty((3, 3, min(BLOCK, len(out))), np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        for start in range(0, len(out), BLOCK):
            part = slice(start, min(start + BLOCK, len(out)))
            a, b, room = scratch[:, :, : part.stop - start]
            for vectors, unit in ((pred_N3, a), (gt_N3, b)):
                unit[:] = (vectors[part] if rows is None else vectors.take(rows[part], axis=0)).T
                unit /= _length(unit, room)
            chord = _length(np.subtract(a, b, out=room), room).copy()
            angle = np.arctan2(chord, _length(np.add(a, b, out=room), room), out=out[part])
            angle *= np.float32(360.0 / np.pi)
    return out


def _length(vectors_3N: NDArray[np.float32], room_3N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lengths [N], in the first row of ``room_3N``, which may be the vectors themselves."""
    square = np.multiply(vectors_3N, vectors_3N, out=room_3N)
    square[0] += square[1]
    square[0] += square[2]
    length: NDArray[np.float32] = np.sqrt(square[0], out=square[0])
    return length


def angle_sums(angles_N: NDArray[np.float32]) -> AngleSums:
    """Sums over pixels with a defined angle.

    Source: the official evaluator of Sapiens2: clamped angles, shares strictly below each threshold, a histogram for
    the median (theirs 0.5 degrees wide, ours 0.05).
    """
    is_defined = np.isfinite(angles_N)
    angle = angles_N if is_defined.all() else angles_N[is_defined]
    below, histogram = np.zeros(len(THRESHOLDS_DEG), np.int64), np.zeros(N_BINS, np.int64)
    for start in range(0, len(angle), BLOCK):
        part = angle[start : start + BLOCK]
        below += [np.count_nonzero(part < np.float32(t)) for t in THRESHOLDS_DEG]
        bins = (part * np.float32(1 / BIN_DEG)).astype(np.int64)
        histogram += np.bincount(np.minimum(bins, N_BINS - 1, out=bins), minlength=N_BINS)

    def squares(start: int, stop: int) -> float:
        wide = angle[start:stop].astype(np.float64)
        wide *= wide
        return float(wide.sum())

    total = tree_sum(len(angle), lambda start, stop: angle[start:stop].astype(np.float64).sum())
    return AngleSums(len(angle), total, tree_sum(len(angle), squares), below, histogram)
