"""Data sets: adapter name -> "module:class", imported on first use."""

from __future__ import annotations

ADAPTERS: dict[str, str] = {
    "coco_keypoints": "sapiens_bench.adapters.coco_keypoints:CocoKeypoints",
    "dense_folder": "sapiens_bench.adapters.dense_folder:DenseFolder",
    "hi4d": "sapiens_bench.adapters.hi4d:Hi4D",
    "label_maps": "sapiens_bench.adapters.label_maps:LabelMaps",
    "synthetic": "sapiens_bench.adapters.synthetic:SyntheticHumans",
    "synthhuman": "sapiens_bench.adapters.synthhuman:SynthHuman",
    "thuman2": "sapiens_bench.adapters.thuman2:THuman2",
}
