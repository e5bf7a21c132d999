"""Networks given as data: a safetensors file with a graph description, executed in plain torch.

The description is JSON in the file's metadata (key ``graph``, written by ``tools/convert_embedded.py``). It lists
operations on values ``v0`` (the input), ``v1`` ...; nothing in it is code. Values are NCHW. Any value can be asked for:
by the name of an output, by the name of a tap (``stride4`` ... ``stride32``, features for dense heads), or as ``v<n>``;
only what leads to the values asked for is computed.

Axes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sapiens_bench.errors import CheckpointRejected, ShapeError
from sapiens_bench.models.parts.precision import DTYPES

FORMAT = "sapiens-bench-graph/1"
ROLES = ("weight", "bias", "scale", "shift")  # keys of an operation that name a tensor

Tensors = dict[str, Tensor]


def _none(x: Tensor) -> Tensor:
    return x


# Each works in place: it is only ever applied to a tensor that the same operation has just made.
ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: _none,
    "relu": torch.relu_,
    "relu6": lambda x: F.hardtanh_(x, 0.0, 6.0),
    "hardswish": lambda x: F.hardswish(x, inplace=True),
    "sigmoid": torch.sigmoid_,
}


class Operation(nn.Module):
    """One line of the description. ``weights`` are its tensors by role; they become parameters without gradient."""

    roles: tuple[str, ...] = ()  # tensors it must have
    n_inputs = 1
    makes_view = False  # the result shares memory with the input

    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__()
        self.act = ACTIVATIONS[line.get("act")]
        for role in self.roles:
            self.register_parameter(role, nn.Parameter(weights[role], requires_grad=False))


class Conv(Operation):
    """Convolution with zero padding and an activation; grouped when ``groups`` is given."""

    weight: Tensor  # [C_out, C_in / groups, kH, kW]
    bias: Tensor | None
    roles = ("weight",)

    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__(line, weights)
        bias = weights.get("bias")
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))
        left, right, top, bottom = (int(n) for n in line["pad"])
        self.stride = (int(line["stride"][0]), int(line["stride"][1]))
        self.groups = int(line.get("groups", 1))
        symmetric = left == right and top == bottom
        self.padding = (top, left) if symmetric else (0, 0)
        self.extra = None if symmetric else (left, right, top, bottom)

    def forward(self, x: Tensor) -> Tensor:
        if self.extra is not None:
            x = F.pad(x, self.extra)
        return self.act(F.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups))


class ConvTranspose(Operation):
    """Transposed convolution whose kernel is as large as its stride: every output pixel has one source."""

    weight: Tensor  # [C_in, C_out, kH, kW]
    bias: Tensor
    roles = ("weight", "bias")

    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__(line, weights)
        self.stride = (int(line["stride"][0]), int(line["stride"][1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.act(F.conv_transpose2d(x, self.weight, self.bias, self.stride))


class Affine(Operation):
    """Normalisation of the input: ``x * scale + shift`` per channel. Its constants are buffers, not parameters."""

    scale: Tensor  # [1, C, 1, 1]
    shift: Tensor

    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__(line, weights)
        for role in ("scale", "shift"):
            self.register_buffer(role, weights[role].view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class Add(Operation):
    n_inputs = 2

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.act(a + b)

    def onto_first(self, a: Tensor, b: Tensor) -> Tensor:
        """The same, written over ``a``."""
        return self.act(a.add_(b))


class Mul(Operation):
    """Product; ``b`` may be [B, C, 1, 1] (channel attention)."""

    n_inputs = 2

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.act(a * b)


class Act(Operation):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(x.clone())


class Prelu(Operation):
    weight: Tensor  # [C], slopes below zero
    roles = ("weight",)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.weight)


class Pad(Operation):
    """Zeros around the map and behind the channels."""

    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__(line, weights)
        left, right, top, bottom = (int(n) for n in line["pad"])
        self.pad = (left, right, top, bottom, 0, int(line["channels"]))

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.pad)


class Resize(Operation):
    """Bilinear, half-pixel centres, to a fixed size (in the network's own input size)."""

    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__(line, weights)
        self.size = (int(line["size"][0]), int(line["size"][1]))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False)

    def at(self, x: Tensor, share_hw: tuple[Fraction, Fraction]) -> Tensor:
        """The same for an input whose sides are these shares of the network's own."""
        size = [math.ceil(side * share) for side, share in zip(self.size, share_hw, strict=True)]
        return F.interpolate(x, size, mode="bilinear", align_corners=False)


