"""SimCC networks from ONNX files: decoding, batches, every refusal, and a whole run on real photographs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sapiens_bench.api import evaluate, load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.baselines_pose import context
from sapiens_bench.errors import CardError, CheckpointRejected, DeviceError, WeightsMissing
from sapiens_bench.models import simcc
from sapiens_bench.models.simcc import Simcc, SimccSession
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.store.rows import read_predictions
from sapiens_bench.types import ModelInput

HW = (96, 72)
FREE_BATCH = b"\x12\x05batch"  # a protobuf dimension with a name ...
BATCH_OF = {1: b"\x08\x81\x80\x80\x80\x80\x00", 2: b"\x08\x82\x80\x80\x80\x80\x00"}  # ... and numbers of equal length


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    torch.set_num_threads(1)
    return Catalog.load()


@pytest.fixture
def tiny(shared: Path) -> Path:
    return shared / "golden" / "baselines" / "pose_simcc_tiny.onnx"


def wrapper(path: Path, catalog: Catalog, hw: tuple[int, int] = HW, space: str = "coco17", **options: Any) -> Simcc:
    return Simcc(context(path, "onnx", "simcc", catalog, space, hw, **options))


def people(n: int, seed: int = 0) -> ModelInput:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(30, 90, (n, 2))], axis=1).astype(np.float32)
    return ModelInput("k", rng.integers(0, 256, (120, 110, 3), np.uint8), boxes, np.full(n, 0.5, np.float32))


def predict(model: Simcc, x: ModelInput) -> Any:
    prepared = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({"crop": torch.from_numpy(prepared.tensors["crop"])})
    assert all(isinstance(value, torch.Tensor) and value.device.type == "cpu" for value in outputs.values())
    return model.finish({name: value.numpy() for name, value in outputs.items()}, prepared.geometry)


def test_a_score_that_is_not_positive_has_no_place() -> None:
    x, y = np.zeros((1, 3, 8), np.float32), np.zeros((1, 3, 6), np.float32)
    x[0, 0, 5], y[0, 0, 2] = 0.9, 0.4
    x[0, 1], y[0, 1, 2] = -0.2, 0.8  # one axis below zero: the smaller maximum is, their mean is not
    found = simcc.decode(x, y)
    np.testing.assert_array_equal(found.xy_BK2[0], [[5, 2], [-1, -1], [-1, -1]])
    np.testing.assert_allclose(found.score_BK[0], [0.4, -0.2, 0.0])
    mean = simcc.decode(x, y, "mean")
    np.testing.assert_array_equal(mean.xy_BK2[0], [[5, 2], [0, 2], [-1, -1]])
    np.testing.assert_allclose(mean.score_BK[0], [0.65, 0.3, 0.0])


VECTORS = arrays.arrays(np.float32, (2, 4, 10), elements=st.floats(-1, 1, width=32))


@settings(deadline=None, max_examples=20)
@given(VECTORS, VECTORS)
def test_merging_a_mirror_image_with_itself_changes_nothing(x: Any, y: Any) -> None:
    swap = np.array([1, 0, 2, 3])
    merged = simcc.merge_flipped((x, y), (x[:, swap, ::-1], y[:, swap]), swap)
    np.testing.assert_array_equal(merged[0], x)
    np.testing.assert_array_equal(merged[1], y)


def test_the_middle_bin_lies_at_the_middle_of_the_box() -> None:
    """The three-point crop puts the centre at half the crop, and the way back is its exact inverse."""
    center, scale = np.array([40.0, 70.0]), np.array([60.0, 80.0])
    found = simcc.to_image_space(np.array([[72.0, 96.0], [0.0, 0.0]]), 2.0, (72, 96), center, scale)
    np.testing.assert_allclose(found, [[40.0, 70.0], [10.0, 30.0]])


def test_neighbours_in_a_batch_do_not_change_a_person(tiny: Path, catalog: Catalog) -> None:
    x, model = people(4), wrapper(tiny, catalog)
    assert model.session.batch is None
    together = predict(model, x)
    for i in range(4):
        alone = predict(model, ModelInput("k", x.image_HW3, x.boxes_xyxy_px[i : i + 1], x.box_scores[i : i + 1]))
        np.testing.assert_allclose(alone.keypoint_scores_NK[0], together.keypoint_scores_NK[i], atol=1e-4)
        np.testing.assert_allclose(alone.keypoints_NK2_px[0], together.keypoints_NK2_px[i], atol=1e-3)
    assert predict_nobody(model).keypoints_NK2_px.shape == (0, 17, 2)


def predict_nobody(model: Simcc) -> Any:
    prepared = model.prepare(people(0))
    assert prepared.tensors["crop"].shape == (0, 3, *HW)
    return model.finish({}, prepared.geometry)


@pytest.mark.parametrize("size", [1, 2])
def test_a_file_with_a_fixed_batch_size_gives_the_same(tiny: Path, catalog: Catalog, tmp_path: Path, size: int) -> None:
    content = tiny.read_bytes()
    assert FREE_BATCH in content
    (tmp_path / "fixed.onnx").write_bytes(content.replace(FREE_BATCH, BATCH_OF[size]))
    fixed, free = wrapper(tmp_path / "fixed.onnx", catalog), wrapper(tiny, catalog)
    assert fixed.session.batch == size
    one, other = predict(fixed, people(3)), predict(free, people(3))
    np.testing.assert_allclose(one.keypoints_NK2_px, other.keypoints_NK2_px, atol=1e-3)
    np.testing.assert_allclose(one.keypoint_scores_NK, other.keypoint_scores_NK, atol=1e-4)


class Fake:
    """An ONNX Runtime session with a free batch size by name that in truth takes ``limit`` crops at most."""

    def __init__(
        self, limit: int, names: tuple[str, ...] = ("simcc_x", "simcc_y"), shape: tuple[Any, ...] = ()
    ) -> None:
        self.limit, self.names, self.calls = limit, names, [0]
        self.shape = shape or ("batch", 3, "height", "width")

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input", shape=list(self.shape), type="tensor(float)")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.names]

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        images = feeds["input"]
        if len(images) > self.limit:
            raise RuntimeError("Reshape: the input tensor cannot be reshaped")
        self.calls.append(len(images))
        level = images.mean(axis=(1, 2, 3))
        vectors = [level[:, None, None] + np.zeros((1, 5, 2 * side), np.float32) for side in images.shape[:1:-1]]
        return vectors[: len(names)]


def test_a_batch_size_that_is_only_free_by_name_falls_back_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(limit=1)
    monkeypatch.setattr(simcc, "open_onnx", lambda *_: fake)
    session = SimccSession(Path("net.onnx"), (8, 6), 5, 2.0, "cpu")
    images = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1) + np.zeros((3, 3, 6, 8), np.float32)
    x, y = session(images)
    assert set(fake.calls) == {0, 1}
    assert (x.shape, y.shape) == ((3, 5, 16), (3, 5, 12))
    np.testing.assert_array_equal(x[:, 0, 0], [0, 1, 2])


def test_networks_that_are_no_simcc_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for fake, message in (
        (Fake(9, names=("dets", "labels", "masks")), "dets, labels, masks"),
        (Fake(9, shape=("batch", 3)), r"\[batch, 3, H, W\]"),
        (Fake(0), "cannot be run"),
    ):
        monkeypatch.setattr(simcc, "open_onnx", lambda *_, fake=fake: fake)
        with pytest.raises(CheckpointRejected, match=message):
            SimccSession(Path("net.onnx"), (8, 6), 5, 2.0, "cpu")


def test_a_file_of_another_size_or_keypoint_set_is_refused(tiny: Path, catalog: Catalog) -> None:
    with pytest.raises(CheckpointRejected, match=r"takes 96 x 72 .* card says 256 x 192"):
        wrapper(tiny, catalog, hw=(256, 192))
    with pytest.raises(CheckpointRejected, match="133 keypoints"):
        wrapper(tiny, catalog, space="coco-wholebody133")
    with pytest.raises(CheckpointRejected, match="3 bins per pixel"):
        wrapper(tiny, catalog, split_ratio=3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.onnx", b"", "empty"),
        ("page.onnx", b"<!DOCTYPE html><html>404</html>", "web page"),
        ("pointer.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS"),
        ("noise.onnx", b"\x08\x07\x12\x9dnoise" * 40, "no ONNX file"),
        ("cut.onnx", None, "no ONNX file"),
    ],
)
def test_what_is_no_onnx_file_is_named(
    tiny: Path, catalog: Catalog, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    (tmp_path / name).write_bytes(tiny.read_bytes()[:-400] if content is None else content)
    with pytest.raises(CheckpointRejected, match=message):
        wrapper(tmp_path / name, catalog)


def test_archives_and_torch_files_are_named(tiny: Path, catalog: Catalog, shared: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "sdk.onnx", "w") as archive:
        archive.write(tiny, "20230728/end2end.onnx")
    torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "net.onnx")
    with pytest.raises(CheckpointRejected, match=r"zip archive.*end2end\.onnx"):
        wrapper(tmp_path / "sdk.onnx", catalog)
    with pytest.raises(CheckpointRejected, match="pth file"):
        wrapper(tmp_path / "net.onnx", catalog)
    with pytest.raises(CheckpointRejected, match="safetensors file"):
        wrapper(shared / "golden/baselines/vitpose_plus_official_tiny.safetensors", catalog)


@pytest.mark.parametrize(
    "options", [{"split_ratio": 0}, {"split_ratio": True}, {"score": "max"}, {"flip_test": 1}, {"padding": 1.5}]
)
def test_wrong_options_are_named(tiny: Path, catalog: Catalog, options: dict[str, Any]) -> None:
    with pytest.raises(CardError, match=next(iter(options))):
        wrapper(tiny, catalog, **options)


def test_half_precision_is_refused_and_missing_files_say_how_to_get_them(tiny: Path, catalog: Catalog) -> None:
    import dataclasses

    given_context = context(tiny, "onnx", "simcc", catalog, "coco17", HW)
    with pytest.raises(DeviceError, match="bf16"):
        Simcc(dataclasses.replace(given_context, precision="bf16"))
    with pytest.raises(WeightsMissing):
        Simcc(dataclasses.replace(given_context, weights=None))
    with pytest.raises(WeightsMissing, match="weights get dwpose-l"):
        load_model("dwpose-l")


def test_the_flip_test_is_the_mean_with_the_mirrored_crop(tiny: Path, catalog: Catalog) -> None:
    model, flipping = wrapper(tiny, catalog), wrapper(tiny, catalog, flip_test=True)
    crop = model.prepare(people(2)).tensors["crop"]
    mirrored = model.vectors(np.ascontiguousarray(crop[..., ::-1]))
    wanted = simcc.merge_flipped(model.vectors(crop), mirrored, model.flip_index)
    for ours, theirs in zip(flipping.vectors(crop), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_card_folder_runs_on_real_photographs(shared: Path, tiny: Path, tmp_path: Path) -> None:
    weights = {"file": tiny.name, "format": "onnx", "sha256": None, "get": {"how": "a fixture"}}
    card = {
        "schema": "model/1", "id": "tiny-family", "title": "tiny", "task": "pose", "licence": {"name": "none"},
        "wrapper": "simcc", "trained_on": "nothing", "space": "coco17",
        "input": {"height": 96, "width": 72, "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        "variants": [
            {"id": "tiny-simcc", "title": "tiny", "weights": weights, "options": {"split_ratio": 2.0, "score": "min"}},
            {"id": "tiny-wrong", "title": "wrong", "weights": weights, "options": {},
             "input": {"height": 256, "width": 192}},
        ],
    }  # fmt: skip
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "tiny.yaml").write_text(json.dumps(card))
    coco = shared / "data" / "coco"
    record = evaluate(
        task="pose", models=("tiny-simcc", "tiny-wrong"), datasets=("coco-val2017",), data_root=coco,
        weights_root=tiny.parent, cards=(cards,), out=tmp_path / "out", device="cpu", n_boot=0, workers=1,
    )  # fmt: skip
    good, wrong = record.cells
    assert (good.model, good.status, wrong.status) == ("tiny-simcc", "done", "refused")
    assert "96 x 72" in wrong.how
    stored = dict(read_predictions(tmp_path / "out/preds" / good.task / good.dataset / good.protocol / good.model))
    assert len(stored) == 4
    model = load_model("tiny-simcc", weights_root=tiny.parent, cards=[cards])
    assert isinstance(model, Simcc)
    for key, columns in stored.items():
        boxes = np.asarray(columns["boxes"], np.float32).reshape(-1, 4)
        image = read_rgb(coco / "val2017" / f"{Path(key).stem}.jpg")
        alone = predict(model, ModelInput(key, image, boxes, np.ones(len(boxes), np.float32)))
        keypoints = np.asarray(columns["keypoints"]).reshape(-1, 17, 2)
        np.testing.assert_allclose(keypoints, alone.keypoints_NK2_px, atol=1e-2)
