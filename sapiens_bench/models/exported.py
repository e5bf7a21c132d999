"""Any dense network as a TorchScript or torch.export archive with a card: parts, depth or normals.

Such an archive carries code, so its sha256 must be pinned by the card or vouched for by the user. Options: those of
``card_maps``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.card_maps import CardMaps
from sapiens_bench.models.parts.person_crop import weights_path
from sapiens_bench.models.parts.program import SapiensProgram


class ExportedMaps(CardMaps):
    """A dense network as a program: image [B, 3, h, w] -> one map [B, C, h', w'].

    Raises:
        WeightsMissing: no file.
        UntrustedCheckpoint: its hash is not pinned.
        CheckpointRejected: damaged, of the other kind, or another input or output than the card says.
        DeviceError: the program computes in another precision than the run asks for.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        kind = context.variant.weights.format if context.variant.weights else None
        if kind not in ("torchscript", "export"):
            raise CardError(f"{self.name}: wrapper 'exported' needs weights of format torchscript or export.")
        if self.layout != "NCHW" or self.gives_labels:
            raise CardError(f"{self.name}: a torch program takes NCHW and gives maps of scores, not labels.")
        path = weights_path(context)
        self.net = SapiensProgram(
            path,
            kind,
            pinned=context.pinned,
            input_hw=self.input_hw,
            device=context.device,
            precision=context.precision,
        )
        if (found := self.net.trial_channels()) != self.channels:
            raise CheckpointRejected(
                f"{path} gives {found} maps; the card of {self.name} ({self.task}) needs {self.channels}."
            )

    def call(self, image: Tensor) -> Any:
        return self.net(image)
