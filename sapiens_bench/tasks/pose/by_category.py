"""Several categories, each scored on its own and then averaged, as pycocotools does (AP-10K averages over species).

A detection meets only people of its own category; ``max_detections`` are those of one category in one image; a category
without anybody who counts takes no part in the mean. Suppression looks at all instances of an image together, as in
MMPose, since it happens before the evaluation.

Source: pycocotools 2.0 ``COCOeval`` with ``useCats`` 1; open-mmlab/mmpose mmpose/evaluation/metrics/coco_metric.py.

Axes: I images, C categories of one image (ascending ids), D detections, B weightings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.tasks.pose.average_precision import PartOutcomes
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, Values

if TYPE_CHECKING:
    import pyarrow as pa

CATEGORIES, SIZES = "categories", "n_detections"
N_AREAS = 3
_AT_ONCE = 16  # weightings whose precisions of all categories are held


class OneCategory(NamedTuple):
    """The people and detections of one category in one image."""

    image: int
    category: int
    target: PoseTarget
    prediction: PosePrediction


def split(targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> list[OneCategory]:
    """Every category of every image, by image, then id.

    Raises:
        ShapeError: people or detections without a category.
    """
    found = []
    for image, (target, prediction) in enumerate(zip(targets, predictions, strict=True)):
        people_N, found_N = target.category_N, prediction.category_N
        if found_N is None and not len(prediction.instance_scores_N):
            found_N = np.zeros(0, np.int64)
        if people_N is None or found_N is None:
            raise ShapeError("several categories are scored: every person and every detection needs one.")
        for category in np.union1d(people_N, found_N).tolist():
            one = target.take(np.flatnonzero(people_N == category))
            found.append(OneCategory(image, category, one, prediction.take(np.flatnonzero(found_N == category))))
    return found


def joined(parts: Sequence[OneCategory], rows: Sequence[Values], n_images: int, empty: Values) -> list[Values]:
    """One row per image: the columns of its categories end to end, with which they are and where each ends.

    ``categories`` i64 [C] ids; ``n_detections`` i64 [C], for each list of scores (``n_detections_<part>``).

    Args:
        empty: the row of an image without people and detections.
    """
    of_image: list[list[int]] = [[] for _ in range(n_images)]
    for position, part in enumerate(parts):
        of_image[part.image].append(position)
    found = []
    for positions in of_image:
        own = [rows[p] for p in positions]
        row: Values = {key: np.concatenate([np.asarray(one[key]) for one in own]) for key in (own[0] if own else ())}
        if not own:
            row = {key: np.asarray(value)[:0] for key, value in empty.items()}
        row[CATEGORIES] = np.array([parts[p].category for p in positions], np.int64)
        for key in [key for key in row if key.startswith("scores")]:
            sizes = [len(np.asarray(one[key])) for one in own]
            row[key.replace("scores", SIZES, 1)] = np.array(sizes, np.int64)
        found.append(row)
    return found


def separate(rows: pa.Table, name: str) -> dict[int, pa.Table]:
    """Category -> the rows as they would be were it the only one; images without it have empty lists.

    Args:
        name: of the metric, the prefix of its columns.
    """
    images = rows.select([c for c in rows.column_names if c.startswith(f"{name}/")]).to_pydict()
    given = {key.removeprefix(f"{name}/"): values for key, values in images.items()}
    categories = sorted({c for listed in given[CATEGORIES] for c in listed or ()})
    return {category: _only(given, category, name) for category in categories}


def _only(given: dict[str, list[Any]], category: int, name: str) -> pa.Table:
    import pyarrow as pa

    place = [listed.index(category) if listed and category in listed else -1 for listed in given[CATEGORIES]]
    columns: dict[str, Any] = {}
    for key, lists in given.items():
        if key == CATEGORIES or key.startswith(SIZES):
            continue
        if key.startswith("n_people"):
            starts = [(c * N_AREAS, (c + 1) * N_AREAS) for c in place]
            cut = [v[a:b] if c >= 0 else [0] * N_AREAS for v, c, (a, b) in zip(lists, place, starts, strict=True)]
        else:
            cut = [_piece(v, s, c) for v, s, c in zip(lists, _sizes(key, given), place, strict=True)]
        columns[f"{name}/{key}"] = pa.array(cut, pa.list_(pa.float64() if key.startswith("scores") else pa.int64()))
    return pa.table(columns)


def _sizes(key: str, given: dict[str, list[Any]]) -> list[list[int]]:
    """Sizes that a column of scores or outcomes follows: the part's own in the rows that rank it on its own."""
    whole, part = given[SIZES], key.partition("_")[2]
    own = given.get(f"{SIZES}_{part}", whole)
    return [w if o is None else o for o, w in zip(own, whole, strict=True)]


def _piece(values: list[Any] | None, sizes: list[int], place: int) -> list[Any] | None:
    if place < 0 or values is None:
        return [] if place < 0 else None
    start = sum(sizes[:place])
    return values[start : start + sizes[place]]


@dataclass(frozen=True)
class CategoryOutcomes:
    """Outcomes of one group of keypoints, by category. It answers as ``PartOutcomes`` does."""

    of_category: tuple[PartOutcomes, ...]  # by ascending id

    def statistics(self, weights_BI: DrawCounts, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
        """Name -> float64 [B]: the mean over the categories that have somebody who counts; NaN where none has.

        pycocotools takes one mean of all precisions, threshold by recall level by category; so is it here, to the bit.
        """
        parts = [self._some(weights_BI[b : b + _AT_ONCE], names) for b in range(0, len(weights_BI), _AT_ONCE)]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _some(self, weights_BI: DrawCounts, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
        found = [one.values(weights_BI, names) for one in self.of_category]
        result = {}
        for name in names:
            means = np.full(len(weights_BI), np.nan)
            for b in range(len(weights_BI)):
                counted = [one[name].values_BN[b] for one in found if one[name].counts_B[b]]
                if counted:
                    means[b] = np.stack(counted, axis=1).ravel().mean()
            result[name] = means
        return result
