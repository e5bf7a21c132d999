"""Maps kept by --save-maps: readable anywhere, self-describing, and scored again to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import CardError, DataMissing, SampleFault, ShapeError, UsageError
from sapiens_bench.models.saved_maps import map_name
from sapiens_bench.pixels import png
from sapiens_bench.pixels.png import decode_png, encode_png
from sapiens_bench.store.record import RunRecord
from sapiens_bench.tasks import task_for, task_kind
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.tasks.seg.types import NO_CLASS, SegPrediction, SegTarget
from sapiens_bench.types import Task

CATALOG = Catalog.load()
TASKS = {
    name: task_for(p, CATALOG.space(p.space) if p.space else None)
    for name, p in CATALOG.dataset("folder").protocols.items()
}


def encode_map(prediction: Any, target: Any, task: Task) -> bytes:
    assert task.kind.codec is not None
    return task.kind.codec.encode(prediction, target, task.names)


def decode_map(data: bytes, name: str, task: str, names: tuple[str, ...] = ()) -> Any:
    codec = task_kind(task).codec
    assert codec is not None
    return codec.decode(data, name, names)


@pytest.fixture(scope="module")
def folder(sphere: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    balls = {stem: sphere.perspective(x=0.1 * i) for i, stem in enumerate("abc")}
    return Path(sphere.write_folder(tmp_path_factory.mktemp("balls"), balls))


def go(folder: Path, out: Path, task: str, model: str, **more: object) -> RunRecord:
    return evaluate(
        task=task, models=(model,), datasets=("folder",), data_root=folder, out=out, device="cpu", n_boot=0,
        workers=2, max_errors=1.0, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "headline", "tolerance"), [("seg", "miou", 0), ("depth", "rmse", 1e-6), ("normal", "mean_deg", 1e-3)]
)
def test_scoring_the_saved_maps_gives_the_same_numbers(
    folder: Path, tmp_path: Path, task: str, headline: str, tolerance: float
) -> None:
    first = go(folder, tmp_path / "a", task, f"noisy-oracle-{task}", save_maps=True).cells[0]
    maps = tmp_path / "a" / "maps" / task / "folder" / first.protocol / first.model
    assert sorted(p.relative_to(maps).as_posix() for p in maps.rglob("*.png")) == [f"folder/{s}.png" for s in "abc"]
    again = go(folder, tmp_path / "b", task, f"saved-maps-{task}", options={"maps": str(maps)}).cells[0]
    assert again.title == f"Re-scored from saved maps ({8 if task == 'seg' else 16} bit)"
    assert (again.status, again.counts.ok) == ("done", 3)
    key = f"{task}/{headline}"
    assert again.scores[key].value == pytest.approx(first.scores[key].value, abs=tolerance)
    assert first.scores[key].value > 0


def test_labels_of_28_parts_can_be_scored_again_as_person_or_not(folder: Path, tmp_path: Path) -> None:
    first = go(folder, tmp_path / "a", "seg", "oracle-seg", save_maps=True).cells[0]
    maps = {"maps": str(tmp_path / "a/maps/seg/folder" / first.protocol / "oracle-seg")}
    cell = go(folder, tmp_path / "b", "seg", "saved-maps-seg", options=maps, protocol="person").cells[0]
    assert cell.scores["seg/miou"].value == 1
    cell = go(folder, tmp_path / "c", "seg", "saved-maps-seg-person2", options=maps, protocol="person").cells[0]
    assert (cell.counts.ok, {e.code for e in cell.errors}) == (0, {"pred.map"})


def test_any_viewer_opens_the_files_and_nothing_lies_outside_the_mask(folder: Path, tmp_path: Path) -> None:
    go(folder, tmp_path, "depth", "oracle-depth", save_maps=True)
    path = next(tmp_path.glob("maps/depth/**/a.png"))
    with Image.open(path) as picture:
        counts = np.asarray(picture)
        about = json.loads(picture.info["sapiens-bench"])
    mask = np.isfinite(np.load(folder / "depths/a.npy"))
    assert np.array_equal(counts > 0, mask)
    assert about["kind"] == "metric_depth"
    depth = about["offset"] + about["step"] * (counts[mask].astype(float) - 1)
    assert np.abs(depth - np.load(folder / "depths/a.npy")[mask]).max() <= about["step"]


def test_a_run_without_maps_is_done_again_when_maps_are_wanted(folder: Path, tmp_path: Path) -> None:
    go(folder, tmp_path, "normal", "floor-flat-normal")
    assert not (tmp_path / "maps").exists()
    rows = next(tmp_path.glob("rows/**/shard-00000.parquet"))
    before = rows.stat().st_mtime_ns
    go(folder, tmp_path, "normal", "floor-flat-normal", save_maps=True)
    assert len(list(tmp_path.glob("maps/**/*.png"))) == 3
    written = rows.stat().st_mtime_ns
    assert written > before
    go(folder, tmp_path, "normal", "floor-flat-normal", save_maps=True)
    assert rows.stat().st_mtime_ns == written  # nothing left to do


def test_maps_that_are_missing_or_damaged_are_misses(folder: Path, tmp_path: Path) -> None:
    first = go(folder, tmp_path / "a", "normal", "oracle-normal", save_maps=True).cells[0]
    maps = tmp_path / "a/maps/normal/folder" / first.protocol / "oracle-normal"
    (maps / "folder/a.png").unlink()
    data = bytearray((maps / "folder/b.png").read_bytes())
    data[len(data) // 2] ^= 1
    (maps / "folder/b.png").write_bytes(data)
    cell = go(folder, tmp_path / "b", "normal", "saved-maps-normal", options={"maps": str(maps)}).cells[0]
    assert (cell.counts.ok, cell.counts.prediction_errors) == (1, 2)
    assert {e.code for e in cell.errors} == {"pred.missing", "pred.unreadable"}


def test_maps_of_another_task_or_label_set_are_not_read_as_ones_own() -> None:
    labels = np.ones((4, 5), np.uint8)
    data = encode_map(SegPrediction(labels), SegTarget(labels), TASKS["person"])
    names = CATALOG.space("person2").names
    assert np.array_equal(decode_map(data, "x", "seg", names).labels_HW, labels)
    for task, labels_of, what in (("seg", "body28", "another set"), ("depth", "person2", "a map of seg")):
        with pytest.raises(SampleFault, match=what) as caught:
            decode_map(data, "x", task, CATALOG.space(labels_of).names)
        assert (caught.value.code, caught.value.side) == ("pred.map", "prediction")


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e6), shift=st.floats(-1e6, 1e6))
def test_depth_is_kept_to_a_65534th_of_its_range(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    depth = (rng.standard_normal((7, 9)) * scale + shift).astype(np.float32)
    depth[0, 0] = np.nan
    mask = rng.random((7, 9)) < 0.7
    target = DepthTarget(np.ones((7, 9), np.float32), mask)
    data = encode_map(DepthPrediction(depth, "affine_invariant_inverse_depth"), target, TASKS["depth"])
    back = decode_map(data, "x", "depth")
    kept = mask & np.isfinite(depth)
    assert back.kind == "affine_invariant_inverse_depth"
    assert np.array_equal(np.isfinite(back.depth_HW), kept)
    if kept.any():
        span = float(depth[kept].max()) - float(depth[kept].min())
        rounding = np.spacing(np.abs(depth[kept]).max())
        assert np.abs(back.depth_HW - depth)[kept].max() <= span / 65534 + 2 * rounding


def test_normals_of_any_length_are_kept_to_a_hundredth_of_a_degree() -> None:
    rng = np.random.default_rng(3)
    normals = (rng.standard_normal((30, 40, 3)) * 5).astype(np.float32)
    normals[0, 0], normals[0, 1] = 0, np.nan
    target = NormalTarget(normals, np.ones((30, 40), bool))
    data = encode_map(NormalPrediction(normals), target, TASKS["normal"])
    back = decode_map(data, "x", "normal").normals_HW3
    assert np.isnan(back[0, :2]).all()
    unit = normals / np.linalg.norm(normals.astype(float), axis=-1, keepdims=True).clip(1e-9)
    good = np.isfinite(unit).all(-1) & (unit != 0).any(-1)
    assert np.degrees(np.linalg.norm(back - unit, axis=-1)[good]).max() < 0.01


def test_a_prediction_without_a_class_stays_without(tmp_path: Path) -> None:
    labels = np.full((3, 3), NO_CLASS, np.uint8)
    data = encode_map(SegPrediction(labels), SegTarget(np.zeros((3, 3), np.uint8)), TASKS["seg"])
    assert (decode_map(data, "x", "seg", CATALOG.space("body28").names).labels_HW == NO_CLASS).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.arange(60, dtype=np.uint8).reshape(6, 10),
        np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000,
        np.arange(180, dtype=np.uint16).reshape(6, 10, 3) * 300,
        np.arange(180, dtype=np.uint8).reshape(6, 10, 3),
    ],
)
def test_png_keeps_pixels_and_notes_exactly(pixels: np.ndarray) -> None:
    data = encode_png(pixels, {"key": "value"})
    back = decode_png(data, "x")
    assert np.array_equal(back.pixels, pixels)
    assert back.pixels.dtype == pixels.dtype
    assert back.notes == {"key": "value"}


def test_a_png_that_finds_no_memory_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*shape: object) -> None:
        raise MemoryError

    data = encode_png(np.zeros((20, 30), np.uint16))
    monkeypatch.setattr("cv2.imdecode", lambda *arguments: None)
    with pytest.raises(SampleFault, match="not a readable PNG"):
        decode_png(data, "x")
    monkeypatch.setattr(png.np, "empty", no_room)
    with pytest.raises(MemoryError):
        decode_png(data, "x")


def test_damaged_png_is_never_half_a_picture() -> None:
    data = encode_png(np.random.default_rng(0).integers(0, 65536, (20, 30), np.uint16))
    for end in (0, 7, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(SampleFault):
            decode_png(data[:end], "x")
    for place in range(30, len(data), 41):
        spoilt = bytearray(data)
        spoilt[place] ^= 0x10
        with pytest.raises(SampleFault):
            decode_png(bytes(spoilt), "x")
    with pytest.raises(SampleFault, match="1 to 100 pixels are allowed"):
        decode_png(data, "x", max_pixels=100)
    with pytest.raises(ShapeError):
        encode_png(np.zeros((2, 2), np.float32))


def test_names_of_maps_stay_below_their_folder() -> None:
    assert map_name("cihp/0001") == "cihp/0001.png"
    for key in ("../../etc/x", "/abs", "a//b", "c:\\x", "n\0l", "x" * 300):
        name = map_name(key)
        assert len(name) == 36
        assert "/" not in name


def test_requests_that_make_no_sense_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="predictions of pose are kept without it"):
        evaluate(task="pose", save_maps=True)
    with pytest.raises(CardError, match=r"option .maps.: is missing. The folder RUN/maps"):
        go(folder, tmp_path / "a", "normal", "saved-maps-normal")
    with pytest.raises(DataMissing, match="not a folder of saved maps"):
        go(folder, tmp_path / "b", "normal", "saved-maps-normal", options={"maps": str(tmp_path / "none")})
