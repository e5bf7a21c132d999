"""Sapiens v1 networks that come as programs: TorchScript (Sapiens Lite, fp32) and torch.export (Sapiens Lite, bf16).

A program brings its own number format, input size and number of images per call. The first two must be what the run
asks for; calls are cut to the third. What the program computes is read off its tensors, as for a state-dict file, or,
where their names were lost, off one trial run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected, DeviceError
from sapiens_bench.models.parts.checkpoints import is_finite, open_program

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISION_OF = {dtype: name for name, dtype in DTYPES.items()}
REFUSALS = ("Guard failed", "is invalid for input of size")  # how export and TorchScript say that a size does not fit


class SapiensProgram(nn.Module):
    """An archive that carries code, behind the interface of a network: image [B, 3, H, W] -> raw head output.

    Args:
        path: the archive; ``kind`` as ``checkpoints.sniff`` tells.
        pinned: its sha256 is named by the card or by the user.
        input_hw: the card's input size.
        outputs: channels that the card asks for.

    Raises:
        UntrustedCheckpoint: not pinned.
        CheckpointRejected: damaged, values that are not finite, or another input size.
        DeviceError: the program computes in another number format than the run asks for.
    """

    def __init__(
        self,
        path: Path,
        kind: Literal["torchscript", "export"],
        *,
        pinned: bool,
        input_hw: tuple[int, int],
        device: str,
        precision: str,
    ) -> None:
        super().__init__()
        program = open_program(path, kind, pinned, device=device)
        self.path, self.kind, self.input_hw, self.device, self.dtype = path, kind, input_hw, device, DTYPES[precision]
        spoilt = [name for name, tensor in program.state_dict().items() if not is_finite(tensor)]
        if spoilt:
            raise CheckpointRejected(f"{path} has NaN or infinite weights in {spoilt[0]}. Fetch it again.")
        self.batch: int | None = None  # images per call, where the program fixes it
        if kind == "export":
            self._check_input(_example_input(program, path), precision)
        else:
            program = program.to(device=device, dtype=self.dtype)
        self.program: Callable[[Tensor], Any] = program

    def _check_input(self, example: Tensor, precision: str) -> None:
        found = PRECISION_OF.get(example.dtype, str(example.dtype))
        if found != precision:
            raise DeviceError(f"{self.path} computes in {found}. Run it with --precision {found}.")
        size = tuple(example.shape[2:])
        if (
            example.ndim != 4
            or example.shape[1] != 3
            or any(type(s) is int and s != w for s, w in zip(size, self.input_hw))
        ):
            raise CheckpointRejected(
                f"{self.path} was exported for input {tuple(example.shape)}, the card asks for {self.input_hw}."
            )
        if type(example.shape[0]) is int:
            self.batch = example.shape[0]

    def named_weights(self) -> dict[str, Tensor]:
        """The program's tensors by name."""
        return dict(cast("nn.Module", self.program).state_dict())

    def forward(self, image: Tensor) -> Tensor:
        """Raw head output [B, C, h, w]."""
        if self.batch is not None:
            return torch.cat([self._padded(part, self.batch) for part in torch.split(image, self.batch)])
        return torch.cat(list(self._halving(image)))

    def _halving(self, image: Tensor) -> Iterator[Tensor]:
        """The whole batch, or halves where the program refuses so many, down to one; one image may need company."""
        try:
            yield self._call(image)
        except torch.OutOfMemoryError:
            raise  # the engine's business
        except (AssertionError, RuntimeError) as error:
            if len(image) > 1:  # which size it was traced with is not written in a TorchScript file
                for part in image.chunk(2):
                    yield from self._halving(part)
            elif any(text in str(error) for text in REFUSALS):
                yield self._padded(image, 2)
            else:
                raise

    def _padded(self, image: Tensor, n: int) -> Tensor:
        """The first image is repeated until there are ``n``; every image is computed on its own."""
        missing = n - len(image)
        if missing == 0:
            return self._call(image)
        return self._call(torch.cat([image, image[:1].expand(missing, -1, -1, -1)]))[: len(image)]

    def _call(self, image: Tensor) -> Tensor:
        out = self.program(image)
        out = out[0] if isinstance(out, tuple | list) and len(out) == 1 else out
        if not isinstance(out, Tensor) or out.ndim != 4:
            raise CheckpointRejected(f"{self.path} does not give one map [B, C, h, w] per image.")
        return out

    def trial_channels(self) -> int:
        """Output channels, by one run on a grey picture."""
        image = torch.zeros(1, 3, *self.input_hw, dtype=self.dtype, device=self.device)
        try:
            with torch.inference_mode():
                return int(self(image).shape[1])
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointRejected(
                f"{self.path} cannot be run on an image of {self.input_hw} ({reason[:200]})."
            ) from None


def _example_input(program: Any, path: Path) -> Tensor:
    """What the exported program was traced with: shape (symbolic where it may vary) and dtype."""
    inputs = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
        raise CheckpointRejected(f"{path} takes {len(inputs)} inputs; a Sapiens program takes one image tensor.")
    return inputs[0]
