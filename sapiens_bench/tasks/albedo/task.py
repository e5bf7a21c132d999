"""The albedo task of one protocol."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.albedo.codec import AlbedoCodec
from sapiens_bench.tasks.albedo.floors import mean_colour, the_picture
from sapiens_bench.tasks.albedo.metrics import AlbedoMetric
from sapiens_bench.tasks.albedo.noise import AlbedoNoise, add_noise
from sapiens_bench.tasks.albedo.stored import StoredAlbedo, read_albedo
from sapiens_bench.tasks.albedo.types import AlbedoPrediction, AlbedoTarget, ColourSpace, of_scene
from sapiens_bench.tasks.boxes import mask_attributes, mask_boxes
from sapiens_bench.tasks.fits import beyond_shares, unfit
from sapiens_bench.tasks.stored_options import SHARE_SUFFIXES
from sapiens_bench.types import Floor, ModelInput, Noise, StoredMaps, Task, TaskKind


class AlbedoScoring(Options):
    """The ``scoring`` keys of an albedo protocol."""

    space: ColourSpace = "srgb"
    """Colour space in which values are compared; predictions in the other one are converted."""


def make(scoring: AlbedoScoring, space: SpaceCard | None) -> Task:
    """Albedo over human pixels."""
    return Task(
        kind=ALBEDO,
        metrics=(AlbedoMetric(scoring.space),),
        headline="albedo/mae",
        check=check,
        miss=miss,
        perfect=lambda target: AlbedoPrediction(target.albedo_HW3, "linear"),
        attributes=mask_attributes,
        person_boxes=mask_boxes,
    )


def check(prediction: Any, x: ModelInput, target: AlbedoTarget) -> tuple[AlbedoPrediction, SampleFault | None]:
    """The prediction, cut to 0..1, and the first fault found; one with a fault is a miss as a whole."""
    if not target.mask_HW.any():
        return miss(target), SampleFault("label.empty", "no pixel is scored", "input")
    albedo: Any = getattr(prediction, "albedo_HW3", None)
    if fault := unfit(albedo, target.albedo_HW3, "albedo"):
        return miss(target), fault
    if prediction.space not in get_args(ColourSpace):
        return miss(target), SampleFault("pred.kind", f"unknown colour space {prediction.space!r}", "prediction")
    scored = albedo[target.mask_HW]
    if bad := int((~np.isfinite(scored).all(axis=1)).sum()):
        detail = f"{bad} of {len(scored)} scored pixels are not finite"
        return miss(target), SampleFault("pred.nonfinite", detail, "prediction")
    if fault := beyond_shares("albedo", scored):
        return miss(target), fault
    sound = np.where(target.mask_HW[..., None], albedo, 0)
    return AlbedoPrediction(np.clip(sound, 0, 1).astype(np.float32, copy=False), prediction.space), None


def miss(target: AlbedoTarget) -> AlbedoPrediction:
    """The worst map: black where a channel is bright, full where it is dark."""
    return AlbedoPrediction((target.albedo_HW3 < 0.5).astype(np.float32), "linear")


ALBEDO = TaskKind(
    name="albedo",
    title="Albedo",
    what="the colour of people without the light on them (MAE, RMSE, PSNR, SSIM)",
    Scoring=AlbedoScoring,
    make=make,
    codec=AlbedoCodec(),
    noise=Noise(AlbedoNoise, add_noise),
    floors={
        "picture-albedo": Floor(the_picture, needs_picture=True),
        "mean-colour-albedo": Floor(mean_colour, needs_picture=True),
    },
    of_scene=of_scene,
    needs_surface=True,
    stored=StoredMaps(
        adapter="albedo_folder",
        suffixes=SHARE_SUFFIXES,
        Options=StoredAlbedo,
        read=read_albedo,
        endings=("", "_albedo"),
        protocols={"srgb": {"space": "srgb"}, "linear": {"space": "linear"}},
    ),
)
