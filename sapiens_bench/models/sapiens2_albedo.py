"""The albedo network of Sapiens2: the library's encoder under a head of our own, as transformers has none.

The head is that of normals with another norm: a 3 x 3 convolution at the encoder's grid, four times a convolution to
four times the channels and pixel shuffle, three more convolutions, each with root-mean-square norm over the channels of
a pixel (epsilon 1e-6) and SiLU; then a 1 x 1 convolution. Sizes are read off the tensors.
Source: facebookresearch/sapiens2, ``sapiens/dense/src/models/heads/albedo_head.py`` (``AlbedoHead``), names and shapes.

Axes: B images, C channels, h x w pixels of the encoder's grid, H x W of the input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.parts.checkpoints import fill, only_prefix
from sapiens_bench.models.parts.hub_folder import load, transformers_class

HEAD = "decode_head."
EPSILON = 1e-6


class ChannelNorm(nn.Module):
    """Root-mean-square norm over the channels of each pixel, [B, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


class AlbedoHead(nn.Module):
    """Features [B, C, h, w] -> albedo [B, 3, 16 h, 16 w] with four blocks; unbounded.

    Args:
        width: channels of the encoder.
        blocks: channels behind each pixel shuffle.
        convs: channels and kernel of each convolution behind them.
    """

    def __init__(self, width: int, blocks: list[int], convs: list[tuple[int, int]]) -> None:
        super().__init__()
        self.input_conv = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), ChannelNorm(width), nn.SiLU())
        self.upsample_blocks = nn.Sequential()
        for channels in blocks:
            conv = nn.Conv2d(width, 4 * channels, 3, padding=1)
            self.upsample_blocks.append(nn.Sequential(conv, nn.PixelShuffle(2), ChannelNorm(channels), nn.SiLU()))
            width = channels
        self.conv_layers = nn.Sequential()
        for channels, kernel in convs:
            conv = nn.Conv2d(width, channels, kernel, padding=kernel // 2)
            self.conv_layers.extend((conv, ChannelNorm(channels), nn.SiLU()))
            width = channels
        self.conv_albedo = nn.Conv2d(width, 3, 1)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.conv_albedo(self.conv_layers(self.upsample_blocks(self.input_conv(features))))
        return out


class AlbedoNet(nn.Module):
    """Network input [B, 3, H, W] -> albedo [B, 3, H, W], RGB, unbounded."""

    def __init__(self, encoder: nn.Module, head: AlbedoHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        config: Any = encoder.config
        self.patch, self.before = int(config.patch_size), 1 + int(config.num_register_tokens)

    def forward(self, image: Tensor) -> Tensor:
        tokens: Tensor = self.encoder(image).last_hidden_state[:, self.before :]
        rows, columns = image.shape[2] // self.patch, image.shape[3] // self.patch
        out: Tensor = self.head(tokens.transpose(1, 2).reshape(len(image), -1, rows, columns))
        return out


def build_head(state: Mapping[str, Tensor], path: Path) -> AlbedoHead:
    """The head of an official file; strictly.

    Args:
        state: names below ``decode_head.``.

    Raises:
        CheckpointRejected: tensors are missing, left over or of another shape.
    """
    first = state.get("input_conv.0.weight")
    if first is None or first.ndim != 4:
        raise CheckpointRejected(f"{path} has no Sapiens2 albedo head: {HEAD}input_conv.0.weight is missing.")
    shapes = {name: tensor.shape for name, tensor in state.items() if tensor.ndim == 4}
    blocks = [int(shapes[n][0]) // 4 for n in sorted(shapes, key=_number) if n.startswith("upsample_blocks.")]
    layers = [n for n in sorted(shapes, key=_number) if n.startswith("conv_layers.")]
    with torch.device("meta"):
        head = AlbedoHead(int(first.shape[0]), blocks, [(int(shapes[n][0]), int(shapes[n][2])) for n in layers])
    fill(head, state, path, what="Sapiens2's albedo head")
    return head


def _number(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found[0]) if found else 0


def build_albedo(state: Mapping[str, Tensor], arguments: Mapping[str, Any], path: Path) -> AlbedoNet:
    """The network of an official file, float32, on the CPU.

    Args:
        arguments: of ``Sapiens2Config``, read off the tensors.

    Raises:
        CheckpointRejected
    """
    encoder_arguments = {name: value for name, value in arguments.items() if name != "head_config"}
    config = transformers_class("Sapiens2Config")(**encoder_arguments)
    kept = only_prefix(state, "backbone.")
    encoder = load(transformers_class("Sapiens2Model"), None, path, (), {"config": config, "state_dict": kept})
    return AlbedoNet(encoder, build_head(only_prefix(state, HEAD), path))
