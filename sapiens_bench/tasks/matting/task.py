"""The matting task of one protocol."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.boxes import box_around
from sapiens_bench.tasks.fits import beyond_shares, unfit
from sapiens_bench.tasks.matting.codec import MattingCodec
from sapiens_bench.tasks.matting.metrics import MattingMetric, Region, unknown_region
from sapiens_bench.tasks.matting.noise import MattingNoise, add_noise
from sapiens_bench.tasks.matting.stored import StoredMattes, read_matte
from sapiens_bench.tasks.matting.types import MattingPrediction, MattingTarget, of_scene
from sapiens_bench.tasks.stored_options import SHARE_SUFFIXES
from sapiens_bench.types import Floor, ModelInput, Noise, StoredMaps, Task, TaskKind


class MattingScoring(Options):
    """The ``scoring`` keys of a matting protocol."""

    region: Region = "whole"
    """Where errors are summed: the whole picture, or what a trimap leaves unknown."""
    trimap_px: int = Field(default=10, ge=1, le=512)
    """Where the data set has no trimaps: how far the unknown region reaches around the soft edge, pixels."""


def make(scoring: MattingScoring, space: SpaceCard | None) -> Task:
    """How much of every pixel is people."""
    return Task(
        kind=MATTING,
        metrics=(MattingMetric(scoring.region, scoring.trimap_px),),
        headline="matting/sad",
        check=partial(check, scoring=scoring),
        miss=miss,
        perfect=lambda target: MattingPrediction(target.alpha_HW),
        attributes=lambda target: {"person_share": float(target.alpha_HW.mean())},
        person_boxes=lambda target: box_around(target.alpha_HW > 0),
    )


def check(
    prediction: Any, x: ModelInput, target: MattingTarget, scoring: MattingScoring
) -> tuple[MattingPrediction, SampleFault | None]:
    """The prediction, cut to 0..1, and the first fault found; one with a fault is a miss as a whole."""
    if scoring.region == "unknown" and not unknown_region(target, scoring.trimap_px).any():
        return miss(target), SampleFault("label.empty", "the trimap leaves no pixel unknown", "input")
    alpha: Any = getattr(prediction, "alpha_HW", None)
    if fault := unfit(alpha, target.alpha_HW, "alpha"):
        return miss(target), fault
    if bad := int(alpha.size - np.count_nonzero(np.isfinite(alpha))):
        detail = f"{bad} of {alpha.size} pixels are not finite"
        return miss(target), SampleFault("pred.nonfinite", detail, "prediction")
    if fault := beyond_shares("alpha", alpha):
        return miss(target), fault
    return MattingPrediction(np.clip(alpha, 0, 1).astype(np.float32, copy=False)), None


def miss(target: MattingTarget) -> MattingPrediction:
    """The worst matte: 0 where more than half is person, else 1."""
    return MattingPrediction((target.alpha_HW < 0.5).astype(np.float32))


def background(mask_HW: NDArray[np.bool_]) -> MattingPrediction:
    """Nobody anywhere."""
    return MattingPrediction(np.zeros(mask_HW.shape, np.float32))


def hard_edge(mask_HW: NDArray[np.bool_]) -> MattingPrediction:
    """A silhouette as it is: no pixel is shared."""
    return MattingPrediction(mask_HW.astype(np.float32))


MATTING = TaskKind(
    name="matting",
    title="Alpha matting",
    what="which share of every pixel is people (SAD, MSE, gradient, connectivity)",
    Scoring=MattingScoring,
    make=make,
    codec=MattingCodec(),
    noise=Noise(MattingNoise, add_noise),
    floors={"background-alpha": Floor(background), "silhouette-alpha": Floor(hard_edge, needs_mask=True)},
    of_scene=of_scene,
    needs_surface=True,
    stored=StoredMaps(
        adapter="matting_folder",
        suffixes=SHARE_SUFFIXES,
        Options=StoredMattes,
        read=read_matte,
        endings=("", "_alpha", "_matte", "_pha"),
        protocols={"whole": {"region": "whole"}, "unknown": {"region": "unknown"}},
    ),
)
