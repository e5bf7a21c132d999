"""Interpolated precision under image weights with numpy: what runs where nothing is compiled.

Axes: E elements (detections of all images by falling score), B weightings, C cells (area-major, then OKS threshold), R
recall levels, H true positives of one cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.tasks.pose.oks import EPSILON, N_CELLS, OKS_THRESHOLDS

RECALL_LEVELS = np.linspace(0, 1, 101)
_CHUNK_VALUES = 1 << 18  # weights held at once; fits the second-level cache
_N_T = len(OKS_THRESHOLDS)


class Weighted(NamedTuple):
    """Elements whose weight is that of their image, or 0 or 1 where an element is one copy of a tied detection."""

    image_E: NDArray[np.int64]
    copy_E: NDArray[np.int64] | None  # number of the copy; -1: stands for all copies; None: all of them do
    bits_E: NDArray[np.int64]  # oks.Matches.outcomes


class Curves(NamedTuple):
    """What the statistics of some cells are made of."""

    precision_BCR: NDArray[np.float64]  # highest precision at or beyond each recall level, 0 where it is not reached
    hits_BC: NDArray[np.int64]  # weighted true positives


def hits_needed(n_people_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fewest true positives whose recall, as a float, reaches each recall level; int64 [B, R]."""
    n = np.maximum(n_people_B, 1)[:, None]
    hits = np.maximum(np.floor(RECALL_LEVELS * n).astype(np.int64) - 1, 0)
    for _ in range(3):
        hits += hits / n < RECALL_LEVELS
    return hits


def curves(
    weights_BI: DrawCounts, elements: Weighted, needed: Mapping[int, NDArray[np.int64]], cells: Sequence[int]
) -> Curves:
    """Curves of the cells; ``needed``: area -> ``hits_needed`` of its people."""
    image_E, copy_E, bits_E = elements
    plans = {cell: _CellPlan.of(bits_E, cell) for cell in cells}
    column = {cell: c for c, cell in enumerate(cells)}
    precision = np.zeros((len(weights_BI), len(cells), len(RECALL_LEVELS)))
    hits = np.zeros((len(weights_BI), len(cells)), np.int64)
    rows = max(1, _CHUNK_VALUES // max(1, len(image_E)))
    narrow = np.int32 if len(image_E) * int(weights_BI.max(initial=1)) < 2**31 else np.int64
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
                precision[part, column[cell]] = _interpolated(hits_BH, total_BH, needed[cell // _N_T][part])
                if len(hit):
                    hits[part, column[cell]] = hits_BH[:, -1]
    return Curves(precision, hits)


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
