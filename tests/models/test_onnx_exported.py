"""Dense networks by card: ONNX files and torch programs, and all dense wrappers through whole runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import WeightFiles
from sapiens_bench.cards.schema import WeightFormat
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.model_specs import space_of
from sapiens_bench.engine.specs import ModelSpec
from sapiens_bench.errors import CardError, CheckpointRejected, DeviceError, UntrustedCheckpoint, WeightsMissing
from sapiens_bench.models.depth_anything import DepthAnything
from sapiens_bench.models.exported import ExportedMaps
from sapiens_bench.models.onnx import OnnxMaps
from sapiens_bench.models.pifuhd import PIFuHD
from sapiens_bench.store.record import RunRecord

INPUT = (128, 96)
AFFINE = {"depth_kind": "affine_invariant_depth"}
INVERSE = {"depth_kind": "affine_invariant_inverse_depth"}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


@pytest.fixture
def files(shared: Path) -> Path:
    return shared / "golden" / "baselines"


def onnx(fake: ModuleType, files: Path, task: str, **options: Any) -> OnnxMaps:
    space = fake.space("labels", 28) if task == "seg" else None
    options = {**(AFFINE if task == "depth" else {}), **options}
    return OnnxMaps(fake.context("onnx", files / f"dense_{task}_tiny.onnx", task, "onnx", INPUT, space, **options))


@pytest.mark.parametrize("task", ["seg", "depth", "normal"])
@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_pictures_of_different_size_in_one_batch_do_not_touch_each_other(
    fake: ModuleType, files: Path, task: str, resize: str
) -> None:
    model = onnx(fake, files, task, resize=resize)
    pictures = [fake.picture(150, 110), fake.picture(60, 200), fake.picture(300, 70)]
    for x, together in zip(pictures, fake.predict(model, pictures)):
        (alone,) = fake.predict(model, [x])
        name = {"seg": "labels_HW", "depth": "depth_HW", "normal": "normals_HW3"}[task]
        assert getattr(together, name).shape[:2] == x.image_HW3.shape[:2]
        assert np.isclose(getattr(together, name), getattr(alone, name), atol=1e-5).mean() > 0.9999


@pytest.mark.parametrize("kind", ["torchscript", "export"])
def test_a_program_gives_what_the_onnx_file_of_the_same_network_gives(
    fake: ModuleType, files: Path, kind: WeightFormat
) -> None:
    path = files / f"dense_depth_tiny_{kind}.pt2"
    model = ExportedMaps(fake.context("exported", path, "depth", kind, INPUT, trusted=True, **AFFINE))
    pictures = [fake.picture(150, 110), fake.picture(60, 200)]  # the export is fixed to one picture per call
    for a, b in zip(fake.predict(model, pictures), fake.predict(onnx(fake, files, "depth"), pictures), strict=True):
        np.testing.assert_allclose(a.depth_HW, b.depth_HW, atol=1e-5)
        assert a.kind == "affine_invariant_depth"


def test_programs_run_only_when_pinned_and_of_the_kind_of_the_card(fake: ModuleType, files: Path) -> None:
    path = files / "dense_depth_tiny_torchscript.pt2"
    with pytest.raises(UntrustedCheckpoint):
        ExportedMaps(fake.context("exported", path, "depth", "torchscript", INPUT, **AFFINE))
    with pytest.raises(CheckpointRejected, match="of kind torchscript"):
        ExportedMaps(fake.context("exported", path, "depth", "export", INPUT, trusted=True, **AFFINE))
    with pytest.raises(CardError, match="format torchscript or export"):
        ExportedMaps(fake.context("exported", path, "depth", "pth", INPUT, trusted=True, **AFFINE))
    with pytest.raises(CheckpointRejected, match=r"gives \(1, 1, .*needs \[B, 3, h, w\]"):
        ExportedMaps(fake.context("exported", path, "normal", "torchscript", INPUT, trusted=True))
    other = files / "dense_depth_tiny_export.pt2"
    with pytest.raises(DeviceError, match="fp32"):
        ExportedMaps(
            fake.context("exported", other, "depth", "export", INPUT, trusted=True, precision="bf16", **AFFINE)
        )


def test_an_onnx_file_that_is_not_what_the_card_says_is_refused(fake: ModuleType, files: Path, tmp_path: Path) -> None:
    depth = files / "dense_depth_tiny.onnx"
    with pytest.raises(CheckpointRejected, match=r"takes \[3, 128, 96\]"):
        OnnxMaps(fake.context("onnx", depth, "depth", "onnx", (96, 128), **AFFINE))
    with pytest.raises(CheckpointRejected, match="NHWC"):
        OnnxMaps(fake.context("onnx", depth, "depth", "onnx", INPUT, layout="NHWC", **AFFINE))
    with pytest.raises(CheckpointRejected, match=r"needs \[B, 3, h, w\]"):
        OnnxMaps(fake.context("onnx", depth, "normal", "onnx", INPUT))
    with pytest.raises(CheckpointRejected, match=r"needs \[B, 18, h, w\]"):
        OnnxMaps(fake.context("onnx", files / "dense_seg_tiny.onnx", "seg", "onnx", INPUT, fake.space("labels", 18)))
    with pytest.raises(CardError, match="output_name is 'depth'"):
        OnnxMaps(fake.context("onnx", depth, "depth", "onnx", INPUT, output_name="depth", **AFFINE))
    with pytest.raises(DeviceError, match="own precision"):
        OnnxMaps(fake.context("onnx", depth, "depth", "onnx", INPUT, precision="bf16", **AFFINE))
    (tmp_path / "no.onnx").write_bytes(b"not a network")
    with pytest.raises(CheckpointRejected, match="ONNX"):
        OnnxMaps(fake.context("onnx", tmp_path / "no.onnx", "depth", "onnx", INPUT, **AFFINE))


def test_labels_of_a_file_that_ends_in_an_arg_max_keep_their_numbers(fake: ModuleType, files: Path) -> None:
    model = onnx(fake, files, "seg")
    model.gives_labels = True
    small = torch.tensor([[[0, 3], [27, 1]]])
    assert model.at_original(model._labels(small), (4, 4)).tolist() == [[0, 0, 3, 3]] * 2 + [[27, 27, 1, 1]] * 2
    with pytest.raises(CheckpointRejected, match=r"outside 0\.\.27"):
        model._labels(small + 1)


def card(folder: Path, identity: str, task: str, wrapper: str, file: str, kind: str, **more: Any) -> None:
    variant = {
        "id": identity, "title": identity, "options": more.pop("options", {}),
        "weights": {"file": file, "format": kind, "sha256": more.pop("sha256", None), "get": {"how": "fixture"}},
    }  # fmt: skip
    height, width = more.pop("size", INPUT)
    spec = {"height": height, "width": width, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
    content = {
        "schema": "model/1", "id": identity, "title": identity, "task": task, "wrapper": wrapper, "input": spec,
        "licence": {"name": "none"}, "trained_on": "nothing", "variants": [variant], **more,
    }  # fmt: skip
    (folder / f"{identity}.yaml").write_text(json.dumps(content))  # JSON is YAML


def program(cards: Path, files: Path, options: dict[str, str]) -> None:
    file = "dense_depth_tiny_torchscript.pt2"
    pinned = hashlib.sha256((files / file).read_bytes()).hexdigest()
    card(cards, "t-ts", "depth", "exported", file, "torchscript", options=options, sha256=pinned)


def whole_run(tmp_path: Path, sphere: ModuleType, files: Path, task: str) -> RunRecord:
    torch.set_num_threads(1)
    balls = {"a": sphere.perspective(), "b": sphere.perspective(height=90, width=70)}  # two sizes in one batch
    root, cards = sphere.write_folder(tmp_path / "data", balls), tmp_path / "cards"
    return evaluate(
        task=task, models=tuple(sorted(p.stem for p in cards.iterdir())), datasets=("folder",), data_root=root,
        out=tmp_path / "out", cards=(cards,), weights_root=files, device="cpu", n_boot=0, workers=1,
    )  # fmt: skip


@pytest.mark.parametrize("task", ["seg", "depth", "normal"])
def test_every_dense_wrapper_scores_a_folder_through_a_whole_run(
    sphere: ModuleType, files: Path, tmp_path: Path, task: str
) -> None:
    cards = tmp_path / "cards"
    cards.mkdir()
    if task == "seg":
        card(cards, "t-onnx", task, "onnx", "dense_seg_tiny.onnx", "onnx", space="body28")
        card(cards, "t-m2f", task, "mask2former", "mask2former", "hf", space="body28", size=(96, 64))
    elif task == "depth":
        card(cards, "t-da", task, "depth_anything", "depth_anything", "hf", options=INVERSE, size=(112, 112))
        program(cards, files, INVERSE)
    else:
        card(cards, "t-onnx", task, "onnx", "dense_normal_tiny.onnx", "onnx")
        card(cards, "t-pifuhd", task, "pifuhd", "pifuhd_netF_tiny.safetensors", "safetensors", size=(64, 64))
    record = whole_run(tmp_path, sphere, files, task)
    assert len(record.cells) == 2
    headline = {"seg": "seg/miou", "depth": "depth/rmse", "normal": "normal/mean_deg"}[task]
    for cell in record.cells:
        assert (cell.status, cell.counts.ok) == ("done", 2), cell.how
        assert np.isfinite(cell.scores[headline].value)


def test_a_program_whose_card_turns_depth_round_is_stopped_before_it_is_scored(
    sphere: ModuleType, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "cards").mkdir()
    program(tmp_path / "cards", files, AFFINE)  # on this picture its random weights grow with nearness
    with pytest.raises(CheckpointRejected, match="depth direction is declared wrongly"):
        whole_run(tmp_path, sphere, files, "depth")


@pytest.mark.parametrize("kind", ["normal", "pointmap"])
def test_sapiens2_scores_a_folder_through_a_whole_run(
    sphere: ModuleType, files: Path, tmp_path: Path, kind: str
) -> None:
    task = "depth" if kind == "pointmap" else kind
    state = {f"backbone.{k}": v for k, v in load_file(files / "sapiens2_tiny_backbone.safetensors").items()}
    save_file(state | load_file(files / f"sapiens2_tiny_{kind}_head.safetensors"), tmp_path / "s2.safetensors")
    (tmp_path / "cards").mkdir()
    options = {"depth_kind": "scale_invariant_depth"} if task == "depth" else {}
    card(
        tmp_path / "cards", "t-s2", task, "sapiens2", "s2.safetensors", "safetensors", options=options, size=(256, 192)
    )
    (cell,) = whole_run(tmp_path, sphere, tmp_path, task).cells
    assert (cell.status, cell.counts.ok) == ("done", 2), cell.how


def test_a_fixed_batch_is_filled_up_and_cut_again(fake: ModuleType, files: Path) -> None:
    model = onnx(fake, files, "depth")
    pictures = [fake.picture(150, 110), fake.picture(60, 200), fake.picture(90, 90)]
    free = fake.predict(model, pictures)
    model.batch = 2
    for a, b in zip(fake.predict(model, pictures), free, strict=True):
        np.testing.assert_allclose(a.depth_HW, b.depth_HW, atol=1e-6)


def test_every_published_card_lacks_nothing_but_its_weights() -> None:
    catalog = Catalog.load()
    mine = ("depth_anything", "exported", "mask2former", "onnx", "pifuhd", "sapiens2", "segformer")
    entries = [e for e in catalog.models.values() if e.card.wrapper in mine]
    assert len(entries) >= 21
    absent = WeightFiles(None, {}, "", pinned=False)
    for entry in entries:
        spec = ModelSpec(entry, absent, space_of(entry, catalog), entry.variant.options, "fp32", 0, "")
        with pytest.raises(WeightsMissing, match=entry.id):
            build_model(spec, "cpu")


@pytest.mark.parametrize("name", ["depth_anything", "pifuhd_netF_tiny.safetensors"])
def test_half_precision_stays_near_full_precision(fake: ModuleType, files: Path, name: str) -> None:
    x = fake.picture(120, 90)
    found = []
    for precision in ("fp32", "bf16"):
        if name == "depth_anything":
            given = fake.context(
                "depth_anything", files / name, "depth", "hf", (112, 112), precision=precision, **INVERSE
            )
            found.append(fake.predict(DepthAnything(given), [x])[0].depth_HW)
        else:
            given = fake.context("pifuhd", files / name, "normal", "safetensors", (64, 64), precision=precision)
            found.append(fake.predict(PIFuHD(given), [x])[0].normals_HW3)
    assert found[1].dtype == np.float32
    away = np.abs(found[0] - found[1]).mean() / np.abs(found[0]).mean()
    assert 0 < away < 0.1
