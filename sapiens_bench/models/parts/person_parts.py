"""Networks that tell a person from the background in one map and the person's parts in another.

A pixel of the person gets the most likely part; the rest is background, the first class of the set.
Axes: B images, C classes with the background, h x w maps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sapiens_bench.errors import CheckpointRejected


def joined(parts: Tensor, person: Tensor, n_classes: int, source: object) -> Tensor:
    """Logits of the parts [B, C - 1, h, w] behind the logit of a person [B, 1, h, w].

    Raises:
        CheckpointRejected: the two do not fit each other or the card's set.
    """
    if parts.ndim != 4 or parts.shape[1] != n_classes - 1 or person.shape != (len(parts), 1, *parts.shape[2:]):
        raise CheckpointRejected(
            f"{source} gives {tuple(parts.shape)} and {tuple(person.shape)}; the card needs parts "
            f"[B, {n_classes - 1}, h, w] and a person map [B, 1, h, w] of the same size."
        )
    return torch.cat([person, parts], 1)


def labels(maps: Tensor) -> Tensor:
    """``joined`` maps of one image [1, C, h, w] -> uint8 labels [h, w]."""
    part = maps[0, 1:].argmax(0) + 1
    return torch.where(maps[0, 0] > 0, part, torch.zeros_like(part)).byte()
