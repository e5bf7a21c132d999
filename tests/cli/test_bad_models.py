"""Model files that cannot be used, through the command line: a clear refusal, and the other models go on."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Call = Callable[..., tuple[int, str, str]]
TINY = ("--split", "tiny", "--limit", "1", "--n-boot", "0", "--dataset", "synthetic-humans")
IN, OUT = ["b", 3, 64, 48], ["b", 17, 16, 12]


def onnx_file(path: Path, node: onnx.NodeProto, batch: int | str = "b", domain: str = "") -> Path:
    """One node from a picture to 17 heatmaps."""
    shapes = {"x": [batch, *IN[1:]], "heatmaps": [batch, *OUT[1:]]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    weight = numpy_helper.from_array(np.ones((17, 3, 4, 4), np.float32), "w")
    graph = helper.make_graph([node], "g", [x], [y], [weight] if "w" in node.input else [])
    known = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=known)
    model.ir_version = 9
    path.write_bytes(model.SerializeToString())
    return path


def run(call: Call, out: Path, *words: str | Path) -> tuple[int, str, str]:
    return call("run", "--task", "pose", *TINY, "--normalise", "0..1", "--out", out, *words)


def test_an_unknown_operator_is_refused_and_the_other_model_is_scored(call: Call, tmp_path: Path) -> None:
    node = helper.make_node("WarpDrive", ["x"], ["heatmaps"], domain="com.acme")
    path = onnx_file(tmp_path / "warp.onnx", node, domain="com.acme")
    code, said, error = run(call, tmp_path / "r", "--models", f"{path},movenet-lightning")
    assert code == 6
    assert "MoveNet Lightning" in said
    assert "1 image scored." in said
    assert "warp.onnx" in error
    assert "com.acme" in error
    assert "Traceback" not in error


def test_a_program_of_another_torch_is_refused_and_the_other_model_is_scored(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {"archive_format": "pt2", "version": "999", "serialized_exported_program.json": "{}"}.items():
            archive.writestr(f"old/{name}", text)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    more = ("--input", "64x48", "--output", "heatmap", "--space", "coco17", "--trust-checkpoint", f"{path}:{sha256}")
    code, said, error = run(call, tmp_path / "r", "--models", f"{path},movenet-lightning", *more)
    assert code == 6
    assert "1 image scored." in said
    assert "old.pt2 cannot be opened" in error


def test_a_file_of_one_picture_at_a_time_runs_whatever_the_batch_size(call: Call, tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path = onnx_file(tmp_path / "fixed.onnx", conv, batch=1)
    code, said, _ = run(call, tmp_path / "r", "--models", str(path), "--batch-size", "4")
    assert code == 0
    assert "takes one image at a time" in said


@pytest.mark.parametrize(("keep", "said"), [(0, "has the inputs none"), (200, "is not a readable ONNX file")])
def test_a_file_that_ends_too_early_is_named(call: Call, tmp_path: Path, keep: int, said: str) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["heatmaps"], strides=[4, 4])
    path = onnx_file(tmp_path / "cut.onnx", conv)
    path.write_bytes(path.read_bytes()[:keep])
    code, _, error = run(call, tmp_path / "r", "--models", str(path))
    assert code == 2
    assert f"cut.onnx {said}" in error
