"""The surface-normal task of one protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.boxes import mask_attributes, mask_boxes
from sapiens_bench.tasks.fits import unfit
from sapiens_bench.tasks.normal.codec import NormalCodec
from sapiens_bench.tasks.normal.convention import Axes
from sapiens_bench.tasks.normal.floors import flat, inflated
from sapiens_bench.tasks.normal.metrics import NormalMetric
from sapiens_bench.tasks.normal.noise import NormalNoise, add_noise
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.types import Floor, ModelInput, Noise, Task, TaskKind


class NormalScoring(Options):
    """Normals have no scoring keys."""


def make(scoring: NormalScoring, space: SpaceCard | None) -> Task:
    """Normals over human pixels."""
    return Task(
        kind=NORMAL,
        metrics=(NormalMetric(),),
        headline="normal/mean_deg",
        check=check,
        miss=miss,
        perfect=perfect,
        attributes=mask_attributes,
        person_boxes=mask_boxes,
    )


def check(prediction: Any, x: ModelInput, target: NormalTarget) -> tuple[NormalPrediction, SampleFault | None]:
    """The prediction, safe to measure, and the first fault found; unusable pixels stay and lower the coverage."""
    if not target.mask_HW.any():
        return miss(target), SampleFault("label.empty", "no pixel is scored", "input")
    normals: Any = getattr(prediction, "normals_HW3", None)
    if fault := unfit(normals, target.normals_HW3, "normals", "are"):
        return miss(target), fault
    scored = normals[target.mask_HW]
    finite = np.isfinite(scored).all(axis=1)
    if not finite.all():
        detail = f"{int((~finite).sum())} of {len(scored)} scored pixels are not finite"
        return prediction, SampleFault("pred.nonfinite", detail, "prediction")
    zero = ~(scored != 0).any(axis=1)
    if zero.any():
        detail = f"{int(zero.sum())} of {len(scored)} scored pixels have length 0"
        return prediction, SampleFault("pred.normal_zero", detail, "prediction")
    return prediction, None


def miss(target: NormalTarget) -> NormalPrediction:
    """No vector anywhere: coverage 0."""
    return NormalPrediction(np.full(target.normals_HW3.shape, np.nan, np.float32))


def perfect(target: NormalTarget) -> NormalPrediction:
    """The truth."""
    return NormalPrediction(target.normals_HW3)


NORMAL = TaskKind(
    name="normal",
    title="Surface normals",
    what="which way the surface of a person faces (angles)",
    Scoring=NormalScoring,
    make=make,
    codec=NormalCodec(),
    noise=Noise(NormalNoise, add_noise),
    floors={"flat-normal": Floor(flat), "silhouette-normal": Floor(inflated, needs_mask=True)},
    convention=Axes(),
)
