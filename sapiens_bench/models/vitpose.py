"""ViTPose and ViTPose+: top-down heatmaps from transformers' network, with the authors' own crop and decoding.

transformers' image processor crops with another interpolation and blurs with another Gaussian than the test code that
the published numbers come from (0.04 to 0.16 px on average, up to 2.5 px), so it is not used.

Source: specification of the baselines, section 2.1; goldens made by the authors' code.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.parts.hub_folder import open_folder
from sapiens_bench.models.parts.program import DTYPES
from sapiens_bench.models.vitpose_convert import (
    DATASETS,
    KEYPOINTS,
    PoseNet,
    load_official,
    merge_folder,
    on_meta,
    published,
)
from sapiens_bench.pixels.affine import box_to_center_scale, classic_matrix, udp_matrix, warp
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

PADDING = 1.25
BLUR_KERNEL = 11
OPTIONS = ("dataset_index", "flip_test", "codec", "size", "heads")
Codec = Literal["udp", "plain"]


class VitPose:
    """The wrapper. Options:

    - ``dataset_index`` (0): which data set's expert and head; 0 COCO ... 5 COCO-WholeBody.
    - ``flip_test`` (true): mean with the mirrored crop.
    - ``codec``: "udp" (default; configuration of the + models) or "plain" (configuration of the split WholeBody files:
      crop without UDP, mirrored map shifted by one pixel, quarter-pixel decoding). Which of the two gave the published
      WholeBody numbers is not stated by their authors.
    - ``size``: small, base, large or huge; needed only to profile without the weights.
    - ``heads``: attention heads of a network of no published width.
    """

    def __init__(self, context: ModelContext) -> None:
        name, options = context.variant.id, context.options
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise CardError(f"{name} has no option {unknown[0]!r}. Known: {', '.join(OPTIONS)}.")
        spec: InputSpec | None = context.variant.input or context.card.input
        if spec is None or context.space is None or not context.space.flip_index:
            raise CardError(f"{name}: a ViTPose card needs 'input' and a keypoint space with flip_index.")
        self.input_wh = (spec.width, spec.height)
        self.flip_index = np.asarray(context.space.flip_index)
        self.codec = _codec(name, options.get("codec", "udp"))
        self.flip_test = _flag(name, "flip_test", options.get("flip_test", True))
        index = dataset_index(context, len(context.space.names))
        self.dtype = DTYPES[context.precision]
        net = _network(context, index, (spec.height, spec.width)).eval()
        # Without weights the network stays on the meta device: the profiler counts there, or fills it at random.
        self.net: nn.Module = net if context.weights is None else net.to(context.device, self.dtype)
        self.is_bgr = spec.channel_order == "bgr"
        self.mean = torch.tensor(spec.mean, device=context.device).view(1, 3, 1, 1)
        self.std = torch.tensor(spec.std, device=context.device).view(1, 3, 1, 1)

    def prepare(self, x: ModelInput) -> Prepared:
        """``crop``: uint8 [N, 3, H, W]; zeros where the padded box leaves the image."""
        width, height = self.input_wh
        center, scale = box_to_center_scale(x.boxes_xyxy_px, padding=PADDING, aspect=width / height)
        crops = np.empty((len(center), 3, height, width), np.uint8)
        for i in range(len(center)):
            matrix_of = udp_matrix if self.codec == "udp" else classic_matrix
            crops[i] = warp(x.image_HW3, matrix_of(center[i], scale[i], self.input_wh), self.input_wh).transpose(
                2, 0, 1
            )
        return Prepared({"crop": crops}, (center, scale, x.boxes_xyxy_px, x.box_scores))

    def normalise(self, crop: Tensor) -> Tensor:
        """RGB in 0..255 [B, 3, H, W] -> network input."""
        image = crop.flip(1) if self.is_bgr else crop
        return ((image.float() - self.mean) / self.std).to(self.dtype)

    def maps(self, image: Tensor) -> Tensor:
        """Network input -> heatmaps float32 [B, K, H / 4, W / 4], with the flip test if it is on."""
        if not self.flip_test:
            return heatmaps_of(self.net, image)
        plain, mirrored = heatmaps_of(self.net, torch.cat([image, image.flip(-1)])).chunk(2)
        if self.codec == "plain":
            # Without UDP a mirrored map lies one pixel off: it is moved right by one once mirrored back.
            mirrored = torch.cat([mirrored[..., 1:], mirrored[..., -1:]], dim=-1)
        return heatmaps.merge_flipped(plain, mirrored, self.flip_index)

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        maps = self.maps(self.normalise(tensors["crop"]))
        size = torch.tensor([maps.shape[-1], maps.shape[-2]]).expand(len(maps), 2)
        if self.codec == "plain":
            xy, score = heatmaps.quarter_steps(maps)
            return {"xy": xy, "score": score, "heatmap_wh": size}
        found = heatmaps.peaks(maps, BLUR_KERNEL, "vitpose")
        return {"xy": found.xy_BK2, "score": found.score_BK, "patch": found.log_patch_BK33, "heatmap_wh": size}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> PosePrediction:
        center, scale, boxes, box_scores = geometry
        n, k = len(boxes), len(self.flip_index)
        keypoints = np.zeros((n, k, 2), np.float32)
        for i in range(n):
            size = outputs["heatmap_wh"][i]
            heatmap_wh = (int(size[0]), int(size[1]))
            if self.codec == "plain":
                in_input = outputs["xy"][i] / np.array(heatmap_wh) * np.array(self.input_wh)
            else:
                location = heatmaps.refine(outputs["xy"][i], outputs["score"][i], outputs["patch"][i])
                in_input = heatmaps.to_input_space(location, heatmap_wh, self.input_wh)
            keypoints[i] = heatmaps.to_image_space(in_input, self.input_wh, center[i], scale[i])
        scores = outputs["score"].astype(np.float32) if n else np.zeros((0, k), np.float32)
        return PosePrediction(keypoints, scores, np.asarray(box_scores, np.float32), np.asarray(boxes, np.float32))


def heatmaps_of(net: nn.Module, image: Tensor) -> Tensor:
    """Raw heatmaps [B, K, H / 4, W / 4], float32."""
    found: Tensor = net(image)
    return found.float()


def dataset_index(context: ModelContext, n_keypoints: int) -> int:
    """The option, checked against the card's keypoint space and the format of its weights.

    Raises:
        CardError: no such data set, or its keypoints are not those of the space, or a hub folder that lacks its head.
    """
    index, name = context.options.get("dataset_index", 0), context.variant.id
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(DATASETS):
        known = ", ".join(f"{i} {d}" for i, d in enumerate(DATASETS))
        raise CardError(f"{name}: option dataset_index is {index!r}; known: {known}.")
    if KEYPOINTS[index] != n_keypoints:
        raise CardError(
            f"{name}: dataset_index {index} ({DATASETS[index]}) has {KEYPOINTS[index]} keypoints, "
            f"the card's space has {n_keypoints}."
        )
    weights = context.variant.weights
    if index and weights is not None and weights.format == "hf":
        raise CardError(
            f"{name}: hub folders of ViTPose+ hold the head of data set 0 alone. For {DATASETS[index]} give the "
            "authors' multi-data-set file with 'format: pth'."
        )
    return index


def _network(context: ModelContext, index: int, input_hw: tuple[int, int]) -> nn.Module:
    heads = context.options.get("heads")
    if heads is not None and (isinstance(heads, bool) or not isinstance(heads, int) or heads < 1):
        raise CardError(f"{context.variant.id}: option heads is {heads!r}, expected a positive number.")
    if context.weights is None:
        size = context.options.get("size")
        if size is None:
            raise WeightsMissing(
                f"{context.variant.id}: no weights on this machine, and no option 'size' to profile by."
            )
        return PoseNet(on_meta(published(str(size), KEYPOINTS[index], input_hw)))
    if context.weights.is_dir():
        net = open_folder(context, {"vitpose": "VitPoseForPoseEstimation"})
        return merge_folder(net, context.weights, index, input_hw)
    ignore = context.variant.weights.ignore_keys if context.variant.weights else ()
    return load_official(context.weights, index, input_hw, heads, ignore, context.trusted)


def _codec(name: str, value: object) -> Codec:
    if value in ("udp", "plain"):
        return value
    raise CardError(f"{name}: option codec is {value!r}, expected 'udp' or 'plain'.")


def _flag(name: str, option: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise CardError(f"{name}: option {option} is {value!r}, expected true or false.")
