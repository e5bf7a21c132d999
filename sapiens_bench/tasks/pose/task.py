"""The pose task of one protocol: keypoint set and scoring keys become a Task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import CardError, SampleFault, ShapeError
from sapiens_bench.tasks.pose.attributes import attributes
from sapiens_bench.tasks.pose.checking import check_prediction
from sapiens_bench.tasks.pose.joint_ap import MEAN, JointApMetric
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.noise import PoseNoise, add_noise
from sapiens_bench.tasks.pose.pck import PckMetric
from sapiens_bench.tasks.pose.perfect import per_box, perfect_prediction
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import (
    PART_SCORES,
    PosePrediction,
    PoseTarget,
    ResultScores,
    empty_prediction,
)
from sapiens_bench.types import ModelInput, Noise, Task, TaskKind

_UNSCORED_PARTS = ("extra",)  # points that belong to no published part; they count in the whole set


def make(scoring: PoseScoring, space: SpaceCard | None) -> Task:
    """The task that scores in the keypoint set ``space``.

    Raises:
        CardError: ``space`` is no keypoint set.
    """
    metric, fills = make_metric(scoring, space), scoring.unmapped == "miss"
    n_keypoints = len(metric.variances_K)
    more = _more(metric, scoring, space.names if space else ())

    def check(prediction: Any, x: ModelInput, target: Any) -> tuple[PosePrediction, SampleFault | None]:
        return check_prediction(prediction, n_keypoints, metric.area_index, x)

    def miss(target: PoseTarget) -> PosePrediction:
        return empty_prediction(n_keypoints)

    def from_columns(columns: dict[str, NDArray[Any]]) -> PosePrediction:
        return prediction_from_columns(columns, n_keypoints)

    return Task(
        kind=POSE,
        metrics=(metric, *more),
        headline=_headline(more),
        check=check,
        miss=miss,
        perfect=perfect_prediction,
        names=space.names if space is not None else (),
        remap=partial(remap, fill_unmapped=fills),
        partial_maps=fills,
        per_box=per_box,
        to_columns=prediction_to_columns,
        from_columns=from_columns,
        attributes=attributes,
        person_boxes=lambda target: target.boxes_xyxy_px_N4[target.is_scored_N],
    )


def _more(oks: OksMetric, scoring: PoseScoring, names: Sequence[str]) -> tuple[PckMetric | JointApMetric, ...]:
    """Metrics beside that of COCO.

    Raises:
        CardError: they ask for what the set or the protocol does not have.
    """
    if not scoring.pck:
        if scoring.joint_ap:
            raise CardError("joint_ap needs pck: the length that tells whether a joint is right (PoseTrack: head).")
        return ()
    pck = PckMetric(names, scoring)
    return (pck, JointApMetric(names, oks, pck)) if scoring.joint_ap else (pck,)


def _headline(more: Sequence[PckMetric | JointApMetric]) -> str:
    if not more:
        return "oks/AP"
    last = more[-1]
    return f"{last.name}/{MEAN if isinstance(last, JointApMetric) else last.keys[0]}"


def make_metric(scoring: PoseScoring, space: SpaceCard | None) -> OksMetric:
    """The OKS metric of a keypoint set and its scored parts.

    Raises:
        CardError: ``space`` is not a keypoint set.
    """
    if space is None or space.kind != "keypoints":
        found = "none" if space is None else f"the label set {space.id!r}"
        raise CardError(f"A pose protocol needs a keypoint set: give `space:` the id of one (found {found}).")
    parts = {
        name: index
        for name, index in space.groups.items()
        # a part that is the whole set would repeat every number
        if index and name not in _UNSCORED_PARTS and len(set(index)) < len(space.names)
    }
    return OksMetric(space.sigmas, parts, scoring)


def remap(prediction: PosePrediction, index_K: NDArray[np.int64], *, fill_unmapped: bool = False) -> PosePrediction:
    """The prediction in another set: keypoint k of the result is keypoint ``index_K[k]`` of the given one.

    Args:
        fill_unmapped: where the index is -1 the point is (0, 0) with score 0, as in the official 308 -> 133 conversion.

    Source: facebookresearch/sapiens pose/mmpose/evaluation/metrics/goliath_coco_wholebody_metric.py.

    Raises:
        ShapeError: the index points outside the given set, or holds -1 and must not.
    """
    n_source = prediction.keypoints_NK2_px.shape[1] if prediction.keypoints_NK2_px.ndim == 3 else 0
    if len(index_K) and (index_K.min() < (-1 if fill_unmapped else 0) or index_K.max() >= n_source):
        raise ShapeError(f"the map asks for keypoints {index_K.min()}..{index_K.max()} of a set of {n_source}.")
    is_mapped_K = index_K >= 0
    return replace(
        prediction,
        keypoints_NK2_px=np.where(is_mapped_K[:, None], prediction.keypoints_NK2_px[:, index_K], np.float32(0)),
        keypoint_scores_NK=np.where(is_mapped_K, prediction.keypoint_scores_NK[:, index_K], np.float32(0)),
    )


def prediction_to_columns(prediction: PosePrediction) -> dict[str, NDArray[Any]]:
    """Flat arrays to keep beside the rows; dtypes are kept, so that re-scoring gives the same bits."""
    columns: dict[str, NDArray[Any]] = {
        "keypoints": prediction.keypoints_NK2_px.ravel(),
        "keypoint_scores": prediction.keypoint_scores_NK.ravel(),
        "instance_scores": prediction.instance_scores_N,
        "boxes": prediction.boxes_xyxy_px_N4.ravel(),
    }
    if prediction.results is not None:
        columns["results"] = np.array([prediction.results.is_final, prediction.results.is_suppressed], np.int8)
        columns |= {PART_SCORES[name]: scores for name, scores in prediction.results.parts.items()}
        columns |= {} if prediction.results.area_N is None else {"areas": prediction.results.area_N}
    return columns if prediction.category_N is None else {**columns, "categories": prediction.category_N}


def prediction_from_columns(columns: dict[str, NDArray[Any]], n_keypoints: int) -> PosePrediction:
    """Inverse of ``prediction_to_columns``.

    Raises:
        ShapeError: the arrays do not fit ``n_keypoints``.
    """
    n = len(columns["instance_scores"])
    expected = {"keypoints": n * n_keypoints * 2, "keypoint_scores": n * n_keypoints, "boxes": n * 4}
    for name, size in expected.items():
        if len(columns[name]) != size:
            raise ShapeError(f"stored {name} has {len(columns[name])} values, {n} instances need {size}.")
    return PosePrediction(
        keypoints_NK2_px=np.asarray(columns["keypoints"]).reshape(n, n_keypoints, 2),
        keypoint_scores_NK=np.asarray(columns["keypoint_scores"]).reshape(n, n_keypoints),
        instance_scores_N=np.asarray(columns["instance_scores"]),
        boxes_xyxy_px_N4=np.asarray(columns["boxes"]).reshape(n, 4),
        results=_results_from(columns, n),
        category_N=np.asarray(columns["categories"], np.int64) if "categories" in columns else None,
    )


def _results_from(columns: dict[str, NDArray[Any]], n: int) -> ResultScores | None:
    if "results" not in columns:
        return None
    is_final, is_suppressed = (bool(flag) for flag in columns["results"])
    parts = {part: np.asarray(columns[name], np.float64) for part, name in PART_SCORES.items() if name in columns}
    area = np.asarray(columns["areas"], np.float64) if "areas" in columns else None
    if any(len(values) != n for values in (*parts.values(), *([] if area is None else [area]))):
        raise ShapeError(f"stored part scores or areas do not fit {n} instances.")
    return ResultScores(is_final, is_suppressed, parts, area)


POSE = TaskKind(
    name="pose",
    title="2D human pose",
    what="where the keypoints of every person are (OKS AP and AR)",
    Scoring=PoseScoring,
    make=make,
    noise=Noise(PoseNoise, add_noise),
    is_whole_image=False,
    crops_per_image=2,
)
