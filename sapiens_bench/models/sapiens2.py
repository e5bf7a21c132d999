"""Sapiens2 wrappers: 308 keypoints, 29 parts, normals and point maps, through the classes of transformers.

Crops, resizes and decoding are our own: the official code warps and resizes with OpenCV (linear or area when it
shrinks, cubic when it enlarges), the library with torchvision. Normals and point maps keep the picture's aspect and pad
it with black to the input size; segmentation stretches.
Source: Sapiens2 (arXiv 2604.21681); conventions as in transformers' ``Sapiens2ImageProcessor``.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sapiens_bench.errors import CardError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.program import DTYPES
from sapiens_bench.models.parts.whole_image import (
    Fitted,
    WholeImage,
    check_options,
    cv2_stretch,
    input_spec,
    normalised,
)
from sapiens_bench.models.sapiens2_load import build_network
from sapiens_bench.models.sapiens_v1 import SapiensPose
from sapiens_bench.pixels.affine import box_to_center_scale, udp_matrix
from sapiens_bench.types import ModelInput, Prepared


class _Heatmaps(nn.Module):
    """A network of transformers as image -> heatmaps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        maps: Tensor = self.network(image).heatmaps
        return maps


class Sapiens2Pose(SapiensPose):
    """Top-down keypoints; everything behind the crop is that of Sapiens v1 (UDP, flip test, DARK).

    Options: ``size``, ``flip_test`` (on unless the card says otherwise).
    """

    def __init__(self, context: ModelContext) -> None:
        # Not the parent's: that one builds a network of the first generation.
        check_options(context, {"size", "flip_test"})
        if context.space is None or not context.space.flip_index:
            raise CardError(f"{context.variant.id}: a pose card needs a keypoint space with flip_index")
        spec = input_spec(context)
        self.input_hw, self.pipeline = (spec.height, spec.width), "full"
        self.device, self.dtype = context.device, DTYPES[context.precision]
        self.net = _Heatmaps(build_network(context, len(context.space.names), self.input_hw))
        self.mean = torch.tensor(spec.mean, device=context.device).view(1, 3, 1, 1)
        self.std = torch.tensor(spec.std, device=context.device).view(1, 3, 1, 1)
        self.flip_index = np.asarray(context.space.flip_index)
        self.flip_test = bool(context.options.get("flip_test", True))

    def prepare(self, x: ModelInput) -> Prepared:
        height, width = self.input_hw
        center, scale = box_to_center_scale(x.boxes_xyxy_px, padding=1.25, aspect=width / height)
        crops = np.empty((len(center), 3, height, width), np.uint8)
        for i in range(len(center)):
            shrinks = min((width - 1) / max(scale[i, 0], 1e-6), (height - 1) / max(scale[i, 1], 1e-6)) < 1
            matrix = udp_matrix(center[i], scale[i], (width, height))
            how = cv2.INTER_LINEAR if shrinks else cv2.INTER_CUBIC
            crops[i] = cv2.warpAffine(x.image_HW3, matrix, (width, height), flags=how).transpose(2, 0, 1)
        return Prepared({"crop": crops}, (center, scale, x.boxes_xyxy_px, x.box_scores))


class Sapiens2Dense(WholeImage):
    """Parts, normals, or the z of a point map (true depth up to one factor per picture).

    Options: ``size``; ``axis_sign`` for normals; ``depth_kind`` for point maps, which must be scale_invariant_depth.
    """

    def __init__(self, context: ModelContext) -> None:
        check_options(context, {"size"})
        super().__init__(context)
        if self.depth_kind not in (None, "scale_invariant_depth"):
            raise CardError(f"{self.name}: a point map is scale_invariant_depth, not {self.depth_kind}.")
        self.net = build_network(context, 3 if self.task == "depth" else self.channels, self._input_hw)

    @property
    def _input_hw(self) -> tuple[int, int]:
        return self.spec.height, self.spec.width

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = self._input_hw
        if self.task == "seg":
            return Fitted(normalised(cv2_stretch(image_HW3, (height, width)), self.spec), (0, 0, height, width))
        inside = padded_frame(image_HW3.shape[0], image_HW3.shape[1], (height, width))
        top, left, bottom, right = inside
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[top:bottom, left:right] = cv2_stretch(image_HW3, (bottom - top, right - left))
        return Fitted(normalised(canvas, self.spec), inside)

    def raw(self, image: Tensor) -> Tensor:
        out: Any = self.net(image)
        if self.task == "seg":
            return self.checked(out.logits, self.name)
        if self.task == "normal":  # unit before the resize, as the library does it, and again behind it
            return functional.normalize(self.checked(out.normals, self.name), dim=1, eps=1e-8)
        return self.checked(out.pointmaps[:, 2:3], self.name)


def padded_frame(height: int, width: int, input_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a picture that keeps its aspect in the middle of the input; sizes rounded down."""
    scale = min(input_hw[0] / height, input_hw[1] / width)
    tall, wide = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = (input_hw[0] - tall) // 2, (input_hw[1] - wide) // 2
    return top, left, top + tall, left + wide


def build(context: ModelContext) -> Sapiens2Pose | Sapiens2Dense:
    """The wrapper for the card's task."""
    return Sapiens2Pose(context) if context.card.task == "pose" else Sapiens2Dense(context)
