"""Any network as an ONNX file with a card: keypoints or maps of one picture.

An ONNX file is data, not code; ONNX Runtime computes it, on the GPU where it can. Half precision, double precision and
8-bit inputs are fed as the file wants them; an 8-bit input means that the file normalises the picture itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.card_options import OnnxPoseOptions, OnnxSegOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.card_maps import CardMaps
from sapiens_bench.models.parts.card_poses import CardPoses
from sapiens_bench.models.parts.decoders import Answers
from sapiens_bench.models.parts.dense_frame import input_spec, resize
from sapiens_bench.models.parts.onnx_session import Layout, OnnxNetwork, shown
from sapiens_bench.models.parts.person_parts import joined, labels
from sapiens_bench.models.parts.weight_file import weights_path

MAX_LABEL = 253  # 254 and 255 have a meaning of their own


def open_network(
    context: ModelContext, layout: Layout, numbers: Mapping[str, float] | None = None
) -> tuple[OnnxNetwork, InputSpec]:
    """The file of a card, and the card's input with the normalisation that is left to do outside of it.

    Args:
        numbers: see ``OnnxNetwork``.

    Raises:
        WeightsMissing, CheckpointRejected, DeviceError: see ``OnnxNetwork``.
    """
    spec = input_spec(context)
    file = OnnxNetwork(context, weights_path(context), (spec.height, spec.width), layout, numbers or {})
    plain = spec.model_copy(update={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
    if not file.takes_bytes or spec == plain:
        return file, spec
    file.notes.append("The ONNX file takes 8-bit pictures; the card's mean and std are left to it.")
    return file, plain


class OnnxPoses(CardPoses):
    """A pose network: heatmaps, SimCC vectors or coordinates for each crop.

    Raises:
        WeightsMissing: no file.
        CheckpointRejected: no ONNX file, or one whose input or answer is not what the card says.
        DeviceError: another precision than the file's own.
    """

    def __init__(self, context: ModelContext) -> None:
        chosen: OnnxPoseOptions = context.options
        self.layout = chosen.layout
        self.file, spec = open_network(context, chosen.layout)
        super().__init__(context, spec)
        shapes = self.file.outputs
        if chosen.layout == "NHWC":  # maps [B, h, w, K] are turned in ``network``
            shapes = {n: (s[0], s[3], s[1], s[2]) if len(s) == 4 else s for n, s in shapes.items()}
        self.outputs = self.chosen_outputs(shapes, chosen, self.file.path)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the file runs."""
        return tuple(self.file.notes)

    def network(self, image: Tensor) -> Answers:
        found = self.file(image, self.outputs)
        if self.layout == "NHWC":
            return tuple(out.permute(0, 3, 1, 2) if out.ndim == 4 else out for out in found)
        return found

    def with_mirrored(self, image: Tensor) -> tuple[Answers, Answers]:
        """In two calls: a batch of twice the size may not be what the file was made for."""
        return self.network(image), self.network(image.flip(-1))


class OnnxMaps(CardMaps):
    """A dense network.

    Raises:
        WeightsMissing: no file.
        CheckpointRejected: no ONNX file, or one whose input or output is not what the card says.
        DeviceError: another precision than the file's own.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        chosen: Any = context.options
        self.layout: Layout = chosen.output_layout or chosen.layout
        self.channel: int | None = chosen.channel
        self.gives_labels = isinstance(chosen, OnnxSegOptions) and chosen.output == "labels"
        self.file, self.spec = open_network(context, chosen.layout, chosen.numbers)
        self.is_corner_aligned = chosen.corner_aligned
        person: str | None = getattr(chosen, "person_output", None)
        self.output = self._chosen_output(chosen.output_name, "output_name")
        self.person = None if person is None else self._chosen_output(person, "person_output")
        self.raw(torch.zeros(1, 3, *self.input_hw))  # shapes are checked before any picture is

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the file runs."""
        return tuple(self.file.notes)

    def _chosen_output(self, name: str | None, option: str) -> str:
        names = list(self.file.outputs)
        if name is None and len(names) == 1:
            return names[0]
        if name is None or name not in names:
            raise CardError(
                f"{self.name}: option {option} is {name!r}; {self.file.path} has {shown(self.file.outputs)}."
            )
        return name

    def raw(self, image: Tensor) -> Tensor:
        names = [self.output] if self.person is None else [self.output, self.person]
        found = self.file(image, names)
        if self.layout == "NHWC":
            found = tuple(out.permute(0, 3, 1, 2) if out.ndim == 4 else out for out in found)
        if self.gives_labels:
            return self._labels(found[0])
        out = found[0] if self.person is None else joined(found[0], found[1], self.channels, self.name)
        if self.channel is not None:
            out = out[:, self.channel : self.channel + 1]
        out = self.shares(self.checked(out, self.name))
        if not self.is_corner_aligned:
            return out
        return functional.interpolate(out, self.input_hw, mode="bilinear", align_corners=True)

    def _labels(self, out: Tensor) -> Tensor:
        """Label maps [B, h, w] or [B, 1, h, w] as float32 [B, 1, h, w].

        Raises:
            CheckpointRejected: another shape, or labels that the card's set does not have.
        """
        maps = out.unsqueeze(1) if out.ndim == 3 else out
        if maps.ndim != 4 or maps.shape[1] != 1:
            raise CheckpointRejected(f"{self.name} gives {tuple(out.shape)}; with output: labels [B, h, w] is needed.")
        if bool((maps < 0).any()) or bool((maps >= min(self.channels, MAX_LABEL + 1)).any()):
            raise CheckpointRejected(f"{self.name} gives labels outside 0..{self.channels - 1}, the card's label set.")
        return maps.float()

    def at_original(self, raw: Tensor, size_hw: tuple[int, int]) -> Tensor:
        if self.gives_labels:
            return functional.interpolate(raw, size=size_hw, mode="nearest-exact")[0, 0].byte()
        return labels(resize(raw, size_hw)) if self.person is not None else super().at_original(raw, size_hw)


def build(context: ModelContext) -> OnnxPoses | OnnxMaps:
    """The wrapper for the card's task."""
    return OnnxPoses(context) if context.card.task == "pose" else OnnxMaps(context)
