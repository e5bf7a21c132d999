"""The OKS metric: ten COCO numbers for the whole keypoint set and for each of its parts.

Score keys: ``AP`` ... ``ARL`` for the whole set, ``body/AP`` ... for a part. Where a set has both hands, ``hand/...``
is the mean of the left and the right hand's number, ``both_hands/...`` the number of one part made of both hands.
A person without a labelled point of a part is ignored for that part (matching it is neither right nor wrong).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.stats.sums import Aggregate, DrawCounts
from sapiens_bench.tasks.pose import by_category
from sapiens_bench.tasks.pose.average_precision import STATISTICS, Elements, PartOutcomes
from sapiens_bench.tasks.pose.by_category import CategoryOutcomes
from sapiens_bench.tasks.pose.flatten import FlatPredictions, flatten_people, flatten_predictions
from sapiens_bench.tasks.pose.joints import COLUMNS as JOINT_COLUMNS
from sapiens_bench.tasks.pose.joints import joint_columns
from sapiens_bench.tasks.pose.matching import match
from sapiens_bench.tasks.pose.oks import AREA_NAMES, Group, seen, variances
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, Values, empty_prediction, empty_target
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
    unscored = JOINT_COLUMNS

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

    def measure(self, target: PoseTarget, prediction: PosePrediction) -> Values:
        """Values of one image.

        ``scores`` f64 [D] falling; per group ``outcomes`` i64 [D] (bits: oks.Matches) and ``n_people`` i64 [3]. Where
        results rank a part by another score than the whole set, the part has ``scores_<part>`` too, and its outcomes
        follow those. No score needs the ``joint_`` columns (joints.py): they tell which point moved between two runs.
        """
        return self.measure_many([target], [prediction])[0]

    def measure_many(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> list[Values]:
        """Rows of many images in one pass.

        Raises:
            ShapeError: as many predictions as targets are needed.
        """
        if any(target.category_N is not None for target in targets):
            return self._measure_categories(targets, predictions)
        rows: list[Values] = [{} for _ in targets]
        for index in self._alike(targets, predictions):
            for name, found in self._match([targets[i] for i in index], [predictions[i] for i in index]).items():
                scores, outcomes, n_people = (_column(kind, name) for kind in ("scores", "outcomes", "n_people"))
                for i, begin, end in zip(index, found.ends[:-1].tolist(), found.ends[1:].tolist(), strict=True):
                    if found.has_own_scores:
                        rows[i][scores] = found.scores_D[begin:end]
                    rows[i][outcomes] = found.outcomes_D[begin:end]
                for i, counts in zip(index, found.n_people_IA, strict=True):
                    rows[i][n_people] = counts
        for row, joints in zip(rows, joint_columns(targets, predictions, len(self.variances_K)), strict=True):
            row.update(joints)
        return rows

    def measure_table(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> pa.Table:
        """The rows of ``measure_many`` as ``aggregate`` takes them: what scores need, columns with the metric's prefix.

        Raises:
            ShapeError: as many predictions as targets are needed, or several categories are scored.
        """
        import pyarrow as pa

        if any(target.category_N is not None for target in targets):
            raise ShapeError("several categories are scored: measure_many keeps them apart.")
        alike = self._alike(targets, predictions)
        tables = []
        for index in alike or [[]]:
            columns = {}
            by_area = np.arange(len(index) + 1, dtype=np.int32) * N_AREAS
            for name, found in self._match([targets[i] for i in index], [predictions[i] for i in index]).items():
                offsets = found.ends.astype(np.int32)
                if found.has_own_scores:
                    columns[_column("scores", name)] = pa.ListArray.from_arrays(offsets, found.scores_D)
                columns[_column("outcomes", name)] = pa.ListArray.from_arrays(offsets, found.outcomes_D)
                columns[_column("n_people", name)] = pa.ListArray.from_arrays(by_area, found.n_people_IA.ravel())
            tables.append(pa.table({f"{self.name}/{key}": column for key, column in columns.items()}))
        if len(tables) == 1:
            return tables[0]
        order = np.argsort(np.concatenate(alike), kind="stable")
        return pa.concat_tables(tables, promote_options="default").take(order)

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """Flatten and sort the rows once; see ``Aggregate``. A weight w stands for w copies of the image, side by side.

        A score is NaN where no person counts. Several categories: the mean of theirs (``by_category``).
        """
        if f"{self.name}/{by_category.CATEGORIES}" in rows.column_names:
            of_each = [self._parts(table) for table in by_category.separate(rows, self.name).values()]
            parts = {name: CategoryOutcomes(tuple(one[name] for one in of_each)) for name in self.groups}
            return Aggregate(tuple(self.scores), rows.num_rows, partial(_statistics, parts))
        return Aggregate(tuple(self.scores), rows.num_rows, partial(_statistics, self._parts(rows)))

    def _measure_categories(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> list[Values]:
        """Rows of images in which several categories are scored, each on its own; suppression sees them together."""
        n = len(self.variances_K)
        kept = []
        for prediction in predictions:
            flat = flatten_predictions([prediction], n, self.scoring, self.variances_K, self.area_index)
            kept.append(prediction.take(flat.source_D))
        parts = by_category.split(targets, kept)
        alone = [replace(part.target, category_N=None) for part in parts]
        plain = copy(self)
        plain.scoring = self.scoring.model_copy(update={"nms_oks": None})
        nobody = plain.measure_many([empty_target(n)], [empty_prediction(n)])[0]
        rows = plain.measure_many(alone, [part.prediction for part in parts])
        return by_category.joined(parts, rows, len(targets), nobody)

    def _parts(self, rows: pa.Table) -> dict[str, PartOutcomes]:
        shared = self._elements(rows, WHOLE)
        parts = {}
        for name in self.groups:
            has_own = name != WHOLE and f"{self.name}/{_column('scores', name)}" in rows.column_names
            elements = self._elements(rows, name) if has_own else shared
            bits, _ = _flat(rows, f"{self.name}/{_column('outcomes', name)}", np.int64)
            n_people, _ = _flat(rows, f"{self.name}/{_column('n_people', name)}", np.int64)
            parts[name] = PartOutcomes(elements, bits[elements.order_E], n_people.reshape(rows.num_rows, N_AREAS))
        return parts

    def _elements(self, rows: pa.Table, group: str) -> Elements:
        """Detections in the order that ranks a group: by its own scores in the rows that have them."""
        whole, column = f"{self.name}/scores", f"{self.name}/{_column('scores', group)}"
        scores, counts = _flat(rows, column, np.float64, whole)
        return Elements.sort(scores, np.repeat(np.arange(rows.num_rows), counts))

    def _alike(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> list[list[int]]:
        """Positions of the images that may be measured in one pass, so that each has the row it would have alone.

        These rank the same parts by scores of their own, and hold keypoint scores of one type: joining types would
        widen some, and the score rule compares them as stored.

        Raises:
            ShapeError: as many predictions as targets are needed.
        """
        if len(targets) != len(predictions):
            raise ShapeError(f"{len(targets)} targets and {len(predictions)} predictions: need one each per image.")
        alike: dict[tuple[Any, ...], list[int]] = {}
        for i, prediction in enumerate(predictions):
            parts = () if prediction.results is None else tuple(sorted(prediction.results.parts))
            alike.setdefault((parts, prediction.keypoint_scores_NK.dtype), []).append(i)
        return list(alike.values())

    def _match(self, targets: Sequence[PoseTarget], predictions: Sequence[PosePrediction]) -> dict[str, _Found]:
        """Group -> what came of its detections. Groups are matched together unless results rank them one by one."""
        n_keypoints = len(self.variances_K)
        people = flatten_people(targets, n_keypoints)
        flat = flatten_predictions(predictions, n_keypoints, self.scoring, self.variances_K, self.area_index)
        present, alone = self._present(flat), self._ranks(flat)
        together = {name: group for name, group in self.groups.items() if name not in alone}
        passes = [({name: self.groups[name]}, scores) for name, scores in alone.items()]
        found: dict[str, _Found] = {}
        for groups, scores in [(together, flat.detections.scores_D), *passes]:
            detections = replace(flat.detections, scores_D=scores)
            matches = match(people, detections, len(targets), groups, self.scoring.max_detections, present)
            counts = np.bincount(detections.image_D[matches.kept], minlength=len(targets))
            ends = np.concatenate([[0], np.cumsum(counts)])
            for name in groups:
                has_own = name == WHOLE or name in alone or WHOLE in alone
                outcomes, n_people = matches.outcomes[name], matches.n_people[name]
                found[name] = _Found(scores[matches.kept], ends, outcomes, n_people, has_own)
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
    ends: NDArray[np.int64]  # [I + 1] where the detections of each image begin, and the end
    outcomes_D: NDArray[np.int64]
    n_people_IA: NDArray[np.int64]
    has_own_scores: bool  # the order is not that of the whole set, or the group is the whole set


def _statistics(
    parts: Mapping[str, PartOutcomes | CategoryOutcomes], weights_BN: DrawCounts, keys: tuple[str, ...]
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


def _flat(
    rows: pa.Table, column: str, dtype: type, instead: str | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values of a list column end to end, and the length of each row's list; that of ``instead`` where it is null."""
    if rows.num_rows == 0:
        return np.zeros(0, dtype), np.zeros(0, np.int64)
    chunked = rows.column(column)
    if instead is not None and chunked.null_count:  # rows of a miss, or of results that rank other parts
        import pyarrow.compute as pc

        chunked = pc.coalesce(chunked, rows.column(instead))
    whole = chunked.combine_chunks()
    values: NDArray[Any] = np.asarray(whole.flatten().to_numpy(zero_copy_only=False), dtype)
    if whole.null_count:
        return values, whole.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return values, np.diff(whole.offsets.to_numpy()).astype(np.int64)
