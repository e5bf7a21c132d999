"""Average precision of every joint, as PoseTrack ranks methods: people are paired by PCK, joints are ranked by score.

Of one image: a predicted person belongs to the annotated person of whom it has the largest share of labelled joints
within the threshold (PCKh 0.5: half a head), and of several that belong to one the best is taken. Every joint of a
taken person is right or wrong; every joint of any other person is wrong, and so is a joint that is not labelled there.
Then each joint has a precision-recall curve over all images, and its area (VOC, 2010 on) is the joint's AP.

Images without annotated people take no part, and neither do points inside an image's ignored regions, be they labelled
or predicted. A joint nobody predicts has AP 0; one that is labelled nowhere has none, and is not in the mean.

Source: leonid-pishchulin/poseval, py/eval_helpers.py (``assignGTmulti``, ``computeRPC``, ``VOCap``, ``getCum``) and
py/evaluateAP.py (``computeMetrics``). Equal scores are ranked by the order of images and people; there, by none.

Axes: I images, P people and N instances of one image, K joints, E predicted joints of one kind over all images, B
weightings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.sums import Aggregate, DrawCounts
from sapiens_bench.tasks.pose.flatten import flatten_predictions
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.pck import PckMetric, distances, joint_groups
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import ScoreInfo

if TYPE_CHECKING:
    import pyarrow as pa

MEAN = "mAP"
_HEAD = ("nose", "head_bottom", "head_top")  # what poseval calls the head
_AT_ONCE = 1 << 21  # weights of elements held at once
_SOURCE = "poseval, evaluateAP.py"


class JointApMetric:
    """AP by joint.

    Args:
        names: of the keypoint set.
        oks: gives score rule and suppression, which come before the pairing (MMPose PoseTrack18Metric).
        pck: gives the length that distances are divided by, the threshold, and the joints that take part.
    """

    name = "joint_ap"
    version = 1

    def __init__(self, names: Sequence[str], oks: OksMetric, pck: PckMetric) -> None:
        self._oks, self._pck, self.used = oks, pck, pck.used
        self.groups = joint_groups(names, self.used)
        if all(part in self.groups for part in _HEAD):
            joined = np.concatenate([self.groups.pop(part) for part in _HEAD])
            self.groups = {"head": joined, **self.groups}
        self.scores: Mapping[str, ScoreInfo] = _infos(self.groups)

    def measure(self, target: PoseTarget, prediction: PosePrediction) -> dict[str, int | float | NDArray[Any]]:
        """Values of one image: ``points`` i64 [K] labelled; of every predicted joint ``joint`` i64, ``scores`` f64 and
        ``right`` i64 (0 or 1), by person, then joint.
        """
        n_joints = len(self._oks.variances_K)
        labelled_PK, is_there_NK, kept = self._taking_part(target, prediction)
        length_P = self._pck.lengths(target)
        distance_PNK = distances(target.keypoints_NK2_px, kept.keypoints_NK2_px)
        with np.errstate(divide="ignore", invalid="ignore"):
            share_PNK = distance_PNK / length_P[:, None, None]
        right_PNK = (share_PNK <= self._pck.thresholds[0]) & labelled_PK[:, None] & is_there_NK[None]
        right_NK = _paired(right_PNK, labelled_PK)
        person, joint = np.nonzero(is_there_NK)
        return {
            "points": labelled_PK.sum(axis=0, dtype=np.int64) if len(labelled_PK) else np.zeros(n_joints, np.int64),
            "joint": joint.astype(np.int64),
            "scores": np.asarray(kept.keypoint_scores_NK, np.float64)[person, joint],
            "right": right_NK[person, joint].astype(np.int64),
        }

    def aggregate(self, rows: pa.Table) -> Aggregate:
        """Sort the rows once; a weight w stands for w copies of the image, side by side."""
        points_IK = _column(rows, f"{self.name}/points", np.int64)[0].reshape(rows.num_rows, -1)
        joints, counts = _column(rows, f"{self.name}/joint", np.int64)
        scores, _ = _column(rows, f"{self.name}/scores", np.float64)
        right, _ = _column(rows, f"{self.name}/right", np.int64)
        image = np.repeat(np.arange(rows.num_rows), counts)
        curves = {}
        for k in self.used.tolist():
            own = np.flatnonzero(joints == k)
            order = own[np.argsort(-scores[own], kind="stable")]
            curves[k] = (image[order], right[order])
        return Aggregate(tuple(self.scores), rows.num_rows, partial(self._statistics, curves, points_IK))

    def _taking_part(
        self, target: PoseTarget, prediction: PosePrediction
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], PosePrediction]:
        """Labelled joints [P, K], predicted joints [N, K], and the instances after suppression."""
        oks = self._oks
        flat = flatten_predictions([prediction], len(oks.variances_K), oks.scoring, oks.variances_K, oks.area_index)
        kept = prediction.take(flat.source_D)
        labelled = (target.visible_NK > 0) & target.is_scored_N[:, None]
        is_there = np.ones(kept.keypoint_scores_NK.shape, bool) & (len(target.area_N) > 0)
        is_used = np.isin(np.arange(labelled.shape[1]), self.used)
        labelled, is_there = labelled & is_used, is_there & is_used
        for region in target.ignored_regions:
            labelled &= ~inside(target.keypoints_NK2_px, region)
            is_there &= ~inside(kept.keypoints_NK2_px, region)
        return labelled, is_there, kept

    def _statistics(
        self,
        curves: Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]],
        points_IK: NDArray[np.int64],
        weights_BI: DrawCounts,
        keys: tuple[str, ...],
    ) -> dict[str, NDArray[np.float64]]:
        groups = {f"{name}/AP": index for name, index in self.groups.items()} | {MEAN: self.used}
        needed = sorted({k for key in keys for k in groups[key].tolist()})
        of_joint = {k: _average_precision(*curves[k], points_IK[:, k], weights_BI) for k in needed}
        found = {}
        for key in keys:
            values = np.stack([of_joint[k] for k in groups[key].tolist()])
            is_defined = np.isfinite(values)
            total, n_defined = np.where(is_defined, values, 0.0).sum(axis=0), is_defined.sum(axis=0)
            found[key] = np.where(n_defined > 0, total / np.maximum(n_defined, 1), np.nan)
        return found


def inside(points_NK2: NDArray[np.floating], polygon_V2: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points lie in a polygon, bool [N, K], by the even-odd rule."""
    x, y = np.asarray(points_NK2[..., 0], np.float64), np.asarray(points_NK2[..., 1], np.float64)
    result = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon_V2, np.roll(polygon_V2, -1, axis=0), strict=True):
        if y0 != y1:
            result ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return result


