"""Dense networks in a file of their own kind, described wholly by their card: what ONNX and torch programs share.

Input size, mean, deviation and channel order are the card's ``input``; the rest are ``CardMapsOptions``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.models.card_options import CardMapsOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_options import MattingOptions
from sapiens_bench.models.parts.dense_frame import cv2_stretch, normalised, padded_frame
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage

INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
PADDING = {"replicate": cv2.BORDER_REPLICATE, "black": cv2.BORDER_CONSTANT}


class CardMaps(WholeImage):
    """A network of which only the card says what it computes."""

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        chosen: CardMapsOptions = context.options
        self.resize, self.how, self.border = chosen.resize, INTERPOLATION[chosen.interpolation], PADDING[chosen.padding]
        self.input_hw = (self.spec.height, self.spec.width)
        self.is_logit = isinstance(chosen, MattingOptions) and chosen.output == "logits"

    def shares(self, maps: Tensor) -> Tensor:
        """Logits of a matte as shares of 0..1; every other map as it is."""
        return maps.sigmoid() if self.is_logit else maps

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        height, width = self.input_hw
        if self.resize == "none":
            return Fitted(normalised(image_HW3, self.spec), (0, 0, *image_HW3.shape[:2]))
        if self.resize == "stretch":
            return Fitted(normalised(cv2_stretch(image_HW3, self.input_hw, self.how), self.spec), (0, 0, height, width))
        inside = padded_frame(image_HW3.shape[0], image_HW3.shape[1], self.input_hw)
        top, left, bottom, right = inside
        small = cv2_stretch(image_HW3, (bottom - top, right - left), self.how)
        framed = cv2.copyMakeBorder(small, top, height - bottom, left, width - right, self.border, value=(0, 0, 0))
        return Fitted(normalised(framed, self.spec), inside)
