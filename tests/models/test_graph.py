"""The graph executor and the converter: arithmetic, taps, counting, refusals, reproducible files."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sapiens_bench.errors import CheckpointRejected, ShapeError
from sapiens_bench.models.parts.graph import FORMAT, Graph, load_graph

SHIPPED = ("blazepose_full", "blazepose_lite", "movenet_lightning", "movenet_thunder", "selfie_segmentation")
CHANNELS = {"movenet_lightning": (24, 32, 96, 160), "movenet_thunder": (40, 56, 168, 280)}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def embedded(repository: Path) -> Path:
    return repository / "sapiens_bench" / "embedded"


@pytest.fixture(scope="module")
def converter() -> ModuleType:
    """tools/convert_embedded.py."""
    return importlib.import_module("convert_embedded")


def describe(ops: list[dict[str, Any]], outputs: dict[str, str], size: int = 8) -> dict[str, Any]:
    head = {"format": FORMAT, "name": "tiny", "input": {"size": size, "channels": 3}}
    return {**head, "outputs": outputs, "taps": {}, "ops": ops}


def conv_line(source: str, out: str, **attributes: Any) -> dict[str, Any]:
    line = {"op": "conv", "in": [source], "out": out, "weight": f"{out}.weight", "bias": f"{out}.bias"}
    return {**line, "stride": [1, 1], "pad": [0, 0, 0, 0], **attributes}


def random_tensors(seed: int, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name.replace("__", "."): torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def tiny() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Every operation once, except the ones that only end a network."""
    tensors = random_tensors(
        0, v1__scale=(3,), v1__shift=(3,), v2__weight=(4, 3, 3, 3), v2__bias=(4,), v3__weight=(4, 1, 3, 3),
        v3__bias=(4,), v8__weight=(6, 2, 2, 2), v8__bias=(2,),
    )  # fmt: skip
    ops = [
        {"op": "affine", "in": ["v0"], "out": "v1", "scale": "v1.scale", "shift": "v1.shift"},
        conv_line("v1", "v2", stride=[2, 2], pad=[0, 1, 0, 1], act="relu6"),
        conv_line("v2", "v3", pad=[1, 1, 1, 1], groups=4, act="hardswish"),
        {"op": "add", "in": ["v2", "v3"], "out": "v4", "act": "relu"},
        {"op": "mean", "in": ["v4"], "out": "v5"},
        {"op": "mul", "in": ["v4", "v5"], "out": "v6"},
        {"op": "pad", "in": ["v6"], "out": "v7", "pad": [0, 0, 0, 0], "channels": 2},
        {"op": "conv_transpose", "in": ["v7"], "out": "v8", "weight": "v8.weight", "bias": "v8.bias", "stride": [2, 2]},
        {"op": "max_pool", "in": ["v8"], "out": "v9", "kernel": [2, 2], "stride": [2, 2]},
        {"op": "resize", "in": ["v9"], "out": "v10", "size": [8, 8]},
        {"op": "act", "in": ["v10"], "out": "v11", "act": "sigmoid"},
        {"op": "flatten", "in": ["v5"], "out": "v12"},
    ]
    return describe(ops, {"map": "v11", "vector": "v12"}), tensors


def tiny_by_hand(x: Tensor, w: dict[str, Tensor]) -> dict[str, Tensor]:
    x = x * w["v1.scale"].view(1, 3, 1, 1) + w["v1.shift"].view(1, 3, 1, 1)
    wide = torch.zeros(len(x), 3, 9, 9)
    wide[:, :, :8, :8] = x  # TensorFlow's SAME at stride 2: the odd pixel lies after the image
    v2 = F.conv2d(wide, w["v2.weight"], w["v2.bias"], 2).clamp(0, 6)
    v3 = F.conv2d(v2, w["v3.weight"], w["v3.bias"], 1, 1, 1, 4)
    v4 = (v2 + v3 * (v3 + 3).clamp(0, 6) / 6).clamp_min(0)
    v5 = v4.mean((2, 3), keepdim=True)
    v7 = torch.cat([v4 * v5, torch.zeros(len(x), 2, 4, 4)], 1)
    v8 = F.conv_transpose2d(v7, w["v8.weight"], w["v8.bias"], 2)
    v9 = v8.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    grown = F.interpolate(v9, scale_factor=2, mode="bilinear", align_corners=False)
    return {"map": 0.5 + 0.5 * torch.tanh(grown / 2), "vector": v5[:, :, 0, 0]}


def test_every_operation_matches_the_same_arithmetic_by_hand() -> None:
    description, tensors = tiny()
    x = random_tensors(1, x=(3, 3, 8, 8))["x"]
    with torch.inference_mode():
        got = Graph(description, tensors)(x)
    want = tiny_by_hand(x, tensors)
    assert list(got) == ["map", "vector"]
    for name, value in want.items():
        torch.testing.assert_close(got[name], value)


