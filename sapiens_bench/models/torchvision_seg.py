"""FCN and DeepLabV3 of torchvision, from the state-dict files that it publishes.

Source: FCN (arXiv 1411.4038), DeepLabV3 (arXiv 1706.05587); torchvision.transforms._presets.SemanticSegmentation: the
shorter side is brought to 520 pixels with an antialiased bilinear filter, the logits come back bilinearly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_options import TorchvisionSegOptions
from sapiens_bench.models.parts.checkpoints import fill, open_state
from sapiens_bench.models.parts.dense_frame import normalised
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage


class TorchvisionSeg(WholeImage):
    """Labels of the whole picture; the card's input height is what the shorter side becomes.

    Raises:
        CheckpointRejected: not every tensor of the file has its place.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        path, chosen = weights_path(context), context.options
        assert isinstance(chosen, TorchvisionSegOptions)
        net = built(chosen, self.channels)
        fill(net, open_state(path, trusted=context.trusted).state, path, what=f"torchvision's {chosen.architecture}")
        self.net = net.to(device=context.device, dtype=self.dtype).eval()

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = shorter_side(image_HW3.shape[0], image_HW3.shape[1], self.spec.height)
        small = Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BILINEAR)
        return Fitted(normalised(np.asarray(small), self.spec), (0, 0, height, width))

    def raw(self, image: Tensor) -> Tensor:
        return self.checked(self.net(image)["out"], self.name)


def built(options: TorchvisionSegOptions, classes: int) -> nn.Module:
    """The network, its weights undefined."""
    from torchvision.models import segmentation

    make = getattr(segmentation, options.architecture)
    net: nn.Module = make(weights=None, weights_backbone=None, num_classes=classes, aux_loss=options.auxiliary)
    return net


def shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Size with the picture's aspect whose shorter side is ``side``; the longer one is rounded down, as there."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side
