"""Errors in inverse depth (disparity, 1/m), where networks of the MiDaS kind are trained and compared.

The rule is that of MiDaS (Ranftl et al. 2020, eq. 3-4) and of those who evaluate as it does (Depth
Anything; microsoft/MoGe ``moge/test/metrics.py``, "disparity_affine_invariant"): the prediction is fitted to 1 / truth
by scale and shift over the scored pixels of one image, clipped from below at the least disparity of those pixels, and
inverted. MiDaS caps at a depth that belongs to the data set; people have none, so the farthest scored pixel is the cap,
as in MoGe. There is no clip from above. What was clipped is counted.

Every kind of prediction is brought to disparity: inverse depth as it is; metric and scale-invariant depth as 1 / depth;
affine-invariant depth is first fitted in its own space, the only one in which its numbers mean anything, inverted, and
not fitted again. A pixel whose depth is not positive has no disparity: it is left out and lowers the coverage.

Axes: N scored pixels of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, weighted_means, weighted_sums
from sapiens_bench.tasks.columns import numbers
from sapiens_bench.tasks.depth.alignment import Values, fit
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

Fitted = Literal["scale_shift", "scale_shift_l1"]
FITS: dict[Fitted, str] = {"scale_shift": "", "scale_shift_l1": "l1/"}  # -> prefix of its scores
SOURCE = "fitted to 1 / truth, clipped at the least true disparity; Ranftl et al., MiDaS, 2020; Wang et al., MoGe, 2025"
LIMITS = (1.25, 1.25**2, 1.25**3)


class DisparitySums(NamedTuple):
    """q = 1 / truth, p = the clipped fit to it, both 1/m; e = p - q, E = 1 / p - 1 / q (m)."""

    n: int  # scored pixels that have a disparity
    sq_error: float  # sum e^2
    abs_rel: float  # sum |e| / q
    depth_sq_error: float  # sum E^2
    depth_abs_rel: float  # sum |E| q
    delta1: int  # pixels with max(p / q, q / p) < 1.25; the same number in depth
    delta2: int  # ... < 1.25^2
    delta3: int  # ... < 1.25^3
    clipped: int  # pixels moved up to the least true disparity


FIELDS = DisparitySums._fields


def disparity_of(pred_N: NDArray[Any], gt_N: NDArray[Any], kind: DepthKind, alignment: Fitted) -> NDArray[np.float64]:
    """What a prediction says of 1 / depth, float64 [N]; NaN where it says nothing. Not fitted yet, see the module."""
    pred = pred_N.astype(np.float64)
    if kind == "affine_invariant_inverse_depth":
        return np.where(np.isfinite(pred), pred, np.nan)
    if kind == "affine_invariant_depth":
        finite = np.isfinite(pred)
        if not finite.any():
            return np.full(len(pred), np.nan)
        scale, shift = fit(Values(pred[finite]), Values(gt_N.astype(np.float64)[finite]), alignment)
        pred = scale * pred + shift
    with np.errstate(divide="ignore"):
        return np.where(np.isfinite(pred) & (pred > 0), 1.0 / pred, np.nan)


def disparity_sums(
    pred_N: NDArray[Any], gt_N: NDArray[Any], kind: DepthKind, alignment: Fitted = "scale_shift"
) -> DisparitySums:
    """Sums over the scored pixels of one image.

    Args:
        pred_N: in the meaning of ``kind``. gt_N: metres, positive.
        alignment: least squares, or least absolute errors.
    """
    found = disparity_of(pred_N, gt_N, kind, alignment)
    has = np.isfinite(found)
    if not has.any():
        return DisparitySums(0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0)
    p, z = found[has], gt_N.astype(np.float64)[has]
    q = 1.0 / z
    if kind != "affine_invariant_depth":
        scale, shift = fit(Values(p), Values(q), alignment)
        p = scale * p + shift
    low = q.min()
    clipped = int(np.count_nonzero(p < low * (1 - 1e-9)))  # a line of least absolute errors may end at the bound itself
    p = np.maximum(p, low)
    e, depth_e = p - q, 1.0 / p - z
    ratio = np.maximum(p * z, 1.0 / (p * z))
    return DisparitySums(
        n=len(q),
        sq_error=float((e * e).sum()),
        abs_rel=float((np.abs(e) * z).sum()),
        depth_sq_error=float((depth_e * depth_e).sum()),
        depth_abs_rel=float((np.abs(depth_e) * q).sum()),
        delta1=int(np.count_nonzero(ratio < LIMITS[0])),
        delta2=int(np.count_nonzero(ratio < LIMITS[1])),
        delta3=int(np.count_nonzero(ratio < LIMITS[2])),
        clipped=clipped,
    )


def score_infos(how: str, headline: bool) -> dict[str, ScoreInfo]:
    """Facts of the scores of one fit; ``how`` goes behind each title."""

    def error(title: str, unit: str, shown: bool = False) -> ScoreInfo:
        return ScoreInfo(f"{title}{how}", unit, False, 0.0, float("inf"), 4, SOURCE, headline=shown and headline)

    def share(title: str, shown: bool = False) -> ScoreInfo:
        return ScoreInfo(f"{title}{how}", "", True, 0.0, 1.0, 1, SOURCE, percent=True, headline=shown and headline)

    return {
        "rmse": error("disparity RMSE", "1/m"),
        "abs_rel": error("disparity AbsRel", "", shown=True),
        "delta1": share("disparity δ1", shown=True),
        "delta2": share("disparity δ2"),
        "delta3": share("disparity δ3"),
        "depth_rmse": error("RMSE of the inverted fit", "m"),
        "depth_abs_rel": error("AbsRel of the inverted fit", "", shown=True),
        "clipped": ScoreInfo(f"clipped pixels{how}", "", False, 0.0, 1.0, 1, SOURCE, percent=True),
    }


def scores_of(s: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Scores from sums, each [N]; NaN where no pixel was scored."""
    n = np.where(s["n"] > 0, s["n"], np.nan)
    return {
        "rmse": np.sqrt(s["sq_error"] / n),
        "abs_rel": s["abs_rel"] / n,
        "delta1": s["delta1"] / n,
        "delta2": s["delta2"] / n,
        "delta3": s["delta3"] / n,
        "depth_rmse": np.sqrt(s["depth_sq_error"] / n),
        "depth_abs_rel": s["depth_abs_rel"] / n,
        "clipped": s["clipped"] / n,
    }


