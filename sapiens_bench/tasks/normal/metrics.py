"""Surface-normal scores from per-image angle sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.angles import N_BINS, THRESHOLDS_DEG, angle_sums, histogram_median
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

POOLED = "human pixels of the data set pooled (official Sapiens2 evaluator)"
PER_IMAGE = "per image, then mean over images"


def threshold_key(degrees: float) -> str:
    """ "below_11_25" for 11.25."""
    return f"below_{degrees:g}".replace(".", "_")


def score_infos(suffix: str, source: str, headline: bool) -> dict[str, ScoreInfo]:
    """Facts of the eight scores of one kind of mean."""
    infos = {
        "mean_deg": ScoreInfo(f"mean{suffix}", "deg", False, 0.0, 180.0, 2, source, headline=headline),
        "median_deg": ScoreInfo(f"median{suffix}", "deg", False, 0.0, 180.0, 2, source, headline=headline),
        "rmse_deg": ScoreInfo(f"RMSE{suffix}", "deg", False, 0.0, 180.0, 2, source),
    }
    for t in THRESHOLDS_DEG:
        shown = headline and t in (11.25, 22.5, 30.0)
        info = ScoreInfo(f"<{t:g}°{suffix}", "", True, 0.0, 1.0, 1, source, percent=True, headline=shown)
        infos[threshold_key(t)] = info
    return infos


class NormalMetric:
    """Mean, median and RMS angle, and shares strictly below five thresholds; pooled, and ``image/...`` per image.

    ``coverage``: share of scored pixels for which the model gave a usable vector.
    """

    name = "normal"
    version = 1

    def __init__(self) -> None:
        infos = score_infos("", POOLED, headline=True)
        infos["coverage"] = ScoreInfo(
            "coverage", "", True, 0.0, 1.0, 1, "usable predicted pixels / scored pixels", percent=True
        )
        infos |= {f"image/{k}": v for k, v in score_infos(" (per image)", PER_IMAGE, headline=False).items()}
        self.scores: Mapping[str, ScoreInfo] = infos

    def measure(self, target: NormalTarget, prediction: NormalPrediction) -> dict[str, int | float | NDArray[Any]]:
        """Sums of ``AngleSums`` and ``n_mask``."""
        mask = target.mask_HW
        sums = angle_sums(prediction.normals_HW3[mask], target.normals_HW3[mask])
        return {
            "n_mask": int(np.count_nonzero(mask)),
            "n": sums.n,
            "angle_deg": sums.angle_deg,
            "angle_sq_deg": sums.angle_sq_deg,
            "below": sums.below,
            "histogram": sums.histogram.astype(np.int32),
        }

    def aggregate(self, rows: pa.Table) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
        def column(name: str) -> NDArray[np.float64]:
            return np.asarray(rows.column(f"{self.name}/{name}").to_numpy(), np.float64)

        def lists(name: str, size: int) -> NDArray[np.int64]:
            flat = rows.column(f"{self.name}/{name}").combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return np.asarray(flat, np.int64).reshape(-1, size)

        n, n_mask = column("n"), column("n_mask")
        total, square = column("angle_deg"), column("angle_sq_deg")
        below, histogram = lists("below", len(THRESHOLDS_DEG)), lists("histogram", N_BINS)
        per_image = _scores(n, total, square, below, histogram_median(histogram))

        def scores(weights: NDArray[np.int64] | None) -> dict[str, float]:
            w = np.ones(len(n), np.int64) if weights is None else weights
            pooled = _scores(n @ w, total @ w, square @ w, w @ below, histogram_median(w @ histogram))
            out = {k: float(v) for k, v in pooled.items()}
            out["coverage"] = float(n @ w / (n_mask @ w)) if n_mask @ w else float("nan")
            out |= {f"image/{k}": _mean(v, w) for k, v in per_image.items()}
            return out

        return scores


def _scores(n: Any, total: Any, square: Any, below: Any, median: Any) -> dict[str, NDArray[np.float64]]:
    count = np.where(np.asarray(n) > 0, n, np.nan)
    out = {"mean_deg": total / count, "median_deg": np.asarray(median), "rmse_deg": np.sqrt(square / count)}
    shares = np.asarray(below, np.float64) / count[..., None]
    return out | {threshold_key(t): shares[..., i] for i, t in enumerate(THRESHOLDS_DEG)}


def _mean(values: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    defined = np.isfinite(values)
    total = weights[defined].sum()
    return float((values[defined] @ weights[defined]) / total) if total else float("nan")


def contradictions(scores: Mapping[str, float], slack_deg: float = 0.05) -> list[str]:
    """Sentences about pooled scores that cannot be: a median under t forces at least half of the pixels under t.

    Catches swapped columns and mixed conventions, in our scores and in printed ones (specs: the Marigold and DSINE rows
    of a published table break it).
    """
    found = []
    median = scores.get("median_deg", float("nan"))
    for t in THRESHOLDS_DEG:
        share = scores.get(threshold_key(t), float("nan"))
        if median < t - slack_deg and share < 0.5:
            found.append(f"median {median:.2f} deg is under {t:g}, but only {share:.1%} of the pixels are")
        if median > t + slack_deg and share > 0.5:
            found.append(f"median {median:.2f} deg is over {t:g}, but {share:.1%} of the pixels are under it")
    return found
