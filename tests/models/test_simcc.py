"""SimCC networks from ONNX files: decoding, batches, every refusal, and a whole run on real photographs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sapiens_bench.api import evaluate, load_model
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.fixture import context, input_spec
from sapiens_bench.errors import CheckpointRejected, DeviceError, WeightsMissing
from sapiens_bench.models.parts import simcc_vectors
from sapiens_bench.models.parts.decoders import SimccVectors
from sapiens_bench.models.parts.heatmaps import to_image_space
from sapiens_bench.models.simcc import Simcc
from sapiens_bench.pixels.codecs import read_rgb
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.types import ModelInput

HW = (96, 72)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    torch.set_num_threads(1)
    return Catalog.load()


@pytest.fixture
def tiny(shared: Path) -> Path:
    return shared / "golden" / "baselines" / "pose_simcc_tiny.onnx"


def wrapper(path: Path, catalog: Catalog, hw: tuple[int, int] = HW, space: str = "coco17", **options: Any) -> Simcc:
    return Simcc(context("simcc", "pose", path, "onnx", input_spec(*hw), catalog.space(space), options))


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
    found = simcc_vectors.decode(x, y)
    np.testing.assert_array_equal(found.xy_BK2[0], [[5, 2], [-1, -1], [-1, -1]])
    np.testing.assert_allclose(found.score_BK[0], [0.4, -0.2, 0.0])
    mean = simcc_vectors.decode(x, y, "mean")
    np.testing.assert_array_equal(mean.xy_BK2[0], [[5, 2], [0, 2], [-1, -1]])
    np.testing.assert_allclose(mean.score_BK[0], [0.65, 0.3, 0.0])


VECTORS = arrays.arrays(np.float32, (2, 4, 10), elements=st.floats(-1, 1, width=32))


@settings(deadline=None, max_examples=20)
@given(VECTORS, VECTORS)
def test_merging_a_mirror_image_with_itself_changes_nothing(x: Any, y: Any) -> None:
    swap = np.array([1, 0, 2, 3])
    merged = simcc_vectors.merge_flipped((x, y), (x[:, swap, ::-1], y[:, swap]), swap)
    np.testing.assert_array_equal(merged[0], x)
    np.testing.assert_array_equal(merged[1], y)


def test_the_middle_bin_lies_at_the_middle_of_the_box() -> None:
    """The three-point crop puts the centre at half the crop, and the way back is its exact inverse."""
    center, scale = np.array([40.0, 70.0]), np.array([60.0, 80.0])
    bins = {"bins": np.array([[72.0, 96.0], [0.0, 0.0]], np.float32)}
    found = to_image_space(SimccVectors(2.0).in_input(bins, (72, 96)), (72, 96), center, scale)
    np.testing.assert_allclose(found, [[40.0, 70.0], [10.0, 30.0]])


def test_neighbours_in_a_batch_do_not_change_a_person(tiny: Path, catalog: Catalog) -> None:
    x, model = people(4), wrapper(tiny, catalog)
    assert model.file.batch is None
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


def test_a_file_of_another_size_or_keypoint_set_is_refused(tiny: Path, catalog: Catalog) -> None:
    with pytest.raises(CheckpointRejected, match=r"takes \[3, 96, 72\], the card of .* says \[3, 256, 192\]"):
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


def test_half_precision_is_refused_and_missing_files_say_how_to_get_them(tiny: Path, catalog: Catalog) -> None:
    given_context = context("simcc", "pose", tiny, "onnx", input_spec(*HW), catalog.space("coco17"))
    with pytest.raises(DeviceError, match="own precision"):
        Simcc(dataclasses.replace(given_context, precision="bf16"))
    with pytest.raises(WeightsMissing):
        Simcc(dataclasses.replace(given_context, weights=None))
    with pytest.raises(WeightsMissing, match="weights get dwpose-l"):
        load_model("dwpose-l")


def test_the_flip_test_is_the_mean_with_the_mirrored_crop(tiny: Path, catalog: Catalog) -> None:
    model, flipping = wrapper(tiny, catalog), wrapper(tiny, catalog, flip_test=True)
    image = model.normalise(torch.from_numpy(model.prepare(people(2)).tensors["crop"]))
    plain, mirrored = ([v.numpy() for v in model.answers(x)] for x in (image, image.flip(-1)))
    wanted = simcc_vectors.merge_flipped((plain[0], plain[1]), (mirrored[0], mirrored[1]), model.flip_index)
    for ours, theirs in zip(flipping.answers(image), wanted, strict=True):
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
    assert "[3, 96, 72]" in wrong.how
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
