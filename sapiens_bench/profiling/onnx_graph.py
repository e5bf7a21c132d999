"""Parameters and MACs of an ONNX file: parameters from its initialisers, MACs from the shapes of its graph.

Shapes come from running the graph once, unoptimised, with ONNX Runtime's own profiler, which writes the shapes of every
node: that also resolves dynamic shapes and subgraphs.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.profiling.record import CountRecord, ModuleCount

# TensorProto.DataType of weights: float, (u)int8 (quantised), fp16, double, bf16. Integers hold shapes and indices.
_WEIGHT_TYPES = {1: 4, 2: 1, 3: 1, 10: 2, 11: 8, 16: 2}
_LINEAR = {"Conv", "ConvTranspose", "Gemm", "FusedConv", "ConvInteger", "QLinearConv", "MatMulInteger"}
_UNCOUNTED = {"LSTM", "GRU", "RNN", "Einsum", "GridSample", "Attention", "MultiHeadAttention", "DFT"}
_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}  # fmt: skip


class Initialiser(NamedTuple):
    name: str
    shape: tuple[int, ...]
    data_type: int

    @property
    def size(self) -> int:
        return prod(self.shape)


def initialisers(path: Path) -> list[Initialiser]:
    """Every initialiser of the main graph; weights that lie in another file are not read.

    Raises:
        CheckpointRejected: not an ONNX file, or cut off.
    """
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf has error types of its own
        raise CheckpointRejected(f"{path} is not a readable ONNX file: {error}.") from None
    if not graph.node:
        raise CheckpointRejected(f"{path} is not a readable ONNX file: it has no graph.")
    return [Initialiser(tensor.name, tuple(tensor.dims), tensor.data_type) for tensor in graph.initializer]


def count_onnx(path: Path, sizes: Mapping[str, int] | None = None) -> CountRecord:
    """What one pass of the graph costs at batch 1.

    Args:
        sizes: values for dynamic dimensions, by their name in the graph ("height": 256). The height and width of a
            picture are found by their place, too, whatever the graph calls them.

    Raises:
        UsageError: a dynamic dimension other than the batch has no size; names it.
        CheckpointRejected: ONNX Runtime cannot run the file.
    """
    weights = [w for w in initialisers(path) if w.data_type in _WEIGHT_TYPES]
    nodes, feeds, outputs = _run(path, sizes or {})
    by_op: Counter[str] = Counter()
    activations = 0
    for op, inputs, outs in nodes:
        macs = node_macs(op, inputs, outs)
        by_op[op] += macs
        activations += prod(outs[0]) if macs and outs else 0
    total = sum(by_op.values())
    linear = sum(n for op, n in by_op.items() if op in _LINEAR)
    linear += sum(node_macs(op, i, o) for op, i, o in nodes if op == "MatMul" and len(i) == 2 and len(i[1]) == 2)
    params = sum(w.size for w in weights)
    uncounted = Counter(op for op, _, _ in nodes if op in _UNCOUNTED)
    first = next(iter(feeds.values()))
    tall, wide = picture_axes(first.shape) if first.ndim == 4 else (0, 0)
    return CountRecord(
        params_total=params,
        macs_linear=linear,
        macs_total=total,
        activations=activations,
        input_bytes=sum(array.nbytes for array in feeds.values()),
        output_bytes=sum(array.nbytes for array in outputs),
        peak_activation_bytes=4 * max((prod(o[0]) for _, _, o in nodes if o), default=0),
        weight_bytes=sum(w.size * _WEIGHT_TYPES[w.data_type] for w in weights),
        method="onnx",
        input_hw=(first.shape[tall], first.shape[wide]) if first.ndim == 4 else None,
        uncounted=dict(uncounted),
        modules=[ModuleCount(name=op, params=0, macs=n, share=n / max(1, total)) for op, n in by_op.most_common() if n],
    )


Shapes = list[tuple[int, ...]]


def node_macs(op: str, inputs: Shapes, outputs: Shapes) -> int:
    """MACs of one node from its shapes; 0 for operations that are not products.

    Convolution weights are [C_out, C_in / groups, k ...], transposed ones [C_in, C_out / groups, k ...].
    """
    if not outputs or not inputs:
        return 0
    out = prod(outputs[0])
    if op in ("Conv", "FusedConv", "ConvInteger"):
        return out * prod(inputs[1][1:])
    if op == "QLinearConv":
        return out * prod(inputs[3][1:])
    if op == "ConvTranspose":
        return prod(inputs[0]) * prod(inputs[1][1:])
    if op in ("MatMul", "MatMulInteger"):
        return out * (inputs[0][-1] if inputs[0] else 1)
    if op == "Gemm":
        return out * (prod(inputs[0]) // max(1, outputs[0][0]))
    return 0


def _run(path: Path, sizes: Mapping[str, int]) -> tuple[list[tuple[str, Shapes, Shapes]], dict[str, Any], list[Any]]:
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights have no shape any more
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "shapes")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            feeds = {i.name: _dummy(path, i, sizes) for i in session.get_inputs()}
            outputs = session.run(None, feeds)
        except UsageError:
            raise
        except Exception as error:  # onnxruntime has exception types of its own, without a common root
            raise CheckpointRejected(f"{path} cannot be run: {str(error).splitlines()[0][:300]}") from None
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = []
    for event in events:
        facts = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes.append((facts["op_name"], _shapes(facts["input_type_shape"]), _shapes(facts["output_type_shape"])))
    return nodes, feeds, list(outputs)


def picture_axes(shape: Sequence[Any]) -> tuple[int, int]:
    """Axes of the height and width of a picture of four axes: those behind the batch where the channels come last."""
    return (1, 2) if shape[3] == 3 and shape[1] != 3 else (2, 3)


def _dummy(path: Path, wanted: Any, sizes: Mapping[str, int]) -> Any:
    shape = []
    places = dict(zip(picture_axes(wanted.shape), ("height", "width"))) if len(wanted.shape) == 4 else {}
    for axis, size in enumerate(wanted.shape):
        if isinstance(size, int) and size > 0:
            shape.append(size)
        elif size in sizes:
            shape.append(sizes[size])
        elif places.get(axis) in sizes:
            shape.append(sizes[places[axis]])
        elif axis == 0:
            shape.append(1)  # the batch
        else:
            raise UsageError(
                f"{path.name}: input {wanted.name!r} has a dynamic size {size!r} at axis {axis}; give --input HxW."
            )
    return np.zeros(shape, _TYPES.get(wanted.type, np.float32))


def _shapes(entries: list[dict[str, list[int]]]) -> Shapes:
    return [tuple(shape) for entry in entries for shape in entry.values()]
