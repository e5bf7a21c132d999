"""``verify pixels`` finds a channel order and a normalisation that are declared wrongly, and lets right ones be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sapiens_bench.cards.schema import InputSpec
from sapiens_bench.checks.pixels import _choices

Call = Callable[..., tuple[int, str, str]]


IDENTITY = np.eye(3, dtype=np.float32)


def picture_itself(path: Path, weights: np.ndarray = IDENTITY) -> Path:
    """A network trained on RGB of 0..1 that answers with the picture: an albedo that is fair where light is white."""
    weight = numpy_helper.from_array(weights.reshape(3, 3, 1, 1).astype(np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 3, 96, 72]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def check(call: Call, path: Path, normalise: str, *more: str | Path) -> tuple[int, str, str]:
    return call(
        "verify", "pixels", "--model", path, "--task", "albedo", "--output", "srgb", "--normalise", normalise,
        "--split", "tiny", "--images", "2", *more,
    )  # fmt: skip


def test_a_wrong_channel_order_is_found_and_the_right_one_is_not_doubted(call: Call, tmp_path: Path) -> None:
    path = picture_itself(tmp_path / "net.onnx")
    code, said, error = check(call, path, "0..1", "--json", tmp_path / "found.json")
    assert code == 0, said + error
    assert "no other choice is clearly better" in said
    assert json.loads((tmp_path / "found.json").read_text())["outcome"] == "confirmed"
    code, said, error = check(call, path, "0..1,bgr")
    assert code != 0
    assert "speak for rgb, 0..1" in " ".join(error.split())
    assert "--normalise 0..1" in error


def test_a_wrong_normalisation_is_found(call: Call, tmp_path: Path) -> None:
    code, _, error = check(call, picture_itself(tmp_path / "net.onnx"), "imagenet")
    assert code != 0
    assert "speak for rgb, 0..1" in " ".join(error.split())


@pytest.mark.parametrize("name", ["./net.onnx", "net.onnx", "hf:some/net", "code.py:Net"])
def test_a_model_that_is_named_by_its_file_needs_a_task(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"never opened")
    code, _, error = call("verify", "pixels", "--model", name)
    assert code != 0
    assert "Give --task pose" in " ".join(error.split())


def test_a_network_that_no_choice_moves_is_not_judged(call: Call, tmp_path: Path) -> None:
    path = picture_itself(tmp_path / "net.onnx", np.zeros((3, 3)))
    code, said, _ = check(call, path, "0..1")
    assert code == 0
    assert "every choice gives the same score" in said


def test_models_without_an_input_are_refused(call: Call) -> None:
    code, _, error = call("verify", "pixels", "--model", "floor-background", "--split", "tiny")
    assert code == 2
    assert "declares no input" in error


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_mean_and_deviation_follow_the_channels(order: str) -> None:
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    spec = InputSpec(height=8, width=6, mean=mean, std=std, channel_order=order)  # type: ignore[arg-type]
    declared, found = _choices(spec)
    assert declared == f"{order}, the card's"
    assert found[declared] == spec
    other = found[f"{'bgr' if order == 'rgb' else 'rgb'}, the card's"]
    assert (other.mean, other.std) == (mean[::-1], std[::-1])
    assert len(found) == 10
