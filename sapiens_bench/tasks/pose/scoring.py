"""From what a model says about each person to the scored list that COCO matching takes: score rule and OKS-NMS.

Axes: N instances of one image or of many, K keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sapiens_bench.cards.options import Options
from sapiens_bench.tasks.pose.oks import EPSILON

_CHUNK_VALUES = 1 << 16  # keypoint distances held at once; fits the second-level cache
_MOST_PAIRS = 1 << 21  # of instances looked at together: some 60 MB
_MOST_IN_A_TABLE = 1000  # instances of one image whose similarities are all kept; beyond it they are made when needed
_Oks = Callable[[int, NDArray[np.int64]], NDArray[np.float32]]  # one instance, others [M] -> their similarity to it
Threshold = Annotated[float, Field(ge=1e-3, le=10)]
ScoreRule = Literal["box_x_keypoints", "instance", "keypoints", "box_plus_keypoints"]


class PoseScoring(Options):
    """The ``scoring`` keys of a pose protocol. Defaults are those of the Sapiens evaluation."""

    score: ScoreRule = "box_x_keypoints"
    """How an instance is scored; see ``instance_scores``."""
    score_threshold: float = Field(default=0.2, ge=-1e6, le=1e6, allow_inf_nan=False)
    """Keypoint scores at or below it do not enter box_x_keypoints."""
    nms_oks: float | None = Field(default=0.9, ge=1e-9, le=1.0)
    """Instances more similar than this to a better one go; null: no suppression."""
    nms: Literal["hard", "soft"] = "hard"
    """soft lowers scores only to reorder, and keeps at most max_detections."""
    nms_padding: float = Field(default=1.25, ge=1e-6, le=100)
    """The box is grown by this before its area enters the similarity."""
    nms_aspect: float = Field(default=0.75, ge=1e-6, le=1e6)
    """Width : height that the grown box is widened or heightened to."""
    max_detections: int = Field(default=20, ge=1, le=10_000)
    """Of one image, best first."""
    unmapped: Literal["refuse", "miss"] = "refuse"
    """Points of the protocol's set that a model's set does not have. refuse: such a model is not scored. miss: they
    become (0, 0) with score 0 and count against labelled truth, as in the official 308 -> 133 conversion."""
    drop_zero_score: bool = False
    """A detection whose keypoint scores are all <= 0 in a part is absent from the part."""
    pck: Literal["", "head", "box", "torso"] = ""
    """Score pixel distances too, divided by this length of a person: PCKh, PCK, tPCK. Default: OKS alone."""
    # not strict: the validator below hands a list on as it is
    pck_thresholds: tuple[Threshold, ...] = Field(default=(0.5,), min_length=1, max_length=10, strict=False)
    """Shares of that length within which a point is right; the first ranks the table and ends the curve of the AUC."""
    pck_mean: Literal["points", "joints"] = "points"
    """points: all points pooled, as MPII does; joints: the mean of the joints' shares, as MMPose does."""
    pck_leave_out: tuple[str, ...] = Field(default=(), strict=False)
    """Joints that take no part in any pck score, nor in the joint AP."""
    joint_ap: bool = False
    """Score the AP of every joint too, and rank by their mean, as PoseTrack does; needs ``pck`` for the pairing."""

    @classmethod
    def unfolded(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """``nms_area: {padding: 1.25, aspect: 0.75}`` is a shorter way to write two keys."""
        area = given.get("nms_area")
        if area is None:
            return given
        if not isinstance(area, Mapping) or not set(area) <= {"padding", "aspect"}:
            raise ValueError("nms_area must have the keys padding and aspect only")
        rest = {key: value for key, value in given.items() if key != "nms_area"}
        return {**rest, **{f"nms_{key}": value for key, value in area.items()}}


def instance_scores(
    scoring: PoseScoring, instance_N: NDArray[np.floating], keypoint_NK: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Final score of each instance, float64 [N].

    ``box_x_keypoints``: instance x mean of the keypoint scores above the threshold (0 if none), summed in keypoint
    order; ``instance``; ``keypoints``: plain mean of all; ``box_plus_keypoints``: instance + mean + maximum.

    Source: facebookresearch/sapiens pose/mmpose/evaluation/metrics/coco_metric.py, score modes ``bbox_keypoint``,
    ``bbox``, ``keypoint``, ``bbox_rle``.
    """
    instance = instance_N.astype(np.float64)
    keypoint = np.ascontiguousarray(keypoint_NK, dtype=np.float64)
    if scoring.score == "instance" or keypoint.shape[1] == 0 or len(instance) == 0:
        return instance
    if scoring.score == "keypoints":
        return np.asarray(keypoint.mean(axis=1))
    if scoring.score == "box_plus_keypoints":
        return np.asarray(instance + keypoint.mean(axis=1) + keypoint.max(axis=1))
    # compared as stored: a float32 0.2 is not above a float64 0.2 merely because it was widened
    above = keypoint_NK > np.asarray(scoring.score_threshold, dtype=keypoint_NK.dtype)
    total = np.cumsum(np.where(above, keypoint, 0.0), axis=1)[:, -1]
    return np.asarray(instance * (total / np.maximum(above.sum(axis=1), 1)))


def padded_area(scoring: PoseScoring, boxes_xyxy_N4: NDArray[np.floating]) -> NDArray[np.float64]:
    """Area of the grown, aspect-fixed boxes, px² [N]; what the crop of a top-down model covers."""
    boxes = boxes_xyxy_N4.astype(np.float64)
    width = (boxes[:, 2] - boxes[:, 0]) * scoring.nms_padding
    height = (boxes[:, 3] - boxes[:, 1]) * scoring.nms_padding
    is_wide = width > height * scoring.nms_aspect
    height, width = (
        np.where(is_wide, width / scoring.nms_aspect, height),
        np.where(is_wide, width, height * scoring.nms_aspect),
    )
    area: NDArray[np.float64] = width * height
    return area


def suppress(
    scoring: PoseScoring,
    keypoints_NK2: NDArray[np.floating],
    scores_N: NDArray[np.float64],
    area_N: NDArray[np.float64],
    variances_K: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Indices of the instances of one image that stay, in the order in which they stay.

    Source: facebookresearch/sapiens pose/mmpose/evaluation/functional/nms.py (``oks_nms``, ``soft_oks_nms``).
    """
    if scoring.nms_oks is None or len(scores_N) == 0:
        return np.arange(len(scores_N))

    x, y = _coordinates(keypoints_NK2)

    def oks(one: int, others_M: NDArray[np.int64]) -> NDArray[np.float32]:
        return _pair_oks(x, y, area_N, variances_K, np.full(len(others_M), one), others_M)

    if len(scores_N) <= _MOST_IN_A_TABLE:
        oks_NN = mutual_oks(keypoints_NK2, area_N, variances_K)
        oks = partial(_looked_up, oks_NN)
    if scoring.nms == "soft":
        return _soft(oks, scores_N, scoring.nms_oks, scoring.max_detections)
    return _hard(oks, scores_N, scoring.nms_oks)


def _looked_up(oks_NN: NDArray[np.float32], one: int, others_M: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(oks_NN[one, others_M])


def mutual_oks(
    keypoints_NK2: NDArray[np.floating], area_N: NDArray[np.float64], variances_K: NDArray[np.float64]
) -> NDArray[np.float32]:
    """OKS of each instance with each other one [N, N]: all points, mean of the two areas.

    Rounded to float32, as the official code does before it compares with the threshold.
    """
    oks = np.zeros((len(area_N), len(area_N)), np.float32)
    i, j = np.triu_indices(len(area_N))
    oks[i, j] = oks[j, i] = pair_oks(keypoints_NK2, area_N, variances_K, i, j)
    return oks


def pair_oks(
    keypoints_NK2: NDArray[np.floating],
    area_N: NDArray[np.float64],
    variances_K: NDArray[np.float64],
    i_P: NDArray[np.int64],
    j_P: NDArray[np.int64],
) -> NDArray[np.float32]:
    """OKS of pairs of instances [P]: all points, mean of the two areas; see ``mutual_oks``."""
    return _pair_oks(*_coordinates(keypoints_NK2), area_N, variances_K, i_P, j_P)


def _coordinates(keypoints_NK2: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y [N, K], rows contiguous."""
    return keypoints_NK2[..., 0].astype(np.float64, order="C"), keypoints_NK2[..., 1].astype(np.float64, order="C")


def _pair_oks(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    area_N: NDArray[np.float64],
    variances_K: NDArray[np.float64],
    i_P: NDArray[np.int64],
    j_P: NDArray[np.int64],
) -> NDArray[np.float32]:
    scale = (area_N[i_P] + area_N[j_P]) / 2 + EPSILON
    oks = np.zeros(len(i_P), np.float32)
    step = max(1, _CHUNK_VALUES // max(1, x.shape[1]))  # all pairs of a crowd of 308 points would not fit
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start in range(0, len(i_P), step):
            part = slice(start, start + step)
            i, j = i_P[part], j_P[part]
            terms = x[j]
            terms -= x[i]
            terms *= terms
            vertical = y[j]
            vertical -= y[i]
            vertical *= vertical
            terms += vertical
            terms /= variances_K
            terms /= scale[part, None]
            terms *= -0.5
            np.exp(terms, out=terms)
            oks[part] = terms.sum(axis=1) / max(1, x.shape[1])
    return oks


def suppress_all(
    scoring: PoseScoring,
    keypoints_DK2: NDArray[np.floating],
    scores_D: NDArray[np.float64],
    area_D: NDArray[np.float64],
    variances_K: NDArray[np.float64],
    counts_I: NDArray[np.int64],
) -> NDArray[np.int64]:
    """``suppress`` for many images, whose instances lie end to end: indices of those that stay, by image."""
    if scoring.nms_oks is None or len(scores_D) == 0:
        return np.arange(len(scores_D))
    starts, ends = np.cumsum(counts_I) - counts_I, np.cumsum(counts_I)
    parts = []
    for first, last in _runs_of_images(counts_I, alone=scoring.nms == "soft"):
        d = slice(int(starts[first]), int(ends[last - 1]))
        given = keypoints_DK2[d], scores_D[d], area_D[d], variances_K
        is_alone = last - first == 1
        found = suppress(scoring, *given) if is_alone else _suppress_run(scoring, *given, counts_I[first:last])
        parts.append(found + d.start)
    return np.concatenate(parts)


def _runs_of_images(counts_I: NDArray[np.int64], *, alone: bool) -> Iterator[tuple[int, int]]:
    """(first, end) of images that may be looked at together: their pairs of instances fit into memory many times."""
    first, n_pairs = 0, 0
    for image, n in enumerate(counts_I.tolist()):
        if image > first and (alone or n_pairs + n * (n - 1) // 2 > _MOST_PAIRS):
            yield first, image
            first, n_pairs = image, 0
        n_pairs += n * (n - 1) // 2
    if first < len(counts_I):
        yield first, len(counts_I)


def _suppress_run(
    scoring: PoseScoring,
    keypoints_DK2: NDArray[np.floating],
    scores_D: NDArray[np.float64],
    area_D: NDArray[np.float64],
    variances_K: NDArray[np.float64],
    counts_I: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Hard suppression of several images, all their pairs in one pass."""
    assert scoring.nms_oks is not None
    starts, ends = np.cumsum(counts_I) - counts_I, np.cumsum(counts_I)
    later_D = np.repeat(ends, counts_I) - np.arange(len(scores_D)) - 1  # instances of the image behind each
    first_D = np.cumsum(later_D) - later_D
    i_P = np.repeat(np.arange(len(scores_D)), later_D)
    j_P = i_P + 1 + np.arange(len(i_P)) - first_D[i_P]
    oks_P = pair_oks(keypoints_DK2, area_D, variances_K, i_P, j_P)
    is_far_P = oks_P <= scoring.nms_oks
    image_D = np.repeat(np.arange(len(counts_I)), counts_I)
    # equal scores: the later one first, as in _falling
    order = np.lexsort((-np.arange(len(scores_D)), -scores_D, image_D))
    if is_far_P.all():
        return order
    keep = np.ones(len(scores_D), bool)
    for image in np.unique(image_D[i_P[~is_far_P]]).tolist():
        start, end = int(starts[image]), int(ends[image])
        oks_NN = np.zeros((end - start, end - start), np.float32)
        pairs = slice(int(first_D[start]), int(first_D[start]) + (end - start) * (end - start - 1) // 2)
        i, j = i_P[pairs] - start, j_P[pairs] - start
        oks_NN[i, j] = oks_NN[j, i] = oks_P[pairs]
        keep[start:end] = False
        keep[start + _hard(partial(_looked_up, oks_NN), scores_D[start:end], scoring.nms_oks)] = True
    staying: NDArray[np.int64] = order[keep[order]]
    return staying


def _falling(scores_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Order by falling score; of equal scores the later one first, as reversing an ascending sort gives."""
    return np.argsort(scores_N, kind="stable")[::-1]


def _hard(oks: _Oks, scores_N: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    order = _falling(scores_N)
    keep: list[int] = []
    while len(order):
        best, rest = int(order[0]), order[1:]
        keep.append(best)
        order = rest[oks(best, rest) <= threshold]
    return np.array(keep, np.int64)


def _soft(oks: _Oks, scores_N: NDArray[np.float64], threshold: float, limit: int) -> NDArray[np.int64]:
    order = _falling(scores_N)
    scores = scores_N[order]
    keep: list[int] = []
    while len(order) and len(keep) < limit:
        best, order = int(order[0]), order[1:]
        keep.append(best)
        scores = scores[1:] * np.exp(-(oks(best, order) ** 2) / threshold)
        again = _falling(scores)
        order, scores = order[again], scores[again]
    return np.array(keep, np.int64)
