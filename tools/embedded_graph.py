"""The graph description that ``convert_embedded.py`` builds: collecting, simplifying and writing it. Numpy only."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Op = dict[str, Any]

FUSABLE = ("conv", "conv_transpose", "add", "mul")  # operations that can end in an activation


class Refused(Exception):
    """The source holds something the converter does not translate, or is not the published file."""


@dataclass
class Graph:
    """The description under construction. Values are named ``v0`` (the input), ``v1`` ...; weights after their op."""

    input_size: int
    ops: list[Op] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)  # public name -> value
    taps: dict[str, str] = field(default_factory=dict)
    n_values: int = 1

    def add(self, op: str, inputs: list[str], tensors: dict[str, Array] | None = None, **attributes: Any) -> str:
        """Append an operation; returns the name of its value. Attributes that are None are left out."""
        out = f"v{self.n_values}"
        self.n_values += 1
        entry: Op = {"op": op, "in": inputs, "out": out}
        for role, array in (tensors or {}).items():
            entry[role] = f"{out}.{role}"
            self.tensors[f"{out}.{role}"] = np.ascontiguousarray(array)
        entry.update({key: value for key, value in attributes.items() if value is not None})
        self.ops.append(entry)
        return out


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME: (before, after); the odd pixel goes after."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def simplify(graph: Graph) -> None:
    """Fold padding and activations into convolutions; drop what no output or tap needs."""
    kept = {*graph.outputs.values(), *graph.taps.values()}
    readers: dict[str, int] = {}
    for name in [source for op in graph.ops for source in op["in"]]:
        readers[name] = readers.get(name, 0) + 1
    maker = {op["out"]: op for op in graph.ops}
    for op in graph.ops:
        before = maker.get(op["in"][0])
        if before is None or readers[before["out"]] != 1 or before["out"] in kept:
            continue
        if op["op"] == "conv" and before["op"] == "pad" and not before["channels"]:
            op["in"] = before["in"]
            op["pad"] = [a + b for a, b in zip(op["pad"], before["pad"], strict=True)]
        elif op["op"] == "act" and before["op"] in FUSABLE and "act" not in before:
            name, before["out"] = before["out"], op["out"]  # the earlier operation takes the activation's place
            before["act"] = op["act"]
            maker[op["out"]] = before
            op.update(op="dead", out=name)
    needed, ops = set(kept), []
    for op in reversed(graph.ops):
        if op["op"] != "dead" and op["out"] in needed:
            needed.update(op["in"])
            ops.append(op)
    graph.ops = ops[::-1]
    used = {value for op in graph.ops for value in op.values() if isinstance(value, str)}
    graph.tensors = {k: v for k, v in graph.tensors.items() if k in used or k.startswith("decode.")}


def safetensors_bytes(tensors: dict[str, Array], metadata: dict[str, str]) -> bytes:
    """A safetensors file with a fixed order of everything (the usual writer hashes its metadata keys)."""
    dtypes = {np.dtype(np.float16): "F16", np.dtype(np.float32): "F32"}
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    chunks: list[bytes] = []
    offset = 0
    for name, array in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        span = [offset, offset + len(data)]
        header[name] = {"dtype": dtypes[array.dtype], "shape": list(array.shape), "data_offsets": span}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)
