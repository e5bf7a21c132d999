"""Depth scores from per-image sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, weighted_means, weighted_sums
from sapiens_bench.tasks.columns import numbers, vectors
from sapiens_bench.tasks.depth.alignment import ALIGNMENTS, Alignment, Values
from sapiens_bench.tasks.depth.edges import THRESHOLDS, EdgeCounts, edge_counts, edge_f1
from sapiens_bench.tasks.depth.sums import Aligner, DepthSums, Truth, all_depth_sums
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

OFFICIAL = "official Sapiens DepthMetric (per image, then mean over images); Eigen et al., NIPS 2014"
EDGES = "Bochkovskii et al., Depth Pro, ICLR 2025, section 4.3; pair counts summed over the data set"
FIELDS = DepthSums._fields
TITLES: dict[Alignment, str] = {
    "none": "no alignment",
    "median": "median scale",
    "scale": "least-squares scale",
    "scale_shift": "scale + shift",
    "scale_shift_l1": "scale + shift, least absolute",
}


def _error(title: str, unit: str, source: str, *, headline: bool, decimals: int = 4) -> ScoreInfo:
    return ScoreInfo(title, unit, False, 0.0, float("inf"), decimals, source, headline=headline)


def _share(title: str, source: str, *, headline: bool = False) -> ScoreInfo:
    return ScoreInfo(title, "", True, 0.0, 1.0, 1, source, percent=True, headline=headline)


def score_infos(suffix: str, source: str, headline: bool) -> dict[str, ScoreInfo]:
    """Facts of the nine scores of one alignment; ``suffix`` goes behind each title."""
    return {
        "rmse": _error(f"RMSE{suffix}", "m", source, headline=headline),
        "abs_rel": _error(f"AbsRel{suffix}", "", source, headline=headline),
        "delta1": _share(f"δ1{suffix}", source, headline=headline),
        "delta2": _share(f"δ2{suffix}", source),
        "delta3": _share(f"δ3{suffix}", source),
        "sq_rel": _error(f"SqRel{suffix}", "m", source, headline=False),
        "rmse_log": _error(f"RMSElog{suffix}", "", source, headline=False),
        "log10": _error(f"log10{suffix}", "", source, headline=False),
        "silog": _error(f"SILog{suffix}", "", source, headline=False),
    }


def scores_of(s: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The nine scores from sums, elementwise: per image, or of pooled sums. NaN where no pixel is scored."""
    n = np.where(s["n"] > 0, s["n"], np.nan)
    log_mean = s["log"] / n
    return {
        "rmse": np.sqrt(s["sq_error"] / n),
        "abs_rel": s["abs_rel"] / n,
        "delta1": s["delta1"] / n,
        "delta2": s["delta2"] / n,
        "delta3": s["delta3"] / n,
        "sq_rel": s["sq_rel"] / n,
        "rmse_log": np.sqrt(s["log_sq"] / n),
        "log10": s["abs_log10"] / n,
        # Rounding can make the variance of a perfectly scaled map slightly negative.
        "silog": np.sqrt(np.maximum(s["log_sq"] / n - 0.5 * log_mean**2, 0.0)),
    }


