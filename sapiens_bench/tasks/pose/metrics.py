"""The OKS metric: ten COCO numbers for the whole keypoint set and for each of its parts.

Score keys: ``AP`` ... ``ARL`` for the whole set, ``body/AP`` ... for a part. Where a set has both hands, ``hand/...``
is the mean of the left and the right hand's number, ``both_hands/...`` the number of one part made of both hands.
A person without a labelled point of a part is ignored for that part (matching it is neither right nor wrong).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.stats.sums import Aggregate, DrawCounts
from sapiens_bench.tasks.pose.average_precision import STATISTICS, Elements, PartOutcomes
from sapiens_bench.tasks.pose.flatten import flatten_people, flatten_predictions
from sapiens_bench.tasks.pose.matching import match
from sapiens_bench.tasks.pose.oks import Group, Matches, seen, variances
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, int | float | NDArray[Any]]
WHOLE = ""  # name of the group of all keypoints; its columns and scores have no prefix
_HANDS = ("left_hand", "right_hand")
_SOURCE = "pycocotools COCOeval, keypoints"


class OksMetric:
    """Average precision and recall by object keypoint similarity.

    Args:
        sigmas: OKS standard deviation of each keypoint.
        parts: name -> keypoint indices; empty for sets without parts.
        scoring: how instances become scored detections.
    """

    name = "oks"
    version = 1

    def __init__(self, sigmas: Sequence[float], parts: Mapping[str, Sequence[int]], scoring: PoseScoring) -> None:
        self.scoring = scoring
        self.variances_K = variances(np.asarray(sigmas, np.float64))
        named = {WHOLE: range(len(sigmas)), **parts}
        if all(hand in parts for hand in _HANDS):
            named["both_hands"] = [i for hand in _HANDS for i in parts[hand]]
        indices = {name: np.asarray(index, np.int64) for name, index in named.items()}
        self.groups = {name: Group(index, self.variances_K[index]) for name, index in indices.items()}
        self.area_index = indices.get("body", indices[WHOLE])
        self.scores: Mapping[str, ScoreInfo] = _score_infos(self.groups)

    def measure(self, target: PoseTarget, prediction: PosePrediction) -> Row:
        """Row of one image.

        ``scores`` f64 [D] falling; per group ``outcomes`` i64 [D] (bits: oks.Matches) and ``n_people`` i64 [3].
        """
        return self.measure_many([target], [prediction])[0]

    def measure_many(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> list[Row]:
        """Rows of many images in one pass.

        Raises:
            ShapeError: as many predictions as targets are needed.
        """
        scores, ends, matches = self._match(targets, predictions)
        rows: list[Row] = [{"scores": part} for part in _cut(scores, ends)]
        for name in self.groups:
            outcomes, n_people = _column("outcomes", name), _column("n_people", name)
            for row, part, counts in zip(rows, _cut(matches.outcomes[name], ends), matches.n_people[name], strict=True):
                row[outcomes], row[n_people] = part, counts
        return rows

    def measure_table(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> pa.Table:
        """The rows of ``measure_many`` as ``aggregate`` takes them, columns with the metric's prefix.

        Raises:
            ShapeError: as many predictions as targets are needed.
        """
        import pyarrow as pa

        scores, ends, matches = self._match(targets, predictions)
        offsets = ends.astype(np.int32)
        columns = {"scores": pa.ListArray.from_arrays(offsets, scores)}
        for name in self.groups:
            n_people = matches.n_people[name]
            by_area = np.arange(len(targets) + 1, dtype=np.int32) * n_people.shape[1]
            columns[_column("outcomes", name)] = pa.ListArray.from_arrays(offsets, matches.outcomes[name])
            columns[_column("n_people", name)] = pa.ListArray.from_arrays(by_area, n_people.ravel())
        return pa.table({f"{self.name}/{key}": column for key, column in columns.items()})

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """Flatten and sort the rows once; see ``Aggregate``. A weight w stands for w copies of the image, side by side.

        A score is NaN where no person counts.
        """
        scores, counts = _flat(rows, f"{self.name}/scores", np.float64)
        elements = Elements.sort(scores, np.repeat(np.arange(rows.num_rows), counts))
        parts = {}
        for name in self.groups:
            bits, _ = _flat(rows, f"{self.name}/{_column('outcomes', name)}", np.int64)
            n_people, _ = _flat(rows, f"{self.name}/{_column('n_people', name)}", np.int64)
            parts[name] = PartOutcomes(elements, bits[elements.order_E], n_people.reshape(rows.num_rows, 3))
        return Aggregate(tuple(self.scores), rows.num_rows, partial(_statistics, parts))

    def _match(
        self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], Matches]:
        """Scores of the detections that may count, by image; where each image's begin, and the end; their matches."""
        if len(targets) != len(predictions):
            raise ShapeError(f"{len(targets)} targets and {len(predictions)} predictions: need one each per image.")
        n_keypoints = len(self.variances_K)
        people = flatten_people(targets, n_keypoints)
        flat = flatten_predictions(predictions, n_keypoints, self.scoring, self.variances_K, self.area_index)
        present = seen(flat.keypoint_scores_DK, self.groups) if self.scoring.drop_zero_score else None
        matches = match(people, flat.detections, len(targets), self.groups, self.scoring.max_detections, present)
        counts = np.bincount(flat.detections.image_D[matches.kept], minlength=len(targets))
        return flat.detections.scores_D[matches.kept], np.concatenate([[0], np.cumsum(counts)]), matches