def test_sums_in_place_change_neither_results_nor_gradients() -> None:
    """The in-place path runs without gradients only; both give the same numbers, and asked-for operands survive."""
    description, tensors = tiny()
    graph = Graph(description, tensors)
    x = random_tensors(2, x=(2, 3, 8, 8))["x"]
    with torch.inference_mode():
        fast = graph(x)
        kept = graph(x, ("v2", "v3", "v4", "map"))
        alone = graph(x, ("v2",))
    torch.testing.assert_close(kept["v2"], alone["v2"], rtol=0, atol=0)
    torch.testing.assert_close(kept["map"], fast["map"], rtol=0, atol=0)
    leaf = x.clone().requires_grad_(True)
    slow = graph(leaf)
    torch.testing.assert_close(slow["map"].detach(), fast["map"])
    (gradient,) = torch.autograd.grad(slow["map"].sum(), leaf)
    by_hand = x.clone().requires_grad_(True)
    (want,) = torch.autograd.grad(tiny_by_hand(by_hand, tensors)["map"].sum(), by_hand)
    torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-4)


def test_an_operand_added_to_itself_is_not_overwritten() -> None:
    tensors = random_tensors(3, v1__weight=(2, 3, 1, 1), v1__bias=(2,))
    ops = [conv_line("v0", "v1"), {"op": "add", "in": ["v1", "v1"], "out": "v2"}]
    x = random_tensors(4, x=(1, 3, 8, 8))["x"]
    with torch.inference_mode():
        got = Graph(describe(ops, {"y": "v2"}), tensors)(x)["y"]
    torch.testing.assert_close(got, 2 * F.conv2d(x, tensors["v1.weight"], tensors["v1.bias"]))


def test_flops_and_parameters_of_a_small_network_equal_the_count_by_hand() -> None:
    description, tensors = tiny()
    graph = Graph(description, tensors)
    dense = 2 * 4 * 4 * 4 * (3 * 9)  # 4 x 4 places, 4 filters of 3 x 3 x 3, a multiply and an add each
    depthwise = 2 * 4 * 4 * 4 * 9
    transposed = 2 * 4 * 4 * (6 * 2 * 4)  # each of 4 x 4 places writes 2 x 2 pixels of 2 channels from 6
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        graph(torch.zeros(5, 3, 8, 8))
    assert counter.get_total_flops() == 5 * (dense + depthwise + transposed)
    assert sum(p.numel() for p in graph.parameters()) == 4 * 27 + 4 + 4 * 9 + 4 + 6 * 2 * 4 + 2
    assert not any(p.requires_grad for p in graph.parameters())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_file_loads_and_counts_all_its_weights(embedded: Path, name: str) -> None:
    path = embedded / f"{name}.safetensors"
    graph = load_graph(path)
    stored = path.stat().st_size / 2  # fp16
    n_parameters = sum(p.numel() for p in graph.parameters())
    assert 0.85 * stored < n_parameters < stored
    assert graph.dtype == torch.float32
    x = torch.rand(2, 3, graph.input_size, graph.input_size, device="meta")
    with torch.inference_mode():
        shapes = {key: tuple(value.shape) for key, value in graph.to("meta")(x).items()}
    assert set(shapes) == set(graph.outputs)
    assert all(shape[0] == 2 for shape in shapes.values())


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_movenet_offers_features_at_four_strides(embedded: Path, name: str) -> None:
    graph = load_graph(embedded / f"{name}.safetensors")
    assert graph.taps == ("stride4", "stride8", "stride16", "stride32")
    x = torch.rand(1, 3, graph.input_size, graph.input_size) * 255
    with torch.inference_mode():
        features = graph(x, graph.taps)
        everything = graph(x, (*graph.taps, *graph.outputs))
        plain = graph(x)
    for tap, channels in zip(graph.taps, CHANNELS[name], strict=True):
        side = graph.input_size // int(tap.removeprefix("stride"))
        assert tuple(features[tap].shape) == (1, channels, side, side)
        torch.testing.assert_close(features[tap], everything[tap], rtol=0, atol=0)
    for output in graph.outputs:
        torch.testing.assert_close(plain[output], everything[output], rtol=0, atol=0)


def test_only_what_an_output_needs_is_computed(embedded: Path) -> None:
    graph = load_graph(embedded / "blazepose_lite.safetensors").to("meta")
    x = torch.rand(1, 3, 256, 256, device="meta")
    flops = {}
    for outputs in (("landmarks",), graph.outputs):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            graph(x, outputs)
        flops[outputs] = counter.get_total_flops()
    assert flops[("landmarks",)] < 0.9 * flops[graph.outputs]


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.06), ("fp16", 0.01)])
def test_half_precision_stays_close_to_single(embedded: Path, precision: str, tolerance: float) -> None:
    path = embedded / "selfie_segmentation.safetensors"
    x = random_tensors(5, x=(1, 3, 256, 256))["x"].abs().clamp(0, 1)
    x = F.avg_pool2d(F.pad(x, (4, 4, 4, 4)), 9, 1)  # smooth: noise is all background, which proves little
    with torch.inference_mode():
        half, full = load_graph(path, precision=precision)(x)["mask"], load_graph(path)(x)["mask"]
    assert half.dtype != torch.float32
    assert (half.float() - full).abs().mean() < tolerance


