"""Any dense network as an ONNX file with a card: parts, depth or normals from one image input and one map output.

An ONNX file is data, not code; ONNX Runtime computes it, on the GPU where it can. Options: those of ``card_maps`` and
``output_name``, for files with several outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sapiens_bench.errors import CardError, CheckpointRejected, DeviceError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.parts.card_maps import CardMaps
from sapiens_bench.models.parts.person_crop import weights_path
from sapiens_bench.models.simcc import open_onnx


class OnnxMaps(CardMaps):
    """A dense ONNX network.

    Raises:
        WeightsMissing: no file.
        CheckpointRejected: no ONNX file, or one whose input or output is not what the card says.
        DeviceError: another precision than the file's own.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context, {"output_name"})
        if context.precision != "fp32":
            raise DeviceError(f"{self.name}: an ONNX file computes in its own precision. Run it with --precision fp32.")
        self.path = weights_path(context)
        self.session = open_onnx(self.path, context.device)
        self.input_name, self.batch = self._checked_input()
        self.output_name = self._chosen_output(context.options.get("output_name"))
        self.raw(torch.zeros(1, 3, *self.input_hw))  # shapes are checked before any picture is

    def _checked_input(self) -> tuple[str, int | None]:
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{i.name}: {i.type} {i.shape}" for i in inputs)
            raise CheckpointRejected(f"{self.path}: one float image input was expected, it takes {found}.")
        height, width = self.input_hw
        wanted = (3, height, width) if self.layout == "NCHW" else (height, width, 3)
        batch, *shape = inputs[0].shape
        if any(isinstance(s, int) and s != w for s, w in zip(shape, wanted, strict=True)):
            raise CheckpointRejected(
                f"{self.path} takes {shape}, the card of {self.name} says {list(wanted)} ({self.layout}). "
                "It is the file of another variant, or the card is wrong."
            )
        return inputs[0].name, batch if isinstance(batch, int) and batch > 0 else None

    def _chosen_output(self, name: object) -> str:
        names = [o.name for o in self.session.get_outputs()]
        if name is None and len(names) == 1:
            return str(names[0])
        if name not in names:
            raise CardError(f"{self.name}: option output_name is {name!r}; {self.path} has {', '.join(names)}.")
        return str(name)

    def call(self, image: Tensor) -> Tensor:
        array = np.ascontiguousarray(image.float().cpu().numpy())
        n, step = len(array), self.batch or len(array)
        parts = []
        for start in range(0, n, step):
            part = array[start : start + step]
            given = len(part)
            if given < step:  # a fixed batch is filled up with copies of the first picture
                part = np.concatenate([part, np.repeat(part[:1], step - given, axis=0)])
            parts.append(self._run(part)[:given])
        return torch.from_numpy(np.concatenate(parts)).to(image.device)

    def _run(self, array: NDArray[np.float32]) -> NDArray[Any]:
        try:
            (out,) = self.session.run([self.output_name], {self.input_name: array})
        except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointRejected(f"{self.path} cannot be run ({reason[:200]}).") from None
        return np.asarray(out)
