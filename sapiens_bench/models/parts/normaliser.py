"""8-bit pictures to network numbers on the model's device, so that a quarter of the bytes travel there."""

from __future__ import annotations

import torch
from torch import Tensor

from sapiens_bench.cards.schema import InputSpec


class Normaliser:
    """(x - mean) / std, channels in the network's order.

    Args:
        spec: mean, deviation and channel order.
        dtype: of the result; computed in float32.
    """

    def __init__(self, spec: InputSpec, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.is_bgr, self.dtype = spec.channel_order == "bgr", dtype
        self.mean = torch.tensor(spec.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(spec.std, device=device).view(1, 3, 1, 1)

    def __call__(self, image: Tensor) -> Tensor:
        """RGB in 0..255 [B, 3, H, W], any dtype -> network input of the same shape."""
        ordered = image.flip(1) if self.is_bgr else image
        return ((ordered.float() - self.mean) / self.std).to(self.dtype)
