"""Saliency: how much every pixel draws the eye. Scores: sum of absolute differences (SAD) and mean squared error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.maps import About, read_map, write_map
from sapiens_bench.types import Floor, ModelInput, Noise, ScoreInfo, Task, TaskKind


@dataclass(frozen=True, slots=True)
class Saliency:
    """Target and prediction alike."""

    value_HW: NDArray[np.float32]  # 0 unseen, 1 salient


class SaliencyScoring(Options):
    """The scoring keys of a saliency protocol."""

    thousands: bool = True
    """SAD in thousands of pixels, as papers print it."""


class MapErrors:
    """Sums of absolute and squared differences."""

    name = "saliency_map"
    version = 1

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.scores = {
            "sad": ScoreInfo("SAD", "", False, 0.0, np.inf, 3, "definition", headline=True),
            "mse": ScoreInfo("MSE", "", False, 0.0, 1.0, 4, "definition", headline=True),
        }

    def measure(self, target: Saliency, prediction: Saliency) -> dict[str, int | float | NDArray[Any]]:
        error = prediction.value_HW.astype(np.float64) - target.value_HW
        return {"n": int(error.size), "abs": float(np.abs(error).sum()), "square": float((error * error).sum())}

    def aggregate(self, rows: pa.Table) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
        n, absolute, square = (rows[f"saliency_map/{c}"].to_numpy().astype(float) for c in ("n", "abs", "square"))

        def scores(weights: NDArray[np.int64] | None) -> dict[str, float]:
            w = np.ones(len(n)) if weights is None else weights.astype(float)
            if not w.sum():
                return {"sad": float("nan"), "mse": float("nan")}
            return {"sad": self.scale * float(w @ absolute / w.sum()), "mse": float(w @ square / (w @ n))}

        return scores


def make(scoring: SaliencyScoring, space: SpaceCard | None) -> Task:
    """The task of a protocol."""
    return Task(
        kind=SALIENCY,
        metrics=(MapErrors(1e-3 if scoring.thousands else 1.0),),
        headline="saliency_map/sad",
        check=check,
        miss=lambda target: Saliency(1 - np.round(target.value_HW)),
        perfect=lambda target: target,
    )


def check(prediction: Any, x: ModelInput, target: Saliency) -> tuple[Saliency, SampleFault | None]:
    """The prediction, safe to measure."""
    value = getattr(prediction, "value_HW", None)
    if not isinstance(value, np.ndarray) or value.shape != target.value_HW.shape or not np.isfinite(value).all():
        fault = SampleFault("pred.shape", f"value must be finite and {target.value_HW.shape}", "prediction")
        return Saliency(1 - np.round(target.value_HW)), fault
    return prediction, None


class SaliencyCodec:
    """Saliency as 16-bit PNG."""

    def encode(self, prediction: Saliency, target: Saliency, names: Sequence[str]) -> bytes:
        counts = np.rint(np.clip(prediction.value_HW, 0, 1) * 65535).astype(np.uint16)
        return write_map(counts, {"task": "saliency"})

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> Saliency:
        return read_map(data, name, ("uint16", 2), {"task": "saliency"}, _map)


def _map(counts: NDArray[Any], about: About) -> Saliency:
    return Saliency((counts / 65535).astype(np.float32))


class SaliencyNoise(Options):
    """Of the noisy oracle."""

    sigma: float = 0.1
    """Standard deviation added to every pixel."""


def add_noise(prediction: Saliency, target: Saliency, rng: np.random.Generator, options: SaliencyNoise) -> Saliency:
    """Noise on every pixel, clipped to 0..1."""
    noisy = prediction.value_HW + options.sigma * rng.standard_normal(prediction.value_HW.shape)
    return Saliency(np.clip(noisy, 0, 1).astype(np.float32))


SALIENCY = TaskKind(
    name="saliency",
    title="Saliency",
    what="how much every pixel draws the eye (SAD, MSE)",
    Scoring=SaliencyScoring,
    make=make,
    codec=SaliencyCodec(),
    noise=Noise(SaliencyNoise, add_noise),
    floors={"all-salient": Floor(lambda mask_HW: Saliency(np.ones(mask_HW.shape, np.float32)))},
)
