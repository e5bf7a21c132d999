"""A head that ``sapiens-bench probe`` fitted, on its trunk: segmentation, depth or normals of a whole picture.

The picture keeps its aspect in a frame of the card's size. One file may hold heads of several tasks, which share all
but their last layer; the card says which of them a row is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.dense_frame import labels_at_original
from sapiens_bench.models.parts.dense_view import framed
from sapiens_bench.models.parts.fitted_head import open_fitted
from sapiens_bench.models.parts.whole_image import Fitted, Inside, WholeImage


class ProbeHead(WholeImage):
    """The wrapper.

    Raises:
        CheckpointRejected: see ``open_fitted``.
    """

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self.trunk, self.head, self.input_hw = open_fitted(context, self.spec, self.channels)
        self.notes = self.trunk.notes

    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        """See ``WholeImage.fit``."""
        return Fitted(*framed(image_HW3, self.input_hw))

    def as_input(self, image: Tensor) -> Tensor:
        """Pixels stay bytes: trunk and head have their own scales."""
        return image

    def raw(self, image: Tensor) -> Tensor:
        """[B, 3, h, w] uint8 -> [B, C, h', w'] float32; depth is positive."""
        raw = self.head(self.trunk(image), image, (self.task,))[self.task]
        return F.softplus(raw) if self.task == "depth" else raw

    def from_frame(self, raw: Tensor, input_hw: tuple[int, int], inside: Inside, size_hw: tuple[int, int]) -> Tensor:
        """See ``WholeImage.from_frame``; which classes can win is seen before the map is enlarged."""
        if self.task == "seg":
            return labels_at_original(raw, input_hw, size_hw, "lite", inside)
        return super().from_frame(raw, input_hw, inside, size_hw)
