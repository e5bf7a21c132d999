"""Interpolated precision under image weights by compiled kernels.

Axes: E elements (detections of all images by falling score), B weightings, I images, C cells (area-major, then OKS
threshold), N entries of all cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.tasks.pose.oks import OKS_THRESHOLDS
from sapiens_bench.tasks.pose.precision_arrays import RECALL_LEVELS, Curves, Weighted

_N_T = len(OKS_THRESHOLDS)
_CHUNK_VALUES = 1 << 22  # weights laid out at once


def curves(
    kernels: ModuleType,
    weights_BI: DrawCounts,
    elements: Weighted,
    needed: Mapping[int, NDArray[np.int64]],
    cells: Sequence[int],
) -> Curves:
    """See ``precision_arrays.curves``."""
    copies = _Copies.of(elements, weights_BI.shape[1])
    plan = _plan(kernels, copies.column_E, elements.bits_E, cells)
    precision = np.zeros((len(weights_BI), len(cells), len(RECALL_LEVELS)))
    hits = np.zeros((len(weights_BI), len(cells)), np.int64)
    kind = np.uint8 if weights_BI.max(initial=0) < 256 else np.int64
    rows = max(1, _CHUNK_VALUES // max(1, weights_BI.shape[1] + len(copies.image)))
    for start in range(0, len(weights_BI), rows):
        part = slice(start, start + rows)
        levels = np.stack([needed[cell // _N_T][part] for cell in cells], axis=1)
        weights = np.ascontiguousarray(copies.weights(weights_BI[part]), kind)
        kernels.precisions(weights, *plan, levels, precision[part], hits[part])
    return Curves(precision, hits)


class _Copies(NamedTuple):
    """Elements that are one copy of an image get a column of weights of their own, behind those of the images."""

    column_E: NDArray[np.int64]
    image: NDArray[np.int64]
    copy: NDArray[np.int64]

    @classmethod
    def of(cls, elements: Weighted, n_images: int) -> _Copies:
        none = np.zeros(0, np.int64)
        if elements.copy_E is None:
            return cls(elements.image_E, none, none)
        single = elements.copy_E >= 0
        n_copies = int(elements.copy_E.max(initial=0)) + 1
        pairs, column = np.unique(elements.image_E[single] * n_copies + elements.copy_E[single], return_inverse=True)
        column_E = elements.image_E.copy()
        column_E[single] = n_images + column
        return cls(column_E, pairs // n_copies, pairs % n_copies)

    def weights(self, weights_BI: DrawCounts) -> DrawCounts:
        """With the columns of the copies: 1 where the image is drawn often enough for this copy to be there."""
        if len(self.image) == 0:
            return weights_BI
        copies: DrawCounts = (weights_BI[:, self.image] > self.copy).astype(weights_BI.dtype)
        return np.concatenate([weights_BI, copies], axis=1)


class _Plan(NamedTuple):
    """What each cell looks at; see ``kernels.precisions``."""

    base_images: NDArray[np.int32]
    is_stop: NDArray[np.int8]
    n_base: NDArray[np.int64]
    base_of_C: NDArray[np.int64]
    start_C: NDArray[np.int64]
    end_C: NDArray[np.int64]
    special_C: NDArray[np.int64]
    before: NDArray[np.int32]
    upto: NDArray[np.int32]
    special_images: NDArray[np.int32]
    gains: NDArray[np.int8]
    hits: NDArray[np.int8]


def _plan(kernels: ModuleType, column_E: NDArray[np.int64], bits_E: NDArray[np.int64], cells: Sequence[int]) -> _Plan:
    """The cells of an area count nearly the same elements: those of its highest threshold are the base."""
    n, areas = len(bits_E), sorted({cell // _N_T for cell in cells})
    base_of_C = np.array([areas.index(cell // _N_T) for cell in cells])
    base_images, is_stop = np.empty((len(areas), n), np.int32), np.zeros((len(areas), n), np.int8)
    n_base, special_C = np.zeros(len(areas), np.int64), np.empty_like(base_of_C)
    bounds = np.empty(len(cells) + 1, np.int64)
    before, upto, special_images = np.empty((3, len(cells) * n), np.int32)
    gains, hits = np.empty((2, len(cells) * n), np.int8)
    n_special = kernels.plan_cells(
        bits_E, column_E, np.array(cells), base_of_C, base_images, is_stop, n_base, bounds, special_C, before, upto,
        special_images, gains, hits,
    )  # fmt: skip
    return _Plan(
        base_images=base_images,
        is_stop=is_stop,
        n_base=n_base,
        base_of_C=base_of_C,
        start_C=bounds[:-1],
        end_C=bounds[1:],
        special_C=special_C,
        before=before[: bounds[-1]],
        upto=upto[: bounds[-1]],
        special_images=special_images[:n_special],
        gains=gains[:n_special],
        hits=hits[:n_special],
    )
