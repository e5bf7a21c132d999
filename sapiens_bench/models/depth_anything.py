"""Depth Anything (1 and 2) and DPT / MiDaS depth networks through transformers, with our own pre- and post-processing.

Source: Depth Anything (arXiv 2401.10891) and MiDaS / DPT (arXiv 2103.13413). Depth Anything's own code brings the
SHORTER side to at least 518 pixels, keeps the aspect and rounds to multiples of 14; the library's processor differs for
pictures smaller than that. It resizes back bilinearly; the library does it bicubically, which overshoots below zero.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import DepthAnythingOptions
from sapiens_bench.models.parts.dense_frame import normalised
from sapiens_bench.models.parts.hub_folder import open_folder, read_config
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage

CLASSES = {"depth_anything": "DepthAnythingForDepthEstimation", "dpt": "DPTForDepthEstimation"}
RESIZES = {"depth_anything": "lower_bound", "dpt": "stretch"}  # default of each kind of network
# The deepest fusion stage has nothing to add yet: the class owns this layer, never calls it, and published DPT files
# leave it out.
UNUSED = ("neck.fusion_stage.layers.0.residual_layer1.",)


class DepthAnything(WholeImage):
    """Relative or metric depth of the whole picture.

    Pictures of different aspect give inputs of different size; the engine then runs them one by one.

    Raises:
        CheckpointRejected: another network, or a metric network where the card says relative, and the reverse.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        folder = weights_path(context)
        config = read_config(folder)
        metric = config.get("depth_estimation_type", "relative") == "metric"
        if metric != (self.depth_kind == "metric_depth"):
            found = "metric" if metric else "relative"
            raise CheckpointRejected(
                f"{folder} is a {found} network, the card of {self.name} says {self.depth_kind}. "
                "Put the right folder there, or correct depth_kind."
            )
        self.net = open_folder(context, CLASSES, UNUSED)
        chosen: DepthAnythingOptions = context.options
        self.resize = chosen.resize or RESIZES[str(config["model_type"])]
        self.upsample, self.multiple = chosen.upsample, chosen.multiple

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = self.spec.height, self.spec.width
        if self.resize == "lower_bound":
            height, width = lower_bound(image_HW3.shape[0], image_HW3.shape[1], (height, width), self.multiple)
        small = Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BICUBIC)
        return Fitted(normalised(np.asarray(small), self.spec), (0, 0, height, width))

    def raw(self, image: Tensor) -> Tensor:
        return self.checked(self.net(image).predicted_depth, self.name)

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        if self.upsample == "bicubic":
            return functional.interpolate(raw, size=size_hw, mode="bicubic", align_corners=False)[0, 0]
        return super().at_original(raw, size_hw)


def lower_bound(height: int, width: int, least_hw: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Size with the picture's aspect, neither side below ``least_hw``, both multiples of ``multiple``."""
    scale = max(least_hw[0] / height, least_hw[1] / width)

    def side(value: float, least: int) -> int:
        rounded = round(value / multiple) * multiple
        return rounded if rounded >= least else math.ceil(least / multiple) * multiple

    return side(scale * height, least_hw[0]), side(scale * width, least_hw[1])
