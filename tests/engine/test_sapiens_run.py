"""Tiny Sapiens networks through a whole run on real photographs: every file format, every task, every refusal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.api import evaluate, load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import (
    ChecksumMismatch,
    DeviceError,
    LabelSpaceMismatch,
    SapiensBenchError,
    UntrustedCheckpoint,
    UsageError,
)
from sapiens_bench.models.options import SapiensV1Options
from sapiens_bench.models.sapiens_load import build_network
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.store.record import RunRecord
from sapiens_bench.store.rows import read_rows

INPUT_HW = (128, 96)


class Payload:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.canary), "w"))


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of tests/fakes that this file uses."""
    torch.set_num_threads(1)
    import sapiens_by_hand
    import sapiens_cards

    return SimpleNamespace(cards=sapiens_cards, by_hand=sapiens_by_hand)


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden" / "sapiens-v1" / "models"


@pytest.fixture
def go(shared: Path, tmp_path: Path) -> Any:
    """Run on the four photographs of the sample folder; the cards are those in tmp_path/cards."""

    def run(*models: str, out: str = "out", **request: Any) -> RunRecord:
        defaults: dict[str, Any] = {
            "task": "pose",
            "models": models,
            "datasets": ("coco-val2017",),
            "data_root": shared / "data" / "coco",
            "weights_root": tmp_path / "weights",
            "cards": (tmp_path / "cards",),
            "out": tmp_path / out,
            "n_boot": 0,
            "device": "cpu",
            "workers": 2,
            "batch_size": 1,  # other batch sizes change last bits, and noise-like maps magnify them
        }
        return evaluate(**{**defaults, **request})

    return run


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


def predictions(folder: Path, cell: Any) -> dict[str, dict[str, Any]]:
    """Stored predictions of a cell by sample key."""
    return dict(read_predictions(folder / "preds" / cell.task / cell.dataset / cell.protocol / cell.model))


def stored_keypoints(folder: Path, cell: Any, n_keypoints: int) -> dict[str, np.ndarray]:
    return {
        key: np.asarray(columns["keypoints"]).reshape(-1, n_keypoints, 2)
        for key, columns in predictions(folder, cell).items()
    }


def tiny_network(path: Path, kind: str = "pose", outputs: int | None = 17) -> torch.nn.Module:
    sizes = SapiensV1Options(heads=4)
    return build_network(kind, path, input_hw=INPUT_HW, outputs=outputs, options=sizes)  # type: ignore[arg-type]


@pytest.mark.parametrize("pipeline", ["full", "lite"])
@pytest.mark.parametrize(("name", "space"), [("pose17", "coco17"), ("pose308", "goliath308")])
def test_stored_predictions_equal_the_official_pipeline_by_hand(
    shared: Path, golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, name: str, space: str, pipeline: str
) -> None:
    tools.cards.write_card(
        tmp_path / "cards", tools.cards.family("tiny", name, [tools.cards.variant("tiny", f"{name}.safetensors")])
    )
    options = {"pipeline": "lite"} if pipeline == "lite" else {}
    record = go("tiny", weights_root=golden, options=options)
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 4)
    ours = stored_keypoints(tmp_path / "out", cell, 17)
    catalog = Catalog.load()
    card = catalog.space(space)
    index = catalog.space_map(space, "coco17").index
    net = tiny_network(golden / f"{name}.safetensors", outputs=len(card.names))
    n_people = n_sharp = 0
    for key, columns in predictions(tmp_path / "out", cell).items():
        image = read_rgb(f"{key.split('/')[1]}.jpg", root=shared / "data" / "coco" / "val2017")
        boxes = np.asarray(columns["boxes"]).reshape(-1, 4)
        for i, box in enumerate(boxes):
            points, scores, doubt = tools.by_hand.keypoints(
                net, image, box, card.flip_index, INPUT_HW[::-1], lite=pipeline == "lite"
            )
            away = np.abs(ours[key][i] - points[index]).max(axis=1)
            assert (away <= np.maximum(1e-3, doubt[index])).all()
            n_sharp += int((away <= 1e-3).sum())
            stored = np.asarray(columns["keypoint_scores"]).reshape(len(boxes), 17)[i]
            np.testing.assert_allclose(stored, scores[index], atol=1e-5)
            n_people += 1
    assert n_people == 12
    assert n_sharp > 0.95 * 12 * 17  # the others are flat peaks of these noise-like maps


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


