"""What a pose adapter gives and what a pose model returns. Axes: N people or boxes, K keypoints of the task's set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = dict[str, int | float | NDArray[Any]]  # what a metric keeps of one image: sums and counts by name
Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoseTarget:
    """Every annotated person of one image, crowds and people without visible points included."""

    keypoints_NK2_px: Floats  # original image; undefined where visible_NK is 0
    visible_NK: Floats  # 0 not labelled; above 0 labelled (1 occluded, 2 visible; COCO-WholeBody has fractions)
    area_N: NDArray[np.float64]  # px², the annotated segment's area
    is_crowd_N: NDArray[np.bool_]
    boxes_xyxy_px_N4: NDArray[np.float64]
    ids_N: NDArray[np.integer]  # annotation ids
    # People who are not scored although points of theirs are labelled (num_keypoints 0, as pycocotools has it); None:
    # nobody of the image is like that.
    is_ignored_N: NDArray[np.bool_] | None = None
    # Length of the head, px: 0.6 x the diagonal of its box, as the MPII evaluation has it; NaN where a person has no
    # head box; None: nobody has.
    head_size_px_N: NDArray[np.float64] | None = None
    # int64 [N], category ids, where several are scored each on its own; None: there is one.
    category_N: NDArray[np.int64] | None = None
    # Polygons [V, 2], px, in which the joint AP looks at nothing (PoseTrack). No other score knows them.
    ignored_regions: tuple[NDArray[np.float64], ...] = ()

    @property
    def is_scored_N(self) -> NDArray[np.bool_]:
        """Whom a prediction must find."""
        is_scored = ~self.is_crowd_N & (self.visible_NK > 0).any(axis=1)
        return is_scored if self.is_ignored_N is None else is_scored & ~self.is_ignored_N

    def take(self, index_N: NDArray[np.int64]) -> PoseTarget:
        """Some of the people."""
        by_person = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "ignored_regions"}
        return replace(self, **{name: value[index_N] for name, value in by_person.items() if value is not None})


@dataclass(frozen=True, slots=True)
class AnnotationIndex:
    """What results made elsewhere refer to: ids of images and categories. No label is in it."""

    image_ids: Mapping[str, int]  # sample key -> image id
    categories: Mapping[int, str]  # every declared category: id -> name
    scored: frozenset[int]  # ids of those that are scored
    file_names: Mapping[int, str] = field(default_factory=dict)  # of images that share their name but for its ending
    has_file: bool = True  # whether the ids are those of a file that others have, too


PART_SCORES = {  # part -> field of a results file that ranks it; "whole" is the whole set
    "whole": "wholebody_score",
    "foot": "foot_score",
    "face": "face_score",
    "left_hand": "lefthand_score",
    "right_hand": "righthand_score",
}


@dataclass(frozen=True, slots=True)
class ResultScores:
    """Of results made elsewhere: no box was asked for, so every instance counts, and nobody need have been found."""

    is_final: bool = True  # instance scores stand as they are; False: the protocol's score rule makes them
    is_suppressed: bool = False  # the protocol's suppression is applied once more
    # Part (key of PART_SCORES) -> float64 [N], the score that ranks it. Source: jin-s13/COCO-WholeBody
    # evaluation/myeval_*.py; empty where the file has none.
    parts: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    # float64 [N], px²: that of the results' own boxes, which pycocotools ``loadRes`` takes where the first result has
    # one; None: the extent of the keypoints.
    area_N: NDArray[np.float64] | None = None

    def take(self, index_N: NDArray[np.int64]) -> ResultScores:
        """Those of some instances."""
        area = None if self.area_N is None else self.area_N[index_N]
        return replace(self, parts={name: scores[index_N] for name, scores in self.parts.items()}, area_N=area)


@dataclass(frozen=True, slots=True)
class PosePrediction:
    """One instance per box the model was run on, or every result of the image where they were made elsewhere."""

    keypoints_NK2_px: Floats  # original image
    keypoint_scores_NK: Floats  # any scale the model has; the score rule thresholds them
    instance_scores_N: Floats  # box score x any presence score; NOT yet multiplied by keypoint scores
    boxes_xyxy_px_N4: Floats  # the boxes the model was run on, unpadded
    results: ResultScores | None = None  # None: a model's own instances
    # int64 [N]: category ids, where a protocol scores several; None: there is one, or it is that of the box
    category_N: NDArray[np.int64] | None = None

    def take(self, index_N: NDArray[np.int64]) -> PosePrediction:
        """Some of the instances."""
        return PosePrediction(
            keypoints_NK2_px=self.keypoints_NK2_px[index_N],
            keypoint_scores_NK=self.keypoint_scores_NK[index_N],
            instance_scores_N=self.instance_scores_N[index_N],
            boxes_xyxy_px_N4=self.boxes_xyxy_px_N4[index_N],
            results=None if self.results is None else self.results.take(index_N),
            category_N=None if self.category_N is None else self.category_N[index_N],
        )


def empty_prediction(n_keypoints: int) -> PosePrediction:
    """A prediction of nobody: the miss."""
    return PosePrediction(
        keypoints_NK2_px=np.zeros((0, n_keypoints, 2), np.float32),
        keypoint_scores_NK=np.zeros((0, n_keypoints), np.float32),
        instance_scores_N=np.zeros(0, np.float32),
        boxes_xyxy_px_N4=np.zeros((0, 4), np.float32),
    )


def empty_target(n_keypoints: int) -> PoseTarget:
    """A picture of nobody."""
    return PoseTarget(
        keypoints_NK2_px=np.zeros((0, n_keypoints, 2)),
        visible_NK=np.zeros((0, n_keypoints), np.float32),
        area_N=np.zeros(0),
        is_crowd_N=np.zeros(0, np.bool_),
        boxes_xyxy_px_N4=np.zeros((0, 4)),
        ids_N=np.zeros(0, np.int64),
    )
