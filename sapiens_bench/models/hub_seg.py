"""Segmentation networks of transformers: SegFormer, and Mask2Former composed at full size.

Source: SegFormer (arXiv 2105.15203), Mask2Former (arXiv 2112.01527). The library's own composition for Mask2Former
resizes every mask to a fixed 384 x 384 square first, which blurs and distorts thin parts; here each mask goes to the
picture's size in one step. Axes: Q queries, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.dense_frame import normalised, pack, resize, sizes_of
from sapiens_bench.models.parts.hub_folder import open_folder
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage

TILE, TILE_ON_GPU = 1 << 20, 1 << 28  # bytes of the scores, or masks, of the rows that are composed at once


class _Stretched(WholeImage):
    """Stretched to the card's size with the library's own filter (bilinear, antialiased)."""

    model_type: str
    class_name: str

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        net: Any = open_folder(context, {self.model_type: self.class_name})
        if (found := int(net.config.num_labels)) != self.channels:
            raise CheckpointRejected(
                f"{weights_path(context)} has {found} classes, the label set of {self.name} has {self.channels}. "
                "Another set, or another folder: look at the card's 'space'."
            )
        self.net = net

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = self.spec.height, self.spec.width
        small = Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BILINEAR)
        return Fitted(normalised(np.asarray(small), self.spec), (0, 0, height, width))


class SegFormer(_Stretched):
    """Logits at a quarter of the input, enlarged bilinearly, then the best class."""

    model_type, class_name = "segformer", "SegformerForSemanticSegmentation"

    def raw(self, image: Tensor) -> Tensor:
        return self.checked(self.net(image).logits, self.name)


class Mask2Former(_Stretched):
    """Class of a pixel: arg max over c of the sum over queries of softmax(class)[c] * sigmoid(mask)."""

    model_type, class_name = "mask2former", "Mask2FormerForUniversalSegmentation"

    def raw(self, image: Tensor) -> Tensor:
        """Class scores at mask resolution [B, C, h, w]; ``forward`` composes at the picture's size instead."""
        classes, masks = self.queries(image)
        return torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid())

    def queries(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities [B, Q, C] without "no object", and mask logits [B, Q, h, w], float32.

        Raises:
            CheckpointRejected: another number of classes than the card's label set.
        """
        out = self.net(image)
        classes = out.class_queries_logits.float().softmax(-1)[..., :-1]
        self.checked(classes.transpose(1, 2)[..., None], self.name)
        return classes, out.masks_queries_logits.float()

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        classes, masks = self.queries(tensors["image"].to(self.dtype))
        sizes = sizes_of(tensors["size_hw"])
        maps = [compose(classes[i], masks[i], size) for i, size in enumerate(sizes)]
        return {"map": pack(maps, sizes)}


def compose(classes_QC: Tensor, masks_Qhw: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Labels uint8 [H, W] of one picture; 255 where a score is not finite.

    A few rows at a time, with all queries, so that what a pixel needs is still in the cache when its class is chosen,
    and no score of the whole picture is kept.
    """
    height, width = size_hw
    least = TILE_ON_GPU if masks_Qhw.is_cuda else TILE
    rows = max(1, least // (4 * width * max(classes_QC.shape)))
    labels = torch.empty(size_hw, dtype=torch.uint8, device=masks_Qhw.device)
    for start in range(0, height, rows):
        part = slice(start, min(start + rows, height))
        at_size = resized_rows(masks_Qhw, size_hw, part).sigmoid_()
        best, label = (classes_QC.T @ at_size.flatten(1)).max(0)  # NaN, all that means of 0..1 can turn into, wins
        labels[part] = label.to(torch.uint8).masked_fill_(best.isnan(), 255).view(-1, width)
    return labels


def resized_rows(maps_Qhw: Tensor, size_hw: tuple[int, int], part: slice) -> Tensor:
    """Some rows of maps resized to a size, float32 [Q, rows, W]: ``dense_frame.resize``, cut out."""
    h, height = maps_Qhw.shape[1], size_hw[0]
    at = ((torch.arange(part.start, part.stop) + 0.5) * (h / height) - 0.5).clamp_(min=0)
    above = at.long().clamp_(max=h - 1)
    below = (above + 1).clamp_(max=h - 1)
    share = (at - above)[:, None].to(maps_Qhw.device)
    first, last = int(above[0]), int(below[-1])
    wide = resize(maps_Qhw[None, :, first : last + 1], (last + 1 - first, size_hw[1]))[0]
    top, bottom = (wide[:, (rows - first).to(maps_Qhw.device)] for rows in (above, below))
    return torch.lerp(top, bottom, share)
