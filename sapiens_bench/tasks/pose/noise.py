"""What the noisy oracle does to a perfect pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget


class PoseNoise(Options):
    """How strong it is."""

    jitter: float = Field(default=0.03, ge=0)
    """Standard deviation of a point, as a share of the square root of the box's area."""
    lost: float = Field(default=0.03, ge=0, le=1)
    """Share of points that lie anywhere in the box."""
    lost_score: float = Field(default=0.25, ge=0)
    """Score of a lost point."""
    drop: float = Field(default=0.1, ge=0)
    """How fast scores fall with the error."""


def add_noise(
    prediction: PosePrediction, target: PoseTarget, rng: np.random.Generator, options: PoseNoise
) -> PosePrediction:
    """Gaussian jitter of ``jitter`` x box size, a share ``lost`` of points anywhere in the box; scores drop with it."""
    points = np.asarray(prediction.keypoints_NK2_px, np.float64)
    boxes = np.asarray(prediction.boxes_xyxy_px_N4, np.float64)
    n, k = points.shape[:2]
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    size: NDArray[np.float64] = np.sqrt(extent.prod(axis=1))[:, None, None]
    sigma = options.jitter * size
    shift = sigma * rng.standard_normal((n, k, 2))
    anywhere = boxes[:, None, :2] + extent[:, None] * rng.random((n, k, 2))
    lost = rng.random((n, k)) < options.lost
    distance = np.linalg.norm(shift, axis=2) / np.maximum(sigma[..., 0], 1e-9)
    confidence = np.where(lost, options.lost_score, np.exp(-options.drop * distance))
    instance = 1.0 - rng.random(n) * options.drop
    return replace(
        prediction,
        keypoints_NK2_px=np.where(lost[..., None], anywhere, points + shift).astype(np.float32),
        keypoint_scores_NK=(np.asarray(prediction.keypoint_scores_NK) * confidence).astype(np.float32),
        instance_scores_N=(np.asarray(prediction.instance_scores_N, np.float32) * instance).astype(np.float32),
    )