class DisparityMetric:
    """Means over images of errors in disparity, and of depth after the fit in disparity; ``l1/`` under the other fit.

    ``coverage``: share of scored pixels that have a disparity.
    """

    name = "disparity"
    version = 1

    def __init__(self) -> None:
        infos = score_infos("", headline=True)
        infos["coverage"] = ScoreInfo("disparity coverage", "", True, 0.0, 1.0, 1, SOURCE, percent=True)
        infos |= {f"l1/{key}": info for key, info in score_infos(" (least absolute)", headline=False).items()}
        self.scores: Mapping[str, ScoreInfo] = infos

    def measure(self, target: DepthTarget, prediction: DepthPrediction) -> dict[str, int | float | NDArray[Any]]:
        """``n_mask`` and the fields of ``DisparitySums`` for each fit, "<alignment>/<field>"."""
        pred, gt = prediction.depth_HW[target.mask_HW], target.depth_HW[target.mask_HW]
        row: dict[str, int | float | NDArray[Any]] = {"n_mask": len(gt)}
        for alignment in FITS:
            sums = disparity_sums(pred, gt, prediction.kind, alignment)
            row |= {f"{alignment}/{field}": value for field, value in zip(FIELDS, sums, strict=True)}
        return row

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``. Means over images are those of the images that have the score."""
        per_image: dict[str, NDArray[np.float64]] = {}
        for alignment, prefix in FITS.items():
            sums = {field: numbers(rows, f"{self.name}/{alignment}/{field}") for field in FIELDS}
            per_image |= {f"{prefix}{key}": values for key, values in scores_of(sums).items()}
        pixels = np.stack([numbers(rows, f"{self.name}/{c}") for c in ("scale_shift/n", "n_mask")], axis=1)

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            wanted = [key for key in keys if key in per_image]
            found: dict[str, NDArray[np.float64]] = {}
            if wanted:
                means = weighted_means(weights_BN, np.stack([per_image[key] for key in wanted], axis=1))
                found = dict(zip(wanted, means.T, strict=True))
            if "coverage" in keys:
                n, n_mask = weighted_sums(weights_BN, pixels).T
                found["coverage"] = n / np.where(n_mask > 0, n_mask, np.nan)
            return found

        return Aggregate(tuple(self.scores), rows.num_rows, batch)
