"""Segmentation scores from confusion counts summed over images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.seg.confusion import boundary_counts, confusion
from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

MMSEG = "MMSegmentation IoUMetric: areas summed over the data set, classes without a pixel left out of the means"
BOUNDARY = "Cheng et al., Boundary IoU, CVPR 2021, eq. 2; d = 2 % of the image diagonal; areas summed over the data set"


def stack(rows: pa.Table, column: str, size: int) -> NDArray[np.int64]:
    """A list column of equal lengths as int64 [n, size]."""
    flat = rows.column(column).combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.int64).reshape(-1, size)


def _share(title: str, source: str, *, headline: bool = False, decimals: int = 1) -> ScoreInfo:
    return ScoreInfo(title, "", True, 0.0, 1.0, decimals, source, percent=True, headline=headline)


class SegMetric:
    """mIoU, mAcc, aAcc and per-class IoU.

    Args:
        names: class names; index 0 is background.
        scored: indices that enter the means; the others (classes that a converted label set cannot express) are
            neither averaged nor reported, but pixels predicted as such still count against the true class.
    """

    name = "seg"
    version = 1

    def __init__(self, names: Sequence[str], scored: Sequence[int] | None = None) -> None:
        self.names = tuple(names)
        self.scored = np.asarray(sorted(scored) if scored is not None else range(len(names)))
        self.foreground = self.scored[self.scored != 0]
        infos = {
            "miou": _share("mIoU", MMSEG, headline=True),
            "macc": _share("mAcc", MMSEG, headline=True),
            "aacc": _share("aAcc", MMSEG, headline=True),
            "miou_no_background": _share("mIoU (no bg)", MMSEG, headline=True),
        }
        infos |= {f"iou/{self.names[c]}": _share(f"IoU {self.names[c]}", MMSEG) for c in self.scored}
        self.scores: Mapping[str, ScoreInfo] = infos

    def measure(self, target: SegTarget, prediction: SegPrediction) -> dict[str, int | float | NDArray[Any]]:
        """Confusion counts [C * (C + 1)] of one image; the last column of each row is "no class"."""
        return {"confusion": confusion(target.labels_HW, prediction.labels_HW, len(self.names)).ravel()}

    def aggregate(self, rows: pa.Table) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
        c = len(self.names)
        counts = stack(rows, f"{self.name}/confusion", c * (c + 1))

        def scores(weights: NDArray[np.int64] | None) -> dict[str, float]:
            total = counts.sum(axis=0) if weights is None else weights @ counts
            return self.from_confusion(total.reshape(c, c + 1))

        return scores

    def from_confusion(self, table: NDArray[np.int64]) -> dict[str, float]:
        """Scores of summed counts [C, C + 1]; undefined is NaN."""
        c = len(self.names)
        hit = np.diagonal(table).astype(np.float64)
        label = table.sum(axis=1).astype(np.float64)
        union = label + table[:, :c].sum(axis=0) - hit
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, accuracy = hit / union, hit / label
            overall = hit[self.scored].sum() / label[self.scored].sum()
        out = {
            "miou": _mean(iou[self.scored]),
            "macc": _mean(accuracy[self.scored]),
            "aacc": float(overall),
            "miou_no_background": _mean(iou[self.foreground]),
        }
        return out | {f"iou/{self.names[i]}": float(iou[i]) for i in self.scored}


class BoundaryMetric:
    """Mean boundary IoU over the scored classes: what high resolution should win."""

    name = "boundary"
    version = 1

    def __init__(self, n_classes: int, scored: Sequence[int] | None = None) -> None:
        self.n_classes = n_classes
        self.scored = np.asarray(sorted(scored) if scored is not None else range(n_classes))
        self.scores: Mapping[str, ScoreInfo] = {"miou": _share("boundary mIoU", BOUNDARY, headline=True)}

    def measure(self, target: SegTarget, prediction: SegPrediction) -> dict[str, int | float | NDArray[Any]]:
        """Intersection and union of boundary bands per class, int64 [C] each."""
        intersection, union = boundary_counts(target.labels_HW, prediction.labels_HW, self.n_classes)
        return {"intersection": intersection, "union": union}

    def aggregate(self, rows: pa.Table) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
        intersection = stack(rows, f"{self.name}/intersection", self.n_classes)
        union = stack(rows, f"{self.name}/union", self.n_classes)

        def scores(weights: NDArray[np.int64] | None) -> dict[str, float]:
            i = intersection.sum(axis=0) if weights is None else weights @ intersection
            u = union.sum(axis=0) if weights is None else weights @ union
            with np.errstate(invalid="ignore", divide="ignore"):
                return {"miou": _mean((i / u)[self.scored])}

        return scores


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the defined values; NaN when there is none."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")
