from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.profiling.onnx_graph import count_onnx, initialisers

_spec = importlib.util.spec_from_file_location("onnx_writer", Path(__file__).with_name("onnx_writer.py"))
assert _spec is not None
assert _spec.loader is not None
onnx = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(onnx)


def network(path: Path, height: int | str = 8, width: int | str = 6) -> Path:
    """Conv 3 -> 4 (3x3, stride 2, padded), grouped conv 4 -> 4 (2 groups, 1x1), flatten, matmul to 5."""
    nodes = [
        onnx.node("Conv", ["x", "w1"], ["a"], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        onnx.node("Relu", ["a"], ["b"]),
        onnx.node("Conv", ["b", "w2"], ["c"]),
        onnx.node("Reshape", ["c", "shape"], ["d"]),
        onnx.node("MatMul", ["d", "w3"], ["y"]),
    ]
    weights = [onnx.weight("w1", (4, 3, 3, 3)), onnx.weight("w2", (4, 4, 1, 1)), onnx.weight("w3", (48, 5))]
    weights.append(onnx.integers("shape", [0, -1]))
    outputs = [onnx.value("y", ["n", 5])]
    return onnx.write(path, nodes, weights, [onnx.value("x", ["n", 3, height, width])], outputs)


def test_parameters_come_from_initialisers_and_leave_shapes_out(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx")
    assert {w.name: w.shape for w in initialisers(path)} == {
        "w1": (4, 3, 3, 3), "w2": (4, 4, 1, 1), "w3": (48, 5), "shape": (2,)
    }  # fmt: skip
    assert count_onnx(path).params_total == 108 + 16 + 240


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
