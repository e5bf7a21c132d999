"""Sapiens v1 wrappers: pose, segmentation, depth, normals, through the full official pipeline or the lite demo's.

Source: specification of the official code, sections 4 (pre-processing) and 5 (post-processing); goldens made by it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.parts.program import DTYPES
from sapiens_bench.models.sapiens_dense import Pipeline, labels_at_original, to_original, unit_normals
from sapiens_bench.models.sapiens_load import build_network
from sapiens_bench.models.sapiens_net import HeadKind
from sapiens_bench.pixels.affine import box_to_center_scale, udp_matrix, warp
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import ModelInput, Prepared

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
# The lite demo normalises with its own, slightly different constants.
LITE_MEAN = (123.5, 116.5, 103.5)
LITE_STD = (58.5, 57.0, 57.5)
DEFAULT_INPUT = (1024, 768)
OPTIONS = {"size", "heads", "patch_padding", "pipeline", "flip_test", "axis_sign"}
BLUR_KERNEL = 11


class SapiensV1(ABC):
    """What the four tasks share: the network, the normalisation, and its options."""

    task: HeadKind

    def __init__(self, context: ModelContext) -> None:
        unknown = set(context.options) - OPTIONS
        if unknown:
            raise CardError(f"{context.variant.id}: unknown option {sorted(unknown)[0]!r}; known: {sorted(OPTIONS)}")
        spec: InputSpec | None = context.variant.input or context.card.input
        self.input_hw = (spec.height, spec.width) if spec else DEFAULT_INPUT
        self.pipeline = pipeline_name(context.options.get("pipeline", "full"))
        self.device, self.dtype = context.device, DTYPES[context.precision]
        outputs = len(context.space.names) if context.space else None
        self.net: nn.Module = build_network(
            self.task,
            context.weights,
            input_hw=self.input_hw,
            outputs=outputs,
            options=context.options,
            pinned=context.pinned,
            trusted=context.trusted,
            device=context.device,
            precision=context.precision,
        )
        mean, std = (MEAN, STD) if self.pipeline == "full" else (LITE_MEAN, LITE_STD)
        self.mean = torch.tensor(mean, device=context.device).view(1, 3, 1, 1)
        self.std = torch.tensor(std, device=context.device).view(1, 3, 1, 1)

    def normalise(self, image: Tensor) -> Tensor:
        """RGB in 0..255 [B, 3, H, W], any dtype -> network input."""
        return ((image.float() - self.mean) / self.std).to(self.dtype)

    def run(self, image: Tensor) -> Tensor:
        """Raw head output, float32, for RGB images in 0..255."""
        out: Tensor = self.net(self.normalise(image))
        return out.float()

    @abstractmethod
    def prepare(self, x: ModelInput) -> Prepared:
        """See ``types.Model``."""

    @abstractmethod
    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``types.Model``."""

    @abstractmethod
    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> Any:
        """See ``types.Model``."""


def pipeline_name(value: object) -> Pipeline:
    """ "full" or "lite".

    Raises:
        CardError: anything else.
    """
    if value in ("full", "lite"):
        return value
    raise CardError(f"unknown pipeline {value!r}: 'full' (the official evaluation) or 'lite' (the lite demo)")


class SapiensPose(SapiensV1):
    """Top-down keypoints: UDP crop, flip test, UDP/DARK decoding."""

    task: Literal["pose"] = "pose"

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        if context.space is None or not context.space.flip_index:
            raise CardError(f"{context.variant.id}: a pose card needs a keypoint space with flip_index")
        self.flip_index = np.asarray(context.space.flip_index)
        self.flip_test = bool(context.options.get("flip_test", self.pipeline == "full"))

    def prepare(self, x: ModelInput) -> Prepared:
        height, width = self.input_hw
        image_height, image_width = x.image_HW3.shape[:2]
        # The lite demo brings the box to the aspect of the whole image, not of the network input.
        aspect = width / height if self.pipeline == "full" else image_width / image_height
        center, scale = box_to_center_scale(x.boxes_xyxy_px, padding=1.25, aspect=aspect)
        crops = np.empty((len(center), 3, height, width), np.uint8)
        for i in range(len(center)):
            if self.pipeline == "full":
                crop = warp(x.image_HW3, udp_matrix(center[i], scale[i], (width, height)), (width, height))
            else:
                size = (image_width, image_height)
                crop = warp(x.image_HW3, udp_matrix(center[i], scale[i], size), size)
                crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)
            crops[i] = crop.transpose(2, 0, 1)
        return Prepared({"crop": crops}, (center, scale, x.boxes_xyxy_px, x.box_scores))

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        image = self.normalise(tensors["crop"])
        if self.flip_test:
            plain, mirrored = self.net(torch.cat([image, image.flip(-1)])).float().chunk(2)
            maps = heatmaps.merge_flipped(plain, mirrored, self.flip_index)
        else:
            maps = self.net(image).float()
        found = heatmaps.peaks(maps, BLUR_KERNEL)
        size = torch.tensor([maps.shape[-1], maps.shape[-2]]).expand(len(maps), 2)
        return {"xy": found.xy_BK2, "score": found.score_BK, "patch": found.log_patch_BK33, "heatmap_wh": size}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> PosePrediction:
        center, scale, boxes, box_scores = geometry
        n, k = len(boxes), len(self.flip_index)
        keypoints = np.zeros((n, k, 2), np.float32)
        input_wh = (self.input_hw[1], self.input_hw[0])
        for i in range(n):
            location = heatmaps.refine(outputs["xy"][i], outputs["score"][i], outputs["patch"][i])
            heatmap_wh = (int(outputs["heatmap_wh"][i][0]), int(outputs["heatmap_wh"][i][1]))
            in_input = heatmaps.to_input_space(location, heatmap_wh, input_wh)
            keypoints[i] = heatmaps.to_image_space(in_input, input_wh, center[i], scale[i])
        scores = outputs["score"].astype(np.float32) if n else np.zeros((0, k), np.float32)
        return PosePrediction(keypoints, scores, np.asarray(box_scores, np.float32), np.asarray(boxes, np.float32))


