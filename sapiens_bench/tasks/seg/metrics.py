"""Segmentation scores from confusion counts summed over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts, means_of_defined, weighted_sums
from sapiens_bench.tasks.columns import vectors
from sapiens_bench.tasks.seg.confusion import boundary_counts, confusion
from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

MMSEG = "MMSegmentation IoUMetric: areas summed over the data set, classes without a pixel left out of the means"
BOUNDARY = "Cheng et al., Boundary IoU, CVPR 2021, eq. 2; d = 2 % of the image diagonal; areas summed over the data set"


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

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``. A score needs three sums per class: pixels hit, pixels of the class, pixels called so."""
        c = len(self.names)
        tables = vectors(rows, f"{self.name}/confusion", c * (c + 1), np.int64).reshape(-1, c, c + 1)
        sums_NC3 = np.concatenate(_pixels(tables), axis=1)

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            return self._scores(*np.split(weighted_sums(weights_BN, sums_NC3), 3, axis=1))

        return Aggregate(tuple(self.scores), len(tables), batch)

    def from_confusion(self, table: NDArray[np.int64]) -> dict[str, float]:
        """Scores of summed counts [C, C + 1]; undefined is NaN."""
        sums = [part.astype(np.float64) for part in _pixels(table[None])]
        return {key: float(values[0]) for key, values in self._scores(*sums).items()}

    def _scores(
        self, hit_BC: NDArray[np.float64], label_BC: NDArray[np.float64], called_BC: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            iou, accuracy = hit_BC / (label_BC + called_BC - hit_BC), hit_BC / label_BC
            overall = hit_BC[:, self.scored].sum(axis=1) / label_BC[:, self.scored].sum(axis=1)
        out = {
            "miou": means_of_defined(iou[:, self.scored]),
            "macc": means_of_defined(accuracy[:, self.scored]),
            "aacc": overall,
            "miou_no_background": means_of_defined(iou[:, self.foreground]),
        }
        return out | {f"iou/{self.names[i]}": iou[:, i] for i in self.scored}


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

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """See ``Aggregate``."""
        columns = [vectors(rows, f"{self.name}/{name}", self.n_classes, np.int64) for name in ("intersection", "union")]
        sums_NC2 = np.concatenate(columns, axis=1)

        def batch(weights_BN: DrawCounts, keys: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
            intersection, union = np.split(weighted_sums(weights_BN, sums_NC2), 2, axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                return {"miou": means_of_defined((intersection / union)[:, self.scored])}

        return Aggregate(tuple(self.scores), rows.num_rows, batch)


def _pixels(tables_NCC: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of confusion counts [N, C, C + 1], each [N, C]: correct pixels, pixels of the class, pixels called the class."""
    n_classes = tables_NCC.shape[1]
    hit = np.diagonal(tables_NCC, axis1=1, axis2=2)
    return hit, tables_NCC.sum(axis=2), tables_NCC[:, :, :n_classes].sum(axis=1)
