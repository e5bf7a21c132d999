"""Segment Anything with a box for each person, through transformers: person against background.

SAM knows no classes; it answers a prompt. The data sets of dense tasks give no box but the whole picture, and ground
truth is not given to a model, so by default the boxes come from the shipped silhouette network (``selfie.py``), one
around each connected part of its mask. One mask a box (``multimask_output`` off, as SAM's authors do it for boxes); the
union of the masks is the person class.

Source: Segment Anything (arXiv 2304.02643); facebookresearch/segment-anything ``predictor.py`` and
``utils/transforms.py``: the longer side is brought to 1024 pixels with an antialiased bilinear filter, the rest is
filled with zeros behind the normalisation, masks are enlarged to the square first, cut, and brought to the picture.

Axes: B images, P prompts, h x w network input, H x W original pixels.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sapiens_bench.errors import CardError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_options import SamOptions
from sapiens_bench.models.options import SelfieOptions
from sapiens_bench.models.parts.dense_frame import normalised, pack, resize, sizes_of
from sapiens_bench.models.parts.hub_folder import open_folder
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage
from sapiens_bench.models.selfie import SelfieSegmentation
from sapiens_bench.types import ModelInput, Prepared

MOST_PROMPTS = 16  # of one picture; the largest or the surest
LEAST_SHARE = 0.05  # of the largest part's pixels; smaller parts of a silhouette are crumbs
SILHOUETTE = "selfie_segmentation.safetensors"


class SamPersons(WholeImage):
    """Person masks; see the module.

    Raises:
        CardError: the label set is not one of two, or the card's input is not the network's square.
        CheckpointRejected: another network.
    """

    on_host = ("inside", "size_hw", "n_boxes")

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        if self.channels != 2:
            raise CardError(f"{self.name}: masks of people need a label set of two, not of {self.channels}.")
        net: Any = open_folder(context, {"sam": "SamModel"})
        side = int(net.config.vision_config.image_size)
        if (self.spec.height, self.spec.width) != (side, side):
            said = f"{self.spec.height}x{self.spec.width}"
            raise CardError(f"{self.name}: this SAM takes {side}x{side}, the card says {said}.")
        self.net, self.side = net, side
        chosen: SamOptions = context.options
        self.silhouette = _silhouette(context, chosen.threshold) if chosen.prompt == "silhouette" else None

    def prepare(self, x: ModelInput) -> Prepared:
        """See ``types.Model``; ``boxes`` are in network pixels, filled up with empty ones."""
        tensors, geometry = super().prepare(x)
        found = self._boxes(x)[:MOST_PROMPTS]
        boxes = np.zeros((1, MOST_PROMPTS, 4), np.float32)
        height, width = x.image_HW3.shape[:2]
        tall, wide = longest_side(height, width, self.side)
        boxes[0, : len(found)] = found * np.array([wide / width, tall / height] * 2, np.float32)
        return Prepared({**tensors, "boxes": boxes, "n_boxes": np.array([len(found)], np.int64)}, geometry)

    def _boxes(self, x: ModelInput) -> NDArray[np.float32]:
        if self.silhouette is None:
            return x.boxes_xyxy_px[np.argsort(-x.box_scores, kind="stable")]
        prepared = self.silhouette.prepare(x)
        with torch.inference_mode():
            out = self.silhouette.forward({name: torch.from_numpy(a) for name, a in prepared.tensors.items()})
        mask = self.silhouette.probability({"mask": out["mask"].numpy()}, prepared.geometry)
        return boxes_of_parts(mask >= self.silhouette.threshold)

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = longest_side(image_HW3.shape[0], image_HW3.shape[1], self.side)
        small = Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BILINEAR)
        canvas = np.zeros((self.side, self.side, 3), np.float32)
        canvas[:height, :width] = normalised(np.asarray(small), self.spec)
        return Fitted(canvas, (0, 0, height, width))

    def raw(self, image: Tensor) -> Tensor:
        """Logits of the mask for a box around the whole input [B, 1, h / 4, w / 4]."""
        whole = torch.tensor([[[0.0, 0.0, self.side, self.side]]], device=image.device)
        return self.logits(image, whole.expand(len(image), 1, 4))

    def logits(self, image: Tensor, boxes_BP4: Tensor) -> Tensor:
        """One mask a box, [B, P, h / 4, w / 4], float32; above 0 is inside."""
        out = self.net(pixel_values=image, input_boxes=boxes_BP4, multimask_output=False)
        found: Tensor = out.pred_masks[:, :, 0].float()
        return found

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``types.Model``."""
        counts: list[int] = tensors["n_boxes"].tolist()
        image = tensors["image"].to(self.dtype)
        masks = self.logits(image, tensors["boxes"][:, : max(1, *counts)])  # float32: bf16 would round to 4 px
        sizes = sizes_of(tensors["size_hw"])
        frames: list[list[int]] = tensors["inside"].tolist()
        each = zip(counts, frames, sizes, strict=True)
        maps = [self.union(masks[i, :n], frame, size) for i, (n, frame, size) in enumerate(each)]
        return {"map": pack(maps, sizes)}

    def union(self, masks_Phw: Tensor, inside: list[int], size_hw: tuple[int, int]) -> Tensor:
        """uint8 [H, W] of one picture: 1 inside any mask, 255 where a logit is not finite."""
        person = torch.zeros(size_hw, dtype=torch.uint8, device=masks_Phw.device)
        for mask in masks_Phw:  # one by one: a group in a 4K picture would take gigabytes
            square = resize(mask[None, None], (self.side, self.side))
            logit = resize(square[..., : inside[2], : inside[3]], size_hw)[0, 0]
            person = torch.where(logit > 0, torch.ones_like(person), person)
            person = person.masked_fill(~torch.isfinite(logit), 255)
        return person


def longest_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Size with the picture's aspect whose longer side is ``side``, the other one rounded to the nearest."""
    scale = side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def boxes_of_parts(mask_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Outer edges of the mask's connected parts, largest first, xyxy px [P, 4], pixel centres at integers."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW.astype(np.uint8), connectivity=8)
    parts = stats[1:][np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")]
    if not len(parts):
        return np.zeros((0, 4), np.float32)
    parts = parts[parts[:, cv2.CC_STAT_AREA] >= LEAST_SHARE * parts[0, cv2.CC_STAT_AREA]].astype(np.float32)
    left, top, width, height = parts[:, :4].T
    return np.stack([left, top, left + width, top + height], axis=1) - np.float32(0.5)


def _silhouette(context: ModelContext, threshold: float) -> SelfieSegmentation:
    """The shipped network on the CPU, where pictures are prepared."""
    path = Path(str(resources.files("sapiens_bench.embedded") / SILHOUETTE))
    options = SelfieOptions(threshold=threshold)
    return SelfieSegmentation(replace(context, weights=path, device="cpu", precision="fp32", options=options))
