"""Dense networks in a file of their own kind, described wholly by their card: what ONNX and torch programs share.

Options of the card, beside ``depth_kind`` and ``axis_sign``:
    resize: ``stretch`` (default) or ``pad`` (aspect kept, picture in the middle).
    interpolation: ``linear`` (default), ``cubic`` or ``area``, as OpenCV does it.
    padding: under ``pad``, ``replicate`` (default) or ``black``.
    layout: ``NCHW`` (default) or ``NHWC``.
    output: for segmentation, ``logits`` (default) or ``labels`` (the file ends in an arg max).
Input size, mean, deviation and channel order are the card's ``input``.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage, check_options, choice, cv2_stretch, normalised
from sapiens_bench.models.sapiens2 import padded_frame

INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
PADDING = {"replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}
OPTIONS = {"resize", "interpolation", "padding", "layout", "output"}
MAX_LABEL = 253  # 254 and 255 have a meaning of their own


class CardMaps(WholeImage):
    """A network of which only the card says what it computes."""

    def __init__(self, context: ModelContext, more_options: set[str] | None = None) -> None:
        check_options(context, OPTIONS | (more_options or set()))
        super().__init__(context)
        self.resize = choice(context, "resize", "stretch", ("stretch", "pad"))
        self.how = INTERPOLATION[choice(context, "interpolation", "linear", INTERPOLATION)]
        self.border = PADDING[choice(context, "padding", "replicate", PADDING)]
        self.layout = choice(context, "layout", "NCHW", ("NCHW", "NHWC"))
        self.gives_labels = self.task == "seg" and choice(context, "output", "logits", ("logits", "labels")) == "labels"
        self.input_hw = (self.spec.height, self.spec.width)

    @abstractmethod
    def call(self, image: Tensor) -> Any:
        """The file's own output for [B, 3, h, w] (or [B, h, w, 3] under NHWC)."""

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = self.input_hw
        if self.resize == "stretch":
            return Fitted(normalised(cv2_stretch(image_HW3, self.input_hw, self.how), self.spec), (0, 0, height, width))
        inside = padded_frame(image_HW3.shape[0], image_HW3.shape[1], self.input_hw)
        top, left, bottom, right = inside
        small = cv2_stretch(image_HW3, (bottom - top, right - left), self.how)
        framed = cv2.copyMakeBorder(small, top, height - bottom, left, width - right, self.border, value=(0, 0, 0))
        return Fitted(normalised(framed, self.spec), inside)

    def raw(self, image: Tensor) -> Tensor:
        out = self.call(image if self.layout == "NCHW" else image.permute(0, 2, 3, 1))
        if self.layout == "NHWC" and isinstance(out, Tensor) and out.ndim == 4:
            out = out.permute(0, 3, 1, 2)
        return self._labels(out) if self.gives_labels else self.checked(out, self.name)

    def _labels(self, out: Any) -> Tensor:
        """Label maps [B, h, w] or [B, 1, h, w] as float32 [B, 1, h, w].

        Raises:
            CheckpointRejected: another shape, or labels that the card's set does not have.
        """
        maps = out.unsqueeze(1) if isinstance(out, Tensor) and out.ndim == 3 else out
        if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[1] != 1:
            found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise CheckpointRejected(f"{self.name} gives {found}; with output: labels [B, h, w] is needed.")
        if bool((maps < 0).any()) or bool((maps >= min(self.channels, MAX_LABEL + 1)).any()):
            raise CheckpointRejected(f"{self.name} gives labels outside 0..{self.channels - 1}, the card's label set.")
        return maps.float()

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        if self.gives_labels:
            return functional.interpolate(raw, size=size_hw, mode="nearest-exact")[0, 0].byte()
        return super().at_original(raw, size_hw)
