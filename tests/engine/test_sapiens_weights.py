"""Weight files of Sapiens in a run: every published format, unusable ones, those that carry code, precision."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sapiens_runs import INPUT_HW, predictions, stored_keypoints, tiny_network

from sapiens_bench.api import load_model
from sapiens_bench.errors import (
    ChecksumMismatch,
    DeviceError,
    SapiensBenchError,
    UntrustedCheckpoint,
    UsageError,
)
from sapiens_bench.store.rows import read_rows


class Payload:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


def write_formats(tools: SimpleNamespace, source: Path, weights: Path, hub: Path) -> list[dict[str, Any]]:
    """The same weights in every form that the authors publish; one card variant for each."""
    cards, state = tools.cards, load_file(source)
    meta = {"epoch": 210, "dataset_meta": {"sigmas": np.ones(17, np.float32)}, "hooks": [np.float64(0.5)]}
    torch.save({"state_dict": state, "meta": meta}, weights / "task.pth")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, weights / "parallel.pth")
    torch.save({"model": state}, weights / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights / "plain.safetensors")
    snapshot = hub / "models--someone--tiny" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "hub.pth").write_bytes((weights / "task.pth").read_bytes())
    (hub / "models--someone--tiny" / "refs").mkdir()
    (hub / "models--someone--tiny" / "refs" / "main").write_text("a" * 40)
    net = tiny_network(source)
    example = torch.zeros(2, 3, *INPUT_HW)
    torch.jit.trace(net, example).save(str(weights / "script.pt2"))
    torch.export.save(torch.export.export(net, (example[:1],)), weights / "static.pt2")
    batch = torch.export.Dim("batch", min=1, max=3)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)), weights / "dynamic.pt2")
    programs = [("script", "torchscript"), ("static", "export"), ("dynamic", "export")]
    return [
        *(cards.variant(f"tiny-{name}", f"{name}.pth", format="pth") for name in ("task", "parallel", "legacy")),
        cards.variant("tiny-plain", "plain.safetensors", sha256=cards.sha256(weights / "plain.safetensors")),
        cards.variant("tiny-hub", "hub.pth", format="pth", hub={"repo": "someone/tiny", "file": "hub.pth"}),
        *(
            cards.variant(f"tiny-{name}", f"{name}.pt2", format=kind, sha256=cards.sha256(weights / f"{name}.pt2"))
            for name, kind in programs
        ),
    ]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
def test_every_published_file_format_gives_the_same_rows(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    variants = write_formats(tools, golden / "pose17.safetensors", weights, tmp_path / "hub")
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", variants))
    record = go("tiny", batch_size=5)
    assert [(c.model, c.status, c.how) for c in record.cells] == [(v["id"], "done", "") for v in variants]
    first = record.cells[0]
    rows = read_rows(tmp_path / "out" / "rows" / "pose" / "coco-val2017" / "gt-box" / first.model)
    expected = stored_keypoints(tmp_path / "out", first, 17)
    for cell in record.cells[1:]:
        found = stored_keypoints(tmp_path / "out", cell, 17)
        if cell.model in ("tiny-script", "tiny-static", "tiny-dynamic"):  # other kernels, and other batches
            away = np.concatenate([np.abs(found[key] - expected[key]).max(-1).ravel() for key in expected])
            assert np.median(away) < 1e-3  # px; flat peaks of these noise-like maps magnify last bits
            assert (away < 0.1).mean() > 0.9
        else:
            assert all(np.array_equal(found[key], expected[key]) for key in expected)
            assert read_rows(tmp_path / "out" / "rows" / "pose" / "coco-val2017" / "gt-box" / cell.model).equals(rows)
        assert {k: s.value for k, s in cell.scores.items()} == {k: s.value for k, s in first.scores.items()}


def damaged_files(weights: Path, golden: Path, canary: Path) -> dict[str, str]:
    """Weight files that must be refused: name -> words of the reason."""
    good = (golden / "pose17.safetensors").read_bytes()
    state = load_file(golden / "pose17.safetensors")
    some = next(iter(state))
    (weights / "cut.safetensors").write_bytes(good[: len(good) // 2])
    (weights / "empty.safetensors").write_bytes(b"")
    (weights / "page.pth").write_bytes(b"<!DOCTYPE html><html><body>401</body></html>")
    (weights / "pointer.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    torch.save({"state_dict": state, "meta": Payload(canary)}, weights / "evil.pth")
    save_file({**state, some: torch.full_like(state[some], math.nan)}, weights / "nan.safetensors")
    save_file({k: v for k, v in state.items() if k != "backbone.ln1.bias"}, weights / "missing.safetensors")
    save_file({**state, "head.stray": torch.zeros(1)}, weights / "extra.safetensors")
    for name in ("pose133", "seg"):
        (weights / f"{name}.safetensors").write_bytes((golden / f"{name}.safetensors").read_bytes())
    torch.jit.trace(torch.nn.Conv2d(3, 17, 1), torch.zeros(1, 3, 8, 8)).save(str(weights / "unpinned.pt2"))
    return {
        "cut.safetensors": "Fetch it again",
        "empty.safetensors": "is empty",
        "page.pth": "web page",
        "pointer.pth": "git lfs pull",
        "evil.pth": "could run code",
        "nan.safetensors": "NaN",
        "missing.safetensors": "1 missing (backbone.ln1.bias)",
        "extra.safetensors": "1 unexpected (head.stray)",
        "pose133.safetensors": "133-keypoint pose",
        "seg.safetensors": "28-class segmentation",
        "unpinned.pt2": "would run its own code",
    }


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
def test_unusable_weights_are_refused_rows_and_the_others_go_on(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path
) -> None:
    canary = tmp_path / "canary"
    reasons = damaged_files(weights, golden, canary)
    (weights / "good.safetensors").write_bytes((golden / "pose17.safetensors").read_bytes())
    files = [*reasons, "good.safetensors", "absent.pth"]
    variants = [tools.cards.variant(name.replace(".", "-"), name) for name in files]
    big = tools.cards.variant("too-big", "good.safetensors", options={"size": "1b"})
    pinned = tools.cards.variant("other-bytes", "good.safetensors", sha256="0" * 64)
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", [*variants, big, pinned]))
    record = go("tiny")
    assert record.status == "done"
    by_model = {cell.model: cell for cell in record.cells}
    for name, reason in reasons.items():
        cell = by_model[name.replace(".", "-")]
        assert cell.status == "refused", name
        assert reason in cell.how, cell.how
        assert name in cell.how
    assert by_model["good-safetensors"].status == "done"
    assert by_model["absent-pth"].status == "weights missing"
    assert "size 1b" in by_model["too-big"].how
    assert "expects 0000" in by_model["other-bytes"].how
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
def test_a_security_refusal_decides_the_exit_code_when_nothing_else_runs(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path
) -> None:
    damaged_files(weights, golden, tmp_path / "canary")
    names = ("cut.safetensors", "evil.pth")
    variants = [tools.cards.variant(name.replace(".", "-"), name) for name in names]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", variants))
    with pytest.raises(UntrustedCheckpoint) as caught:
        go("tiny")
    assert caught.value.exit_code == 5
    with pytest.raises(SapiensBenchError) as caught_other:
        go("cut-safetensors", out="other")
    assert caught_other.value.exit_code == 2


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore::torch.jit.TracerWarning")
def test_a_trusted_archive_runs_with_a_warning_that_is_recorded(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path
) -> None:
    script = weights / "script.pt2"
    torch.jit.trace(tiny_network(golden / "pose17.safetensors"), torch.zeros(1, 3, *INPUT_HW)).save(str(script))
    variants = [tools.cards.variant("tiny", "script.pt2", format="torchscript")]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", variants))
    sha256 = tools.cards.sha256(script)
    with pytest.raises(UntrustedCheckpoint, match="--trust-checkpoint"):
        go("tiny", out="refused")
    events: list[Any] = []
    record = go("tiny", trust=(f"{script}:{sha256}",), on_event=events.append)
    assert record.cells[0].status == "done"
    assert any("WARNING" in note and sha256 in note for note in record.notes)
    assert any("WARNING" in str(getattr(event, "text", "")) for event in events)
    stored = json.loads((tmp_path / "out" / "run.json").read_text())
    assert stored["request"]["trust"] == {str(script.resolve()): sha256}
    with pytest.raises(ChecksumMismatch, match="--trust-checkpoint says"):
        go("tiny", out="wrong", trust=(f"{script}:{'0' * 64}",))
    for wrong in (f"{script}:abc", f"{weights / 'nowhere'}:{sha256}", "no-colon"):
        with pytest.raises(UsageError, match="--trust-checkpoint"):
            go("tiny", trust=(wrong,))
    load_model("tiny", weights_root=weights, cards=[tmp_path / "cards"], trust=(f"{script}:{sha256}",))


def test_a_trusted_pickle_gives_its_tensors_and_still_runs_nothing(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path
) -> None:
    canary = tmp_path / "canary"
    damaged = weights / "evil.pth"
    torch.save({"state_dict": load_file(golden / "pose17.safetensors"), "meta": Payload(canary)}, damaged)
    variants = [tools.cards.variant("tiny", "evil.pth", format="pth")]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", variants))
    record = go("tiny", trust={str(damaged): tools.cards.sha256(damaged)})
    assert record.cells[0].status == "done"
    assert not canary.exists()


def test_precision_is_refused_where_the_cpu_lacks_it(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = [tools.cards.variant("tiny", "pose17.safetensors")]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", variants))
    with pytest.raises(DeviceError, match="fp16"):
        go("tiny", weights_root=golden, precision="fp16", out="fp16")
    monkeypatch.setattr("sapiens_bench.engine.device.cpu_has_bf16", lambda: False)
    with pytest.raises(DeviceError, match="no bf16"):
        go("tiny", weights_root=golden, precision="bf16", out="refused")
    monkeypatch.setattr("sapiens_bench.engine.device.cpu_has_bf16", lambda: True)
    half = go("tiny", weights_root=golden, precision="bf16", out="bf16", limit=1).cells[0]
    full = go("tiny", weights_root=golden, out="fp32", limit=1).cells[0]
    a, b = (next(iter(predictions(tmp_path / o, c).values())) for o, c in (("bf16", half), ("fp32", full)))
    away = np.abs(np.asarray(a["keypoint_scores"]) - np.asarray(b["keypoint_scores"]))
    assert 0 < away.max() < 0.2  # maps of the tiny network reach several units


def test_a_bf16_program_runs_in_bf16_only(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tiny_network(golden / "pose17.safetensors").to(torch.bfloat16)
    program = torch.export.export(net, (torch.zeros(1, 3, *INPUT_HW, dtype=torch.bfloat16),))
    torch.export.save(program, weights / "half.pt2")
    pin = tools.cards.sha256(weights / "half.pt2")
    variants = [tools.cards.variant("tiny", "half.pt2", format="export", sha256=pin)]
    tools.cards.write_card(tmp_path / "cards", tools.cards.family("tiny", "pose17", variants))
    with pytest.raises(DeviceError, match="--precision bf16"):
        go("tiny", out="fp32")
    monkeypatch.setattr("sapiens_bench.engine.device.cpu_has_bf16", lambda: True)
    assert go("tiny", precision="bf16", limit=1).cells[0].status == "done"
    wide = tools.cards.family("wide", "pose17", [{**variants[0], "id": "wide"}], input={"height": 256, "width": 192})
    tools.cards.write_card(tmp_path / "cards", wide)
    with pytest.raises(SapiensBenchError, match="the card asks for"):
        go("wide", precision="bf16", out="wide")