@pytest.mark.parametrize("task", ["depth", "normal"])
def test_dense_tasks_run_end_to_end_on_a_folder(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, task: str
) -> None:
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    write_folder(root, rng)
    card = tools.cards.family(f"tiny-{task}", task, [tools.cards.variant("tiny", f"{task}.safetensors")])
    tools.cards.write_card(tmp_path / "cards", card)
    record = go("tiny", task=task, datasets=("folder",), data_root=root, weights_root=golden)
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 3), (cell.how, cell.errors)
    assert math.isfinite(cell.scores[cell.headline].value), cell.scores


def write_folder(root: Path, rng: np.random.Generator) -> None:
    """Three pictures of different size with a mask, a tilted plane and its normal."""
    names = {"images": ".png", "masks": ".png", "depths": ".npy", "normals": ".npy"}
    for folder in names:
        (root / folder).mkdir(parents=True)
    for i, (h, w) in enumerate([(90, 70), (60, 100), (128, 96)]):
        cv2.imwrite(str(root / "images" / f"{i}.png"), rng.integers(0, 256, (h, w, 3), np.uint8))
        mask = np.zeros((h, w), np.uint8)
        mask[h // 4 : -h // 4, w // 4 : -w // 4] = 255
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
        np.save(root / "depths" / f"{i}.npy", 2 + rng.random((h, w), np.float32))
        normals = rng.normal(size=(h, w, 3)).astype(np.float32)
        normals[..., 2] = np.abs(normals[..., 2]) + 1
        np.save(root / "normals" / f"{i}.npy", normals / np.linalg.norm(normals, axis=-1, keepdims=True))
    frame = {"schema": "frame/1", "depth": {"unit": "m", "along": "z"}, "normals": {"frame": "viewer"}}
    (root / "frame.json").write_text(json.dumps(frame))


def test_segmentation_runs_end_to_end(golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path) -> None:
    root, rng = tmp_path / "data", np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for i, (h, w) in enumerate([(90, 70), (60, 100)]):
        cv2.imwrite(str(root / "images" / f"{i}.png"), rng.integers(0, 256, (h, w, 3), np.uint8))
        cv2.imwrite(str(root / "labels" / f"{i}.png"), rng.integers(0, 28, (h, w), np.uint8))
    card = tools.cards.family("tiny-seg", "seg", [tools.cards.variant("tiny", "seg.safetensors")])
    tools.cards.write_card(tmp_path / "cards", card)
    record = go("tiny", task="seg", datasets=("humans-2k",), data_root=root, weights_root=golden)
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 2), (cell.how, cell.errors)


def test_308_points_on_133_are_refused_or_missed_or_scored_where_they_meet(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path
) -> None:
    cards = [("dense", "pose308"), ("whole", "pose133")]
    for identity, name in cards:
        variants = [tools.cards.variant(identity, f"{name}.safetensors")]
        tools.cards.write_card(tmp_path / "cards", tools.cards.family(f"f-{identity}", name, variants))
    request = {"datasets": ("coco-wholebody-val",), "weights_root": golden}
    with pytest.raises(LabelSpaceMismatch, match="53 of the 133"):
        go("dense", out="refused", **request)
    with pytest.raises(LabelSpaceMismatch, match="common114"):
        go("dense", protocol="gt-box-common114", out="face", **request)
    official = go("dense", "whole", protocol="gt-box-official308", out="official", **request)
    dense, whole = official.cells
    assert dense.approximate == "goliath308 -> coco-wholebody133, 80 of 133 points scored as misses"
    assert whole.approximate == ""
    index = Catalog.load().space_map("goliath308", "coco-wholebody133").index
    fair = go("dense", protocol="gt-box-wb53", out="fair", **request).cells[0]
    common = stored_keypoints(tmp_path / "fair", fair, 53)
    for key, columns in predictions(tmp_path / "official", dense).items():
        points = np.asarray(columns["keypoints"]).reshape(-1, 133, 2)
        scores = np.asarray(columns["keypoint_scores"]).reshape(-1, 133)
        assert not points[:, index < 0].any()
        assert not scores[:, index < 0].any()
        np.testing.assert_array_equal(points[:, index >= 0], common[key])
    for protocol in ("gt-box", "gt-box-common114", "gt-box-wb63"):
        assert go("whole", protocol=protocol, out=protocol, **request).cells[0].status == "done"


def test_the_pipeline_is_asked_only_of_wrappers_that_have_one() -> None:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.model_specs import candidates
    from sapiens_bench.engine.request import Request

    request = Request(task="pose", models=("sapiens-0.3b", "movenet-thunder"), options={"pipeline": "lite"})
    found = {c.entry.id: c.options for c in candidates(request.model(), Catalog.load()).all}
    assert found["sapiens-0.3b"]["pipeline"] == "lite"
    assert "pipeline" not in found["movenet-thunder"]
