"""Soft bright discs on dark ground, drawn when asked for: nothing to download."""

from __future__ import annotations

import hashlib

import numpy as np

from saliency_bench.task import Saliency
from sapiens_bench.adapters.context import DataContext
from sapiens_bench.cards.options import Options
from sapiens_bench.types import ModelInput, Sample


class DiscOptions(Options):
    """Of the discs."""

    n: int = 6
    """How many pictures."""
    side: int = 48
    """Height and width in pixels."""


class Discs:
    """``n`` pictures; each is its own group."""

    Options = DiscOptions

    def __init__(self, context: DataContext) -> None:
        context.refuse_split()
        context.needs_task("saliency")
        self.options: DiscOptions = context.options
        self.keys = [f"{context.card.id}/{i:03d}" for i in range(self.options.n)]
        self.groups = self.keys
        self.manifest_sha256 = hashlib.sha256(repr((self.keys, self.options.side)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        side = self.options.side
        v, u = np.mgrid[:side, :side] - (side - 1) / 2
        alpha = np.clip((side / 3 + index - np.hypot(u, v)) / 4 + 0.5, 0, 1).astype(np.float32)
        image = np.repeat(np.rint(20 + 200 * alpha)[..., None], 3, axis=2).astype(np.uint8)
        box = np.array([[0, 0, side, side]], np.float32)
        given = ModelInput(self.keys[index], image, box, np.ones(1, np.float32))
        return Sample(index, self.keys[index], self.groups[index], given, Saliency(alpha))