def test_results_do_not_depend_on_the_batch(embedded: Path) -> None:
    graph = load_graph(embedded / "movenet_lightning.safetensors")
    x = random_tensors(6, x=(8, 3, 192, 192))["x"] * 60 + 120
    with torch.inference_mode():
        together = graph(x)
        for index in range(8):
            for name, value in graph(x[index : index + 1]).items():
                assert torch.equal(value[0], together[name][index])


def test_wrong_input_or_output_is_a_shape_error() -> None:
    description, tensors = tiny()
    graph = Graph(description, tensors)
    with pytest.raises(ShapeError, match=r"\[B, 3, 8, 8\]"):
        graph(torch.zeros(1, 3, 8, 9))
    with pytest.raises(ShapeError, match="nothing_such"):
        graph(torch.zeros(1, 3, 8, 8), ("nothing_such",))


def _write(path: Path, description: Any, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path, {"graph": json.dumps(description)})
    return path


def test_a_written_network_is_read_back(tmp_path: Path) -> None:
    description, tensors = tiny()
    x = random_tensors(7, x=(1, 3, 8, 8))["x"]
    with torch.inference_mode():
        got = load_graph(_write(tmp_path / "tiny.safetensors", description, tensors))(x)["map"]
    torch.testing.assert_close(got, tiny_by_hand(x, tensors)["map"])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncated", "cannot be used"),
        ("text", "cannot be used"),
        ("plain", "no graph description"),
        ("operation", "missing 'exec'"),
        ("tensor", "missing 'v2.weight'"),
        ("nan", "NaN or infinity"),
        ("order", "do not exist"),
        ("output", "not computed"),
        ("format", "this version reads"),
        ("list", "cannot be used"),
    ],
)
def test_an_unusable_file_is_rejected_with_its_reason(tmp_path: Path, fault: str, message: str) -> None:
    description, tensors = tiny()
    path = tmp_path / "bad.safetensors"
    if fault == "operation":
        description["ops"][3]["op"] = "exec"
    elif fault == "tensor":
        del tensors["v2.weight"]
    elif fault == "nan":
        tensors["v3.bias"][1] = float("nan")
    elif fault == "order":
        description["ops"] = description["ops"][::-1]
    elif fault == "output":
        description["outputs"]["map"] = "v99"
    elif fault == "format":
        description["format"] = "sapiens-bench-graph/9"
    _write(path, [1, 2] if fault == "list" else description, tensors)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif fault == "text":
        path.write_text("not weights at all")
    elif fault == "plain":
        save_file(tensors, path)
    with pytest.raises(CheckpointRejected, match=message) as caught:
        load_graph(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_conversion_reproduces_the_shipped_bytes(converter: Any, shared: Path, embedded: Path, name: str) -> None:
    if not name.startswith("movenet"):
        pytest.importorskip("tflite")
    assert (
        converter.convert(name, shared / "data" / "embedded_models") == (embedded / f"{name}.safetensors").read_bytes()
    )


def test_converted_weights_are_the_published_bits(shared: Path, embedded: Path) -> None:
    """The first depthwise kernel, found in the raw weight file by hand: HWC1 there, C1HW here."""
    folder = shared / "data" / "embedded_models"
    model = json.loads((folder / "movenet-lightning.json").read_text())
    offset = 0
    for weight in model["weightsManifest"][0]["weights"]:
        count = int(np.prod(weight["shape"]))
        if weight["name"].endswith("expanded_conv_depthwise/depthwise_weights"):
            break
        offset += count * (2 if "quantization" in weight else 4)
    raw = (folder / "movenet-lightning.bin").read_bytes()[offset : offset + 2 * count]
    kernel = np.frombuffer(raw, np.float16).reshape(3, 3, 32, 1)
    ours = load_graph(embedded / "movenet_lightning.safetensors").get_parameter("operations.v3.weight").numpy()
    np.testing.assert_array_equal(ours, kernel.transpose(2, 3, 0, 1).astype(np.float32))


def test_converter_refuses_a_changed_source(converter: Any, shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "embedded_models"
    for name in ("SHA256SUMS", "movenet-lightning.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    data = bytearray((source / "movenet-lightning.bin").read_bytes())
    data[1000] ^= 1
    (tmp_path / "movenet-lightning.bin").write_bytes(data)
    with pytest.raises(converter.Refused, match=r"movenet-lightning\.bin"):
        converter.convert("movenet_lightning", tmp_path)
    assert converter.main([str(tmp_path), str(tmp_path / "out"), "--only", "movenet_lightning"]) == 2
    assert not list((tmp_path / "out").iterdir())
