"""Networks behind the Model protocol. ``WRAPPERS`` lists every name a card may use; nothing is imported here."""

from __future__ import annotations

WRAPPERS: dict[str, str] = {  # key in a model card -> "module:callable", called with the ModelContext
    "blazepose": "sapiens_bench.models.blazepose:BlazePose",
    "floors": "sapiens_bench.models.floors:build",
    "movenet": "sapiens_bench.models.movenet:MoveNet",
    "noisy_oracle": "sapiens_bench.models.oracle:NoisyOracle",
    "oracle": "sapiens_bench.models.oracle:Oracle",
    "predictions": "sapiens_bench.models.predictions:Predictions",
    "sapiens_v1": "sapiens_bench.models.sapiens_v1:build",
    "saved_maps": "sapiens_bench.models.saved_maps:SavedMaps",
    "selfie": "sapiens_bench.models.selfie:SelfieSegmentation",
}
