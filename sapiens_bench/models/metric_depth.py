"""ZoeDepth and Depth Pro through transformers: depth in metres, with our own pre- and post-processing.

Source: ZoeDepth (arXiv 2302.12288; isl-org/ZoeDepth zoedepth/models/depth_model.py, ``_infer_with_pad_aug`` and
``infer``: reflected borders, mean with the mirrored picture, bicubic back to the padded size). Depth Pro (arXiv
2410.02073; apple/ml-depth-pro src/depth_pro/depth_pro.py, ``infer``: canonical inverse depth times width over focal
length, the focal length from the network's own field of view where none is given).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_options import ZoeDepthOptions
from sapiens_bench.models.parts.dense_frame import normalised
from sapiens_bench.models.parts.hub_folder import open_folder
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage

BORDER = 3  # reflected pixels on each side, times the root of half the side
NEAREST, FARTHEST = 1e-4, 1e4  # metres; of Depth Pro


def as_tensor(image_HW3: NDArray[np.uint8], model: WholeImage) -> Tensor:
    """The normalised picture, float32 [1, 3, H, W]."""
    return torch.from_numpy(normalised(image_HW3, model.spec)).permute(2, 0, 1)[None]


def fitted(image: Tensor) -> Fitted:
    """A network input [1, 3, h, w] as ``WholeImage.fit`` gives it, nothing of it to be cut off."""
    return Fitted(image[0].permute(1, 2, 0).numpy(), (0, 0, int(image.shape[2]), int(image.shape[3])))


class ZoeDepth(WholeImage):
    """Metric depth of the whole picture, at the card's size and the picture's aspect.

    Pictures of different aspect give inputs of different size; the engine then runs them one by one.

    Raises:
        CheckpointRejected: another network.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self.net = open_folder(context, {"zoedepth": "ZoeDepthForDepthEstimation"})
        chosen: ZoeDepthOptions = context.options
        self.flip_test, self.multiple = chosen.flip_test, chosen.multiple

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        image = as_tensor(image_HW3, self)
        tall, wide = (border(side) for side in image_HW3.shape[:2])
        padded = reflected(image, tall, wide)
        size = nearest_size(padded.shape[2], padded.shape[3], (self.spec.height, self.spec.width), self.multiple)
        return fitted(functional.interpolate(padded, size, mode="bilinear", align_corners=True))

    def raw(self, image: Tensor) -> Tensor:
        depth = self.checked(self.net(image).predicted_depth, self.name)
        if not self.flip_test:
            return depth
        mirrored = self.checked(self.net(image.flip(-1)).predicted_depth, self.name)
        return (depth + mirrored.flip(-1)) / 2

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        tall, wide = (border(side) for side in size_hw)
        padded = (size_hw[0] + 2 * tall, size_hw[1] + 2 * wide)
        full = functional.interpolate(raw, size=padded, mode="bicubic", align_corners=False)
        return full[0, 0, tall : tall + size_hw[0], wide : wide + size_hw[1]]


class DepthPro(WholeImage):
    """Metric depth, the picture stretched to the card's square.

    Raises:
        CheckpointRejected: another network.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self.net = open_folder(context, {"depth_pro": "DepthProForDepthEstimation"})

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        image, size = as_tensor(image_HW3, self), (self.spec.height, self.spec.width)
        return fitted(functional.interpolate(image, size, mode="bilinear", align_corners=False))

    def raw(self, image: Tensor) -> Tensor:
        """Inverse depth for a focal length of one picture width, times that width over the focal length."""
        out = self.net(image)
        inverse = self.checked(out.predicted_depth, self.name)
        if out.field_of_view is None:
            return inverse
        half = torch.deg2rad(out.field_of_view.float().reshape(-1, 1, 1, 1)) / 2
        return inverse * 2 * torch.tan(half)

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return 1 / super().at_original(raw, size_hw).clamp(NEAREST, FARTHEST)


def border(side: int) -> int:
    """Reflected pixels beside a side of so many."""
    return int(math.sqrt(side / 2) * BORDER)


def reflected(image: Tensor, tall: int, wide: int) -> Tensor:
    """The picture with reflected borders; one narrower than its border is reflected more than once."""
    while tall or wide:
        step = (min(wide, image.shape[3] - 1), min(tall, image.shape[2] - 1))
        if not any(step):
            return functional.pad(image, (wide, wide, tall, tall), mode="replicate")
        image = functional.pad(image, (step[0], step[0], step[1], step[1]), mode="reflect")
        wide, tall = wide - step[0], tall - step[1]
    return image


def nearest_size(height: int, width: int, wanted_hw: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Size of the picture's aspect by the factor that changes it least, both sides multiples of ``multiple``."""
    scales = (wanted_hw[0] / height, wanted_hw[1] / width)
    scale = scales[1] if abs(1 - scales[1]) < abs(1 - scales[0]) else scales[0]
    tall, wide = (max(1, round(scale * side / multiple)) * multiple for side in (height, width))
    return tall, wide
