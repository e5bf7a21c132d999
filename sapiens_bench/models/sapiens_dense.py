"""Dense output to original pixels, as the official pipelines do it: two bilinear steps (full) or one (lite)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Pipeline = Literal["full", "lite"]


def resize(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear resize of [B, C, h, w] with half-pixel centres, no antialias, float32."""
    return functional.interpolate(maps.float(), size=size_hw, mode="bilinear", align_corners=False)


def to_original(head_output: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int], pipeline: Pipeline) -> Tensor:
    """Head output [B, C, h, w] at the original size: over the input size first in the full pipeline."""
    if pipeline == "full":
        head_output = resize(head_output, input_hw)
    return resize(head_output, size_hw)


def labels_at_original(
    head_output: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int], pipeline: Pipeline
) -> Tensor:
    """Arg max over classes at the original size, uint8 [H, W], for one image [1, C, h, w].

    Class by class, so that a 4K picture needs memory for two maps and not for 28; the first of equal classes wins, as
    with argmax. NaN in any class gives 255, so that it can be told from class 0.
    """
    best = to_original(head_output[:, :1], input_hw, size_hw, pipeline)[0, 0]
    labels = torch.zeros_like(best, dtype=torch.uint8)
    spoilt = ~torch.isfinite(best)
    for c in range(1, head_output.shape[1]):
        score = to_original(head_output[:, c : c + 1], input_hw, size_hw, pipeline)[0, 0]
        better = score > best
        labels = labels.masked_fill(better, c)
        best = torch.where(better, score, best)
        spoilt = spoilt | ~torch.isfinite(score)
    return labels.masked_fill(spoilt, 255)


def unit_normals(maps: Tensor) -> Tensor:
    """n / (|n| + 1e-5) over the channel axis of [B, 3, H, W]: after the resize, as in the official demo."""
    length: Tensor = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    return maps / (length + 1e-5)
