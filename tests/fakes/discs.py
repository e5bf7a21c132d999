"""Pictures of balls with exact labels, depth and normals: a data set that is made in a moment, under three tasks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sapiens_bench.cards.options import Options as StrictOptions
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.seg.types import SegTarget
from sapiens_bench.types import ModelInput, Sample

HEIGHT, WIDTH = 64, 48


class Discs:
    """Split ``train`` (24 pictures), ``test`` (12), or ``copied`` (4 of train under other names)."""

    class Options(StrictOptions):
        split: str = "test"

    sizes: ClassVar[dict[str, int]] = {"train": 24, "test": 12, "copied": 4, "empty": 0}

    def __init__(self, context: Any) -> None:
        self.task = context.protocol.task
        self.split = context.split or context.options.split
        self.keys = [f"{self.split}/{i:03d}" for i in range(self.sizes[self.split])]
        self.groups = self.keys
        self.manifest_sha256 = f"discs {self.split}"

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        source = "train" if self.split == "copied" else self.split
        rng = np.random.default_rng(index + 1000 * (source == "train"))
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
        radius = rng.uniform(12, 20)
        dx = (x - rng.uniform(18, 30)) / radius
        dy = (y - rng.uniform(26, 38)) / radius
        mask = dx**2 + dy**2 < 0.95
        dz = np.sqrt(np.maximum(1 - dx**2 - dy**2, 0.05))
        normals = np.stack([dx, -dy, dz], -1)
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        light = np.clip(normals @ np.array([0.4, 0.5, 0.77]), 0, 1)
        colour = np.where(mask[..., None], light[..., None] * [230, 180, 150], [40, 60, 90])
        image = np.clip(colour + rng.normal(0, 3, colour.shape), 0, 255).astype(np.uint8)
        if self.task == "seg":
            target: Any = SegTarget(np.where(mask, 1, 0).astype(np.uint8))
        elif self.task == "depth":
            target = DepthTarget(np.where(mask, 3 - 0.5 * dz, 0).astype(np.float32), mask)
        else:
            target = NormalTarget(normals.astype(np.float32), mask)
        box = np.array([[-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5]], np.float32)
        picture = ModelInput(self.keys[index], image, box, np.ones(1, np.float32))
        return Sample(index, self.keys[index], self.groups[index], picture, target)


CARD = """
schema: dataset/1
id: discs
title: Balls
licence: {name: CC0-1.0}
get: Made by the test.
adapter: ./discs.py:Discs
embedded: true
protocols:
  seg: {task: seg, title: Ball or not, space: person2, default: true}
  depth: {task: depth, title: Scale and shift, scoring: {alignment: scale_shift, edges: false}, default: true}
  normal: {task: normal, title: Ball, default: true}
"""
