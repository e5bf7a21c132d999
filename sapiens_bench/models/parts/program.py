"""Networks that come as programs: TorchScript and torch.export archives.

A program brings its own number format, input size and number of images per call. The first two must be what the run
asks for; calls are cut to the third. What it computes is read off its tensors, as for a state-dict file, or, where
their names were lost, off one trial run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from sapiens_bench.errors import CheckpointRejected, DeviceError
from sapiens_bench.models.parts.checkpoints import is_finite, open_program
from sapiens_bench.models.parts.precision import DTYPES, PRECISION_OF

REFUSALS = ("Guard failed", "is invalid for input of size")  # how export and TorchScript say that a size does not fit
Outputs = tuple[Tensor, ...]


class Called(nn.Module):
    """Whatever answers pictures [B, 3, H, W] with tensors, behind the interface of a network.

    Args:
        program: of one tensor; answers with a tensor, a tuple or list of them, or a dict.
        path: its file, or what stands for it in messages.
        input_hw: the card's input size.
    """

    def __init__(
        self, program: Callable[[Tensor], Any], path: Path, input_hw: tuple[int, int], device: str, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.path, self.input_hw, self.device, self.dtype = path, input_hw, device, dtype
        self.batch: int | None = None  # images per call, where the program fixes it
        self.program = program

    def named_weights(self) -> dict[str, Tensor]:
        """The program's tensors by name."""
        return dict(cast("nn.Module", self.program).state_dict())

    def forward(self, image: Tensor) -> Tensor:
        """One map [B, C, h, w] per image.

        Raises:
            CheckpointRejected: the program answers with something else.
        """
        found = self.outputs(image)
        if len(found) != 1 or found[0].ndim != 4:
            raise CheckpointRejected(f"{self.path} does not give one map [B, C, h, w] per image.")
        return found[0]

    def outputs(self, image: Tensor) -> Outputs:
        """Every tensor of the program's answer, images along the first axis."""
        if self.batch is not None:
            parts = [self._padded(part, self.batch) for part in torch.split(image, self.batch)]
        else:
            parts = list(self._halving(image))
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def _halving(self, image: Tensor) -> Iterator[Outputs]:
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

    def _padded(self, image: Tensor, n: int) -> Outputs:
        """The first image is repeated until there are ``n``; every image is computed on its own."""
        missing = n - len(image)
        if missing == 0:
            return self._call(image)
        found = self._call(torch.cat([image, image[:1].expand(missing, -1, -1, -1)]))
        return tuple(tensor[: len(image)] for tensor in found)

    def _call(self, image: Tensor) -> Outputs:
        out = self.program(image)
        found = (
            tuple(out.values()) if isinstance(out, dict) else tuple(out) if isinstance(out, tuple | list) else (out,)
        )
        if not found or any(not isinstance(t, Tensor) or t.ndim == 0 or len(t) != len(image) for t in found):
            raise RuntimeError("it does not answer with tensors of one row for each image")
        return found

    def trial(self) -> Outputs:
        """What one grey picture gives.

        Raises:
            CheckpointRejected: it cannot be run.
        """
        image = torch.zeros(1, 3, *self.input_hw, dtype=self.dtype, device=self.device)
        try:
            with torch.inference_mode():
                return self.outputs(image)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointRejected(
                f"{self.path} cannot be run on an image of {self.input_hw} ({reason[:200]})."
            ) from None

    def trial_channels(self) -> int:
        """Channels of its map, by one run on a grey picture."""
        found = self.trial()
        if len(found) != 1 or found[0].ndim != 4:
            raise CheckpointRejected(f"{self.path} does not give one map [B, C, h, w] per image.")
        return int(found[0].shape[1])


class Program(Called):
    """An archive that carries code.

    Args:
        path: the archive; ``kind`` as ``checkpoints.sniff`` tells.
        pinned: its sha256 is named by the card or by the user.
        input_hw: the card's input size.

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
        program = open_program(path, kind, pinned, device=device)
        dtype = DTYPES[precision]
        spoilt = [name for name, tensor in program.state_dict().items() if not is_finite(tensor)]
        if spoilt:
            raise CheckpointRejected(f"{path} has NaN or infinite weights in {spoilt[0]}. Fetch it again.")
        if kind == "torchscript":
            program = program.to(device=device, dtype=dtype)
        super().__init__(program, path, input_hw, device, dtype)
        self.kind = kind
        if kind == "export":
            self._check_input(_example_input(program, path), precision)

    def _check_input(self, example: Tensor, precision: str) -> None:
        found = PRECISION_OF.get(example.dtype)
        if found is None:
            raise CheckpointRejected(f"{self.path} takes {example.dtype}. Export it with a floating-point input.")
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


def _example_input(program: Any, path: Path) -> Tensor:
    """What the exported program was traced with: shape (symbolic where it may vary) and dtype."""
    inputs = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
        raise CheckpointRejected(f"{path} takes {len(inputs)} inputs; one image tensor was expected.")
    return inputs[0]
