"""Weight files that are not what they should be; none may run code, none may load in part."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sapiens_bench.errors import CheckpointRejected, SapiensBenchError, UntrustedCheckpoint
from sapiens_bench.models.parts.checkpoints import fill, is_finite, open_program, open_state, sniff


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        return out


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


WEIGHTS = {"layer.weight": torch.arange(12.0).reshape(3, 4), "layer.bias": torch.zeros(3)}


def empty_layer() -> Layer:
    with torch.device("meta"):
        return Layer()


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_a_task_checkpoint_with_foreign_metadata_loads_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    names = ["mmengine", "mmengine.config", "mmengine.config.config"]
    modules = {name: ModuleType(name) for name in names}
    config_class = type("ConfigDict", (dict,), {"__module__": names[-1]})
    modules[names[-1]].ConfigDict = config_class  # type: ignore[attr-defined]
    meta = {"config": config_class(lr=1), "epoch": np.int64(3), "history": np.arange(4.0), "where": Path("a/b")}
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        path = saved(
            tmp_path / "a.pth", {"state_dict": WEIGHTS, "meta": meta}, _use_new_zipfile_serialization=not legacy
        )
    found = open_state(path)
    assert set(found.state) == set(WEIGHTS)
    assert found.meta["meta"]["epoch"] == 3
    np.testing.assert_array_equal(found.meta["meta"]["history"], np.arange(4.0))


def test_flat_prefixed_and_safetensors_files_give_the_same_state(tmp_path: Path) -> None:
    flat = saved(tmp_path / "flat.pth", dict(WEIGHTS))
    prefixed = saved(tmp_path / "ddp.pth", {"state_dict": {f"module.{k}": v for k, v in WEIGHTS.items()}})
    tensors = tmp_path / "a.safetensors"
    save_file(WEIGHTS, tensors)
    for path in (flat, prefixed, tensors):
        state = open_state(path).state
        assert all(torch.equal(state[k], WEIGHTS[k]) for k in WEIGHTS)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_a_payload_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    canary = tmp_path / "EXECUTED"
    path = saved(
        tmp_path / "evil.pth",
        {"state_dict": WEIGHTS, "hook": Payload(canary)},
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(UntrustedCheckpoint, match="was not loaded") as refused:
        open_state(path)
    assert refused.value.exit_code == 5
    assert not canary.exists()


def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    canary = tmp_path / "EXECUTED"
    path = tmp_path / "raw.pth"
    path.write_bytes(pickle.dumps(Payload(canary), protocol=2))
    with pytest.raises(SapiensBenchError):
        open_state(path)
    assert not canary.exists()


def broken(make: Callable[[bytes], bytes]) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": WEIGHTS}, buffer)
    return make(buffer.getvalue())


def deflated(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member.filename))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.pth", b"", "is empty"),
        ("page.pth", b"<!DOCTYPE html><html>403</html>", "web page"),
        ("pointer.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS pointer"),
        ("half.pth", broken(lambda b: b[: len(b) // 2]), "cut off or damaged"),
        ("bomb.pth", broken(deflated), "compressed"),
        ("text.pth", b"hello world", "no weight file"),
        ("huge.safetensors", struct.pack("<Q", 2**62) + b"{}", "header"),
        ("short.safetensors", struct.pack("<Q", 2) + b"{}extra", "damaged"),
    ],
)
def test_files_that_are_no_weights_are_named_for_what_they_are(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CheckpointRejected, match=says) as refused:
        open_state(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: w.pop("layer.bias"), "1 missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 unexpected"),
        (lambda w: w.update({"layer.weight": w["layer.weight"].T.contiguous()}), "of another shape"),
        (lambda w: w.update({"layer.weight": torch.zeros(1).expand(200_000, 200_000)}), "of another shape"),
        (lambda w: w.update({"layer.bias": torch.tensor([0.0, torch.nan, 0.0])}), "NaN or infinite"),
        (lambda w: w.update({"layer.bias": torch.tensor([torch.inf, -torch.inf, 0.0])}), "NaN or infinite"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(tmp_path: Path, change: Callable[[Any], Any], says: str) -> None:
    state = dict(WEIGHTS)
    change(state)
    net = empty_layer()
    with pytest.raises(CheckpointRejected, match=says):
        fill(net, state, tmp_path / "a.pth")
    assert net.layer.weight.is_meta  # nothing was assigned


def test_named_keys_may_be_ignored_and_half_precision_is_widened(tmp_path: Path) -> None:
    net = empty_layer()
    state = {k: v.half() for k, v in WEIGHTS.items()} | {"aux.w": torch.zeros(1)}
    fill(net, state, tmp_path / "a.pth", ignore=["aux.w"])
    assert net.layer.weight.dtype == torch.float32
    assert torch.equal(net.layer.weight, WEIGHTS["layer.weight"])


def test_assignment_copies_nothing(tmp_path: Path) -> None:
    net = empty_layer()
    state = {k: v.clone() for k, v in WEIGHTS.items()}
    fill(net, state, tmp_path / "a.pth")
    assert net.layer.weight.data_ptr() == state["layer.weight"].data_ptr()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_archives_with_code_need_a_pin_and_are_told_apart_by_content(tmp_path: Path) -> None:
    x = torch.ones(2, 4)
    script, export = tmp_path / "script.pt2", tmp_path / "export.pt2"
    torch.jit.save(torch.jit.trace(Layer(), x), str(script))  # type: ignore[no-untyped-call]
    torch.export.save(torch.export.export(Layer(), (x,)), export)
    assert (sniff(script), sniff(export)) == ("torchscript", "export")
    with pytest.raises(CheckpointRejected, match="carries code"):
        open_state(script)
    with pytest.raises(UntrustedCheckpoint):
        open_program(script, "torchscript", pinned=False)
    with pytest.raises(CheckpointRejected, match="of kind export"):
        open_program(export, "torchscript", pinned=True)
    for path, kind in ((script, "torchscript"), (export, "export")):
        assert open_program(path, kind, pinned=True)(x).shape == (2, 3)  # type: ignore[arg-type]


def test_finite_sums_of_large_values_are_not_mistaken_for_overflow() -> None:
    assert is_finite(torch.full((1000,), 3e38))
    assert not is_finite(torch.tensor([1.0, float("inf")]))
    assert is_finite(torch.tensor([1, 2]))
