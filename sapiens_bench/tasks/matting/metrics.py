"""Matting scores from per-image sums. Axes: H, W image, B weightings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, weighted_means
from sapiens_bench.tasks.columns import numbers
from sapiens_bench.tasks.matting.types import MattingPrediction, MattingTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

Region = Literal["whole", "unknown"]
_SOURCE = "Rhemann et al., CVPR 2009, as Xu et al., CVPR 2017, compute it; mean over images"
_FIELDS = ("n", "abs", "sq", "grad", "conn")


def unknown_region(target: MattingTarget, reach_px: int) -> NDArray[np.bool_]:
    """What a trimap leaves open: as the data set gives it, else every pixel whose neighbours up to ``reach_px`` away
    are neither all wholly people nor all wholly background.
    """
    if target.unknown_HW is not None:
        return target.unknown_HW
    import cv2

    sure = np.zeros(target.alpha_HW.shape, np.bool_)
    for value in (0, 1):
        alike = (target.alpha_HW == value).astype(np.uint8)
        if alike.all():  # no other pixel that a distance could be measured to
            return np.zeros(alike.shape, np.bool_)
        sure |= cv2.distanceTransform(alike, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > reach_px
    return ~sure


class MattingMetric:
    """Errors of alpha in the units that papers print: SAD, gradient and connectivity in thousands.

    Args:
        region: where they are summed: ``whole`` picture, or what a trimap leaves ``unknown``.
        reach_px: of the trimap that is made of the truth where the data set has none.
    """

    name = "matting"
    version = 1

    def __init__(self, region: Region, reach_px: int) -> None:
        self.region, self.reach_px = region, reach_px
        where = "all pixels" if region == "whole" else "unknown pixels of the trimap"

        def info(title: str, top: float, decimals: int, source: str = "") -> ScoreInfo:
            return ScoreInfo(title, "", False, 0.0, top, decimals, f"{source or _SOURCE}; {where}", headline=True)

        self.scores: Mapping[str, ScoreInfo] = {
            "sad": info("SAD /1000", np.inf, 3),
            "mse": info("MSE", 1.0, 5),
            "mad": info("MAD", 1.0, 5, "mean absolute difference, mean over images"),
            "grad": info("Grad /1000", np.inf, 3),
            "conn": info("Conn /1000", np.inf, 3),
        }

    def measure(self, target: MattingTarget, prediction: MattingPrediction) -> dict[str, int | float | NDArray[Any]]:
        """``n`` pixels of the region and the sums of ``errors.MatteSums``."""
        from sapiens_bench.tasks.matting.errors import matte_sums

        whole = self.region == "whole"
        shape = target.alpha_HW.shape
        region = np.ones(shape, np.bool_) if whole else unknown_region(target, self.reach_px)
        return dict(matte_sums(prediction.alpha_HW, target.alpha_HW, region)._asdict())

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``; every score is a mean over the images that have a pixel to score."""
        column = {field: numbers(rows, f"{self.name}/{field}") for field in _FIELDS}
        n = np.where(column["n"] > 0, column["n"], np.nan)
        thousands = np.where(column["n"] > 0, 1e-3, np.nan)
        per_image = {
            "sad": column["abs"] * thousands,
            "mse": column["sq"] / n,
            "mad": column["abs"] / n,
            "grad": column["grad"] * thousands,
            "conn": column["conn"] * thousands,
        }

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            means = weighted_means(weights_BN, np.stack([per_image[key] for key in keys], axis=1))
            return dict(zip(keys, means.T, strict=True))

        return Aggregate(tuple(self.scores), rows.num_rows, batch)
