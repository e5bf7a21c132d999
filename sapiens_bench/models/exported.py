"""Any network as a TorchScript or torch.export archive with a card, or as a function of this process: keypoints or
maps.

Such an archive carries code, so its sha256 must be pinned by the card or vouched for by the user.
"""

from __future__ import annotations

from torch import Tensor

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.card_options import ExportedPoseOptions, Live, LivePoseOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.card_maps import CardMaps
from sapiens_bench.models.parts.card_poses import CardPoses
from sapiens_bench.models.parts.decoders import Answers
from sapiens_bench.models.parts.dense_frame import input_spec
from sapiens_bench.models.parts.given import given_network
from sapiens_bench.models.parts.program import Called, Program
from sapiens_bench.models.parts.weight_file import weights_path


def open_network(context: ModelContext, input_hw: tuple[int, int]) -> Called:
    """The program of a card, or the function that stands behind a card made for it.

    Raises:
        WeightsMissing: no file.
        UntrustedCheckpoint: its hash is not pinned.
        CheckpointRejected: damaged, of the other kind, or another input than the card says.
        DeviceError: the program computes in another precision than the run asks for.
    """
    if isinstance(context.options, Live):
        return given_network(context, input_hw)
    kind = context.variant.weights.format if context.variant.weights else None
    if kind not in ("torchscript", "export"):
        raise CardError(f"{context.variant.id}: wrapper 'exported' needs weights of format torchscript or export.")
    return Program(
        weights_path(context),
        kind,
        pinned=context.pinned,
        input_hw=input_hw,
        device=context.device,
        precision=context.precision,
    )


class ExportedPoses(CardPoses):
    """A pose network as a program: crops [B, 3, H, W] -> heatmaps, SimCC vectors or coordinates.

    Raises:
        CheckpointRejected: its answer is not what the card says; and see ``open_network``.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context, input_spec(context))
        chosen: ExportedPoseOptions | LivePoseOptions = context.options
        self.net = open_network(context, self.input_hw)
        shapes = {str(i): tuple(tensor.shape) for i, tensor in enumerate(self.net.trial())}
        picked = self.chosen_outputs(shapes, chosen, self.net.path)
        self.outputs = [int(name) for name in picked]

    def network(self, image: Tensor) -> Answers:
        found = self.net.outputs(image)
        return tuple(found[i].float() for i in self.outputs)


class ExportedMaps(CardMaps):
    """A dense network as a program: image [B, 3, h, w] -> one map [B, C, h', w'], or [B, h', w'] where C is 1.

    Raises:
        CheckpointRejected: other maps than the card says; and see ``open_network``.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        self.net = open_network(context, self.input_hw)
        self._one_map(self.net.trial())

    def raw(self, image: Tensor) -> Tensor:
        return self.shares(self._one_map(self.net.outputs(image)))

    def _one_map(self, found: tuple[Tensor, ...]) -> Tensor:
        if len(found) != 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in found)
            raise CheckpointRejected(f"{self.net.path} gives {len(found)} tensors ({shapes}); {self.task} is one map.")
        return self.checked(found[0], self.net.path)


def build(context: ModelContext) -> ExportedPoses | ExportedMaps:
    """The wrapper for the card's task."""
    return ExportedPoses(context) if context.card.task == "pose" else ExportedMaps(context)
