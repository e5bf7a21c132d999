"""Pictures of people who are nothing but coloured marks, one at each of the 17 COCO points: pose made in a moment."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from sapiens_bench.cards.options import Options as StrictOptions
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.types import ModelInput, Sample

HEIGHT, WIDTH, K = 96, 96, 17
COLUMNS = np.array([0, 1, -1, 2, -2, 2, -2, 2, -2, 2, -2, 1, -1, 1, -1, 1, -1]) / 5
ROWS = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5]) / 5
COLOURS = np.array([((n * 67) % 200 + 55, (n * 131) % 200 + 55, (n * 29) % 200 + 55) for n in range(K)])


class Marks:
    """Split ``train`` (12 pictures) or ``test`` (6); two people a picture, the last of whom nobody labelled."""

    class Options(StrictOptions):
        split: str = "test"

    sizes: ClassVar[dict[str, int]] = {"train": 12, "test": 6, "nobody": 2}

    def __init__(self, context: Any) -> None:
        self.split = context.split or context.options.split
        self.keys = [f"{self.split}/{i:03d}" for i in range(self.sizes[self.split])]
        self.groups = self.keys
        self.manifest_sha256 = f"marks {self.split}"

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index + 1000 * (self.split == "train"))
        image = rng.integers(0, 40, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        tall = rng.uniform(48, 64)
        middle, top = rng.uniform(34, 62), rng.uniform(10, 22)
        points = np.stack([middle + COLUMNS * tall * 0.5, top + ROWS * tall], 1) + rng.uniform(-2, 2, (K, 2))
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        for point, colour in zip(points, COLOURS, strict=True):
            image[(x - point[0]) ** 2 + (y - point[1]) ** 2 < 7] = colour
        visible = np.full((2, K), 2.0)
        visible[0, 3], visible[1 - (self.split == "nobody") :] = 0, 0
        low, high = points.min(0) - 3, points.max(0) + 3
        boxes = np.array([[*low, *high], [1, 1, 9, 20]], np.float64)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        people = np.stack([points, np.zeros((K, 2))])
        target = PoseTarget(people, visible, area, np.zeros(2, np.bool_), boxes, np.array([1, 2]) + 10 * index)
        picture = ModelInput(self.keys[index], image, boxes[:1].astype(np.float32), np.ones(1, np.float32))
        return Sample(index, self.keys[index], self.groups[index], picture, target)


CARD = """
schema: dataset/1
id: marks
title: Marks
licence: {name: CC0-1.0}
get: Made by the test.
adapter: ./marks.py:Marks
embedded: true
protocols:
  gt-box:
    task: pose
    title: Their own boxes
    space: coco17
    scoring: {score: box_x_keypoints, score_threshold: 0.2, nms_oks: 0.9, max_detections: 20}
    default: true
"""
