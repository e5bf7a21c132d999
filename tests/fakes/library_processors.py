"""What the libraries of models do around the network, beside which the wrappers are timed.

transformers by its own classes. MediaPipe's steps on a CPU as its OpenCV converter takes them (repository
google-ai-edge/mediapipe, calculators/tensor/image_to_tensor_converter_opencv.cc): corners of the region, perspective
warp to the network's size, conversion to floats in 0..1; and the mask brought back to the picture's size.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch

from sapiens_bench.types import ModelInput

LOOKS = {  # sides of the regions that a graph looks at
    "blazepose-full": (256, 256),
    "holistic-full": (256, 256, 224, 224, 224, 224, 192, 192),
}


def mediapipe(name: str) -> Callable[[ModelInput, Any], object]:
    """The warps of one picture, and the mask's way back."""
    mask = np.random.default_rng(0).random((256, 256), np.float32)

    def look(image: Any, side: int) -> Any:
        height, width = image.shape[:2]
        region = np.array([[0, height], [0, 0], [width, 0], [width, height]], np.float32)
        square = np.array([[0, side], [0, 0], [side, 0], [side, side]], np.float32)
        matrix = cv2.getPerspectiveTransform(region, square)
        return cv2.warpPerspective(image, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.float32) / 255

    def steps(x: ModelInput, _: Any) -> object:
        looks = [look(x.image_HW3, side) for side in LOOKS.get(name, (256,))]
        return looks, None if name in LOOKS else (cv2.resize(mask, (640, 480)) >= 0.5).astype(np.uint8)

    return steps


def library(name: str) -> Callable[[ModelInput, Any], object] | None:
    """What the library's own processor does with the picture and the network's answer."""
    if name in LOOKS or name == "selfie-segmentation":
        return mediapipe(name)
    import transformers as t

    size = (480, 640)
    if name == "segformer-b2":
        made = t.SegformerImageProcessor(size={"height": 512, "width": 512})
        answer = SimpleNamespace(logits=torch.randn(1, 18, 128, 128))
        return lambda x, _: (
            made(x.image_HW3, return_tensors="pt"), made.post_process_semantic_segmentation(answer, [size])
        )  # fmt: skip
    if name == "mask2former-swin-t":
        made = t.Mask2FormerImageProcessor(size={"height": 800, "width": 800})
        answer = SimpleNamespace(
            class_queries_logits=torch.randn(1, 100, 134), masks_queries_logits=torch.randn(1, 100, 200, 200)
        )
        return lambda x, _: (
            made(x.image_HW3, return_tensors="pt"), made.post_process_semantic_segmentation(answer, [size])
        )  # fmt: skip
    if name == "depth-anything-v2-s":
        made = t.DPTImageProcessor(size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14)
        answer = SimpleNamespace(predicted_depth=torch.randn(1, 518, 686))
        return lambda x, _: (made(x.image_HW3, return_tensors="pt"), made.post_process_depth_estimation(answer, [size]))
    if name == "sam-b":
        made = t.SamImageProcessor()
        masks = torch.randn(1, 1, 1, 256, 256)
        return lambda x, _: (
            made(x.image_HW3, return_tensors="pt"), made.post_process_masks(masks, [size], [(768, 1024)])
        )  # fmt: skip
    return None
    return None
