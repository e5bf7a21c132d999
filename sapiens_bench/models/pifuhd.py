"""PIFuHD's image-to-normal network netF (front side), for normals of the whole picture.

Source: PIFuHD (arXiv 2004.00452), image-to-image generator as in pix2pixHD: reflection padding, instance norm without
affine part. The raw three channels lie in (-1, 1), not on the unit sphere; the card's ``axis_sign`` gives their axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.checkpoints import fill, only_prefix, open_state
from sapiens_bench.models.parts.dense_frame import cv2_stretch, normalised, padded_frame
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage

PREFIX = "netG.netF."


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Sizes; the defaults are the published ones."""

    width: int = 64
    downsamplings: int = 4
    blocks: int = 9


class _Block(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class Generator(nn.Module):
    """RGB in [-1, 1] [B, 3, h, w] -> three channels in (-1, 1), same size; sides are multiples of 2^downsamplings."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.width
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU(),
        ]  # fmt: skip
        for _ in range(config.downsamplings):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * width), nn.ReLU()]
            width *= 2
        layers += [_Block(width) for _ in range(config.blocks)]
        for _ in range(config.downsamplings):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(width // 2), nn.ReLU()]
            width //= 2
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.model(image)
        return out


def build_generator(path: Path | None, trusted: bool = False) -> Generator:
    """The front-side generator of a PIFuHD file (other networks in it are left alone); None: sizes only, on "meta".

    Raises:
        CheckpointRejected, UntrustedCheckpoint
    """
    if path is None:
        with torch.device("meta"):
            return Generator(GeneratorConfig()).eval()
    state = only_prefix(open_state(path, trusted=trusted).state, PREFIX)
    config = described(state, path)
    with torch.device("meta"):
        net = Generator(config)
    fill(net, state, path, what="PIFuHD's front-normal network")
    return net.eval()


def described(state: Mapping[str, Tensor], path: Path) -> GeneratorConfig:
    """Sizes of a generator by its tensors. Raises CheckpointRejected when it is none."""
    first = state.get("model.1.weight")
    if first is None or first.ndim != 4:
        raise CheckpointRejected(f"{path} is no PIFuHD file: {PREFIX}model.1.weight is missing.")
    blocks = sum(name.endswith("conv_block.1.weight") for name in state)
    convs = sum(name.endswith(".weight") and "conv_block" not in name for name in state)
    return GeneratorConfig(int(first.shape[0]), max(0, (convs - 2) // 2), blocks)


class PIFuHD(WholeImage):
    """Normals of the whole picture, padded with mid grey to the card's square."""

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        counted = context.weights is None and context.device == "meta"  # the sizes are known without the file
        self.net: nn.Module = build_generator(None if counted else weights_path(context), context.trusted)
        if not counted:
            self.net = self.net.to(device=context.device, dtype=self.dtype)

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        size = (self.spec.height, self.spec.width)
        inside = padded_frame(image_HW3.shape[0], image_HW3.shape[1], size)
        top, left, bottom, right = inside
        canvas = np.zeros((*size, 3), np.float32)  # 0 is mid grey
        canvas[top:bottom, left:right] = normalised(cv2_stretch(image_HW3, (bottom - top, right - left)), self.spec)
        return Fitted(canvas, inside)

    def raw(self, image: Tensor) -> Tensor:
        return self.checked(self.net(image), self.name)