class SapiensDense(SapiensV1):
    """Whole image, stretched to the input size (aspect not kept), back to original pixels on the device."""

    def prepare(self, x: ModelInput) -> Prepared:
        height, width = self.input_hw
        resized = cv2.resize(x.image_HW3, (width, height), interpolation=cv2.INTER_LINEAR)
        size = x.image_HW3.shape[:2]
        tensors = {"image": resized.transpose(2, 0, 1)[None], "size_hw": np.array([size], np.int64)}
        return Prepared(tensors, (int(size[0]), int(size[1])))

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        head = self.run(tensors["image"])
        sizes = [(int(h), int(w)) for h, w in tensors["size_hw"].tolist()]
        tall, wide = max(h for h, _ in sizes), max(w for _, w in sizes)
        maps = [self.postprocess(head[i : i + 1], size) for i, size in enumerate(sizes)]
        # Images of one batch may differ in size: padded to a common one here, cut off again in finish.
        packed = maps[0].new_zeros((len(maps), *maps[0].shape[:-2], tall, wide))
        for i, (h, w) in enumerate(sizes):
            packed[i, ..., :h, :w] = maps[i]
        return {"map": packed}

    @abstractmethod
    def postprocess(self, head: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Head output of one image [1, C, h, w] -> [..., H, W]."""


class SapiensSeg(SapiensDense):
    task: Literal["seg"] = "seg"

    def postprocess(self, head: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return labels_at_original(head, self.input_hw, size_hw, self.pipeline)

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> SegPrediction:
        h, w = geometry
        return SegPrediction(outputs["map"][0, :h, :w].astype(np.uint8))


class SapiensDepth(SapiensDense):
    """Relative depth: 0 nearest, 1 farthest in training; unbounded, may be negative."""

    task: Literal["depth"] = "depth"

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self.flip_test = bool(context.options.get("flip_test", False))

    def run(self, image: Tensor) -> Tensor:
        if not self.flip_test:
            return super().run(image)
        plain, mirrored = super().run(torch.cat([image, image.flip(-1)])).chunk(2)
        return (plain + mirrored.flip(-1)) * 0.5

    def postprocess(self, head: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return to_original(head, self.input_hw, size_hw, self.pipeline)[0, 0]

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> DepthPrediction:
        h, w = geometry
        return DepthPrediction(outputs["map"][0, :h, :w].astype(np.float32), "affine_invariant_depth")


class SapiensNormal(SapiensDense):
    """Unit normals; the card's ``axis_sign`` brings the raw axes to x right, y up, z towards the viewer."""

    task: Literal["normal"] = "normal"

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        sign = tuple(context.options.get("axis_sign", (1, 1, 1)))
        if len(sign) != 3 or any(s not in (-1, 1) for s in sign):
            raise CardError(f"{context.variant.id}: axis_sign must be three of -1 and 1, not {sign}")
        self.axis_sign = np.asarray(sign, np.float32)

    def postprocess(self, head: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return unit_normals(to_original(head, self.input_hw, size_hw, self.pipeline))[0]

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> NormalPrediction:
        h, w = geometry
        normals = outputs["map"][0, :, :h, :w].transpose(1, 2, 0).astype(np.float32) * self.axis_sign
        return NormalPrediction(np.ascontiguousarray(normals))


TASK_CLASSES: dict[str, type[SapiensV1]] = {
    "pose": SapiensPose,
    "seg": SapiensSeg,
    "depth": SapiensDepth,
    "normal": SapiensNormal,
}


def build(context: ModelContext) -> SapiensV1:
    """The wrapper for the card's task."""
    return TASK_CLASSES[context.card.task](context)
