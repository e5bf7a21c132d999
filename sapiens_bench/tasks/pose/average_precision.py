"""COCO average precision and recall from stored outcomes, for any image weights, many weightings at once.

Axes: E elements (detections of all images by falling score), B weightings, I images, T OKS thresholds, R recall levels.

A weight w means: the image is in the set w times, the copies next to each other. With weights of one the ten numbers
equal pycocotools ``COCOeval.accumulate`` and ``summarize`` bit for bit. Only true positives are visited: precision is
highest just after one, so the envelope over them is the envelope over all detections.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import DrawCounts, weighted_sums
from sapiens_bench.tasks.pose import precision_arrays, precision_compiled
from sapiens_bench.tasks.pose.compiled import KERNELS
from sapiens_bench.tasks.pose.oks import AREA_NAMES, OKS_THRESHOLDS, falling
from sapiens_bench.tasks.pose.precision_arrays import Curves, Weighted, hits_needed

_NUMPY_ELEMENT_S = 7e-9  # about what numpy takes for one element in one cell under one weighting
_N_T = len(OKS_THRESHOLDS)


class Statistic(NamedTuple):
    """One of the ten COCO keypoint numbers."""

    kind: str  # "precision" or "recall"
    area: int
    thresholds: tuple[int, ...]


class Values(NamedTuple):
    """What a statistic is the mean of, under each weighting."""

    values_BN: NDArray[np.float64]  # precisions by threshold, then recall level; or recalls by threshold
    counts_B: NDArray[np.bool_]  # whether there is a person who counts


_ALL, _AT_50, _AT_75 = tuple(range(_N_T)), (0,), (5,)
STATISTICS: dict[str, Statistic] = {
    "AP": Statistic("precision", 0, _ALL),
    "AP50": Statistic("precision", 0, _AT_50),
    "AP75": Statistic("precision", 0, _AT_75),
    "APM": Statistic("precision", AREA_NAMES.index("medium"), _ALL),
    "APL": Statistic("precision", AREA_NAMES.index("large"), _ALL),
    "AR": Statistic("recall", 0, _ALL),
    "AR50": Statistic("recall", 0, _AT_50),
    "AR75": Statistic("recall", 0, _AT_75),
    "ARM": Statistic("recall", AREA_NAMES.index("medium"), _ALL),
    "ARL": Statistic("recall", AREA_NAMES.index("large"), _ALL),
}


@dataclass(frozen=True)
class Elements:
    """Detections by falling score; equal scores by image, then by their order in the image."""

    image_E: NDArray[np.int64]
    tied_E: NDArray[np.int64]  # number of the run of equal scores inside one image
    order_E: NDArray[np.int64]  # where each element stood before sorting

    @classmethod
    def sort(cls, scores: NDArray[np.float64], image: NDArray[np.int64]) -> Elements:
        """Sort detections that come by image. Source: the merge sort in pycocotools ``accumulate``."""
        order = falling(scores)
        image, scores = image[order], scores[order]
        starts = np.ones(len(order), bool)
        starts[1:] = (scores[1:] != scores[:-1]) | (image[1:] != image[:-1])
        return cls(image, np.cumsum(starts) - 1, order)


@dataclass(frozen=True)
class PartOutcomes:
    """Outcomes of one group of keypoints over a whole set of images."""

    elements: Elements
    bits_E: NDArray[np.int64]  # oks.Matches.outcomes, in element order
    n_people_IA: NDArray[np.int64]

    @cached_property
    def _mixed_E(self) -> NDArray[np.bool_]:
        """Elements of a run of tied detections of one image whose outcomes differ: copies of the image interleave."""
        run = self.elements.tied_E
        differs = np.zeros(int(run[-1]) + 1 if len(run) else 0, bool)
        changed = np.flatnonzero((run[1:] == run[:-1]) & (self.bits_E[1:] != self.bits_E[:-1]))
        differs[run[changed]] = True
        return differs[run]

    def statistics(self, weights_BI: DrawCounts, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
        """Name -> float64 [B]; NaN where no person counts."""
        found = self.values(weights_BI, names)
        return {name: np.where(counts_B, values.mean(axis=1), np.nan) for name, (values, counts_B) in found.items()}

    def values(self, weights_BI: DrawCounts, names: tuple[str, ...]) -> dict[str, Values]:
        """What each statistic is the mean of."""
        n_people_BA = weighted_sums(weights_BI, self.n_people_IA).astype(np.int64)
        wanted = {name: STATISTICS[name] for name in names}
        cells = sorted({s.area * _N_T + t for s in wanted.values() for t in s.thresholds})
        curves = self._curves(weights_BI, n_people_BA, cells)
        result = {}
        for name, s in wanted.items():
            columns = [cells.index(s.area * _N_T + t) for t in s.thresholds]
            if s.kind == "precision":
                values = curves.precision_BCR[:, columns].reshape(len(weights_BI), -1)
            else:
                values = curves.hits_BC[:, columns] / np.maximum(n_people_BA[:, s.area : s.area + 1], 1)
            result[name] = Values(np.ascontiguousarray(values), n_people_BA[:, s.area] > 0)
        return result

    def _curves(self, weights_BI: DrawCounts, n_people_BA: NDArray[np.int64], cells: list[int]) -> Curves:
        elements = self._expanded(int(weights_BI.max(initial=1)))
        needed = {area: hits_needed(n_people_BA[:, area]) for area in {cell // _N_T for cell in cells}}
        kernels = KERNELS.get(len(weights_BI) * len(elements.image_E) * len(cells) * _NUMPY_ELEMENT_S)
        if kernels is None:
            return precision_arrays.curves(weights_BI, elements, needed, cells)
        return precision_compiled.curves(kernels, weights_BI, elements, needed, cells)

    def _expanded(self, copies: int) -> Weighted:
        """The elements; those of mixed ties stand there once per copy."""
        image_E, run_E = self.elements.image_E, self.elements.tied_E
        if copies < 2 or not self._mixed_E.any():
            return Weighted(image_E, None, self.bits_E)
        times = np.where(self._mixed_E, copies, 1)
        source = np.repeat(np.arange(len(image_E)), times)
        copy = np.arange(len(source)) - np.repeat(np.cumsum(times) - times, times)
        order = np.lexsort((source, copy, run_E[source]))
        source, copy = source[order], copy[order]
        return Weighted(image_E[source], np.where(self._mixed_E[source], copy, -1), self.bits_E[source])
