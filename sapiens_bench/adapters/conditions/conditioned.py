"""A data set under a condition: an adapter over an adapter. Keys, groups and truth are those of the set below it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.conditions import lens, light
from sapiens_bench.adapters.conditions.condition import RESOLUTION, VERSION, Condition
from sapiens_bench.adapters.conditions.draws import Draw
from sapiens_bench.errors import UsageError
from sapiens_bench.types import Adapter, ModelInput, Sample

PICTURE: dict[str, Callable[[NDArray[np.uint8], int, Draw], NDArray[np.uint8]]] = {
    "noise": light.noise,
    "impulse": light.impulse,
    "low_light": light.low_light,
    "exposure": light.exposure,
    "contrast": light.contrast,
    "colour_cast": light.colour_cast,
    "fog": light.fog,
    "blur": lens.blur,
    "defocus": lens.defocus,
    "motion": lens.motion,
    "jpeg": lens.jpeg,
    "resize": lens.resize,
    "occlusion": lens.occlusion,
    RESOLUTION: lens.resolution,
}
SHIFT = (0.05, 0.1, 0.16, 0.23, 0.3)  # of a box's width and height, in a direction of its own
# Of the set below, what looks past its pictures and boxes: it would tell of the set without the condition.
_HIDDEN = ("without_pictures", "box_quality")
_LOOKED_FOR = ("identity", "materialise", "prepare", "person_boxes")  # by protocols of types.py and prepare.py


class Conditioned:
    """The set ``base`` with every picture (or every box) changed.

    Args:
        is_whole_image: the task sees whole pictures: there are no boxes to move.

    Raises:
        UsageError: the condition moves boxes, and the task has none.
    """

    def __init__(self, base: Adapter, condition: Condition, *, is_whole_image: bool) -> None:
        if condition.moves_boxes and is_whole_image:
            raise UsageError(f"condition {condition.name}: it moves boxes, and this task sees the whole picture.")
        self._base, self._condition = base, condition
        self.keys: Sequence[str] = base.keys
        self.groups: Sequence[str] = base.groups
        self.base_manifest_sha256 = base.manifest_sha256
        covered = f"{base.manifest_sha256}\n{VERSION}\n{condition.model_dump_json()}"
        self.manifest_sha256 = hashlib.sha256(covered.encode()).hexdigest()
        for name in _LOOKED_FOR:  # from Python 3.12 on, isinstance does not see what __getattr__ gives
            if hasattr(base, name):
                setattr(self, name, getattr(base, name))

    def __len__(self) -> int:
        return len(self._base)

    def __getitem__(self, index: int) -> Sample:
        sample = self._base[index]
        return replace(sample, input=changed(sample.input, self._condition))

    def __getattr__(self, name: str) -> Any:
        """What else the set below offers: identity, materialise, index, notes."""
        if name.startswith("_") or name in _HIDDEN:
            raise AttributeError(name)
        return getattr(self._base, name)


def changed(x: ModelInput, condition: Condition) -> ModelInput:
    """The input under a condition; the arrays of ``x`` are left alone."""
    draw = Draw.of(condition.name, condition.seed, x.key, x.image_HW3, x.boxes_xyxy_px)
    if condition.moves_boxes:
        return replace(x, boxes_xyxy_px=_shifted(x.boxes_xyxy_px, SHIFT[condition.level - 1], draw))
    return replace(x, image_HW3=PICTURE[condition.name](x.image_HW3, condition.level, draw))


def _shifted(boxes_N4: NDArray[np.float32], share: float, draw: Draw) -> NDArray[np.float32]:
    """Every box moved as a whole, in one of 64 directions."""
    turn = 2 * np.pi * draw.rng.integers(0, 64, len(boxes_N4)) / 64
    size = np.stack([boxes_N4[:, 2] - boxes_N4[:, 0], boxes_N4[:, 3] - boxes_N4[:, 1]], 1).astype(np.float64)
    step = np.round(share * np.stack([np.cos(turn), np.sin(turn)], 1) * size, 3)
    return (boxes_N4 + np.tile(step, 2)).astype(np.float32)
