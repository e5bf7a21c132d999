"""Sapiens2 wrappers: 308 keypoints, 29 parts, normals, point maps, mattes and albedo, by the classes of transformers.

Crops, resizes and decoding are our own: the official code warps and resizes with OpenCV (linear or area when it
shrinks, cubic when it enlarges), the library with torchvision. Normals, point maps and albedo keep the picture's aspect
and pad it with black to the input size; segmentation and matting stretch. Behind the crop, poses are decoded as those
of Sapiens v1.
Source: Sapiens2 (arXiv 2604.21681); conventions as in transformers' ``Sapiens2ImageProcessor``.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import Sapiens2PoseOptions
from sapiens_bench.models.parts.decoders import Answers, UdpHeatmaps
from sapiens_bench.models.parts.dense_frame import cv2_stretch, input_spec, normalised, padded_frame
from sapiens_bench.models.parts.top_down import Framing, Image, TopDown
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage
from sapiens_bench.models.sapiens2_load import MATTING_MAPS, build_network
from sapiens_bench.pixels.affine import udp_matrix


def crop(image_HW3: Image, center: NDArray[Any], scale: NDArray[Any], size_wh: tuple[int, int]) -> Image:
    """UDP crop, bilinear where a side of the box is larger than the crop's, else bicubic; black outside."""
    width, height = size_wh
    shrinks = min((width - 1) / max(scale[0], 1e-6), (height - 1) / max(scale[1], 1e-6)) < 1
    how = cv2.INTER_LINEAR if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.warpAffine(image_HW3, udp_matrix(center, scale, size_wh), size_wh, flags=how), np.uint8)


class Sapiens2Pose(TopDown):
    """Top-down keypoints: UDP crop, flip test, UDP/DARK decoding."""

    def __init__(self, context: ModelContext) -> None:
        chosen: Sapiens2PoseOptions = context.options
        super().__init__(context, input_spec(context), Framing(crop), UdpHeatmaps(), chosen.flip_test)
        self.net = build_network(context, self.n_keypoints, self.input_hw)

    def network(self, image: Tensor) -> Answers:
        return (self.net(image).heatmaps.float(),)


class Sapiens2Dense(WholeImage):
    """Parts, normals, points (up to one factor per picture) or their z alone as depth, mattes, albedo."""

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self.input_hw = (self.spec.height, self.spec.width)
        maps = {"depth": 3, "matting": MATTING_MAPS}.get(self.task, self.channels)
        self.net = build_network(context, maps, self.input_hw)

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = self.input_hw
        if self.task in ("seg", "matting"):
            return Fitted(normalised(cv2_stretch(image_HW3, (height, width)), self.spec), (0, 0, height, width))
        inside = padded_frame(image_HW3.shape[0], image_HW3.shape[1], (height, width))
        top, left, bottom, right = inside
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[top:bottom, left:right] = cv2_stretch(image_HW3, (bottom - top, right - left))
        return Fitted(normalised(canvas, self.spec), inside)

    def raw(self, image: Tensor) -> Tensor:
        out: Any = self.net(image)
        if self.task == "albedo":  # cut before the resize, as the official demo does it; trained on values of 8-bit PNG
            return self.checked(out, self.name).clamp(0, 1)
        if self.task == "matting":
            return self.checked(out.alphas, self.name)
        if self.task == "seg":
            return self.checked(out.logits, self.name)
        if self.task == "normal":  # unit before the resize, as the library does it, and again behind it
            return functional.normalize(self.checked(out.normals, self.name), dim=1, eps=1e-8)
        points: Tensor = out.pointmaps if self.task == "pointmap" else out.pointmaps[:, 2:3]
        return self.checked(points, self.name)


def build(context: ModelContext) -> Sapiens2Pose | Sapiens2Dense:
    """The wrapper for the card's task."""
    return Sapiens2Pose(context) if context.card.task == "pose" else Sapiens2Dense(context)
