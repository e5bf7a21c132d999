"""Alpha matting: how much of every pixel is foreground. Scores: SAD and MSE.

Source of the measures: Rhemann et al., "A perceptually motivated online benchmark for image matting" (CVPR 2009).
"""

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
class Matte:
    """Target and prediction alike."""

    alpha_HW: NDArray[np.float32]  # 0 background, 1 foreground


class MattingScoring(Options):
    """The scoring keys of a matting protocol."""

    thousands: bool = True
    """SAD in thousands of pixels, as papers print it."""


class MatteErrors:
    """Sums of absolute and squared differences."""

    name = "matte"
    version = 1

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.scores = {
            "sad": ScoreInfo("SAD", "", False, 0.0, np.inf, 3, "Rhemann et al. 2009", headline=True),
            "mse": ScoreInfo("MSE", "", False, 0.0, 1.0, 4, "Rhemann et al. 2009", headline=True),
        }

    def measure(self, target: Matte, prediction: Matte) -> dict[str, int | float | NDArray[Any]]:
        error = prediction.alpha_HW.astype(np.float64) - target.alpha_HW
        return {"n": int(error.size), "abs": float(np.abs(error).sum()), "square": float((error * error).sum())}

    def aggregate(self, rows: pa.Table) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
        n, absolute, square = (rows[f"matte/{c}"].to_numpy().astype(float) for c in ("n", "abs", "square"))

        def scores(weights: NDArray[np.int64] | None) -> dict[str, float]:
            w = np.ones(len(n)) if weights is None else weights.astype(float)
            if not w.sum():
                return {"sad": float("nan"), "mse": float("nan")}
            return {"sad": self.scale * float(w @ absolute / w.sum()), "mse": float(w @ square / (w @ n))}

        return scores


def make(scoring: MattingScoring, space: SpaceCard | None) -> Task:
    """The task of a protocol."""
    return Task(
        kind=MATTING,
        metrics=(MatteErrors(1e-3 if scoring.thousands else 1.0),),
        headline="matte/sad",
        check=check,
        miss=lambda target: Matte(1 - np.round(target.alpha_HW)),
        perfect=lambda target: target,
    )


def check(prediction: Any, x: ModelInput, target: Matte) -> tuple[Matte, SampleFault | None]:
    """The prediction, safe to measure."""
    alpha = getattr(prediction, "alpha_HW", None)
    if not isinstance(alpha, np.ndarray) or alpha.shape != target.alpha_HW.shape or not np.isfinite(alpha).all():
        fault = SampleFault("pred.shape", f"alpha must be finite and {target.alpha_HW.shape}", "prediction")
        return Matte(1 - np.round(target.alpha_HW)), fault
    return prediction, None


class AlphaCodec:
    """Alpha as 16-bit PNG."""

    def encode(self, prediction: Matte, target: Matte, names: Sequence[str]) -> bytes:
        counts = np.rint(np.clip(prediction.alpha_HW, 0, 1) * 65535).astype(np.uint16)
        return write_map(counts, {"task": "matting"})

    def decode(self, data: bytes, name: str, names: Sequence[str]) -> Matte:
        return read_map(data, name, ("uint16", 2), {"task": "matting"}, _matte)


def _matte(counts: NDArray[Any], about: About) -> Matte:
    return Matte((counts / 65535).astype(np.float32))


class MattingNoise(Options):
    """Of the noisy oracle."""

    sigma: float = 0.1
    """Standard deviation added to every pixel."""


def add_noise(prediction: Matte, target: Matte, rng: np.random.Generator, options: MattingNoise) -> Matte:
    """Noise on every pixel, clipped to 0..1."""
    noisy = prediction.alpha_HW + options.sigma * rng.standard_normal(prediction.alpha_HW.shape)
    return Matte(np.clip(noisy, 0, 1).astype(np.float32))


MATTING = TaskKind(
    name="matting",
    title="Alpha matting",
    what="how much of every pixel is foreground (SAD, MSE)",
    Scoring=MattingScoring,
    make=make,
    codec=AlphaCodec(),
    noise=Noise(MattingNoise, add_noise),
    floors={"all-foreground": Floor(lambda mask_HW: Matte(np.ones(mask_HW.shape, np.float32)))},
)
