"""Networks behind the Model protocol. ``WRAPPERS`` lists every name a card may use; nothing is imported here."""

from __future__ import annotations

from sapiens_bench.cards.code import CodeTable

WRAPPERS: dict[str, str] = {  # key in a model card -> "module:callable", called with the ModelContext
    "blazepose": "sapiens_bench.models.blazepose:BlazePose",
    "depth_anything": "sapiens_bench.models.depth_anything:DepthAnything",
    "depth_anything_3": "sapiens_bench.models.depth_anything_3:DepthAnything3",
    "depth_pro": "sapiens_bench.models.metric_depth:DepthPro",
    "exported": "sapiens_bench.models.exported:build",
    "face_mesh": "sapiens_bench.models.face_mesh:FaceMesh",
    "floors": "sapiens_bench.models.floors:build",
    "heatmap_net": "sapiens_bench.models.heatmap_net:HeatmapPose",
    "holistic": "sapiens_bench.models.holistic:Holistic",
    "live": "sapiens_bench.models.exported:build",
    "mask2former": "sapiens_bench.models.hub_seg:Mask2Former",
    "movenet": "sapiens_bench.models.movenet:MoveNet",
    "noisy_oracle": "sapiens_bench.models.oracle:NoisyOracle",
    "one_stage": "sapiens_bench.models.one_stage:OneStage",
    "onnx": "sapiens_bench.models.onnx:build",
    "oracle": "sapiens_bench.models.oracle:Oracle",
    "pifuhd": "sapiens_bench.models.pifuhd:PIFuHD",
    "predictions": "sapiens_bench.models.predictions:Predictions",
    "probe_head": "sapiens_bench.models.probe_head:ProbeHead",
    "probe_pose": "sapiens_bench.models.probe_pose:ProbePose",
    "sam": "sapiens_bench.models.sam:SamPersons",
    "sapiens2": "sapiens_bench.models.sapiens2:build",
    "sapiens_v1": "sapiens_bench.models.sapiens_v1:build",
    "saved_maps": "sapiens_bench.models.saved_maps:SavedMaps",
    "segformer": "sapiens_bench.models.hub_seg:SegFormer",
    "selfie": "sapiens_bench.models.selfie:SelfieSegmentation",
    "simcc": "sapiens_bench.models.simcc:Simcc",
    "torchvision_seg": "sapiens_bench.models.torchvision_seg:TorchvisionSeg",
    "vitpose": "sapiens_bench.models.vitpose:VitPose",
    "zoedepth": "sapiens_bench.models.metric_depth:ZoeDepth",
}
TABLE = CodeTable("wrapper", WRAPPERS, "sapiens_bench.models")
