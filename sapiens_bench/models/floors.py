"""Floors: what can be had without looking, or from the silhouette alone. A network below them has learnt nothing.

Each task owns its floors (``TaskKind.floors``). No floor sees the ground truth, so a silhouette is that of the embedded
person-mask network (models/selfie.py), and carries its mistakes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.models.context import ModelContext
from sapiens_bench.tasks import task_kind
from sapiens_bench.types import Floor, Model, ModelInput, Prepared

Size = tuple[int, int]


def build(context: ModelContext) -> Model:
    """The floor that the option ``rule`` names."""
    floor = task_kind(context.card.task).floors[context.options.rule]
    if floor.needs_picture:
        return OfPicture(floor)
    return Silhouette(context, floor) if floor.needs_mask else Constant(floor)


class Constant:
    """Looks at the size of the image alone; there is no network, so ``forward`` is never called."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    def prepare(self, x: ModelInput) -> Prepared:
        """No crops; the geometry is (H, W)."""
        return Prepared({}, x.image_HW3.shape[:2])

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Size) -> Any:
        return self.floor.answer(np.zeros(geometry, np.bool_))


class OfPicture:
    """Hands the picture to the floor; there is no network, so ``forward`` is never called."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor

    def prepare(self, x: ModelInput) -> Prepared:
        """No crops; the geometry is the picture."""
        return Prepared({}, x.image_HW3)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: NDArray[np.uint8]) -> Any:
        return self.floor.answer(geometry)


class Silhouette:
    """The person mask of the embedded network, handed to the floor."""

    is_reentrant = True  # forward may run in several threads at once

    def __init__(self, context: ModelContext, floor: Floor) -> None:
        from sapiens_bench.models.selfie import SelfieSegmentation

        self.floor = floor
        self.network = SelfieSegmentation(context)

    def prepare(self, x: ModelInput) -> Prepared:
        """See ``SelfieSegmentation.prepare``."""
        return self.network.prepare(x)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """See ``SelfieSegmentation.forward``."""
        return self.network.forward(tensors)

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Size) -> Any:
        return self.floor.answer(self.network.probability(outputs, geometry) >= self.network.threshold)
