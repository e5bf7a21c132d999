"""Sapiens v1 networks: plain pre-norm ViT encoder and the four heads, with the parameter names of the official files.

Architecture facts: facebookresearch/sapiens (``pretrain/mmpretrain``, ``pose/mmpose/models``, ``seg/mmseg/models``);
Khirodkar et al., Sapiens, ECCV 2024, Table 2. Attention runs through ``scaled_dot_product_attention``, which needs no
N x N matrix in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

HeadKind = Literal["pose", "seg", "depth", "normal"]
PATCH = 16


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of one encoder.

    ``grid_hw`` is the nominal patch grid of the stored position table. ``patch_padding``: 2 samples every patch two
    pixels up and left with zeros outside (pose, normal, LIP, CIHP); 0 pads right and bottom up to a multiple of 16
    (pre-training, 28-class and face segmentation, depth). A model run with the wrong one loads without complaint.
    """

    width: int
    depth: int
    heads: int
    mlp_width: int
    grid_hw: tuple[int, int]
    patch_padding: int = 0
    class_token: bool = False


@dataclass(frozen=True, slots=True)
class HeadConfig:
    kind: HeadKind
    deconv_widths: tuple[int, ...]
    conv_widths: tuple[int, ...]
    outputs: int  # keypoints, classes, 1 or 3


# Published sizes: width, depth, heads (the MLP is four times the width).
SIZES: dict[str, tuple[int, int, int]] = {
    "0.3b": (1024, 24, 16),
    "0.6b": (1280, 32, 16),
    "1b": (1536, 40, 24),
    "2b": (1920, 48, 32),
}
HEADS: dict[HeadKind, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "pose": ((768, 768), (768, 768)),
    "seg": ((768, 768, 768), (768, 768, 768)),
    "depth": ((384, 384, 384, 384), (384, 384)),
    "normal": ((768, 768, 768), (768, 768, 768)),
}


def encoder_config(
    size: str, *, grid_hw: tuple[int, int] = (64, 48), patch_padding: int = 0, class_token: bool = False
) -> EncoderConfig:
    """The published configuration of a size name ("0.3b", "0.6b", "1b", "2b")."""
    width, depth, heads = SIZES[size]
    return EncoderConfig(width, depth, heads, 4 * width, grid_hw, patch_padding, class_token)


