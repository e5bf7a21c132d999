"""DWPose, RTMPose, RTMW: top-down SimCC networks from ONNX files, run by ONNX Runtime.

The crop is the older three-point one (no UDP), in RGB: two public demos feed BGR to the same files, which changes every
output. It runs on the CPU unless an ONNX Runtime with CUDA is installed.

Source: MMPose 1.x, ``projects/rtmpose`` configurations and ``SimCCLabel``; goldens made by MMPose 1.x
(``get_simcc_maximum``, ``flip_vectors``) and rtmlib.
"""

from __future__ import annotations

from dataclasses import replace

from sapiens_bench.models.card_options import OnnxPoseOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.onnx import OnnxPoses
from sapiens_bench.models.options import SimccOptions


class Simcc(OnnxPoses):
    """An ONNX pose network whose answer is known to be SimCC."""

    def __init__(self, context: ModelContext) -> None:
        given: SimccOptions = context.options
        super().__init__(replace(context, options=OnnxPoseOptions(output="simcc", **given.model_dump())))
