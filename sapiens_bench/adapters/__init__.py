"""Data sets: adapter name -> "module:class", imported on first use."""

from __future__ import annotations

ADAPTERS: dict[str, str] = {
    "coco_keypoints": "sapiens_bench.adapters.coco_keypoints:CocoKeypoints",
    "synthetic": "sapiens_bench.adapters.synthetic:SyntheticHumans",
}
