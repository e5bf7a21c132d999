"""Do keypoint scores know when a keypoint is wrong? Axes: n keypoints, B bins, R steps of coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS, STEPS, NEAR = 10, 50, 0.5


@dataclass(frozen=True, slots=True)
class Calibration:
    """Curves and areas; arrays are empty and numbers NaN where there is no keypoint."""

    n: int
    score_B: NDArray[np.float64]  # mean score of each bin
    share_B: NDArray[np.float64]  # of its keypoints that are near (similarity >= 0.5)
    coverage_R: NDArray[np.float64]  # share of the keypoints, highest scores first
    risk_R: NDArray[np.float64]  # mean of 1 - similarity among those
    area: float  # under risk over coverage
    best_area: float  # of a score that ranks the errors perfectly
    risk: float  # at full coverage
    gap: float  # expected calibration error; NaN where scores leave 0..1


def calibration(score_n: NDArray[np.float64], similarity_n: NDArray[np.float64]) -> Calibration:
    """Reliability in bins of equally many keypoints, and risk over coverage.

    Keypoints with equal scores are taken together: each counts with the mean error of its tie, whatever their order.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2 (bins, expected calibration
    error; theirs are of equal width); Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS
    2017 (risk over coverage).
    """
    n = len(score_n)
    if n == 0:
        none = np.zeros(0)
        return Calibration(0, none, none, none, none, np.nan, np.nan, np.nan, np.nan)
    order = np.argsort(-score_n, kind="stable")
    scores, error = score_n[order], 1.0 - similarity_n[order]
    near = (similarity_n[order] >= NEAR).astype(np.float64)
    bins = [part for part in np.array_split(np.arange(n), min(BINS, n)) if len(part)]
    score_B = np.array([scores[b].mean() for b in bins])[::-1]
    share_B = np.array([near[b].mean() for b in bins])[::-1]
    sizes = np.array([len(b) for b in bins])[::-1]
    is_share = scores.min() >= 0 and scores.max() <= 1
    running = np.cumsum(_tied(scores, error)) / np.arange(1, n + 1)
    best = np.cumsum(np.sort(error)) / np.arange(1, n + 1)
    steps = np.unique(np.linspace(0, n - 1, min(STEPS, n)).round().astype(np.int64))
    return Calibration(
        n=n,
        score_B=score_B,
        share_B=share_B,
        coverage_R=(steps + 1) / n,
        risk_R=running[steps],
        area=float(running.mean()),
        best_area=float(best.mean()),
        risk=float(running[-1]),
        gap=float((np.abs(score_B - share_B) * sizes).sum() / n) if is_share else float("nan"),
    )


def _tied(scores: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.float64]:
    """The errors, those of equal scores replaced by their mean."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.bincount(group, weights=error) / counts
    return means[group]
