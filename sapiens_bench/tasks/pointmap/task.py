"""The point-map task of one protocol."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.boxes import mask_attributes, mask_boxes
from sapiens_bench.tasks.fits import unfit
from sapiens_bench.tasks.pointmap.codec import PointmapCodec
from sapiens_bench.tasks.pointmap.metrics import Alignment, Frame, PointmapMetric
from sapiens_bench.tasks.pointmap.stored import SUFFIXES, StoredPoints, read_points
from sapiens_bench.tasks.pointmap.types import PointmapPrediction, PointmapTarget, of_scene
from sapiens_bench.types import ModelInput, Noise, StoredMaps, Task, TaskKind


class PointmapScoring(Options):
    """The ``scoring`` keys of a point-map protocol."""

    alignment: Alignment = "scale"
    """How points are fitted to the truth before they are scored: one factor per image, or none."""
    frame: Frame = "camera"
    """Lengths in metres, or in the canonical frame of Sapiens2: metres times 768 / focal length of the picture
    fitted into 1024 x 768."""


class PointmapNoise(Options):
    """How strong the noise of the noisy oracle is."""

    relative: float = Field(default=0.05, ge=0)
    """Standard deviation of every point along its ray, as a share of its distance."""


def make(scoring: PointmapScoring, space: SpaceCard | None) -> Task:
    """Point maps over human pixels."""
    return Task(
        kind=POINTMAP,
        metrics=(PointmapMetric(scoring.alignment, scoring.frame),),
        headline="pointmap/l2",
        check=partial(check, frame=scoring.frame),
        miss=miss,
        perfect=lambda target: PointmapPrediction(target.points_HW3),
        attributes=mask_attributes,
        person_boxes=mask_boxes,
    )


def check(
    prediction: Any, x: ModelInput, target: PointmapTarget, frame: Frame = "camera"
) -> tuple[PointmapPrediction, SampleFault | None]:
    """The prediction, safe to measure, and the first fault found; points that are not finite lower the coverage."""
    if not target.mask_HW.any():
        return miss(target), SampleFault("label.empty", "no pixel is scored", "input")
    if frame == "canonical" and not math.isfinite(target.focal_px):
        return miss(target), SampleFault("label.focal", "no focal length, and frame=canonical needs one", "input")
    points: Any = getattr(prediction, "points_HW3", None)
    if fault := unfit(points, target.points_HW3, "points", "are"):
        return miss(target), fault
    with np.errstate(over="ignore"):
        prediction = PointmapPrediction(points.astype(np.float32, copy=False))  # beyond float32 nothing is finite
    scored = prediction.points_HW3[target.mask_HW]
    bad = int((~np.isfinite(scored).all(axis=1)).sum())
    if bad:
        detail = f"{bad} of {len(scored)} scored pixels have no finite point"
        return prediction, SampleFault("pred.nonfinite", detail, "prediction")
    if not bool((scored[:, 2] > 0).any()):
        return miss(target), SampleFault("pred.range", "no scored point lies in front of the camera", "prediction")
    return prediction, None


def miss(target: PointmapTarget) -> PointmapPrediction:
    """No point anywhere: coverage 0."""
    return PointmapPrediction(np.full(target.points_HW3.shape, np.nan, np.float32))


def add_noise(
    prediction: PointmapPrediction, target: PointmapTarget, rng: np.random.Generator, options: PointmapNoise
) -> PointmapPrediction:
    """Every point moved along its ray by a factor of 1 + ``relative`` x a standard normal draw, kept in front."""
    points = prediction.points_HW3
    factor = np.maximum(1.0 + options.relative * rng.standard_normal(points.shape[:2]), 0.05)
    return PointmapPrediction((points * factor[..., None]).astype(points.dtype))


POINTMAP = TaskKind(
    name="pointmap",
    title="Point maps",
    what="where in space every pixel of a person is (L2, MAE by axis, RMSE)",
    Scoring=PointmapScoring,
    make=make,
    codec=PointmapCodec(),
    noise=Noise(PointmapNoise, add_noise),
    of_scene=of_scene,
    stored=StoredMaps("", SUFFIXES, StoredPoints, read_points, endings=("", "_points", "_pointmap")),
)
