"""Sapiens v1 wrappers: pose, segmentation, depth, normals, through the full official pipeline or the lite demo's.

Source: facebookresearch/sapiens: ``pose/mmpose`` (``GetBBoxCenterScale``, ``TopdownAffine``, ``UDPHeatmap``), ``seg``
for the dense tasks, and ``lite/demo`` (``vis_pose.py`` ...) for the lite pipeline; it made the golden fixtures.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import SapiensV1DepthOptions, SapiensV1Options, SapiensV1PoseOptions
from sapiens_bench.models.parts.decoders import Answers, UdpHeatmaps
from sapiens_bench.models.parts.dense_frame import labels_at_original, to_original, unit_normals
from sapiens_bench.models.parts.normaliser import Normaliser
from sapiens_bench.models.parts.top_down import Framing, Image, TopDown, udp_crop
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage
from sapiens_bench.models.sapiens_load import build_network
from sapiens_bench.models.sapiens_net import HeadKind

INPUT_HW = (1024, 768)  # of every published task model
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# The lite demo normalises with its own, slightly different constants.
LITE_MEAN, LITE_STD = (123.5, 116.5, 103.5), (58.5, 57.0, 57.5)
BLUR_KERNEL = 11


def input_of(context: ModelContext) -> InputSpec:
    """Input size of the card, normalisation of the pipeline."""
    given = context.variant.input or context.card.input
    height, width = (given.height, given.width) if given else INPUT_HW
    mean, std = (MEAN, STD) if context.options.pipeline == "full" else (LITE_MEAN, LITE_STD)
    return InputSpec(height=height, width=width, mean=mean, std=std)


def network_of(context: ModelContext, task: HeadKind, input_hw: tuple[int, int]) -> nn.Module:
    """The network of one variant; see ``sapiens_load.build_network``."""
    return build_network(
        task,
        context.weights,
        input_hw=input_hw,
        outputs=len(context.space.names) if context.space else None,
        options=context.options,
        pinned=context.pinned,
        trusted=context.trusted,
        device=context.device,
        precision=context.precision,
    )


def lite_crop(image_HW3: Image, center: NDArray[Any], scale: NDArray[Any], size_wh: tuple[int, int]) -> Image:
    """Cut at the size of the whole image first, then brought to that of the network input."""
    height, width = image_HW3.shape[:2]
    large = udp_crop(image_HW3, center, scale, (width, height))
    return np.asarray(cv2.resize(large, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)


class SapiensPose(TopDown):
    """Top-down keypoints: UDP crop, flip test, UDP/DARK decoding."""

    def __init__(self, context: ModelContext) -> None:
        chosen: SapiensV1PoseOptions = context.options
        is_full, spec = chosen.pipeline == "full", input_of(context)
        # The lite demo brings the box to the aspect of the whole image, not of the network input.
        framing = Framing() if is_full else Framing(lite_crop, of_image=True)
        flip_test = is_full if chosen.flip_test is None else chosen.flip_test
        super().__init__(context, spec, framing, UdpHeatmaps(blur_kernel=BLUR_KERNEL), flip_test)
        self.net = network_of(context, "pose", self.input_hw)

    def network(self, image: Tensor) -> Answers:
        return (self.net(image).float(),)


class SapiensDense(WholeImage):
    """Whole image, stretched to the input size (aspect not kept), back to original pixels on the device.

    Depth is relative: 0 nearest, 1 farthest in training; unbounded, may be negative.
    """

    def __init__(self, context: ModelContext) -> None:
        spec = input_of(context)
        super().__init__(context, spec)
        chosen: SapiensV1Options = context.options
        self.pipeline, self.input_hw = chosen.pipeline, (spec.height, spec.width)
        self.flip_test = isinstance(chosen, SapiensV1DepthOptions) and chosen.flip_test
        if self.task == "depth":
            self.depth_kind = "affine_invariant_depth"
        self.normalise = Normaliser(spec, context.device, self.dtype)
        task: Any = self.task
        self.net = network_of(context, task, self.input_hw)

    def fit(self, image_HW3: Image) -> Fitted:
        height, width = self.input_hw
        small = cv2.resize(image_HW3, (width, height), interpolation=cv2.INTER_LINEAR)
        return Fitted(np.asarray(small, np.uint8), (0, 0, height, width))

    def as_input(self, image: Tensor) -> Tensor:
        return self.normalise(image)

    def raw(self, image: Tensor) -> Tensor:
        if not self.flip_test:
            return self._head(image)
        plain, mirrored = self._head(torch.cat([image, image.flip(-1)])).chunk(2)
        return (plain + mirrored.flip(-1)) * 0.5

    def _head(self, image: Tensor) -> Tensor:
        out: Tensor = self.net(image)
        return out.float()

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        if self.task == "seg":
            return labels_at_original(raw, self.input_hw, size_hw, self.pipeline)
        maps = to_original(raw, self.input_hw, size_hw, self.pipeline)
        return maps[0, 0] if self.task == "depth" else unit_normals(maps)[0]


def build(context: ModelContext) -> SapiensPose | SapiensDense:
    """The wrapper for the card's task."""
    return SapiensPose(context) if context.card.task == "pose" else SapiensDense(context)