class MaxPool(Operation):
    def __init__(self, line: dict[str, Any], weights: Tensors) -> None:
        super().__init__(line, weights)
        self.kernel = (int(line["kernel"][0]), int(line["kernel"][1]))
        self.stride = (int(line["stride"][0]), int(line["stride"][1]))

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, self.kernel, self.stride)


class Mean(Operation):
    """Mean over the map: [B, C, H, W] -> [B, C, 1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class Flatten(Operation):
    """[B, C, 1, 1] -> [B, C]."""

    makes_view = True

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


OPERATIONS: dict[str, type[Operation]] = {
    "conv": Conv,
    "conv_transpose": ConvTranspose,
    "affine": Affine,
    "add": Add,
    "mul": Mul,
    "act": Act,
    "prelu": Prelu,
    "pad": Pad,
    "resize": Resize,
    "max_pool": MaxPool,
    "mean": Mean,
    "flatten": Flatten,
}


class Step(NamedTuple):
    """One call of the plan."""

    call: Callable[..., Tensor]
    inputs: tuple[str, ...]
    out: str
    release: tuple[str, ...]  # values nobody reads after this step


class Graph(nn.Module):
    """An executable network.

    Args:
        description: as in the file's metadata.
        tensors: name -> tensor; converted to ``dtype``.
        dtype: of weights and computation.

    Attributes:
        input_size: side of the square input in pixels.
        outputs: names of the outputs in the description's order.
        taps: names of the feature maps, finest first.
        constants: tensors that belong to no operation (of the decoding), float32, by name; buffers of the module.
    """

    def __init__(self, description: dict[str, Any], tensors: Tensors, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']!r}, this version reads {FORMAT!r}")
        self.name = str(description["name"])
        self.input_size = int(description["input"]["size"])
        self.outputs = tuple(description["outputs"])
        self.taps = tuple(description["taps"])
        self._value_of: dict[str, str] = {**description["outputs"], **description["taps"]}
        self._lines: list[dict[str, Any]] = list(description["ops"])
        self.operations = nn.ModuleDict()
        known: set[str] = {"v0"}
        used: set[str] = set()
        for line in self._lines:
            kind = OPERATIONS[line["op"]]
            if len(line["in"]) != kind.n_inputs or not known.issuperset(line["in"]) or line["out"] in known:
                raise ValueError(f"operation {line['out']!r} reads values that do not exist, or repeats a name")
            names: dict[str, str] = {role: line[role] for role in ROLES if role in line}
            weights = {role: tensors[name].to(dtype) for role, name in names.items()}
            self.operations[line["out"]] = kind(line, weights)
            known.add(line["out"])
            used.update(names.values())
        if not known.issuperset(self._value_of.values()):
            raise ValueError("an output is not computed by any operation")
        self._constant_names = sorted(set(tensors) - used)
        for name in self._constant_names:
            self.register_buffer("constant_" + name.replace(".", "_"), tensors[name].float())
        self._plans: dict[tuple[str, ...], list[Step]] = {}

    @property
    def constants(self) -> Tensors:
        return {name: self.get_buffer("constant_" + name.replace(".", "_")) for name in self._constant_names}

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, x: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Run the network, or the part of it that ``outputs`` need.

        Args:
            x: [B, 3, S, S] in the units the network was trained with (MoveNet 0..255, MediaPipe 0..1), any real dtype.
            outputs: names of outputs, taps or values; default: every output.

        Returns: name -> [B, C, H, W] or [B, C], in the dtype of the weights.

        Raises:
            ShapeError: ``x`` has another size, or an output is unknown.
        """
        side = self.input_size
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, side, side):
            raise ShapeError(f"{self.name}: input is {tuple(x.shape)}, expected [B, 3, {side}, {side}]")
        wanted = self.outputs if outputs is None else tuple(outputs)
        return self._planned(x, wanted)

    def features(self, x: Tensor, wanted: Sequence[str]) -> list[Tensor]:
        """Taps or values of the convolutional part, for an input of any size that is a multiple of 32.

        Convolutions do not care for the size; enlargements keep their factor. Values behind a fixed-size layer (a
        flattened vector) are not for this.

        Raises:
            ShapeError: a side is no multiple of 32, or a value is unknown.
        """
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 32 or x.shape[3] % 32:
            raise ShapeError(f"{self.name}: input is {tuple(x.shape)}; both sides must be multiples of 32")
        found = self._planned(x, tuple(wanted))
        return [found[name] for name in wanted]

    def _planned(self, x: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        if wanted not in self._plans:
            self._plans[wanted] = self._plan(wanted)
        x = x.to(self.dtype, memory_format=torch.channels_last)
        is_traced = torch.is_grad_enabled() or torch.compiler.is_compiling()  # a loop would be unrolled for this batch
        if not is_traced and x.device.type == "cpu" and len(x) > 1:
            # One image at a time: the maps stay in the cache, and the bits do not depend on the batch.
            parts = [self._run(part, wanted) for part in torch.tensor_split(x, len(x))]
            return {name: torch.cat([part[name] for part in parts]) for name in wanted}
        return self._run(x, wanted)

    def _run(self, x: Tensor, wanted: tuple[str, ...]) -> dict[str, Tensor]:
        values = {"v0": x}
        share = (Fraction(x.shape[2], self.input_size), Fraction(x.shape[3], self.input_size))
        for step in self._plans[wanted]:
            inputs = [values[name] for name in step.inputs]
            if share != (Fraction(1), Fraction(1)) and isinstance(step.call, Resize):
                values[step.out] = step.call.at(inputs[0], share)
            else:
                values[step.out] = step.call(*inputs)
            for name in step.release:
                del values[name]
        return {name: values[self._value_of.get(name, name)] for name in wanted}

    def _plan(self, wanted: tuple[str, ...]) -> list[Step]:
        """The operations that ``wanted`` needs, in order; sums overwrite an operand that is not read again."""
        goals = {self._value_of.get(name, name) for name in wanted}
        unknown = goals - {line["out"] for line in self._lines}
        if unknown:
            raise ShapeError(f"{self.name} has no output {', '.join(sorted(unknown))}")
        needed, lines = set(goals), []
        for line in reversed(self._lines):
            if line["out"] in needed:
                needed.update(line["in"])
                lines.append(line)
        lines.reverse()
        last_read = {name: index for index, line in enumerate(lines) for name in line["in"]}
        shared = {"v0"} | {line["in"][0] for line in lines if OPERATIONS[line["op"]].makes_view}
        shared |= {line["out"] for line in lines if OPERATIONS[line["op"]].makes_view}
        steps = []
        for index, line in enumerate(lines):
            inputs = tuple(line["in"])
            call: Callable[..., Tensor] = self.operations[line["out"]]
            dying = tuple(sorted({name for name in inputs if last_read[name] == index} - goals))
            if isinstance(call, Add):
                free = [name for name in inputs if name in dying and name not in shared and inputs.count(name) == 1]
                if free:
                    inputs = (free[0], *(name for name in inputs if name != free[0]))
                    call = _sum(call)
            steps.append(Step(call, inputs, line["out"], dying))
        return steps


def _sum(add: Add) -> Callable[[Tensor, Tensor], Tensor]:
    """In place when no gradient is recorded; autograd may still need the operand."""
    return lambda a, b: add(a, b) if torch.is_grad_enabled() else add.onto_first(a, b)


def load_graph(path: Path, device: str = "cpu", precision: str = "fp32") -> Graph:
    """The network of a converted file, in evaluation mode, on ``device`` ("meta" included).

    Args:
        path: a file written by ``tools/convert_embedded.py``.
        precision: ``fp32``, ``bf16`` or ``fp16``; the stored fp16 weights are widened once, here.

    Raises:
        CheckpointRejected: not such a file, truncated, or with weights that are missing or not finite.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if "graph" not in metadata:
            raise ValueError("it carries no graph description; expected a file made by tools/convert_embedded.py")
        bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
        if bad:
            raise ValueError(f"{len(bad)} tensors hold NaN or infinity, first {bad[0]!r}")
        graph = Graph(json.loads(metadata["graph"]), tensors, DTYPES[precision])
    except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointRejected(f"{path} cannot be used: {reason}. Restore the file and run again.") from error
    graph.to(memory_format=torch.channels_last)  # 15 to 40 % faster than the default strides on a CPU
    return graph.to(device).eval()
