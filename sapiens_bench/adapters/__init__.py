"""Data sets: adapter name -> "module:class", imported on first use."""

from __future__ import annotations

from sapiens_bench.cards.code import CodeTable

ADAPTERS: dict[str, str] = {
    "2k2k": "sapiens_bench.adapters.scans.twok2k:TwoK2K",
    "albedo_folder": "sapiens_bench.adapters.maps.albedo:AlbedoFolder",
    "coco_keypoints": "sapiens_bench.adapters.coco.keypoints:CocoKeypoints",
    "customhumans": "sapiens_bench.adapters.scans.customhumans:CustomHumans",
    "dense_folder": "sapiens_bench.adapters.dense.folder:DenseFolder",
    "hi4d": "sapiens_bench.adapters.scans.hi4d:Hi4D",
    "label_maps": "sapiens_bench.adapters.dense.label_maps:LabelMaps",
    "matting_folder": "sapiens_bench.adapters.maps.matting:MattingFolder",
    "mhr_meshes": "sapiens_bench.adapters.scans.mhr:MhrMeshes",
    "renderpeople": "sapiens_bench.adapters.scans.renderpeople:RenderPeople",
    "synthetic": "sapiens_bench.adapters.synthetic.humans:SyntheticHumans",
    "synthhuman": "sapiens_bench.adapters.dense.synthhuman:SynthHuman",
    "thuman2": "sapiens_bench.adapters.scans.thuman2:THuman2",
}
TABLE = CodeTable("adapter", ADAPTERS, "sapiens_bench.adapters")