def _paired(right_PNK: NDArray[np.bool_], labelled_PK: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which joints of each instance are right [N, K]: those of its own person, if it is that person's best instance."""
    _, n_found, n_joints = right_PNK.shape
    result = np.zeros((n_found, n_joints), bool)
    with_points = np.flatnonzero(labelled_PK.any(axis=1))
    if not len(with_points) or not n_found:
        return result
    right, labelled = right_PNK[with_points], labelled_PK[with_points]
    share_PN = right.sum(axis=2) / labelled.sum(axis=1)[:, None]
    own_N = share_PN.argmax(axis=0)
    share_PN = np.where(own_N == np.arange(len(with_points))[:, None], share_PN, 0.0)
    for person, instance in enumerate(share_PN.argmax(axis=1).tolist()):
        if share_PN[person, instance] > 0:
            result[instance] = right[person, instance]
    return result


def _average_precision(
    image_E: NDArray[np.int64], right_E: NDArray[np.int64], points_I: NDArray[np.int64], weights_BI: DrawCounts
) -> NDArray[np.float64]:
    """Area below the precision-recall curve, [B]; NaN where no such joint is labelled."""
    result = np.full(len(weights_BI), np.nan)
    step = max(1, _AT_ONCE // max(1, len(image_E)))
    for start in range(0, len(weights_BI), step):
        weights = np.asarray(weights_BI[start : start + step], np.float64)
        n_points = weights @ points_I
        drawn = weights[:, image_E]
        hits = np.cumsum(drawn * right_E, axis=1)
        n_found = np.cumsum(drawn, axis=1)
        precision = hits / np.maximum(n_found, 1)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        area = (drawn * right_E * envelope).sum(axis=1)
        result[start : start + step] = np.where(n_points > 0, area / np.maximum(n_points, 1), np.nan)
    return result


def _column(rows: pa.Table, name: str, dtype: type) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values of a list column end to end, and how many each row has."""
    column = rows.column(name).combine_chunks()
    counts = np.asarray(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype), counts


def _infos(groups: Mapping[str, Any]) -> dict[str, ScoreInfo]:
    def share(title: str, *, headline: bool = False) -> ScoreInfo:
        return ScoreInfo(title, "", True, 0.0, 1.0, 1, _SOURCE, percent=True, headline=headline)

    infos = {MEAN: share("mAP of joints", headline=True)}
    return infos | {f"{name}/AP": share(f"{name.replace('_', ' ')} joint AP") for name in groups}