def head_config(kind: HeadKind, outputs: int) -> HeadConfig:
    """The published head of a task; the same for every size."""
    return HeadConfig(kind, *HEADS[kind], outputs)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(b, n, d))
        return out


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(width, hidden), nn.GELU()), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Block(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(config.width, eps=1e-6)
        self.attn = Attention(config.width, config.heads)
        self.ln2 = nn.LayerNorm(config.width, eps=1e-6)
        self.ffn = FeedForward(config.width, config.mlp_width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        out: Tensor = x + self.ffn(self.ln2(x))
        return out


class PatchEmbed(nn.Module):
    def __init__(self, width: int, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.projection = nn.Conv2d(3, width, PATCH, stride=PATCH, padding=padding)

    def forward(self, image: Tensor) -> Tensor:
        if self.padding == 0:
            height, width = image.shape[-2:]
            image = functional.pad(image, (0, -width % PATCH, 0, -height % PATCH))
        out: Tensor = self.projection(image)
        return out


class Encoder(nn.Module):
    """Image [B, 3, H, W] (normalised) -> feature map [B, D, H/16, W/16] of the last layer after the final norm."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config.width, config.patch_padding)
        tokens = config.grid_hw[0] * config.grid_hw[1] + config.class_token
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, config.width))
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.ln1 = nn.LayerNorm(config.width, eps=1e-6)

    def patch_tokens(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patch embedding alone: tokens [B, N, D] in row-major order, and the grid (rows, columns)."""
        x = self.patch_embed(image)
        return x.flatten(2).transpose(1, 2), (int(x.shape[2]), int(x.shape[3]))

    def tokens(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """All tokens after the final norm (the class token first, where there is one), and the grid."""
        x, grid = self.patch_tokens(image)
        table: Tensor = self.pos_embed
        if grid != self.config.grid_hw:
            table = resize_position_table(table, self.config.grid_hw, grid, self.config.class_token)
        if self.config.class_token:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = x + table
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.ln1(x)
        return out, grid

    def forward(self, image: Tensor) -> Tensor:
        x, (rows, columns) = self.tokens(image)
        if self.config.class_token:
            x = x[:, 1:]
        return x.transpose(1, 2).reshape(x.shape[0], -1, rows, columns)


def resize_position_table(table: Tensor, source: tuple[int, int], target: tuple[int, int], class_token: bool) -> Tensor:
    """Bicubic resize (half-pixel centres, no antialias) of a position table [1, N, D]; a class-token row is kept."""
    kept, grid = (table[:, :1], table[:, 1:]) if class_token else (table[:, :0], table)
    grid = grid.reshape(1, *source, -1).permute(0, 3, 1, 2).float()
    grid = functional.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    return torch.cat([kept, grid.flatten(2).transpose(1, 2).to(table.dtype)], 1)


def adapt_position_table(table: Tensor, target: tuple[int, int]) -> Tensor:
    """A pre-training table [1, M, D] for an encoder without class token and grid ``target``.

    The first row is dropped when there is one too many or an odd count; other lengths are read as a square grid and
    resized.
    """
    wanted = target[0] * target[1]
    if table.shape[1] == wanted + 1 or table.shape[1] % 2 == 1:
        table = table[:, 1:]
    if table.shape[1] == wanted:
        return table
    side = int(table.shape[1] ** 0.5)
    if side * side != table.shape[1]:
        raise ValueError(f"a position table of {table.shape[1]} rows is neither {wanted} long nor a square grid")
    return resize_position_table(table, (side, side), target, class_token=False)


def _stages(widths: tuple[int, ...], incoming: int, transposed: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        if transposed:
            layers.append(nn.ConvTranspose2d(incoming, width, 4, stride=2, padding=1, bias=False))
        else:
            layers.append(nn.Conv2d(incoming, width, 1))
        # No parameters and no running statistics: each image is normalised by its own, in evaluation too.
        layers += [nn.InstanceNorm2d(width), nn.SiLU(inplace=True)]
        incoming = width
    return nn.Sequential(*layers)


class Head(nn.Module):
    """Deconvolutions, 1x1 convolutions, and a last 1x1 convolution without activation."""

    def __init__(self, config: HeadConfig, incoming: int) -> None:
        super().__init__()
        self.config = config
        self.deconv_layers = _stages(config.deconv_widths, incoming, transposed=True)
        widths = (incoming, *config.deconv_widths)
        self.conv_layers = _stages(config.conv_widths, widths[-1], transposed=False)
        last = nn.Conv2d((*widths, *config.conv_widths)[-1], config.outputs, 1)
        self.last_name = "final_layer" if config.kind == "pose" else "conv_seg"
        self.add_module(self.last_name, last)

    def forward(self, features: Tensor) -> Tensor:
        x = self.conv_layers(self.deconv_layers(features))
        out: Tensor = getattr(self, self.last_name)(x)
        return out


class SapiensNet(nn.Module):
    """Encoder and head: image [B, 3, H, W] -> raw head output.

    1024 x 768 input gives heatmaps [K, 256, 192], segmentation and normals [C, 512, 384], depth [1, 1024, 768].
    """

    def __init__(self, encoder: EncoderConfig, head: HeadConfig) -> None:
        super().__init__()
        self.backbone = Encoder(encoder)
        self.head_name = "head" if head.kind == "pose" else "decode_head"
        self.add_module(self.head_name, Head(head, encoder.width))

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = getattr(self, self.head_name)(self.backbone(image))
        return out


def on_meta(encoder: EncoderConfig, head: HeadConfig | None) -> Encoder | SapiensNet:
    """The network without memory behind its weights, for counting and for loading by assignment."""
    with torch.device("meta"):
        return Encoder(encoder) if head is None else SapiensNet(encoder, head)
