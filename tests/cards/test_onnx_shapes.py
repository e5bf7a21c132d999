"""Files that are no ONNX are called by their name, and ONNX Runtime's causes reach the reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from sapiens_bench.cards.onnx_shapes import onnx_facts
from sapiens_bench.errors import CheckpointRejected


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"\x08\x08", "it has no network"),  # an ONNX file that ends behind its version
    ],
)
def test_what_is_no_onnx_is_called_by_its_name(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "net.onnx").write_bytes(data)
    with pytest.raises(CheckpointRejected, match=said):
        onnx_facts(tmp_path / "net.onnx")


def test_the_cause_of_onnx_runtime_is_not_hidden_behind_the_place_in_its_sources() -> None:
    from sapiens_bench.models.parts.onnx_session import _reason

    place = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, bool) "
    error = RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:{place}Unsupported IR version")
    assert _reason(error) == "[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:Unsupported IR version"
