"""Tiny pose networks that find the brightest place of a crop, as ONNX files of every form that people export.

All K keypoints lie at that place. Sizes: input H x W, heatmaps at a quarter, two bins for each pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

K, H, W = 17, 96, 72
FLOAT = TensorProto.FLOAT
TYPES = {"fp32": FLOAT, "fp16": TensorProto.FLOAT16, "fp64": TensorProto.DOUBLE, "uint8": TensorProto.UINT8}
ANSWERS = {
    "heatmap": {"heatmaps": ["K", H // 4, W // 4]},
    "simcc": {"simcc_x": ["K", 2 * W], "simcc_y": ["K", 2 * H]},
    "pixel": {"xy": ["K", 2]},
    "share": {"xy": ["K", 2]},
}


def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), [output], **attributes)


def constant(name: str, value: Any, kind: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, kind), name)


def _nodes(answer: str, k: int) -> list[onnx.NodeProto]:
    """From ``x`` [B, 3, H, W], float32, to the answer's tensors."""
    grey = [
        node("ReduceMean", ["x"], "mean", axes=[1], keepdims=1),
        node("Add", ["mean", "ground"], "above"),  # black is above zero, normalised or not
        node("Mul", ["above", "fifth"], "grey"),
    ]
    if answer == "heatmap":
        pool = node("AveragePool", ["grey"], "small", kernel_shape=[4, 4], strides=[4, 4])
        return [*grey, pool, node("Concat", ["small"] * k, "raw_heatmaps", axis=1)]
    made = [
        *grey,
        node("AveragePool", ["grey"], "even", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("ReduceMax", ["even"], "columns", axes=[2], keepdims=0),
        node("ReduceMax", ["even"], "rows", axes=[3], keepdims=0),
    ]
    for side, name in (("columns", "raw_simcc_x"), ("rows", "raw_simcc_y")):
        if answer == "simcc":
            made += [
                node("Unsqueeze", [side, "last"], f"{side}4"),
                node("Concat", [f"{side}4"] * 2, f"{side}2", axis=3),
                node("Reshape", [f"{side}2", "flat"], f"{side}_long"),
                node("Concat", [f"{side}_long"] * k, name, axis=1),
            ]
        else:
            made += [
                node("ArgMax", [side], f"{side}_at", axis=2, keepdims=1),
                node("Cast", [f"{side}_at"], f"{side}_px", to=FLOAT),
                node("Div", [f"{side}_px", f"{side}_unit"], f"{side}_in"),
            ]
    if answer in ("pixel", "share"):
        made += [
            node("Concat", ["columns_in", "rows_in"], "one", axis=2),
            node("Concat", ["one"] * k, "raw_xy", axis=1),
        ]
    return made


def write(
    path: Path,
    answer: str = "heatmap",
    *,
    kind: str = "fp32",
    batch: int | str = "batch",
    inner_batch: int | None = None,
    k: int = K,
    names: dict[str, str] | None = None,
    extra: bool = False,
    external: str | None = None,
    channels_last: bool = False,
) -> Path:
    """A file.

    Args:
        kind: number format of the input, and of the answer unless it is uint8.
        batch: first dimension of the input, a number or a name.
        inner_batch: a reshape inside fixes the batch to it, whatever the input's name says.
        names: other names of the outputs, in the order they are listed in.
        extra: one more output that means nothing.
        external: file beside it that holds the large tensors.
        channels_last: [B, H, W, 3] in and [B, h, w, K] out.
    """
    shapes = {name: [batch, *(k if s == "K" else s for s in shape)] for name, shape in ANSWERS[answer].items()}
    renamed = names or {name: name for name in shapes}
    start = [node("Cast", ["input"], "x_as_given", to=FLOAT)]
    if channels_last:
        start.append(node("Transpose", ["x_as_given"], "x_in_order", perm=[0, 3, 1, 2]))
    last = "x_in_order" if channels_last else "x_as_given"
    start.append(node("Reshape", [last, "input_shape"], "x"))
    out_type = FLOAT if kind == "uint8" else TYPES[kind]
    body = _nodes(answer, k)
    ends, outputs = [], []
    for name, shown in renamed.items():
        source, shape = f"raw_{name}", shapes[name]
        if channels_last and len(shape) == 4:
            ends.append(node("Transpose", [source], f"last_{name}", perm=[0, 2, 3, 1]))
            source, shape = f"last_{name}", [batch, *shape[2:], k]
        ends.append(node("Cast", [source], shown, to=out_type))
        outputs.append(helper.make_tensor_value_info(shown, out_type, shape))
    if extra:
        ends.append(node("Identity", ["grey"], "feat"))
        outputs.append(helper.make_tensor_value_info("feat", FLOAT, [batch, 1, H, W]))
    units = {"columns_unit": 1.0 if answer == "pixel" else W, "rows_unit": 1.0 if answer == "pixel" else H}
    stored = [
        constant("input_shape", [0 if inner_batch is None else inner_batch, 3, H, W], np.int64),
        constant("last", [3], np.int64),
        constant("flat", [0, 0, -1], np.int64),
        constant("ground", np.full((1, 1, H, W), 2.5)),
        constant("fifth", 0.2),
        *(constant(name, value) for name, value in units.items()),
    ]
    used = {name for n in (*start, *body, *ends) for name in n.input}
    shape_in = [batch, H, W, 3] if channels_last else [batch, 3, H, W]
    graph = helper.make_graph(
        [*start, *body, *ends],
        "tiny",
        [helper.make_tensor_value_info("input", TYPES[kind], shape_in)],
        outputs,
        [tensor for tensor in stored if tensor.name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    if external is None:
        onnx.save(model, str(path))
    else:
        onnx.save(model, str(path), save_as_external_data=True, location=external, size_threshold=1024)
    return path


def write_endless(path: Path, hw: tuple[int, int] = (H, W)) -> Path:
    """Heatmaps of a graph with a loop that never ends."""
    body = helper.make_graph(
        [node("Identity", ["on"], "on_out"), node("Add", ["value", "one"], "value_out")],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value_out", FLOAT, None),
        ],
        [constant("one", 1.0)],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "always", "input"], ["heatmaps"], body=body)],
        "endless",
        [helper.make_tensor_value_info("input", FLOAT, ["batch", 3, *hw])],
        [helper.make_tensor_value_info("heatmaps", FLOAT, None)],
        [constant("always", True, np.bool_)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path
