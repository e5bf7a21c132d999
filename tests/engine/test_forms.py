"""MODEL@bf16, @onnx, @compile, @channels_last: the same weights computed in another way, as a row of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import Form, parse_form, without_form
from sapiens_bench.engine import device
from sapiens_bench.engine.backends import on_backend
from sapiens_bench.engine.drift import drift
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import DeviceError, UnknownName, UsageError
from sapiens_bench.types import Model, ModelInput, Prepared


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture
def has_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)


def ids(catalog: Catalog, *patterns: str) -> list[str]:
    return [entry.id for entry in catalog.select("pose", patterns)]


def test_a_name_is_a_model_and_a_form_and_both_orders_are_one_row() -> None:
    assert without_form("movenet-thunder@bf16") == ("movenet-thunder", "bf16")
    assert without_form("me@lab/net.onnx") == ("me@lab/net.onnx", "")
    assert parse_form("bf16+compile") == parse_form("compile+bf16") == Form("bf16", "compile")
    assert parse_form("compile+bf16").text == "compile+bf16"
    assert without_form("mine@channels_last+bf16") == ("mine", "channels_last+bf16")
    assert parse_form("bf16+channels_last").text == "channels_last+bf16"


def test_what_is_no_form_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="bf16"):
        parse_form("bf15")
    with pytest.raises(UsageError, match="two of a kind"):
        parse_form("bf16+fp16")


def test_each_form_is_a_row_beside_the_plain_one_and_globs_have_forms_too(catalog: Catalog) -> None:
    assert ids(catalog, "movenet-thunder@bf16,movenet-thunder") == ["movenet-thunder@bf16", "movenet-thunder"]
    assert ids(catalog, "movenet-*@onnx") == [f"{name}@onnx" for name in ids(catalog, "movenet-*")]
    (entry,) = catalog.select("pose", ["movenet-thunder@bf16"])
    assert entry.title == "MoveNet Thunder (bf16)"
    assert catalog.model("movenet-thunder@bf16") == entry
    assert catalog.of_row("movenet-thunder@bf16") == catalog.model("movenet-thunder")


def test_the_form_is_in_the_spec_and_in_the_fingerprint_and_the_plain_one_is_as_before(
    toy: ModuleType, tmp_path: Path
) -> None:
    plan = toy.plan(
        tmp_path, models=("toy-plain,toy-plain@fp32,toy-plain@bf16,toy-plain@compile,toy-plain@channels_last",)
    )
    specs = {spec.cell.model: spec for spec in plan.cells}
    assert {name: (s.model.precision, s.model.backend) for name, s in specs.items()} == {
        "toy-plain": ("fp32", "torch"),
        "toy-plain@fp32": ("fp32", "torch"),
        "toy-plain@bf16": ("bf16", "torch"),
        "toy-plain@compile": ("fp32", "compile"),
        "toy-plain@channels_last": ("fp32", "channels_last"),
    }
    assert len({spec.cell.fingerprint for spec in plan.cells}) == 5
    assert "backend" not in specs["toy-plain"].fields
    assert specs["toy-plain@compile"].fields["backend"] == "compile"
    again = ModelSpec.from_json(specs["toy-plain@compile"].model.to_json())
    assert again == specs["toy-plain@compile"].model


def test_a_precision_that_the_device_lacks_refuses_its_row_alone(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    record = toy.go(tmp_path, {"n": 4}, models=("toy-plain,toy-plain@bf16",))
    told = {cell.model: (cell.status, cell.how) for cell in record.cells}
    assert told["toy-plain"] == ("done", "")
    assert told["toy-plain@bf16"][0] == "refused"
    assert "no bf16 instructions" in told["toy-plain@bf16"][1]


def test_a_form_without_meaning_is_refused_in_words(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, models=("toy-plain@onnx",), precision="bf16")
    assert [r.how for r in plan.unavailable] == ["toy-plain@onnx: exports to ONNX compute in fp32, not in bf16."]
    catalog = toy.toy_catalog()
    entry = catalog.model("toy-plain")
    floor = replace(entry, card=entry.card.model_copy(update={"kind": "floor"}))
    made = replace(catalog, models={"toy-plain": floor})
    refused = toy.resolve(
        Request(task="toy", models=("toy-plain@bf16",), datasets=("toy",), device="cpu", out=tmp_path), made
    )
    assert "is no network" in refused.unavailable[0].how


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean(dim=(1, 2, 3)) / 2


class Small:
    """A wrapper with one torch module."""

    is_reentrant = True
    notes = ("A note.",)

    def __init__(self) -> None:
        self.network = Halves()

    def prepare(self, x: ModelInput) -> Prepared:
        return Prepared({"crops": x.image_HW3[None, :8, :8]}, "there")

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"half": self.network(tensors["crops"])}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Any) -> Any:
        return outputs["half"], geometry


@pytest.mark.slow
def test_an_export_answers_like_the_network_for_any_number_of_crops() -> None:
    pytest.importorskip("onnxscript")
    plain: Model = Small()
    exported = on_backend(plain, "onnx", "small@onnx", "cpu", is_whole_image=True)
    for n in (1, 2, 5):
        crops = torch.from_numpy(np.random.Generator(np.random.Philox(n)).integers(0, 256, (n, 8, 8, 3), np.uint8))
        expected, found = (model.forward({"crops": crops})["half"] for model in (plain, exported))
        assert torch.allclose(expected, found, atol=1e-4)
    assert not exported.is_reentrant
    assert exported.notes == ("A note.",)
    assert exported.finish({"half": np.zeros(1)}, "there")[1] == "there"


def test_every_module_is_compiled_and_a_compiler_that_fails_is_told_before_any_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model = Small()
    on_backend(model, "compile", "small@compile", "cpu", is_whole_image=True)
    assert compiled == [model.network]

    def broken(self: nn.Module) -> None:
        raise RuntimeError("no C++ compiler\nand many lines more")

    monkeypatch.setattr(nn.Module, "compile", broken)
    with pytest.raises(DeviceError, match=r"small@compile: torch.compile .* \(RuntimeError: no C\+\+ compiler\)"):
        on_backend(Small(), "compile", "small@compile", "cpu", is_whole_image=True)


class Convolved(Small):
    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)])  # type: ignore[assignment]

    def forward(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        x = tensors["crops"].permute(0, 3, 1, 2).float()
        for layer in self.network.children():
            x = layer(x)
        return {"half": x}


def test_channels_last_lays_out_the_weights_of_the_same_model_and_answers_alike() -> None:
    crops = torch.from_numpy(np.random.Generator(np.random.Philox(0)).integers(0, 256, (2, 8, 8, 3), np.uint8))
    expected = Convolved().forward({"crops": crops})["half"]
    model: Model = Convolved()
    assert on_backend(model, "channels_last", "small@channels_last", "cpu", is_whole_image=True) is model
    assert all(
        w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous()
        for name, w in model.network.named_parameters()  # type: ignore[attr-defined]
        if name.endswith("weight")
    )
    assert torch.allclose(expected, model.forward({"crops": crops})["half"], atol=1e-3)


def test_the_networks_of_a_list_are_compiled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model: Model = Convolved()
    on_backend(model, "compile", "small@compile", "cpu", is_whole_image=True)
    assert compiled == list(model.network)  # type: ignore[attr-defined]


def test_a_model_without_a_torch_network_has_no_other_backend() -> None:
    with pytest.raises(DeviceError, match="no torch network"):
        on_backend(SimpleNamespace(), "onnx", "mine@onnx", "cpu", is_whole_image=True)  # type: ignore[arg-type]


def test_the_drift_of_bf16_is_that_of_its_rounding(toy: ModuleType, tmp_path: Path, has_bf16: None) -> None:
    plan = toy.plan(tmp_path, {"n": 10}, models=("toy-plain@fp32,toy-plain@bf16",))
    found = drift(plan, plan, "toy-plain@fp32", "toy-plain@bf16", "toy", 5)
    indices = [1, 2, 4, 5, 7]  # the first five with a box
    greys = np.array([(i * 37) % 256 for i in indices], np.float32) / 255
    apart = np.abs(torch.from_numpy(greys).bfloat16().float().numpy() - greys)
    crops = np.array([i % 3 for i in indices])
    (output,) = found.outputs
    assert (output.name, output.shape, output.n_undefined) == ("grey", (), 0)
    assert output.max_difference == pytest.approx(float(apart.max()), abs=1e-7)
    assert output.mean_difference == pytest.approx(float((apart * crops).sum() / crops.sum()), abs=1e-7)
    assert output.at == f"toy/{indices[int(apart.argmax())]:05d}"
    assert (found.n_images, found.n_crops) == (5, int(crops.sum()))
    assert found.low <= found.speedup <= found.high


def test_a_form_has_no_drift_against_itself(toy: ModuleType, tmp_path: Path) -> None:
    plan = toy.plan(tmp_path, models=("toy-plain,toy-plain@fp32",))
    found = drift(plan, plan, "toy-plain", "toy-plain@fp32", "toy", 2)
    assert [(o.max_difference, o.mean_difference) for o in found.outputs] == [(0.0, 0.0)]
    assert found.n_images == 2
    assert np.isnan(found.low)
