"""What wrappers of dense networks share: one whole image in, one map at the original size out.

A wrapper says how an image becomes network input (``fit``) and what the network computes (``raw``); resizing back,
labels, depth kinds, normal axes, and packing images of different sizes into one batch are here.
Axes: B images, C channels, h x w network pixels, H x W original pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple, cast, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.program import DTYPES
from sapiens_bench.models.sapiens_dense import labels_at_original, resize
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import ModelInput, Prepared

TASK_OPTIONS = {"seg": set[str](), "depth": {"depth_kind"}, "normal": {"axis_sign"}, "pose": set[str]()}
CHANNELS = {"depth": 1, "normal": 3}


class Fitted(NamedTuple):
    """An image as the network wants it."""

    image_hw3: NDArray[np.float32]  # normalised
    inside: tuple[int, int, int, int]  # top, left, bottom, right of the picture in it; the rest is padding


def check_options(context: ModelContext, known: Iterable[str]) -> None:
    """Raises CardError for an option that neither the wrapper nor its task has."""
    allowed = set(known) | TASK_OPTIONS[context.card.task]
    if unknown := sorted(set(context.options) - allowed):
        names = ", ".join(sorted(allowed)) or "none"
        raise CardError(f"{context.variant.id}: unknown option {unknown[0]!r}. Known: {names}.")


def choice(context: ModelContext, name: str, default: str, allowed: Iterable[str]) -> str:
    """An option that is one of a few words. Raises CardError otherwise."""
    value, words = context.options.get(name, default), sorted(allowed)
    if not isinstance(value, str) or value not in words:
        raise CardError(f"{context.variant.id}: option {name} is {value!r}, expected one of {', '.join(words)}.")
    return value


def input_spec(context: ModelContext) -> InputSpec:
    """Input size and normalisation of the card. Raises CardError when it has none."""
    spec = context.variant.input or context.card.input
    if spec is None:
        raise CardError(f"{context.variant.id}: the card needs 'input' (height, width, mean, std).")
    return spec


def normalised(image_HW3: NDArray[Any], spec: InputSpec) -> NDArray[np.float32]:
    """RGB in 0..255 -> network numbers, channels in the network's order."""
    ordered = image_HW3 if spec.channel_order == "rgb" else image_HW3[..., ::-1]
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    return np.asarray((ordered.astype(np.float32) - mean) / std, np.float32)


def cv2_stretch(image_HW3: NDArray[np.uint8], size_hw: tuple[int, int], how: int | None = None) -> NDArray[np.uint8]:
    """cv2 resize; without ``how`` area averaging for smaller pictures and cubic for larger ones."""
    height, width = size_hw
    if how is None:
        smaller = height * width < image_HW3.shape[0] * image_HW3.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image_HW3, (width, height), interpolation=how), np.uint8)


class WholeImage(ABC):
    """A dense network behind the Model protocol.

    Raises:
        CardError: the card's options do not say what the numbers of the network mean.
    """

    def __init__(self, context: ModelContext) -> None:
        self.name, self.task = context.variant.id, context.card.task
        if self.task not in ("seg", "depth", "normal"):
            raise CardError(f"{self.name}: wrapper {context.card.wrapper!r} makes maps; it has no task {self.task!r}.")
        self.spec = input_spec(context)
        self.device, self.dtype = context.device, DTYPES[context.precision]
        self.depth_kind = _depth_kind(context) if self.task == "depth" else None
        self.axis_sign = _axis_sign(context)
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
        raw = self.raw(image.to(self.dtype))
        input_hw = (int(image.shape[2]), int(image.shape[3]))
        sizes = [(int(h), int(w)) for h, w in tensors["size_hw"].tolist()]
        frames = tensors["inside"].tolist()
        maps = [
            self.at_original(without_padding(raw[i : i + 1], input_hw, frame), size)
            for i, (frame, size) in enumerate(zip(frames, sizes, strict=True))
        ]
        return {"map": pack(maps, sizes)}

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Raw map of one image [1, C, h, w] -> uint8 labels or depth [H, W], or normals [3, H, W]."""
        if self.task == "seg":
            return labels_at_original(raw, size_hw, size_hw, "lite")
        maps = resize(raw, size_hw)
        return maps[0, 0] if self.task == "depth" else functional.normalize(maps, dim=1)[0]

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> Any:
        """See ``types.Model``."""
        h, w = geometry
        found = outputs["map"][0, ..., :h, :w]
        if self.task == "seg":
            return SegPrediction(found.astype(np.uint8))
        if self.depth_kind is not None:
            return DepthPrediction(found.astype(np.float32), self.depth_kind)
        return NormalPrediction(np.ascontiguousarray(found.transpose(1, 2, 0).astype(np.float32) * self.axis_sign))

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


def without_padding(raw: Tensor, input_hw: tuple[int, int], inside: Iterable[int]) -> Tensor:
    """The part of a raw map [1, C, h, w] that shows the picture; enlarged to input pixels first where it is padded."""
    top, left, bottom, right = inside
    if (top, left, bottom, right) == (0, 0, *input_hw):
        return raw
    full = raw if tuple(raw.shape[-2:]) == input_hw else resize(raw, input_hw)
    return full[..., top:bottom, left:right]


def pack(maps: list[Tensor], sizes_hw: list[tuple[int, int]]) -> Tensor:
    """Maps of different sizes in one array, each in its top left corner; cut off again in ``finish``."""
    tall, wide = max(h for h, _ in sizes_hw), max(w for _, w in sizes_hw)
    packed = maps[0].new_zeros((len(maps), *maps[0].shape[:-2], tall, wide))
    for i, (h, w) in enumerate(sizes_hw):
        packed[i, ..., :h, :w] = maps[i]
    return packed


def _depth_kind(context: ModelContext) -> DepthKind:
    if "depth_kind" not in context.options:
        raise CardError(f"{context.variant.id}: a depth card needs the option depth_kind: {', '.join(_KINDS)}.")
    return cast("DepthKind", choice(context, "depth_kind", "", _KINDS))


_KINDS: tuple[str, ...] = get_args(DepthKind)


def _axis_sign(context: ModelContext) -> NDArray[np.float32]:
    sign = context.options.get("axis_sign", (1, 1, 1))
    if not isinstance(sign, list | tuple) or len(sign) != 3 or any(s not in (-1, 1) for s in sign):
        raise CardError(f"{context.variant.id}: axis_sign must be three of -1 and 1, not {sign!r}.")
    return np.asarray(sign, np.float32)
