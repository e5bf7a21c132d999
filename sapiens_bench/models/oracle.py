"""Models that see the ground truth: they check the harness, and are never part of ``--models all``.

The oracle scores the best there is. The noisy oracle adds noise that depends on the seed and the sample's key alone,
so that its scores are the same on every machine, in every order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sapiens_bench.errors import CardError, UsageError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.tasks.pose.perfect import per_box
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

# (prediction, target, draws, options) -> prediction with noise
Noise = Callable[[Any, Any, np.random.Generator, Mapping[str, float]], Any]


class Oracle:
    """Returns the perfect prediction; has no network, so ``forward`` is never called."""

    def __init__(self, context: ModelContext) -> None:
        if context.targets is None or context.task is None:
            raise UsageError(
                f"{context.variant.id} sees the ground truth, so it works only inside an evaluation "
                f"(`sapiens-bench run --models {context.variant.id}`) and only for cards of kind 'diagnostic'."
            )
        self._targets, self._task = context.targets, context.task

    def prepare(self, x: ModelInput) -> Prepared:
        """No crops; the geometry is the sample's key and the boxes a top-down model would be driven by."""
        return Prepared({}, (x.key, x.boxes_xyxy_px, x.box_scores))

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        """The prediction that scores best for the sample, given its boxes."""
        return self._perfect(*geometry)

    def _perfect(self, key: str, boxes: Any, box_scores: Any) -> Any:
        prediction = self._task.perfect(self._targets(key))
        if not isinstance(prediction, PosePrediction):
            return prediction
        driven = len(boxes) != len(prediction.boxes_xyxy_px_N4) or bool((box_scores != 1).any())
        return per_box(prediction, boxes, box_scores) if driven else prediction


class NoisyOracle(Oracle):
    """The perfect prediction with seeded noise; options per prediction type in ``DEFAULTS``.

    Raises:
        CardError: an option that the task's noise does not have.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self._seed = context.seed
        self._given = {k: v for k, v in context.options.items() if any(k in d for d in DEFAULTS.values())}

    def finish(self, outputs: dict[str, Any], geometry: Any) -> Any:
        """The best prediction, disturbed by draws that belong to this sample's key."""
        key = geometry[0]
        target = self._targets(key)
        prediction = self._perfect(*geometry)
        kind = type(prediction).__name__
        if kind not in NOISE:
            raise CardError(f"The noisy oracle has no noise for {kind}; it knows {', '.join(sorted(NOISE))}.")
        options = {name: float(self._given.get(name, value)) for name, value in DEFAULTS[kind].items()}
        return NOISE[kind](prediction, target, sample_generator(self._seed, key), options)


def sample_generator(seed: int, key: str) -> np.random.Generator:
    """Draws that depend on seed and key alone: Philox keyed by SHA-256, the same on every machine."""
    digest = hashlib.sha256(f"sapiens-bench/noisy-oracle/{seed}/{key}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def pose_noise(prediction: Any, target: Any, rng: np.random.Generator, options: Mapping[str, float]) -> Any:
    """Gaussian jitter of ``jitter`` x box size, a share ``lost`` of points anywhere in the box; scores drop with it.

    The box size is the square root of the box's area, in pixels.
    """
    points = np.asarray(prediction.keypoints_NK2_px, np.float64)
    boxes = np.asarray(prediction.boxes_xyxy_px_N4, np.float64)
    n, k = points.shape[:2]
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    sigma = options["jitter"] * np.sqrt(extent.prod(axis=1))[:, None, None]
    shift = rng.standard_normal((n, k, 2)) * sigma
    anywhere = boxes[:, None, :2] + rng.random((n, k, 2)) * extent[:, None]
    lost = rng.random((n, k)) < options["lost"]
    distance = np.linalg.norm(shift, axis=2) / np.maximum(sigma[..., 0], 1e-9)
    confidence = np.where(lost, options["lost_score"], np.exp(-options["drop"] * distance))
    instance = 1.0 - options["drop"] * rng.random(n)
    return replace(
        prediction,
        keypoints_NK2_px=np.where(lost[..., None], anywhere, points + shift).astype(np.float32),
        keypoint_scores_NK=(np.asarray(prediction.keypoint_scores_NK) * confidence).astype(np.float32),
        instance_scores_N=(np.asarray(prediction.instance_scores_N) * instance).astype(np.float32),
    )


def seg_noise(prediction: Any, target: Any, rng: np.random.Generator, options: Mapping[str, float]) -> Any:
    """A share ``flip`` of the pixels takes the label of a pixel drawn anywhere in the image."""
    labels = np.asarray(prediction.labels_HW)
    flipped = rng.random(labels.shape) < options["flip"]
    drawn = labels.reshape(-1)[rng.integers(0, max(labels.size, 1), size=labels.shape)]
    return replace(prediction, labels_HW=np.where(flipped, drawn, labels).astype(labels.dtype))


def depth_noise(prediction: Any, target: Any, rng: np.random.Generator, options: Mapping[str, float]) -> Any:
    """Every value times 1 + ``relative`` x a standard normal draw, kept positive."""
    depth = np.asarray(prediction.depth_HW)
    factor = np.maximum(1.0 + options["relative"] * rng.standard_normal(depth.shape), 0.05)
    return replace(prediction, depth_HW=(depth * factor).astype(depth.dtype))


def normal_noise(prediction: Any, target: Any, rng: np.random.Generator, options: Mapping[str, float]) -> Any:
    """Each component plus ``sigma`` x a standard normal draw, then unit length again."""
    normals = np.asarray(prediction.normals_HW3, np.float64)
    noisy = normals + options["sigma"] * rng.standard_normal(normals.shape)
    length = np.linalg.norm(noisy, axis=-1, keepdims=True)
    unit = np.where(length > 1e-6, noisy / np.maximum(length, 1e-6), normals)
    return replace(prediction, normals_HW3=unit.astype(np.asarray(prediction.normals_HW3).dtype))


# Keyed by the name of the prediction type, so that no task is imported here.
NOISE: dict[str, Noise] = {
    "DepthPrediction": depth_noise,
    "NormalPrediction": normal_noise,
    "PosePrediction": pose_noise,
    "SegPrediction": seg_noise,
}
DEFAULTS: dict[str, dict[str, float]] = {
    "DepthPrediction": {"relative": 0.05},
    "NormalPrediction": {"sigma": 0.2},
    "PosePrediction": {"jitter": 0.03, "lost": 0.03, "lost_score": 0.25, "drop": 0.1},
    "SegPrediction": {"flip": 0.1},
}
