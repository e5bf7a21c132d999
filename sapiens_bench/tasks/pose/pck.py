"""Scores by pixel distance: PCK (PCKh, tPCK), the area under its curve, end-point error and normalised mean error.

PCK@t is the share of labelled points whose prediction lies within t of their person's own length: the head (PCKh), the
box's longer side (PCK) or the torso (tPCK). Every labelled point of every person who counts is in it, found or not.

Axes: P people of one image, N instances, K keypoints, T thresholds, I images, B weightings.

Source: Yang and Ramanan, TPAMI 2013 (PCK); Andriluka et al., CVPR 2014 and the MPII evaluation (PCKh: head length 0.6 x
the diagonal of the head box, a distance equal to the threshold counts, all points pooled); open-mmlab/mmpose
mmpose/evaluation/functional/keypoint_eval.py (mean over joints, EPE, NME). The area under the curve is exact; sums over
steps of 0.01, as published ones are, differ from it by up to 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import CardError
from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.tasks.pose.overlap import iou, pairs
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

_LETTERS = {"head": "PCKh", "box": "PCK", "torso": "tPCK"}
_TORSO = ("left_shoulder", "right_hip")  # as mmpose JhmdbPCKAccuracy takes it
_MOST_JOINTS = 30  # that get a score each
_LITTLE = 1e-6  # less than one point's share of a person: what overlap adds to it
_WEIGHTS_AT_ONCE = 1 << 22  # as float64: 32 MB
_SOURCE = "PCK, MPII evaluation (PCKh); see tasks/pose/pck.py"


class PckMetric:
    """Distances between labelled and predicted points, by person.

    A person's prediction is the instance whose box overlaps hers most: pairs are made by falling overlap, each instance
    once, without a look at scores. A model that is driven by ground-truth boxes is so compared person by person.
    Results made elsewhere need not have boxes: there the instance with the most right points is taken, as in the
    evaluation of several people on MPII (Pishchulin et al., CVPR 2016), and overlap decides between equals.

    Args:
        names: of the keypoint set.
        scoring: its ``pck`` keys.

    Raises:
        CardError: a joint that is left out is not in the set, or a torso cannot be measured in it.
    """

    name = "pck"
    version = 1

    def __init__(self, names: Sequence[str], scoring: PoseScoring) -> None:
        missing = set(scoring.pck_leave_out) - set(names)
        missing |= set(_TORSO) - set(names) if scoring.pck == "torso" else set()
        if missing:
            raise CardError(f"pck: the protocol's keypoint set has no {', '.join(sorted(missing))}")
        self._normaliser, self.is_pooled = scoring.pck, scoring.pck_mean == "points"
        self.thresholds = scoring.pck_thresholds
        self._torso = [list(names).index(name) for name in _TORSO] if scoring.pck == "torso" else []
        self.used = np.array([i for i, name in enumerate(names) if name not in scoring.pck_leave_out], np.int64)
        joints = joint_groups(names, self.used)
        self.groups = joints if len(joints) <= _MOST_JOINTS else {}
        letter = _LETTERS[scoring.pck]
        self.keys = tuple(f"{letter}_{t:g}".replace(".", "_") for t in self.thresholds)
        self.scores: Mapping[str, ScoreInfo] = _infos(letter, self.keys, self.thresholds, self.groups)

    def measure(self, target: PoseTarget, prediction: PosePrediction) -> dict[str, int | float | NDArray[Any]]:
        """Values of one image.

        Per keypoint, i64 [K]: ``points`` labelled, ``found`` points of people who have an instance; ``hits`` i64
        [T x K] within each threshold; f64 [K]: ``area`` below the curve of hits over thresholds up to the first one,
        and over found points ``error_px``, ``error_norm``. ``people`` counted, ``unmeasured`` without a length.
        """
        people = np.flatnonzero(target.is_scored_N)
        length = self.lengths(target)[people]
        is_measured = np.isfinite(length) & (length > 0)
        people, length = people[is_measured], length[is_measured]
        labelled = target.visible_NK[people] > 0
        distance_PNK = distances(target.keypoints_NK2_px[people], prediction.keypoints_NK2_px)
        fit_PN = iou(target.boxes_xyxy_px_N4[people], prediction.boxes_xyxy_px_N4)
        if prediction.results is not None:
            is_right = (distance_PNK <= self.thresholds[0] * length[:, None, None]) & labelled[:, None]
            fit_PN = is_right.sum(axis=2) / np.maximum(labelled.sum(axis=1), 1)[:, None] + _LITTLE * fit_PN
        partner = pairs(fit_PN)
        own = partner >= 0
        distance = np.full(labelled.shape, np.inf)
        distance[own] = distance_PNK[own, partner[own]]
        share = distance / length[:, None]
        hits = [np.count_nonzero(labelled & (share <= t), axis=0) for t in self.thresholds]
        is_found = labelled & own[:, None]
        below = np.clip(1 - share / self.thresholds[0], 0, None)
        return {
            "people": len(people),
            "unmeasured": int(np.count_nonzero(~is_measured)),
            "points": labelled.sum(axis=0),
            "hits": np.concatenate(hits),
            "area": np.where(labelled, below, 0.0).sum(axis=0),
            "found": is_found.sum(axis=0),
            "error_px": np.where(is_found, distance, 0.0).sum(axis=0),
            "error_norm": np.where(is_found, share, 0.0).sum(axis=0),
        }

    def aggregate(self, rows: pa.Table) -> PckScores:
        """Sums of every image; see PckScores."""
        return PckScores(self, rows)

    def lengths(self, target: PoseTarget) -> NDArray[np.float64]:
        """What distances of a person are divided by, px [P]; NaN where it cannot be measured."""
        if self._normaliser == "head":
            unknown = np.full(len(target.area_N), np.nan)
            return unknown if target.head_size_px_N is None else target.head_size_px_N
        if self._normaliser == "box":
            boxes = target.boxes_xyxy_px_N4
            return np.asarray((boxes[:, 2:] - boxes[:, :2]).max(axis=1)) if len(boxes) else np.zeros(0)
        ends = target.keypoints_NK2_px[:, self._torso].astype(np.float64)
        length = np.hypot(*(ends[:, 0] - ends[:, 1]).T)
        return np.where((target.visible_NK[:, self._torso] > 0).all(axis=1), length, np.nan)


class PckScores:
    """Scores of a set of rows under any image weights; every score is a quotient of weighted sums."""

    def __init__(self, metric: PckMetric, rows: pa.Table) -> None:
        self._metric = metric
        self._sums = {
            name: _column(rows, f"{metric.name}/{name}")
            for name in ("people", "unmeasured", "points", "hits", "area", "found", "error_px", "error_norm")
        }

    def __call__(self, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
        """Every score; weights int64 [n rows], None for all ones; NaN where no point counts."""
        one = np.ones(len(self._sums["points"]), np.int64) if weights is None else np.asarray(weights, np.int64)
        return {key: float(values[0]) for key, values in self.batch(one[None]).items()}

    def batch(self, weights_BN: DrawCounts, keys: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """Many weightings at once: key -> float64 [B]; equal to one call per weighting."""
        step = max(1, _WEIGHTS_AT_ONCE // max(1, weights_BN.shape[1]))
        parts = [self._scores(weights_BN[start : start + step]) for start in range(0, max(1, len(weights_BN)), step)]
        wanted = parts[0] if keys is None else keys
        return {key: np.concatenate([part[key] for part in parts]) for key in wanted}

    def _scores(self, weights_BN: DrawCounts) -> dict[str, NDArray[np.float64]]:
        """Every score under some weightings."""
        metric, used = self._metric, self._metric.used
        total = {name: weights_BN.astype(np.float64) @ values for name, values in self._sums.items()}
        hits_BTK = total["hits"].reshape(len(weights_BN), len(metric.keys), total["points"].shape[1])
        points, found = total["points"], total["found"]
        share_BTK = _quotient(hits_BTK, points[:, None])
        result: dict[str, NDArray[np.float64]] = {
            key: self._mean(hits_BTK[:, t], points, share_BTK[:, t]) for t, key in enumerate(metric.keys)
        }
        result["AUC"] = self._mean(total["area"], points, _quotient(total["area"], points))
        n_found = found[:, used].sum(axis=1)
        result["EPE_px"] = _quotient(total["error_px"][:, used].sum(axis=1), n_found)
        result["NME"] = _quotient(total["error_norm"][:, used].sum(axis=1), n_found)
        result["found"] = _quotient(n_found, points[:, used].sum(axis=1))
        result["unmeasured"] = total["unmeasured"][:, 0]
        for name, index in metric.groups.items():
            result[f"{name}/{metric.keys[0]}"] = _mean_of_defined(share_BTK[:, 0, index])
        return result

    def _mean(
        self, part_BK: NDArray[np.float64], whole_BK: NDArray[np.float64], share_BK: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Over points or over joints, as the protocol says; joints that are left out take no part."""
        used = self._metric.used
        if self._metric.is_pooled:
            return _quotient(part_BK[:, used].sum(axis=1), whole_BK[:, used].sum(axis=1))
        return _mean_of_defined(share_BK[:, used])


