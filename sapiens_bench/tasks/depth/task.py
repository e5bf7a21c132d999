"""The depth task of one protocol."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.boxes import mask_attributes, mask_boxes
from sapiens_bench.tasks.depth.alignment import Alignment
from sapiens_bench.tasks.depth.codec import DepthCodec
from sapiens_bench.tasks.depth.convention import Direction
from sapiens_bench.tasks.depth.direction import upside_down
from sapiens_bench.tasks.depth.disparity import DisparityMetric
from sapiens_bench.tasks.depth.floors import constant, inflated
from sapiens_bench.tasks.depth.metrics import DepthEdgeMetric, DepthMetric
from sapiens_bench.tasks.depth.noise import DepthNoise, add_noise
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget
from sapiens_bench.tasks.fits import unfit
from sapiens_bench.types import Floor, ModelInput, Noise, Task, TaskKind


class DepthScoring(Options):
    """The ``scoring`` keys of a depth protocol."""

    alignment: Alignment = "scale_shift"
    """How a map is fitted to the truth before it is scored; scale_shift is the paper's; scale_shift_l1 takes the least
    sum of absolute errors instead of squared ones."""
    edges: bool = True
    """F1 of depth edges beside the errors."""
    disparity: bool = False
    """Errors in inverse depth beside those in metres, and of depth after a fit in inverse depth; least squares and
    least absolute errors. tasks/depth/disparity.py states the rule."""


def make(scoring: DepthScoring, space: SpaceCard | None) -> Task:
    """Depth over human pixels."""
    metrics: tuple[Any, ...] = (DepthMetric(scoring.alignment),)
    if scoring.edges:
        metrics += (DepthEdgeMetric(scoring.alignment),)
    if scoring.disparity:
        metrics += (DisparityMetric(),)
    return Task(
        kind=DEPTH,
        metrics=metrics,
        headline="depth/rmse",
        check=check,
        miss=miss,
        perfect=perfect,
        attributes=mask_attributes,
        person_boxes=mask_boxes,
    )


def check(prediction: Any, x: ModelInput, target: DepthTarget) -> tuple[DepthPrediction, SampleFault | None]:
    """The prediction, safe to measure, and the first fault found.

    Values that are not finite stay (they are left out and lower the coverage). A miss: a map of another shape, one
    without a positive value where the kind has only positive ones, one that is upside down.
    """
    if not target.mask_HW.any():
        return miss(target), SampleFault("label.empty", "no pixel is scored", "input")
    depth: Any = getattr(prediction, "depth_HW", None)
    if fault := unfit(depth, target.depth_HW, "depth"):
        return miss(target), fault
    if prediction.kind not in get_args(DepthKind):
        return miss(target), SampleFault("pred.kind", f"unknown depth kind {prediction.kind!r}", "prediction")
    scored = depth[target.mask_HW]
    bad = int(scored.size - np.count_nonzero(np.isfinite(scored)))
    if bad:
        detail = f"{bad} of {scored.size} scored pixels are not finite"
        return prediction, SampleFault("pred.nonfinite", detail, "prediction")
    if prediction.kind in ("metric_depth", "scale_invariant_depth") and not bool((scored > 0).any()):
        return miss(target), SampleFault("pred.range", "no scored pixel has a positive depth", "prediction")
    if turned := upside_down(scored, target.depth_HW[target.mask_HW], prediction.kind):
        return miss(target), SampleFault("pred.direction", turned, "prediction")
    return prediction, None


def miss(target: DepthTarget) -> DepthPrediction:
    """No value anywhere: coverage 0."""
    return DepthPrediction(np.full(target.depth_HW.shape, np.nan, np.float32), "metric_depth")


def perfect(target: DepthTarget) -> DepthPrediction:
    """The truth, one metre outside the mask."""
    depth = np.where(target.mask_HW, target.depth_HW, np.float32(1.0)).astype(np.float32)
    return DepthPrediction(depth, "metric_depth")


DEPTH = TaskKind(
    name="depth",
    title="Depth",
    what="how far away every pixel of a person is (RMSE, AbsRel, delta)",
    Scoring=DepthScoring,
    make=make,
    codec=DepthCodec(),
    noise=Noise(DepthNoise, add_noise),
    floors={"median-depth": Floor(constant), "silhouette-depth": Floor(inflated, needs_mask=True)},
    convention=Direction(),
)
