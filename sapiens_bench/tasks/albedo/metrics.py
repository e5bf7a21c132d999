"""Albedo scores from per-image sums. Axes: B weightings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, weighted_means, weighted_sums
from sapiens_bench.tasks.albedo.types import AlbedoPrediction, AlbedoTarget, ColourSpace, in_space
from sapiens_bench.tasks.columns import numbers
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

_CHANNELS = 3
_LEAST_MSE = 1e-10  # a perfect map has 100 dB
_FIELDS = ("n", "abs", "sq", "ssim", "n_windows", "n_pairs", "grad", "scaled_sq", "local_sq", "local_all")
_PAPER = "Sapiens2 (arXiv 2604.21681), Table 7"


class AlbedoMetric:
    """Errors of albedo on people.

    MAE, RMSE and PSNR are of the values of all scored pixels together: the printed PSNR of Sapiens2 is
    ``-20 log10 RMSE`` of the printed RMSE in every row. The paper does not print its colour space, nor how gradients
    are taken: here differences of neighbouring pixels of which both are scored. SSIM is pooled over windows, as the
    authors' evaluator does it.

    Args:
        space: colour space in which values are compared; the two scale-invariant errors are always of linear values.
    """

    name = "albedo"
    version = 2  # 1: SSIM with black around people, mean over images

    def __init__(self, space: ColourSpace) -> None:
        self.space = space
        where = f"{'sRGB' if space == 'srgb' else 'linear'} values 0..1 of people"
        grosse = "Grosse et al., ICCV 2009, section 4.2; linear values, mean over images"

        def info(title: str, unit: str, top: float, decimals: int, source: str, *, up: bool = False) -> ScoreInfo:
            return ScoreInfo(title, unit, up, 0.0, top, decimals, source, headline=True)

        self.scores: Mapping[str, ScoreInfo] = {
            "mae": info("MAE", "", 1.0, 4, f"{_PAPER}; pooled, {where}"),
            "rmse": info("RMSE", "", 1.0, 4, f"{_PAPER}; pooled, {where}"),
            "psnr": info("PSNR", "dB", 100.0, 2, f"{_PAPER}; -20 log10 RMSE, {where}", up=True),
            "ssim": ScoreInfo(
                "SSIM", "", True, -1.0, 1.0, 4,
                "Wang et al. 2004 over scored pixels alone, as in facebookresearch/sapiens2, AlbedoEvaluator; mean of "
                f"all windows that lie on people by more than half their weight, {where}",
                headline=True,
            ),
            "grad_l1": info("Grad L1", "", 2.0, 5, f"{_PAPER}; neighbouring pixels, pooled, {where}"),
            "si_rmse": info("si-RMSE", "", 1.0, 4, f"{grosse}: one factor per image"),
            "lmse": info("LMSE", "", 1.0, 4, f"{grosse}: one factor per window of 20 pixels, 1 for a black map"),
        }  # fmt: skip

    def measure(self, target: AlbedoTarget, prediction: AlbedoPrediction) -> dict[str, int | float | NDArray[Any]]:
        """The fields of ``sums.AlbedoSums``."""
        from sapiens_bench.tasks.albedo.sums import albedo_sums

        pred, true = prediction.albedo_HW3, target.albedo_HW3
        linear = in_space(pred, prediction.space, "linear"), true.astype(np.float64)
        compared = in_space(pred, prediction.space, self.space), in_space(true, "linear", self.space)
        return dict(albedo_sums(*compared, linear, target.mask_HW)._asdict())

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``."""
        column = {field: numbers(rows, f"{self.name}/{field}") for field in _FIELDS}
        pooled_fields = ("n", "abs", "sq", "ssim", "n_windows", "n_pairs", "grad")
        pooled_values = np.stack([column[field] for field in pooled_fields], axis=1)
        per_image = {
            "si_rmse": np.sqrt(_ratio(column["scaled_sq"], _CHANNELS * column["n"])),
            "lmse": _ratio(column["local_sq"], column["local_all"]),
        }

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            means = weighted_means(weights_BN, np.stack(list(per_image.values()), axis=1))
            total = dict(zip(pooled_fields, weighted_sums(weights_BN, pooled_values).T, strict=True))
            mse = _ratio(total["sq"], _CHANNELS * total["n"])
            scores = dict(zip(per_image, means.T, strict=True)) | {
                "mae": _ratio(total["abs"], _CHANNELS * total["n"]),
                "rmse": np.sqrt(mse),
                "psnr": -10 * np.log10(np.maximum(mse, _LEAST_MSE)),
                "ssim": _ratio(total["ssim"], total["n_windows"]),
                "grad_l1": _ratio(total["grad"], _CHANNELS * total["n_pairs"]),
            }
            return {key: scores[key] for key in keys}

        return Aggregate(tuple(self.scores), rows.num_rows, batch)


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where there is nothing to divide by."""
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.asarray(bottom) > 0))