def distances(truth_PK2: NDArray[np.floating], found_NK2: NDArray[np.floating]) -> NDArray[np.float64]:
    """Between the same points of every person and every instance, px [P, N, K]."""
    offset = found_NK2.astype(np.float64)[None] - truth_PK2.astype(np.float64)[:, None]
    return np.asarray(np.hypot(offset[..., 0], offset[..., 1]))


def _quotient(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below > 0))


def _mean_of_defined(values_BK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last axis without NaN; NaN where all are."""
    is_defined = np.isfinite(values_BK)
    return _quotient(np.where(is_defined, values_BK, 0.0).sum(axis=1), is_defined.sum(axis=1).astype(np.float64))


def _column(rows: pa.Table, name: str) -> NDArray[np.float64]:
    """A column as [I, n]; a null is a row of zeros, of a model whose other rows have the column."""
    values = rows.column(name).combine_chunks()
    if not hasattr(values, "flatten") or not hasattr(values.type, "value_type"):
        return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)[:, None]
    flat = np.asarray(values.flatten().to_numpy(zero_copy_only=False), np.float64)
    return flat.reshape(len(values), -1)


def joint_groups(names: Sequence[str], used_K: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Joint -> its keypoints, both sides together."""
    groups: dict[str, list[int]] = {}
    for i in used_K.tolist():
        groups.setdefault(names[i].removeprefix("left_").removeprefix("right_"), []).append(i)
    return {name: np.array(index, np.int64) for name, index in groups.items()}


def _infos(
    letter: str, keys: Sequence[str], thresholds: Sequence[float], groups: Mapping[str, Any]
) -> dict[str, ScoreInfo]:
    def share(title: str, *, headline: bool = False) -> ScoreInfo:
        return ScoreInfo(title, "", True, 0.0, 1.0, 1, _SOURCE, percent=True, headline=headline)

    infos = {key: share(f"{letter}@{t:g}", headline=True) for key, t in zip(keys, thresholds, strict=True)}
    infos["AUC"] = share(f"AUC of {letter} to {thresholds[0]:g}", headline=True)
    infos["EPE_px"] = ScoreInfo("EPE (found people)", "px", False, 0.0, np.inf, 2, _SOURCE)
    infos["NME"] = ScoreInfo("NME (found people)", "", False, 0.0, np.inf, 2, _SOURCE, percent=True)
    infos["found"] = share("points of found people")
    infos["unmeasured"] = ScoreInfo("people without a length", "", False, 0.0, np.inf, 0, _SOURCE)
    for name in groups:
        infos[f"{name}/{keys[0]}"] = share(f"{name.replace('_', ' ')} {letter}@{thresholds[0]:g}")
    return infos
