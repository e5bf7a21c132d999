"""A head that ``sapiens-bench probe`` fitted, on its trunk: segmentation, depth or normals of a whole picture.

The picture keeps its aspect in a frame of the card's size. One file may hold heads of several tasks, which share all
but their last layer; the card says which of them a row is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.dense_view import framed
from sapiens_bench.models.parts.head_file import load_head
from sapiens_bench.models.parts.trunks import RANDOM, SHIPPED, Trunk, open_trunk
from sapiens_bench.models.parts.weight_file import weights_path
from sapiens_bench.models.parts.whole_image import Fitted, WholeImage


class ProbeHead(WholeImage):
    """The wrapper.

    Raises:
        CheckpointRejected: the file is no head, or of another task, input size or trunk than card and package say.
    """

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        path = weights_path(context)
        about, head, own_trunk = load_head(path)
        if self.task not in about.plan.outputs or about.plan.outputs[self.task] != self.channels:
            raise CheckpointRejected(
                f"{path} holds {dict(about.plan.outputs)}; the card of {self.name} needs {self.task} with "
                f"{self.channels} channels."
            )
        if (self.spec.height, self.spec.width) != about.input_hw:
            raise CheckpointRejected(
                f"{path} was fitted at {about.input_hw[0]}x{about.input_hw[1]}, the card of {self.name} says "
                f"{self.spec.height}x{self.spec.width}."
            )
        weights = None if about.backbone in SHIPPED else next(iter(context.also.values()), None)
        if own_trunk and about.backbone not in SHIPPED:
            weights = Path(RANDOM)  # the file's own tensors take their place below
        self.trunk: Trunk = open_trunk(
            about.backbone, weights, input_hw=about.input_hw, device=context.device, precision=context.precision
        )
        if own_trunk:
            self.trunk.load_state_dict(own_trunk)
            self.trunk.float().to(context.device)
        elif self.trunk.identity != about.trunk:
            raise CheckpointRejected(f"{path} was fitted on another {about.backbone} than the one found.")
        self.head = head.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.input_hw = about.input_hw
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
