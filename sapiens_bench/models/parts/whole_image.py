"""What wrappers of dense networks share: one whole image in, one map at the original size out.

A wrapper says how an image becomes network input (``fit``) and what the network computes (``raw``); resizing back,
labels, depth kinds, normal axes, and packing images of different sizes into one batch are here.
Axes: B images, C channels, h x w network pixels, H x W original pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.dense_frame import (
    input_spec,
    labels_at_original,
    pack,
    resize,
    sizes_of,
    without_padding,
)
from sapiens_bench.models.parts.precision import DTYPES
from sapiens_bench.tasks.albedo.types import AlbedoPrediction, ColourSpace
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction
from sapiens_bench.tasks.matting.types import MattingPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.pointmap.types import PointmapPrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import ModelInput, Prepared

CHANNELS = {"depth": 1, "normal": 3, "pointmap": 3, "matting": 1, "albedo": 3}
Inside = tuple[int, int, int, int]


class Fitted(NamedTuple):
    """An image as the network wants it."""

    image_hw3: NDArray[Any]  # float32 and normalised, or as ``WholeImage.as_input`` takes it
    inside: Inside  # top, left, bottom, right of the picture in it; the rest is padding


class WholeImage(ABC):
    """A dense network behind the Model protocol.

    Args:
        spec: size and normalisation of the network input, where the card does not say them.

    Raises:
        CardError: the card has no ``input``, or, for segmentation, no ``space``.
    """

    on_host: tuple[str, ...] = ("inside", "size_hw")  # see ``types.Model``

    def __init__(self, context: ModelContext, spec: InputSpec | None = None) -> None:
        self.name, self.task = context.variant.id, context.card.task
        self.spec = spec or input_spec(context)
        self.device, self.dtype = context.device, DTYPES[context.precision]
        self.depth_kind: DepthKind | None = getattr(context.options, "depth_kind", None)
        default: ColourSpace | None = "srgb" if self.task == "albedo" else None  # of networks whose card does not say
        self.colour_space: ColourSpace | None = getattr(context.options, "colour_space", default)
        self.axis_sign = np.asarray(getattr(context.options, "axis_sign", (1, 1, 1)), np.float32)
        if self.task == "seg" and context.space is None:
            raise CardError(f"{self.name}: a segmentation card needs 'space', the label set of its output.")
        self.channels = len(context.space.names) if context.space is not None else CHANNELS[self.task]

    @abstractmethod
    def fit(self, image_HW3: NDArray[np.uint8]) -> Fitted:
        """The image as network input."""

    @abstractmethod
    def raw(self, image: Tensor) -> Tensor:
        """Network input [B, 3, h, w] -> raw maps [B, C, h', w'], float32."""

    def prepare(self, x: ModelInput) -> Prepared:
        """See ``types.Model``."""
        fitted = self.fit(x.image_HW3)
        height, width = x.image_HW3.shape[:2]
        tensors: dict[str, NDArray[Any]] = {
            "image": np.ascontiguousarray(fitted.image_hw3.transpose(2, 0, 1)[None]),
            "inside": np.array([fitted.inside], np.int64),
            "size_hw": np.array([(height, width)], np.int64),
        }
        return Prepared(tensors, (height, width))

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See ``types.Model``."""
        image = tensors["image"]
        raw = self.raw(self.as_input(image))
        input_hw = (int(image.shape[2]), int(image.shape[3]))
        sizes = sizes_of(tensors["size_hw"])
        frames: list[Inside] = [tuple(frame) for frame in tensors["inside"].tolist()]
        maps = [
            self.from_frame(raw[i : i + 1], input_hw, frame, size)
            for i, (frame, size) in enumerate(zip(frames, sizes, strict=True))
        ]
        return {"map": pack(maps, sizes)}

    def as_input(self, image: Tensor) -> Tensor:
        """Pictures as ``fit`` gave them [B, 3, h, w] -> network input."""
        return image.to(self.dtype)

    def from_frame(self, raw: Tensor, input_hw: tuple[int, int], inside: Inside, size_hw: tuple[int, int]) -> Tensor:
        """``at_original`` of what the raw map [1, C, h, w] shows inside the padding."""
        return self.at_original(without_padding(raw, input_hw, inside), size_hw)

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Raw map of one image [1, C, h, w] -> uint8 labels, depth or alpha [H, W], or normals, points or colours
        [3, H, W]."""
        if self.task == "seg":
            return labels_at_original(raw, size_hw, size_hw, "lite")
        maps = resize(raw, size_hw)
        if self.task == "normal":
            return functional.normalize(maps, dim=1)[0]
        return maps[0, 0] if self.channels == 1 else maps[0]

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> Any:
        """See ``types.Model``."""
        h, w = geometry
        found = outputs["map"][0, ..., :h, :w]
        if self.task == "seg":
            return SegPrediction(found.astype(np.uint8))
        found = found.astype(np.float32)
        if self.depth_kind is not None:
            return DepthPrediction(found, self.depth_kind)
        if self.task == "matting":
            return MattingPrediction(found)
        vectors = np.ascontiguousarray(found.transpose(1, 2, 0))
        if self.colour_space is not None:
            return AlbedoPrediction(vectors, self.colour_space)
        vectors *= self.axis_sign
        return PointmapPrediction(vectors) if self.task == "pointmap" else NormalPrediction(vectors)

    def checked(self, out: Any, source: object) -> Tensor:
        """``out`` if it is one map [B, C, h, w] (or [B, h, w] where C is 1) with the card's channels, in float32.

        Raises:
            CheckpointRejected: it is not.
        """
        maps = out.unsqueeze(1) if isinstance(out, Tensor) and out.ndim == 3 and self.channels == 1 else out
        if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[1] != self.channels:
            found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise CheckpointRejected(
                f"{source} gives {found}; the card of {self.name} ({self.task}) needs [B, {self.channels}, h, w]."
            )
        return maps.float()
