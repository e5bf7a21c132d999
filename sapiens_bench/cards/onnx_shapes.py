"""What an ONNX file says of its inputs and outputs. Reads the file with ``onnx``; runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.errors import CheckpointRejected, raise_if_machine
from sapiens_bench.pixels.files import open_regular

Shape = tuple[int | None, ...]  # None: left open by the file


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """An input or output."""

    name: str
    shape: Shape | None  # None: not even the number of axes is stated
    dtype: str  # as numpy calls it


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """The inputs that are no weights, and the outputs."""

    inputs: tuple[OnnxTensor, ...]
    outputs: tuple[OnnxTensor, ...]


def onnx_facts(path: Path) -> OnnxFacts:
    """Inputs and outputs of a file.

    Raises:
        CheckpointRejected: it cannot be read.
    """
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf has error types of its own
        raise_if_machine(error)
        why = _looks_like(path) or " ".join(str(error).split())[:200]
        raise CheckpointRejected(f"{path} is not a readable ONNX file: {why}.") from None
    if not graph.node:
        raise CheckpointRejected(f"{path} is not a readable ONNX file: {_looks_like(path) or 'it has no network'}.")
    weights = {tensor.name for tensor in graph.initializer}
    given = [value for value in graph.input if value.name not in weights]
    return OnnxFacts(tuple(map(_tensor, given)), tuple(map(_tensor, graph.output)))


def _looks_like(path: Path) -> str:
    """What a file that is no ONNX evidently is instead; "" for everything else."""
    with open_regular(path) as file:
        start = file.read(64).lstrip()
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; `git lfs pull` fetches the file"
    return "it looks like a web page" if start.startswith(b"<") else ""


def _tensor(value: Any) -> OnnxTensor:
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(axis.dim_value if axis.dim_value > 0 else None for axis in kind.shape.dim)
    dtype = str(tensor_dtype_to_np_dtype(kind.elem_type)) if kind.elem_type else ""
    return OnnxTensor(value.name, shape, dtype)
