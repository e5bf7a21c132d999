"""Pose networks that are given one crop per person: box -> crop -> network -> image pixels, written once.

A family says how a crop is cut (``Framing``), what its network computes (``network``) and what kind of answer that is
(``decoders``). Axes: N or B people, K keypoints, H x W crop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.decoders import Answers, Decoder
from sapiens_bench.models.parts.heatmaps import to_image_space
from sapiens_bench.models.parts.normaliser import Normaliser
from sapiens_bench.models.parts.precision import DTYPES
from sapiens_bench.pixels.affine import box_to_center_scale, classic_matrix, udp_matrix, warp
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import ModelInput, Prepared

PADDING = 1.25  # side of the crop over that of the box, of every published family here
Image = NDArray[np.uint8]
# (image, centre [2], sides [2], width and height of the crop) -> crop [H, W, 3]
Cut = Callable[[Image, NDArray[np.float32], NDArray[np.float32], tuple[int, int]], Image]


def udp_crop(image_HW3: Image, center: NDArray[Any], scale: NDArray[Any], size_wh: tuple[int, int]) -> Image:
    """Bilinear, black outside; the padded box's corners fall on the centres of the outermost pixels."""
    return warp(image_HW3, udp_matrix(center, scale, size_wh), size_wh)


def plain_crop(image_HW3: Image, center: NDArray[Any], scale: NDArray[Any], size_wh: tuple[int, int]) -> Image:
    """Bilinear, black outside; the older three-point crop."""
    return warp(image_HW3, classic_matrix(center, scale, size_wh), size_wh)


class Framing(NamedTuple):
    """How the crop of a person is cut."""

    cut: Cut = udp_crop
    padding: float = PADDING
    of_image: bool = False  # boxes are brought to the aspect of the whole image, not of the network input


class Crops(NamedTuple):
    """Where the crops of one image lie."""

    center_N2: NDArray[np.float32]  # image pixels
    scale_N2: NDArray[np.float32]  # padded, aspect-fixed sides in image pixels
    boxes_xyxy_px: NDArray[np.float32]  # [N, 4], as given
    box_scores: NDArray[np.float32]  # [N]


class TopDown(ABC):
    """A network with one crop per person behind the Model protocol.

    Args:
        spec: size and normalisation of the network input.

    Raises:
        CardError: the card's keypoint space does not say which points are mirror images of each other.
    """

    def __init__(
        self, context: ModelContext, spec: InputSpec, framing: Framing, decoder: Decoder, flip_test: bool
    ) -> None:
        if context.space is None or not context.space.flip_index:
            raise CardError(f"{context.variant.id}: a pose card needs a keypoint space with flip_index.")
        self.name, self.n_keypoints = context.variant.id, len(context.space.names)
        self.input_hw, self.input_wh = (spec.height, spec.width), (spec.width, spec.height)
        self.framing, self.decoder, self.flip_test = framing, decoder, flip_test
        self.flip_index = np.asarray(context.space.flip_index)
        self.normalise = Normaliser(spec, context.device, DTYPES[context.precision])

    @abstractmethod
    def network(self, image: Tensor) -> Answers:
        """Network input [B, 3, H, W] -> its answer, float32."""

    def prepare(self, x: ModelInput) -> Prepared:
        """``crop``: uint8 RGB [N, 3, H, W]; zeros where the padded box leaves the image."""
        width, height = self.input_wh
        image_height, image_width = x.image_HW3.shape[:2]
        aspect = image_width / image_height if self.framing.of_image else width / height
        center, scale = box_to_center_scale(x.boxes_xyxy_px, padding=self.framing.padding, aspect=aspect)
        crops = np.empty((len(center), 3, height, width), np.uint8)
        for i in range(len(center)):
            crops[i] = self.framing.cut(x.image_HW3, center[i], scale[i], self.input_wh).transpose(2, 0, 1)
        return Prepared({"crop": crops}, Crops(center, scale, x.boxes_xyxy_px, x.box_scores))

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``types.Model``."""
        return self.decoder.on_device(self.answers(self.normalise(tensors["crop"])))

    def answers(self, image: Tensor) -> Answers:
        """Network input -> the network's answer, with the flip test if it is on."""
        if not self.flip_test:
            return self.network(image)
        return self.decoder.merged(*self.with_mirrored(image), self.flip_index)

    def with_mirrored(self, image: Tensor) -> tuple[Answers, Answers]:
        """Answers for the crops and for their mirror images, in one call."""
        both = self.network(torch.cat([image, image.flip(-1)]))
        n = len(image)
        return tuple(answer[:n] for answer in both), tuple(answer[n:] for answer in both)

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Crops) -> PosePrediction:
        """See ``types.Model``."""
        n, k = len(geometry.boxes_xyxy_px), self.n_keypoints
        keypoints, scores = np.zeros((n, k, 2), np.float32), np.zeros((n, k), np.float32)
        if n:
            in_input = self.decoder.in_input(outputs, self.input_wh)
            center, scale = geometry.center_N2[:, None], geometry.scale_N2[:, None]
            keypoints = to_image_space(in_input, self.input_wh, center, scale).astype(np.float32)
            scores = outputs["score"].astype(np.float32)
        boxes, box_scores = np.asarray(geometry.boxes_xyxy_px, np.float32), np.asarray(geometry.box_scores, np.float32)
        return PosePrediction(keypoints, scores, box_scores, boxes)
