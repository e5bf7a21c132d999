"""Point-map scores from per-image sums. Axes: H, W image, M scored pixels, B weightings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, weighted_sums
from sapiens_bench.tasks.columns import numbers
from sapiens_bench.tasks.pointmap.types import PointmapPrediction, PointmapTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

Alignment = Literal["none", "scale"]
Frame = Literal["camera", "canonical"]
AXES = ("x", "y", "z")
_SUMS = ("n_mask", "n", "l2", "sq", *(f"abs_{axis}" for axis in AXES))
_SOURCE = "Sapiens2 (arXiv 2604.21681), point maps: L2, MAE by axis, RMSE over the pixels of people, pooled"


class PointmapMetric:
    """Distance between predicted and true points, metres, over all scored pixels of the data set.

    Args:
        alignment: ``scale`` fits one factor per image, the argmin over s >= 0 of sum |s p - g|^2 (a negative one would
            turn points behind the camera to the front); ``none`` fits nothing.
        frame: ``canonical`` measures in metres times ``PointmapTarget.canonical_factor``, as the paper's table does.
    """

    name = "pointmap"
    version = 1

    def __init__(self, alignment: Alignment, frame: Frame = "camera") -> None:
        self.alignment, self.frame = alignment, frame
        top, unit = float("inf"), "m" if frame == "camera" else "m at f 768"
        self.scores: Mapping[str, ScoreInfo] = {
            "l2": ScoreInfo("L2", unit, False, 0.0, top, 4, _SOURCE, headline=True),
            "rmse": ScoreInfo("RMSE", unit, False, 0.0, top, 4, _SOURCE, headline=True),
            **{
                f"mae_{axis}": ScoreInfo(f"MAE {axis}", unit, False, 0.0, top, 4, _SOURCE, headline=True)
                for axis in AXES
            },
            "coverage": ScoreInfo("coverage", "", True, 0.0, 1.0, 1, "finite points / scored pixels", percent=True),
        }

    def measure(self, target: PointmapTarget, prediction: PointmapPrediction) -> dict[str, int | float | NDArray[Any]]:
        """``n_mask`` scored pixels, ``n`` of them with a finite point; sums of |d|, |d|^2 and |d| by axis, float64."""
        wanted_M3 = target.points_HW3[target.mask_HW].astype(np.float64)
        points_M3 = prediction.points_HW3[target.mask_HW].astype(np.float64)
        found = np.asarray(np.isfinite(points_M3).all(axis=1))
        points_M3, wanted_M3 = points_M3[found], wanted_M3[found]
        if self.alignment == "scale":
            square = float((points_M3 * points_M3).sum())
            points_M3 = points_M3 * (max(0.0, float((points_M3 * wanted_M3).sum())) / square if square else 0.0)
        off_M3 = np.abs(points_M3 - wanted_M3)
        if self.frame == "canonical":
            off_M3 = off_M3 * target.canonical_factor
        square_M = (off_M3 * off_M3).sum(axis=1)
        sums = off_M3.sum(axis=0)
        return {
            "n_mask": len(found),
            "n": len(points_M3),
            "l2": float(np.sqrt(square_M).sum()),
            "sq": float(square_M.sum()),
            **{f"abs_{axis}": float(sums[i]) for i, axis in enumerate(AXES)},
        }

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``."""
        columns = np.stack([numbers(rows, f"{self.name}/{name}") for name in _SUMS], axis=1)

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            total = dict(zip(_SUMS, weighted_sums(weights_BN, columns).T, strict=True))
            n = np.where(total["n"] > 0, total["n"], np.nan)
            scores = {"l2": total["l2"] / n, "rmse": np.sqrt(total["sq"] / n)}
            scores |= {f"mae_{axis}": total[f"abs_{axis}"] / n for axis in AXES}
            scores["coverage"] = total["n"] / np.where(total["n_mask"] > 0, total["n_mask"], np.nan)
            return {key: scores[key] for key in keys}

        return Aggregate(tuple(self.scores), rows.num_rows, batch)
