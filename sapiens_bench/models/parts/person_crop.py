"""Square crops around person boxes, for the embedded networks.

Frames: image pixels have their origin at the centre of the first pixel. Positions in a crop of S pixels are measured
from its left and top EDGE (0..S), as MoveNet and MediaPipe report them; mirroring twelve people of COCO puts their
outputs within 0.3 crop pixels of that reading. Axes: N people, K keypoints, S side of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.pixels.affine import square_matrix, warp
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput

MIN_SIDE_PX = 2.0  # a degenerate box still gives a crop with a finite scale


@dataclass(frozen=True, slots=True)
class SquareCrops:
    """Where the crops of one image lie."""

    center_N2_px: NDArray[np.float64]  # image pixels
    side_N_px: NDArray[np.float64]  # image pixels
    size: int  # crop pixels
    boxes_xyxy_px: NDArray[np.float32]  # [N, 4], as given
    box_scores: NDArray[np.float32]  # [N]

    @classmethod
    def around(cls, x: ModelInput, padding: float, size: int) -> SquareCrops:
        """Squares centred on the boxes, ``padding`` times the longer side."""
        boxes = x.boxes_xyxy_px.astype(np.float64).reshape(-1, 4)
        low, high = boxes[:, :2], boxes[:, 2:]
        side = np.maximum((high - low).max(axis=1, initial=0.0), MIN_SIDE_PX) * padding
        return cls((low + high) / 2, side, size, x.boxes_xyxy_px, x.box_scores)

    def to_image(self, points_NK2_crop: NDArray[np.float64]) -> NDArray[np.float64]:
        """Crop pixels (from the edge) -> image pixels."""
        scale = (self.side_N_px / self.size)[:, None, None]
        return (points_NK2_crop - self.size / 2) * scale + self.center_N2_px[:, None]


def cut_squares(image_HW3: NDArray[np.uint8], squares: SquareCrops) -> NDArray[np.uint8]:
    """The crops, bilinear, [N, S, S, 3]; zeros where a square leaves the image."""
    size = squares.size
    crops = np.empty((len(squares.side_N_px), size, size, 3), np.uint8)
    for index, (center, side) in enumerate(zip(squares.center_N2_px, squares.side_N_px, strict=True)):
        warp(image_HW3, square_matrix(center, side, size), (size, size), out=crops[index])
    return crops


def landmark_poses(outputs: dict[str, NDArray[Any]], geometry: SquareCrops, n_points: int) -> PosePrediction:
    """Poses in the picture from ``landmarks`` [N, P, 3] (x, y in pixels of the crop, score) and ``presence`` [N]; no
    outputs are no people."""
    landmarks = outputs["landmarks"] if outputs else np.zeros((0, n_points, 3), np.float32)
    presence = outputs["presence"] if outputs else np.zeros(0, np.float32)
    return PosePrediction(
        keypoints_NK2_px=geometry.to_image(landmarks[..., :2].astype(np.float64)).astype(np.float32),
        keypoint_scores_NK=landmarks[..., 2].astype(np.float32),
        instance_scores_N=(geometry.box_scores * presence).astype(np.float32),
        boxes_xyxy_px_N4=geometry.boxes_xyxy_px,
    )
