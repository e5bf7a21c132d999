"""MediaPipe's selfie segmentation (general, 256 x 256): the probability that a pixel belongs to a person.

The whole image is squeezed into the square, as the authors' graph does (no letterbox), and the mask is stretched back.
Its label set is ``person2``, so its score is the binary IoU of protocols of that set and stands in a block of its own.
Under matting the probability itself is the answer: the soft edge that video calls use it for.

Axes: H, W of the original image, S side of the network's square.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.graph import load_graph
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.tasks.matting.types import MattingPrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import ModelInput, Prepared


class SelfieSegmentation:
    """The wrapper. One square per image, whatever its boxes."""

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        self.is_matte = context.card.wrapper == "selfie" and context.card.task == "matting"
        # A matte has no threshold; the options of a floor hold the same one as those of the label map.
        self.threshold = 0.5 if self.is_matte else float(context.options.threshold)
        self.network = load_graph(weights_path(context), context.device, context.precision)
        self.size = self.network.input_size

    def prepare(self, x: ModelInput) -> Prepared:
        """``crops``: uint8 [1, S, S, 3]; the geometry is (H, W)."""
        square = cv2.resize(x.image_HW3, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return Prepared({"crops": square[None]}, x.image_HW3.shape[:2])

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """``mask``: float32 [B, S, S], probabilities."""
        x = tensors["crops"].permute(0, 3, 1, 2).to(self.network.dtype).div_(255)
        return {"mask": self.network(x)["mask"][:, 0].float()}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: tuple[int, int]) -> SegPrediction | MattingPrediction:
        """0 background, 1 person; or, for matting, the probability."""
        if self.is_matte:
            return MattingPrediction(self.probability(outputs, geometry))
        return SegPrediction((self.probability(outputs, geometry) >= self.threshold).view(np.uint8))

    def probability(self, outputs: dict[str, NDArray[Any]], geometry: tuple[int, int]) -> NDArray[np.float32]:
        """A soft mask of all people in one image, float32 [H, W], 0..1."""
        height, width = geometry
        mask = np.ascontiguousarray(outputs["mask"][0], np.float32)
        stretched = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(stretched, np.float32)
