"""Surface-normal scores from per-image angle sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, weighted_means, weighted_sums
from sapiens_bench.tasks.columns import numbers, vectors
from sapiens_bench.tasks.normal.angles import THRESHOLDS_DEG, angle_sums, angles_deg
from sapiens_bench.tasks.normal.median import N_BINS, histogram_median, pooled_medians, within_moments
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

POOLED = "human pixels of the data set pooled (official Sapiens2 evaluator)"
PER_IMAGE = "per image, then mean over images"
_SUMS = ("n", "n_mask", "angle_deg", "angle_sq_deg")


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
        rows = np.flatnonzero(target.mask_HW)
        pred, gt = (np.reshape(normals, (-1, 3)) for normals in (prediction.normals_HW3, target.normals_HW3))
        sums = angle_sums(angles_deg(pred, gt, rows if len(rows) < len(gt) else None))
        return {
            "n_mask": len(rows),
            "n": sums.n,
            "angle_deg": sums.angle_deg,
            "angle_sq_deg": sums.angle_sq_deg,
            "below": sums.below,
            "histogram": sums.histogram.astype(np.int32),
        }

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``."""
        sums = {name: numbers(rows, f"{self.name}/{name}") for name in _SUMS}
        below = vectors(rows, f"{self.name}/below", len(THRESHOLDS_DEG), np.float64)
        sums |= {threshold_key(t): below[:, i] for i, t in enumerate(THRESHOLDS_DEG)}
        histogram = vectors(rows, f"{self.name}/histogram", N_BINS)
        per_image = _scores(sums)

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            if "image/median_deg" in keys and "median_deg" not in per_image:
                medians = histogram_median(histogram)
                per_image["median_deg"] = within_moments(medians, per_image["mean_deg"], per_image["rmse_deg"])
            wanted = [key.removeprefix("image/") for key in keys if key.startswith("image/")]
            means = weighted_means(weights_BN, _table(per_image, wanted, rows.num_rows))
            out = {f"image/{key}": means[:, i] for i, key in enumerate(wanted)}
            if len(out) < len(keys):
                total = weighted_sums(weights_BN, _table(sums, list(sums), rows.num_rows))
                out |= _scores(dict(zip(sums, total.T, strict=True)))
            if "median_deg" in keys:
                pooled = pooled_medians(weights_BN, histogram)
                out["median_deg"] = within_moments(pooled, out["mean_deg"], out["rmse_deg"])
            return out

        return Aggregate(tuple(self.scores), rows.num_rows, batch)


def _table(columns: Mapping[str, NDArray[np.float64]], names: Sequence[str], n_rows: int) -> NDArray[np.float64]:
    """The named columns side by side, [N, M]."""
    return np.stack([columns[name] for name in names], axis=1) if names else np.zeros((n_rows, 0))


def _scores(sums: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """What follows from sums, elementwise: per image, or of pooled sums. NaN where no pixel is scored."""
    n = np.where(sums["n"] > 0, sums["n"], np.nan)
    n_mask = np.where(sums["n_mask"] > 0, sums["n_mask"], np.nan)
    out = {"mean_deg": sums["angle_deg"] / n, "rmse_deg": np.sqrt(sums["angle_sq_deg"] / n)}
    out |= {key: sums[key] / n for key in map(threshold_key, THRESHOLDS_DEG)}
    return out | {"coverage": sums["n"] / n_mask}


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
