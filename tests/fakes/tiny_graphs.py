"""ONNX files of the forms that authors publish, at toy size: dense maps, and one-stage pose networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

H, W, K = 64, 96, 17  # of the one-stage network
FLOAT = TensorProto.FLOAT
Shapes = Mapping[str, Sequence[int | str]]


def written(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    constants: Mapping[str, NDArray[np.generic]],
    integers: Sequence[str] = (),
) -> Path:
    """A checked file whose inputs and outputs are float32, except the inputs named, which are int64."""
    kinds = dict.fromkeys(integers, TensorProto.INT64)
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, kinds.get(name, FLOAT), list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, list(shape)) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def dense_file(
    path: Path,
    outputs: Mapping[str, int],
    hw: tuple[int, int],
    *,
    stride: int = 1,
    channels_last: bool = False,
    batch: int | str = "batch",
) -> Path:
    """Every output is a random mixture of the picture's channels, sampled every ``stride`` pixels from the first on.

    Args:
        outputs: name -> channels.
        channels_last: [B, H, W, 3] in and [B, h, w, C] out.
    """
    rng = np.random.default_rng(0)
    height, width = ((side - 1) // stride + 1 for side in hw)
    nodes = [helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2])] if channels_last else []
    constants: dict[str, NDArray[np.generic]] = {}
    shapes: dict[str, list[int | str]] = {}
    for name, channels in outputs.items():
        constants[f"{name}_w"] = rng.normal(size=(channels, 3, 1, 1)).astype(np.float32)
        constants[f"{name}_b"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)
        source = "first" if channels_last else "image"
        raw = f"{name}_raw" if channels_last else name
        nodes.append(helper.make_node("Conv", [source, f"{name}_w", f"{name}_b"], [raw], strides=[stride, stride]))
        if channels_last:
            nodes.append(helper.make_node("Transpose", [raw], [name], perm=[0, 2, 3, 1]))
        shapes[name] = [batch, height, width, channels] if channels_last else [batch, channels, height, width]
    image: list[int | str] = [batch, *hw, 3] if channels_last else [batch, 3, *hw]
    return written(path, nodes, {"image": image}, shapes, constants)


def moge_file(path: Path) -> Path:
    """MoGe-2's inputs and outputs: a picture of any size and a number of tokens; points and normals of its pixels.

    The points grow with the number of tokens, so that one that never arrives is seen.
    """
    rng = np.random.default_rng(0)
    constants: dict[str, NDArray[np.generic]] = {"thousand": np.asarray(1000, np.float32)}
    nodes = [
        helper.make_node("Cast", ["num_tokens"], ["tokens"], to=FLOAT),
        helper.make_node("Div", ["tokens", "thousand"], ["size"]),
    ]
    for name in ("points", "normal"):
        constants[f"{name}_w"] = rng.normal(size=(3, 3, 1, 1)).astype(np.float32)
        constants[f"{name}_b"] = np.array([0.1, 0.2, 2.0 if name == "points" else -2.0], np.float32)
        nodes.append(helper.make_node("Conv", ["image", f"{name}_w", f"{name}_b"], [f"{name}_first"]))
        nodes.append(helper.make_node("Transpose", [f"{name}_first"], [f"{name}_last"], perm=[0, 2, 3, 1]))
    nodes += [
        helper.make_node("Mul", ["points_last", "size"], ["points"]),
        helper.make_node("Identity", ["normal_last"], ["normal"]),
        helper.make_node("ReduceMean", ["image"], ["mask"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["metric_scale"], axes=[1, 2, 3], keepdims=0),
    ]
    outputs: Shapes = {
        "points": ["batch", "height", "width", 3], "normal": ["batch", "height", "width", 3],
        "mask": ["batch", "height", "width"], "metric_scale": ["batch"],
    }  # fmt: skip
    inputs: Shapes = {"image": ["batch", 3, "height", "width"], "num_tokens": []}
    return written(path, nodes, inputs, outputs, constants, integers=["num_tokens"])


def one_stage_file(path: Path, dets: NDArray[np.float32], keypoints: NDArray[np.float32]) -> Path:
    """A network that finds the same people everywhere, but only in pictures whose first channel is not all grey.

    It gives the people whose score is above (mean of the first channel - 114) / 1000, so their number depends on the
    picture.
    """
    nodes = [
        helper.make_node("Slice", ["image", "zero", "one", "one"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "grey"], ["above"]),
        helper.make_node("Mul", ["above", "part"], ["least"]),
        helper.make_node("Greater", ["scores_all", "least"], ["is_kept"]),
        helper.make_node("Compress", ["dets_all", "is_kept"], ["some"], axis=0),
        helper.make_node("Compress", ["keypoints_all", "is_kept"], ["points"], axis=0),
        helper.make_node("Unsqueeze", ["some", "zero"], ["dets"]),
        helper.make_node("Unsqueeze", ["points", "zero"], ["keypoints"]),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "dets_all": dets.astype(np.float32),
        "keypoints_all": keypoints.astype(np.float32),
        "grey": np.asarray(114, np.float32),
        "part": np.asarray(0.001, np.float32),
        "scores_all": dets[:, 4].astype(np.float32),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
    }
    outputs = {"dets": [1, "N", 5], "keypoints": [1, "N", keypoints.shape[1], 3]}
    return written(path, nodes, {"image": [1, 3, H, W]}, outputs, constants)


def people(*scores: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Person i stands 10 px right of person i - 1; input pixels."""
    dets, keypoints = np.zeros((len(scores), 5), np.float32), np.zeros((len(scores), K, 3), np.float32)
    for i, score in enumerate(scores):
        dets[i] = 10 * i, 5, 10 * i + 8, 45, score
        keypoints[i, :, 0] = 10 * i + np.linspace(0, 8, K)
        keypoints[i, :, 1] = np.linspace(5, 45, K)
        keypoints[i, :, 2] = 0.5
    return dets, keypoints
