"""What a pose adapter gives and what a pose model returns. Axes: N people or boxes, K keypoints of the task's set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    @property
    def is_scored_N(self) -> NDArray[np.bool_]:
        """Whom a prediction must find."""
        is_scored = ~self.is_crowd_N & (self.visible_NK > 0).any(axis=1)
        return is_scored if self.is_ignored_N is None else is_scored & ~self.is_ignored_N


@dataclass(frozen=True, slots=True)
class AnnotationIndex:
    """What results made elsewhere refer to: ids of images and categories. No label is in it."""

    image_ids: Mapping[str, int]  # sample key -> image id
    categories: Mapping[int, str]  # every declared category: id -> name
    scored: frozenset[int]  # ids of those that are scored


@dataclass(frozen=True, slots=True)
class PosePrediction:
    """One instance per box the model was run on."""

    keypoints_NK2_px: Floats  # original image
    keypoint_scores_NK: Floats  # any scale the model has; the score rule thresholds them
    instance_scores_N: Floats  # box score x any presence score; NOT yet multiplied by keypoint scores
    boxes_xyxy_px_N4: Floats  # the boxes the model was run on, unpadded


def empty_prediction(n_keypoints: int) -> PosePrediction:
    """A prediction of nobody: the miss."""
    return PosePrediction(
        keypoints_NK2_px=np.zeros((0, n_keypoints, 2), np.float32),
        keypoint_scores_NK=np.zeros((0, n_keypoints), np.float32),
        instance_scores_N=np.zeros(0, np.float32),
        boxes_xyxy_px_N4=np.zeros((0, 4), np.float32),
    )
