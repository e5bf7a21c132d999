"""COCO average precision and recall from stored outcomes, for any image weights, many weightings at once.

Axes: E elements (detections of all images by falling score), B weightings, I images, T OKS thresholds, R recall levels.

A weight w means: the image is in the set w times, the copies next to each other. With weights of one the ten numbers
equal pycocotools ``COCOeval.accumulate`` and ``summarize`` bit for bit. Only true positives are visited: precision is
highest just after one, so the envelope over them is the envelope over all detections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import DrawCounts, weighted_sums
from sapiens_bench.tasks.pose.oks import AREA_NAMES, EPSILON, N_CELLS, OKS_THRESHOLDS

RECALL_LEVELS = np.linspace(0, 1, 101)
_CHUNK_VALUES = 1 << 18  # weights held at once; fits the second-level cache
_N_T = len(OKS_THRESHOLDS)


class Statistic(NamedTuple):
    """One of the ten COCO keypoint numbers."""

    kind: str  # "precision" or "recall"
    area: int
    thresholds: tuple[int, ...]


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
        order = np.argsort(-scores, kind="stable")
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

    @cached_property
    def _hits_IC(self) -> NDArray[np.int64]:
        """True positives per image and cell (area-major, then threshold)."""
        hits = np.zeros((len(self.n_people_IA), N_CELLS), np.int64)
        for cell in range(N_CELLS):
            image = self.elements.image_E[(self.bits_E >> cell) & 1 == 1]
            hits[:, cell] = np.bincount(image, minlength=len(hits))
        return hits

    def statistics(self, weights_BI: DrawCounts, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
        """Name -> float64 [B]; NaN where no person counts."""
        n_people_BA = weighted_sums(weights_BI, self.n_people_IA).astype(np.int64)
        wanted = [(name, STATISTICS[name]) for name in names]
        cells = sorted({s.area * _N_T + t for _, s in wanted if s.kind == "precision" for t in s.thresholds})
        precision = self._precision(weights_BI, n_people_BA, cells) if cells else {}
        result = {}
        for name, s in wanted:
            columns = [s.area * _N_T + t for t in s.thresholds]
            if s.kind == "precision":
                values = np.concatenate([precision[c] for c in columns], axis=1)
            else:
                n = n_people_BA[:, s.area : s.area + 1]
                values = weighted_sums(weights_BI, self._hits_IC[:, columns]) / np.maximum(n, 1)
            mean = np.ascontiguousarray(values).mean(axis=1)
            result[name] = np.where(n_people_BA[:, s.area] > 0, mean, np.nan)
        return result

    def _precision(
        self, weights_BI: DrawCounts, n_people_BA: NDArray[np.int64], cells: list[int]
    ) -> dict[int, NDArray[np.float64]]:
        """Cell -> interpolated precision [B, R]."""
        copies = int(weights_BI.max(initial=1))
        image_E, copy_E, bits_E = self._expanded(copies)
        plans = {cell: _CellPlan.of(bits_E, cell) for cell in cells}
        result = {cell: np.zeros((len(weights_BI), len(RECALL_LEVELS))) for cell in cells}
        levels = {a: _hits_needed(n_people_BA[:, a]) for a in {c // _N_T for c in cells}}
        rows = max(1, _CHUNK_VALUES // max(1, len(image_E)))
        narrow = np.int32 if len(image_E) * copies < 2**31 else np.int64
        for start in range(0, len(weights_BI), rows):
            part = slice(start, start + rows)
            weight_BE = np.take(weights_BI[part].astype(narrow), image_E, axis=1)
            if copy_E is not None:
                repeated = copy_E >= 0
                weight_BE[:, repeated] = weight_BE[:, repeated] > copy_E[repeated]
            for key, members in _by_counted(plans):
                counted = weight_BE if key is None else np.take(weight_BE, key, axis=1)
                total_BE = np.cumsum(counted, axis=1, dtype=narrow)
                for cell in members:
                    hit = plans[cell].hit
                    hits_BH = np.cumsum(np.take(counted, hit, axis=1), axis=1, dtype=narrow)
                    total_BH = np.take(total_BE, hit, axis=1)
                    result[cell][part] = _interpolated(hits_BH, total_BH, levels[cell // _N_T][part])
        return result

    def _expanded(self, copies: int) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64]]:
        """Image, copy number and outcome of each element; elements of mixed ties stand there once per copy."""
        image_E, run_E = self.elements.image_E, self.elements.tied_E
        if copies < 2 or not self._mixed_E.any():
            return image_E, None, self.bits_E
        times = np.where(self._mixed_E, copies, 1)
        source = np.repeat(np.arange(len(image_E)), times)
        copy = np.arange(len(source)) - np.repeat(np.cumsum(times) - times, times)
        order = np.lexsort((source, copy, run_E[source]))
        source, copy = source[order], copy[order]
        return image_E[source], np.where(self._mixed_E[source], copy, -1), self.bits_E[source]


class _CellPlan(NamedTuple):
    """Which elements one area and threshold looks at."""

    counted: NDArray[np.int64] | None  # true or false positives; None: all elements
    hit: NDArray[np.int64]  # positions of true positives among the counted

    @classmethod
    def of(cls, bits_E: NDArray[np.int64], cell: int) -> _CellPlan:
        is_hit = (bits_E >> cell) & 1 == 1
        is_counted = is_hit | ((bits_E >> (cell + N_CELLS)) & 1 == 1)
        if is_counted.all():
            return cls(None, np.flatnonzero(is_hit))
        return cls(np.flatnonzero(is_counted), np.flatnonzero(is_hit[is_counted]))


def _by_counted(plans: dict[int, _CellPlan]) -> Iterator[tuple[NDArray[np.int64] | None, list[int]]]:
    """Cells grouped by what they count, so that running totals are made once for each."""
    groups: dict[bytes, list[int]] = {}
    for cell, plan in plans.items():
        groups.setdefault(b"all" if plan.counted is None else plan.counted.tobytes(), []).append(cell)
    for members in groups.values():
        yield plans[members[0]].counted, members


def _hits_needed(n_people_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fewest true positives whose recall, as a float, reaches each recall level; int64 [B, R]."""
    n = np.maximum(n_people_B, 1)[:, None]
    hits = np.maximum(np.floor(RECALL_LEVELS * n).astype(np.int64) - 1, 0)
    for _ in range(3):
        hits += hits / n < RECALL_LEVELS
    return hits


def _interpolated(hits_BH: NDArray[Any], total_BH: NDArray[Any], needed_BR: NDArray[np.int64]) -> NDArray[np.float64]:
    """Highest precision at or beyond each recall level, 0 where the level is not reached; [B, R]."""
    n_rows, n_hits = hits_BH.shape
    precision = np.zeros((n_rows, n_hits + 1))
    precision[:, :n_hits] = total_BH
    precision[:, :n_hits] += EPSILON
    np.divide(hits_BH, precision[:, :n_hits], out=precision[:, :n_hits])
    first = np.empty(needed_BR.shape, np.int64)
    needed = needed_BR.astype(hits_BH.dtype)
    for row in range(n_rows):
        first[row] = np.searchsorted(hits_BH[row], needed[row], side="left")
    # level 0 is reached at once, so the segments of a row tile it and end where the next row begins
    offset = first + (np.arange(n_rows) * (n_hits + 1))[:, None]
    best = np.maximum.reduceat(precision.ravel(), offset.ravel()).reshape(needed_BR.shape)
    envelope: NDArray[np.float64] = np.maximum.accumulate(best[:, ::-1], axis=1)[:, ::-1]
    return envelope
