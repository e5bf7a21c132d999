"""What frames in a row say that single pictures do not: errors of velocity and acceleration, jitter, flicker, drift.

All of it needs the true motion: a model that follows a fast arm is not shaky, and one that smears it is not calm. Time
is counted in frames. Undefined results are NaN.

Axes: T frames, K keypoints, H, W image.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
STILL_DEG = 2.0  # a true normal that turns less between two frames stands still


class PoseMotion(NamedTuple):
    """Errors of one person's points over a clip, in pixels (and frames)."""

    position: float  # mean distance
    velocity: float  # mean length of the difference of velocities
    acceleration: float  # mean length of the difference of accelerations
    jitter: float  # standard deviation, along one axis, of noise that is new in every frame


class DepthDrift(NamedTuple):
    """How the fit of each frame to its truth wanders: aligned = scale * prediction + shift."""

    scale: float  # standard deviation of the scale over its mean
    shift: float  # standard deviation of where the fit puts the prediction's own mean of the clip, over its mean


def pose_motion(pred_TK2: Doubles, truth_TK2: Doubles, labelled_TK: NDArray[np.bool_]) -> PoseMotion:
    """Errors over a clip; a difference counts where the point is labelled in every frame it is made of.

    White noise of variance s² gives second differences of variance (1 + 4 + 1) s²; the jitter is the root mean square
    of the second differences of the error over the root of 6. An error that is constant or grows evenly counts nothing.
    Their median is taken over points, so that one swapped limb is not noise of all.

    Source: second differences as a measure of noise: von Neumann et al. 1941, "The mean square successive difference".
    """
    error = np.where(labelled_TK[..., None], pred_TK2 - truth_TK2, np.nan)
    first, second = np.diff(error, axis=0), np.diff(error, n=2, axis=0)
    per_point = _mean(second**2, (0, 2))
    jitter = math.sqrt(float(np.nanmedian(per_point)) / 6) if np.isfinite(per_point).any() else math.nan
    lengths = (_mean(np.sqrt((part**2).sum(-1)), None) for part in (error, first, second))
    position, velocity, acceleration = (float(length) for length in lengths)
    return PoseMotion(position, velocity, acceleration, jitter)


def _mean(values: Doubles, axes: tuple[int, ...] | None) -> Doubles:
    """Mean of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    n = known.sum(axes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axes) / np.where(n > 0, n, np.nan))


def label_flicker(
    pred_T: list[NDArray[np.integer[Any]]], truth_T: list[NDArray[np.integer[Any]]], ignore: int = 255
) -> tuple[int, int]:
    """(pixels whose prediction changes, pixels looked at) where the true label does not change and is no background."""
    changed = looked_at = 0
    for (p, t), (q, u) in zip(zip(pred_T, truth_T), zip(pred_T[1:], truth_T[1:])):
        still = (t == u) & (t != ignore) & (t > 0)
        changed += int((still & (p != q)).sum())
        looked_at += int(still.sum())
    return changed, looked_at


def normal_flicker(
    pred_T: list[NDArray[np.floating[Any]]], truth_T: list[NDArray[np.floating[Any]]], mask_T: list[NDArray[np.bool_]]
) -> tuple[float, int]:
    """(sum of degrees by which predictions turn, pixels) where the true normal stands still between two frames."""
    total, looked_at = 0.0, 0
    for i in range(len(pred_T) - 1):
        both = mask_T[i] & mask_T[i + 1]
        still = _angle(truth_T[i][both], truth_T[i + 1][both]) < STILL_DEG
        turned = _angle(pred_T[i][both][still], pred_T[i + 1][both][still])
        total += float(turned[np.isfinite(turned)].sum())
        looked_at += int(np.isfinite(turned).sum())
    return total, looked_at


def _angle(a_N3: NDArray[np.floating[Any]], b_N3: NDArray[np.floating[Any]]) -> Doubles:
    """Degrees between vectors of any length."""
    a, b = a_N3.astype(np.float64), b_N3.astype(np.float64)
    sine = np.sqrt((np.cross(a, b) ** 2).sum(-1))
    return np.asarray(np.rad2deg(np.arctan2(sine, (a * b).sum(-1))))


def depth_drift(scales_T: Doubles, shifts_T: Doubles, centre: float) -> DepthDrift:
    """Drift over a clip.

    Args:
        centre: mean of the prediction over the clip. The shift alone would tell of the scale again: it is where the fit
            puts a prediction of 0, which is far outside of what was predicted.
    """
    known = np.isfinite(scales_T) & np.isfinite(shifts_T)
    if known.sum() < 2:
        return DepthDrift(math.nan, math.nan)
    scales, placed = scales_T[known], scales_T[known] * centre + shifts_T[known]
    scale, shift = (float(x.std(ddof=1)) / abs(m) if (m := float(x.mean())) else math.nan for x in (scales, placed))
    return DepthDrift(scale, shift)
