"""Every plausible way to score the poses of a run: score rule, suppression, visibility rule, area of a person.

Matching is done once for each way; the scores of all parts and statistics follow from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sapiens_bench.stats.sums import Aggregate
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

# The official codes' rules (open-mmlab/mmpose coco_metric.py, modes of scores) with and without the 0.2 threshold.
_RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("box x keypoints above 0.2", {"score": "box_x_keypoints", "score_threshold": 0.2}),
    ("box x all keypoints", {"score": "box_x_keypoints", "score_threshold": -1e6}),
    ("box score alone", {"score": "instance"}),
    ("mean of keypoint scores", {"score": "keypoints"}),
    ("box + mean + maximum of keypoints", {"score": "box_plus_keypoints"}),
)
_NMS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("OKS-NMS 0.9", {"nms_oks": 0.9, "nms": "hard"}),
    ("soft OKS-NMS 0.9", {"nms_oks": 0.9, "nms": "soft"}),
    ("no NMS", {"nms_oks": None, "nms": "hard"}),
)
_VISIBLE = (("labelled points", 0.0), ("visible points alone", 1.0))  # counted where the flag is above
_AREAS = ("annotated area", "0.53 x box")  # the second: xtcocotools without use_area
_BOX_TO_AREA = 0.53


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to score."""

    rule: str
    nms: str
    visible: str
    area: str
    scoring: PoseScoring

    @property
    def title(self) -> str:
        return f"{self.rule}; {self.nms}; {self.visible}; {self.area}"


def pose_variants(scoring: PoseScoring) -> list[Variant]:
    """60 variants around a protocol, which keep what is not varied."""
    return [
        Variant(rule, nms, visible, area, scoring.model_copy(update={**of_rule, **of_nms}))
        for rule, of_rule in _RULES
        for nms, of_nms in _NMS
        for visible, _ in _VISIBLE
        for area in _AREAS
    ]


def is_declared(variant: Variant, scoring: PoseScoring) -> bool:
    """Whether it is the protocol of the run."""
    return variant.scoring == scoring and (variant.visible, variant.area) == (_VISIBLE[0][0], _AREAS[0])


def aggregates(
    metric: OksMetric,
    sigmas: Sequence[float],
    parts: dict[str, Sequence[int]],
    targets: Sequence[PoseTarget],
    predictions: Sequence[PosePrediction],
) -> Iterator[tuple[Variant, Aggregate]]:
    """Each variant with what gives its scores under any weights of the images."""
    changed = {(v, a): [_changed(t, least, a) for t in targets] for v, least in _VISIBLE for a in _AREAS}
    for variant in pose_variants(metric.scoring):
        other = OksMetric(sigmas, parts, variant.scoring)
        yield variant, other.aggregate(other.measure_table(changed[variant.visible, variant.area], predictions))


def _changed(target: PoseTarget, least: float, area: str) -> PoseTarget:
    """The truth as another rule reads it."""
    if least > 0:
        target = replace(target, visible_NK=np.where(target.visible_NK > least, target.visible_NK, 0.0))
    if area != _AREAS[0]:
        boxes = target.boxes_xyxy_px_N4
        target = replace(target, area_N=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * _BOX_TO_AREA)
    return target
