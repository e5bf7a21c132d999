"""Counting an ONNX file, against products worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.profiling.onnx_graph import count_onnx, initialisers


def weight(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)


def network(path: Path, height: int | str = 8, width: int | str = 6, **saved: object) -> Path:
    """Conv 3 -> 4 (3x3, stride 2, padded), grouped conv 4 -> 4 (2 groups, 1x1), flatten, matmul to 5."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["y"]),
    ]
    weights = [weight("w1", (4, 3, 3, 3)), weight("w2", (4, 4, 1, 1)), weight("w3", (48, 5))]
    weights.append(numpy_helper.from_array(np.array([0, -1]), "shape"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, height, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path, **saved)
    return path


def test_parameters_come_from_initialisers_and_leave_shapes_out(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx")
    assert {w.name: w.shape for w in initialisers(path)} == {
        "w1": (4, 3, 3, 3), "w2": (4, 4, 1, 1), "w3": (48, 5), "shape": (2,)
    }  # fmt: skip
    assert count_onnx(path).params_total == 108 + 16 + 240


def test_weights_in_another_file_are_counted_the_same(tmp_path: Path) -> None:
    apart = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 200}
    path = network(tmp_path / "apart.onnx", **apart)
    assert (tmp_path / "weights.bin").is_file()
    assert count_onnx(path) == count_onnx(network(tmp_path / "whole.onnx"))


def test_macs_by_hand(tmp_path: Path) -> None:
    found = count_onnx(network(tmp_path / "net.onnx"))
    first, second, last = 12 * 4 * 27, 12 * 4 * 4, 48 * 5
    assert found.macs_total == found.macs_linear == first + second + last
    assert found.activations == 48 + 48 + 5
    assert (found.input_hw, found.method, found.output_bytes) == ((8, 6), "onnx", 20)


def test_a_dynamic_size_without_a_value_is_a_message_and_with_one_is_counted(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", "height", "width")
    with pytest.raises(UsageError, match=r"'height'.*--input"):
        count_onnx(path)
    assert count_onnx(path, {"height": 8, "width": 6}).macs_total == count_onnx(network(tmp_path / "b.onnx")).macs_total


@pytest.mark.parametrize("data", [b"", b"no onnx at all", bytes(range(200)), b"\x3a\xff\xff\xff\x7f"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(CheckpointRejected, match=r"bad\.onnx"):
        count_onnx(path)


def test_a_file_cut_off_is_refused(tmp_path: Path) -> None:
    whole = network(tmp_path / "net.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointRejected):
        count_onnx(path)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_pictures_sides_are_found_by_their_place_whatever_the_graph_calls_them(
    tmp_path: Path, channels_last: bool
) -> None:
    """BodyPix calls them unk__349 and unk__350, with the channels last."""
    shape = ["n", "unk__349", "unk__350", 3] if channels_last else ["n", 3, "a", "b"]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    first = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])] if channels_last else []
    nodes = [*first, helper.make_node("Conv", ["t" if channels_last else "x", "w1"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight("w1", (4, 3, 1, 1))])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    found = count_onnx(tmp_path / "net.onnx", {"height": 10, "width": 7})
    assert found.input_hw == (10, 7)
    assert found.macs_total == 10 * 7 * 4 * 3