def _cut(values: NDArray[Any], bounds: NDArray[np.int64]) -> list[NDArray[Any]]:
    """The stretches between neighbouring bounds."""
    return [values[start:end] for start, end in pairwise(bounds.tolist())]


def _statistics(
    parts: Mapping[str, PartOutcomes], weights_BN: DrawCounts, keys: tuple[str, ...]
) -> dict[str, NDArray[np.float64]]:
    """The statistics of the parts that ``keys`` need."""
    needed: dict[str, dict[str, None]] = {}
    for key in keys:
        part, _, name = key.rpartition("/")
        for source in _HANDS if part == "hand" else (part,):
            needed.setdefault(source, {})[name] = None
    found = {part: parts[part].statistics(weights_BN, tuple(names)) for part, names in needed.items()}
    result = {}
    for key in keys:
        part, _, name = key.rpartition("/")
        is_mean = part == "hand"
        result[key] = (found[_HANDS[0]][name] + found[_HANDS[1]][name]) / 2 if is_mean else found[part][name]
    return result


def _column(kind: str, group: str) -> str:
    return f"{kind}_{group}" if group else kind


def _score_infos(groups: Mapping[str, Group]) -> dict[str, ScoreInfo]:
    """Facts of every score, whole set first."""
    parts = list(groups)
    if "both_hands" in groups:
        parts.insert(parts.index("both_hands"), "hand")
    infos = {}
    for part in parts:
        title = {"hand": "Hand (mean of left and right) ", "both_hands": "Both hands as one "}.get(
            part, part.replace("_", " ").capitalize() + " " if part else ""
        )
        for name in STATISTICS:
            infos[f"{part}/{name}" if part else name] = ScoreInfo(
                title=f"{title}{name}",
                unit="",
                higher_is_better=True,
                minimum=0.0,
                maximum=1.0,
                decimals=1,
                source=_SOURCE,
                percent=True,
                headline=name in ("AP", "AP50", "AP75", "AR") if not part else name == "AP" and part not in _HANDS,
            )
    return infos


def _flat(rows: pa.Table, column: str, dtype: type) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values of a list column end to end, and the length of each row's list."""
    if rows.num_rows == 0:
        return np.zeros(0, dtype), np.zeros(0, np.int64)
    chunked = rows.column(column)
    values: list[NDArray[Any]] = [
        np.asarray(chunk.flatten().to_numpy(zero_copy_only=False), dtype) for chunk in chunked.chunks
    ]
    counts = [chunk.value_lengths().to_numpy(zero_copy_only=False) for chunk in chunked.chunks]
    return np.concatenate(values), np.concatenate(counts).astype(np.int64)
