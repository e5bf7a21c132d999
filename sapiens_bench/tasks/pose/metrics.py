"""The OKS metric: ten COCO numbers for the whole keypoint set and for each of its parts.

Score keys: ``AP`` ... ``ARL`` for the whole set, ``body/AP`` ... for a part. Where a set has both hands, ``hand/...``
is the mean of the left and the right hand's number, ``both_hands/...`` the number of one part made of both hands.
A person without a labelled point of a part is ignored for that part (matching it is neither right nor wrong).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.pose.average_precision import STATISTICS, Elements, PartOutcomes
from sapiens_bench.tasks.pose.flatten import FlatPredictions, flatten_people, flatten_predictions
from sapiens_bench.tasks.pose.oks import AREA_NAMES, Group, match, seen, variances
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

N_AREAS = len(AREA_NAMES)
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

    def measure(self, target: PoseTarget, prediction: PosePrediction) -> dict[str, int | float | NDArray[Any]]:
        """Row of one image.

        ``scores`` f64 [D] falling; per group ``outcomes`` i64 [D] (bits: oks.Matches) and ``n_people`` i64 [3]. Where
        results rank a part by a score of its own, the part has ``scores_<part>`` too, and its outcomes follow those.
        """
        row: dict[str, int | float | NDArray[Any]] = {}
        for name, found in self._match([target], [prediction]).items():
            if name == WHOLE or found.is_ranked_alone:
                row[_column("scores", name)] = found.scores_D
            row[_column("outcomes", name)] = found.outcomes_D
            row[_column("n_people", name)] = found.n_people_IA[0]
        return row

    def measure_many(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> pa.Table:
        """Rows of many images in one pass, columns with the metric's prefix; the same values as ``measure``.

        Raises:
            ShapeError: as many predictions as targets are needed.
        """
        import pyarrow as pa

        if len(targets) != len(predictions):
            raise ShapeError(f"{len(targets)} targets and {len(predictions)} predictions: need one each per image.")
        columns = {}
        by_area = np.arange(len(targets) + 1, dtype=np.int32) * N_AREAS
        for name, found in self._match(targets, predictions).items():
            counts = np.bincount(found.image_D, minlength=len(targets))
            per_detection = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            if name == WHOLE or found.is_ranked_alone:
                columns[_column("scores", name)] = pa.ListArray.from_arrays(per_detection, found.scores_D)
            columns[_column("outcomes", name)] = pa.ListArray.from_arrays(per_detection, found.outcomes_D)
            columns[_column("n_people", name)] = pa.ListArray.from_arrays(by_area, found.n_people_IA.ravel())
        return pa.table({f"{self.name}/{key}": column for key, column in columns.items()})

    def aggregate(self, rows: pa.Table) -> OksScores:
        """Flatten and sort the rows once; see OksScores."""
        shared = self._elements(rows, WHOLE)
        parts = {}
        for name in self.groups:
            is_alone = name != WHOLE and f"{self.name}/{_column('scores', name)}" in rows.column_names
            elements = self._elements(rows, name) if is_alone else shared
            bits, _ = _flat(rows, f"{self.name}/{_column('outcomes', name)}", np.int64)
            n_people, _ = _flat(rows, f"{self.name}/{_column('n_people', name)}", np.int64)
            parts[name] = PartOutcomes(elements, bits[elements.order_E], n_people.reshape(rows.num_rows, N_AREAS))
        return OksScores(parts, tuple(self.scores))

    def _elements(self, rows: pa.Table, group: str) -> Elements:
        scores, counts = _flat(rows, f"{self.name}/{_column('scores', group)}", np.float64)
        return Elements.sort(scores, np.repeat(np.arange(rows.num_rows), counts))

    def _match(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> dict[str, _Found]:
        """Group -> what came of its detections. Groups are matched together unless results rank them one by one."""
        n_keypoints = len(self.variances_K)
        people = flatten_people(targets, n_keypoints)
        flat = flatten_predictions(predictions, n_keypoints, self.scoring, self.variances_K, self.area_index)
        present = self._present(flat)
        ranks = self._ranks(flat)
        together = {name: group for name, group in self.groups.items() if name not in ranks}
        found: dict[str, _Found] = {}
        for names, detections in [
            (together, flat.detections),
            *(({n: self.groups[n]}, replace(flat.detections, scores_D=scores)) for n, scores in ranks.items()),
        ]:
            matches = match(people, detections, len(targets), names, self.scoring.max_detections, present)
            scores, image = detections.scores_D[matches.kept], detections.image_D[matches.kept]
            for name in names:
                outcomes, n_people = matches.outcomes[name], matches.n_people[name]
                found[name] = _Found(scores, image, outcomes, n_people, is_ranked_alone=name in ranks)
        return {name: found[name] for name in self.groups}

    def _ranks(self, flat: FlatPredictions) -> dict[str, NDArray[np.float64]]:
        """Scores of the parts that results rank by a score of their own; only where the set has parts."""
        if len(self.groups) == 1:
            return {}
        of_group = {name: flat.parts.get(name or "whole") for name in self.groups}
        return {name: scores for name, scores in of_group.items() if scores is not None}

    def _present(self, flat: FlatPredictions) -> dict[str, NDArray[np.bool_]] | None:
        """Group -> whether a detection takes part.

        Final results of a set with parts: the official COCO-WholeBody evaluation passes over those without a positive
        keypoint score in the part (myeval_*.py, ``k2 == 0``); pycocotools, for a plain set, does not.
        """
        is_strict_D = np.full(len(flat.is_final_D), self.scoring.drop_zero_score)
        if len(self.groups) > 1:
            is_strict_D = is_strict_D | flat.is_final_D
        else:
            is_strict_D = is_strict_D & ~flat.is_final_D
        if not is_strict_D.any():
            return None
        positive = seen(flat.keypoint_scores_DK, self.groups)
        return {name: is_positive | ~is_strict_D for name, is_positive in positive.items()}


class _Found(NamedTuple):
    """Detections of one group that may count, by image, then falling score."""

    scores_D: NDArray[np.float64]
    image_D: NDArray[np.int64]
    outcomes_D: NDArray[np.int64]
    n_people_IA: NDArray[np.int64]
    is_ranked_alone: bool


class OksScores:
    """Scores of a set of rows under any image weights. A weight w stands for w copies of the image, side by side."""

    def __init__(self, parts: Mapping[str, PartOutcomes], keys: tuple[str, ...]) -> None:
        self._parts, self._keys = parts, keys
        self._n_rows = len(next(iter(parts.values())).n_people_IA)

    def __call__(self, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
        """Every score; weights int64 [n rows], None for all ones; NaN where no person counts."""
        one = np.ones(self._n_rows, np.int64) if weights is None else np.asarray(weights, np.int64)
        return {key: float(values[0]) for key, values in self.batch(one[None]).items()}

    def batch(self, weights_BN: NDArray[np.int64], keys: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """Many weightings at once, only the scores asked for: key -> float64 [B]; equal to one call per weighting."""
        wanted = self._keys if keys is None else tuple(keys)
        if weights_BN.ndim != 2 or weights_BN.shape[1] != self._n_rows:
            raise ShapeError(f"weights have shape {weights_BN.shape}, expected [draws, {self._n_rows}].")
        needed: dict[str, dict[str, None]] = {}
        for key in wanted:
            part, _, name = key.rpartition("/")
            for source in _HANDS if part == "hand" else (part,):
                needed.setdefault(source, {})[name] = None
        found = {part: self._parts[part].statistics(weights_BN, tuple(names)) for part, names in needed.items()}
        result = {}
        for key in wanted:
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
    # null: a miss, of a model whose other rows have the column
    counts = [chunk.value_lengths().fill_null(0).to_numpy(zero_copy_only=False) for chunk in chunked.chunks]
    return np.concatenate(values), np.concatenate(counts).astype(np.int64)