class DepthMetric:
    """Errors over human pixels under all four alignments, computed from one prediction.

    Scores without prefix use the protocol's ``alignment`` and are means over images of per-image values; ``pooled/...``
    are the same from pixels pooled over the data set; ``none/``, ``median/``, ``scale/``, ``scale_shift/`` stand side
    by side. ``coverage``: share of scored pixels for which the model gave a finite value.
    """

    name = "depth"
    version = 1

    def __init__(self, alignment: Alignment = "scale_shift") -> None:
        self.alignment = alignment
        self.alignments = ALIGNMENTS if alignment in ALIGNMENTS else (*ALIGNMENTS, alignment)
        infos = score_infos("", f"{OFFICIAL}; aligned by {TITLES[alignment]}", headline=True)
        infos["coverage"] = _share("coverage", "finite predicted pixels / scored pixels")
        infos |= {f"pooled/{k}": v for k, v in score_infos(" (pooled)", "pixels pooled", headline=False).items()}
        for a in self.alignments:
            infos |= {f"{a}/{k}": v for k, v in score_infos(f" ({TITLES[a]})", OFFICIAL, headline=False).items()}
        self.scores: Mapping[str, ScoreInfo] = infos

    def measure(self, target: DepthTarget, prediction: DepthPrediction) -> dict[str, int | float | NDArray[Any]]:
        """``n_mask`` and the fields of ``DepthSums`` for each alignment, "<alignment>/<field>"."""
        pred, gt = masked(prediction.depth_HW, target.mask_HW), masked(target.depth_HW, target.mask_HW)
        finite = np.isfinite(pred)
        if not finite.all():
            pred, gt = pred[finite], gt[finite]
        row: dict[str, int | float | NDArray[Any]] = {"n_mask": len(finite)}
        for a, sums in all_depth_sums(pred, Truth(gt), prediction.kind, self.alignments).items():
            row |= {f"{a}/{field}": value for field, value in zip(FIELDS, sums, strict=True)}
        return row

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``. Means over images are those of the images that have the score."""
        sums = {a: {f: numbers(rows, f"{self.name}/{a}/{f}") for f in FIELDS} for a in self.alignments}
        per_image = {f"{a}/{key}": values for a in self.alignments for key, values in scores_of(sums[a]).items()}
        n_mask = numbers(rows, f"{self.name}/n_mask")

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            columns = {key: key if key in per_image else f"{self.alignment}/{key}" for key in keys}
            wanted = [name for name in dict.fromkeys(columns.values()) if name in per_image]
            out = _by_name(wanted, weighted_means, weights_BN, per_image)
            found = {key: out[name] for key, name in columns.items() if name in out}
            if len(found) == len(keys):
                return found
            pooled = _by_name((*FIELDS, "n_mask"), weighted_sums, weights_BN, sums[self.alignment] | {"n_mask": n_mask})
            n = np.where(pooled["n_mask"] > 0, pooled["n_mask"], np.nan)
            found |= {f"pooled/{key}": values for key, values in scores_of(pooled).items()}
            return found | {"coverage": pooled["n"] / n}

        return Aggregate(tuple(self.scores), rows.num_rows, batch)


class DepthEdgeMetric:
    """Boundary F1 of the aligned depth: what high resolution should win."""

    name = "depth_edge"
    version = 1

    def __init__(self, alignment: Alignment = "scale_shift") -> None:
        self.alignment = alignment
        self.scores: Mapping[str, ScoreInfo] = {
            "f1": _share("edge F1", EDGES, headline=True),
            "precision": _share("edge precision", EDGES),
            "recall": _share("edge recall", EDGES),
        }

    def measure(self, target: DepthTarget, prediction: DepthPrediction) -> dict[str, int | float | NDArray[Any]]:
        """Pair counts per threshold, int64 [10] each."""
        mask = target.mask_HW & np.isfinite(prediction.depth_HW)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return EdgeCounts.none()._asdict() | {"true": _all_true(target)}
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        pred, gt = masked(prediction.depth_HW, mask), masked(target.depth_HW, mask)
        align = Aligner(Values(pred), Truth(gt), prediction.kind, self.alignment)
        counts = edge_counts(prediction.depth_HW[window], target.depth_HW[window], mask[window], align)
        # Edges that a model left out by giving no value are edges it missed.
        is_whole = len(gt) == np.count_nonzero(target.mask_HW)
        return {
            "both": counts.both,
            "predicted": counts.predicted,
            "true": counts.true if is_whole else _all_true(target),
        }

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``; the pairs of all images are counted together."""
        columns = [vectors(rows, f"{self.name}/{c}", len(THRESHOLDS), np.int64) for c in ("both", "predicted", "true")]
        counts_NT3 = np.concatenate(columns, axis=1)

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            precision, recall, f1 = edge_f1(*np.split(weighted_sums(weights_BN, counts_NT3), 3, axis=1))
            return {"f1": f1, "precision": precision, "recall": recall}

        return Aggregate(tuple(self.scores), rows.num_rows, batch)


def masked(map_HW: NDArray[np.floating[Any]], mask_HW: NDArray[np.bool_]) -> NDArray[np.floating[Any]]:
    """Values where the mask is True, row-major, as they are stored."""
    return map_HW[mask_HW]


def _all_true(target: DepthTarget) -> NDArray[np.int64]:
    return edge_counts(target.depth_HW, target.depth_HW, target.mask_HW).true


def _by_name(
    names: Sequence[str],
    reduce: Callable[[DrawCounts, NDArray[np.float64]], NDArray[np.float64]],
    weights_BN: DrawCounts,
    columns: Mapping[str, NDArray[np.float64]],
) -> dict[str, NDArray[np.float64]]:
    """The named columns [N], reduced together: name -> [B]."""
    if not names:
        return {}
    reduced = reduce(weights_BN, np.stack([columns[name] for name in names], axis=1))
    return dict(zip(names, reduced.T, strict=True))
