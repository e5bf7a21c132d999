"""Sapiens2 through transformers: official files and folders, sizes, geometry, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.sapiens2 import Sapiens2Dense, Sapiens2Pose, build, padded_frame
from sapiens_bench.models.sapiens2_load import SIZES

INPUT = (256, 192)
SPACES = {"pose": ("keypoints", 5), "seg": ("labels", 7)}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


def official(shared: Path, target: Path, name: str) -> Path:
    """A file in the official layout: backbone and head of the fixture together."""
    folder = shared / "golden" / "baselines"
    state = {f"backbone.{k}": v for k, v in load_file(folder / "sapiens2_tiny_backbone.safetensors").items()}
    state |= load_file(folder / f"sapiens2_tiny_{name}_head.safetensors")
    path = target / f"{name}.safetensors"
    save_file(state, path)
    return path


def wrapper(fake: ModuleType, path: Path, name: str, **options: Any) -> Sapiens2Pose | Sapiens2Dense:
    task = "depth" if name == "pointmap" else name
    if task == "depth":
        options = {"depth_kind": "scale_invariant_depth", **options}
    space = fake.space(*SPACES[name]) if name in SPACES else None
    kind = "hf" if path.is_dir() else "safetensors"
    return build(fake.context("sapiens2", path, task, kind, INPUT, space, **options))


def arrays(prediction: Any) -> list[np.ndarray]:
    names = ("keypoints_NK2_px", "keypoint_scores_NK", "labels_HW", "normals_HW3", "depth_HW")
    return [getattr(prediction, n) for n in names if hasattr(prediction, n)]


@pytest.mark.parametrize("name", ["pose", "seg", "normal", "pointmap"])
def test_a_folder_in_the_layout_of_the_library_gives_what_the_official_file_gives(
    fake: ModuleType, shared: Path, tmp_path: Path, name: str
) -> None:
    one = wrapper(fake, official(shared, tmp_path, name), name)
    network: Any = one.net
    getattr(network, "network", network).save_pretrained(tmp_path / "folder")
    other = wrapper(fake, tmp_path / "folder", name)
    x = fake.picture(120, 100)
    for a, b in zip(arrays(fake.predict(one, [x])[0]), arrays(fake.predict(other, [x])[0]), strict=True):
        assert a.size
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["seg", "normal", "pointmap"])
def test_pictures_of_different_size_in_one_batch_do_not_touch_each_other(
    fake: ModuleType, shared: Path, tmp_path: Path, name: str
) -> None:
    model = wrapper(fake, official(shared, tmp_path, name), name)
    pictures = [fake.picture(90, 150), fake.picture(140, 60)]
    for x, together in zip(pictures, fake.predict(model, pictures)):
        (alone,) = fake.predict(model, [x])
        a, b = arrays(together)[0], arrays(alone)[0]
        assert a.shape[:2] == x.image_HW3.shape[:2]
        assert np.isclose(a, b, atol=1e-3).mean() > 0.999


def test_depth_is_the_z_of_the_point_map(fake: ModuleType, shared: Path, tmp_path: Path) -> None:
    path, x = official(shared, tmp_path, "pointmap"), fake.picture(120, 90)
    depth = fake.predict(wrapper(fake, path, "pointmap"), [x])[0]
    points = fake.predict(build(fake.context("sapiens2", path, "pointmap", "safetensors", INPUT)), [x])[0]
    assert points.points_HW3.shape == (*x.image_HW3.shape[:2], 3)
    np.testing.assert_allclose(points.points_HW3[..., 2], depth.depth_HW, atol=1e-5)


def test_people_of_one_picture_are_cut_out_and_found_alone(fake: ModuleType, shared: Path, tmp_path: Path) -> None:
    model = wrapper(fake, official(shared, tmp_path, "pose"), "pose", flip_test=False)
    assert isinstance(model, Sapiens2Pose)
    x = fake.picture(200, 160, n_boxes=2)
    x.boxes_xyxy_px[1] = (20, 30, 90, 170)
    prepared = model.prepare(x)
    assert prepared.tensors["crop"].shape == (2, 3, *INPUT)
    crops = torch.from_numpy(prepared.tensors["crop"])
    with torch.inference_mode():
        both = model.forward({"crop": crops})
        second = model.forward({"crop": crops[1:]})
    np.testing.assert_allclose(both["score"][1:], second["score"], atol=1e-5)
    found = model.finish({n: t.numpy() for n, t in both.items()}, prepared.geometry)
    assert found.keypoints_NK2_px.shape == (2, 5, 2)
    empty = model.prepare(fake.picture(50, 50, n_boxes=0))
    assert model.finish({}, empty.geometry).keypoints_NK2_px.shape == (0, 5, 2)


def test_the_flip_test_is_on_unless_the_card_says_otherwise(fake: ModuleType, shared: Path, tmp_path: Path) -> None:
    path = official(shared, tmp_path, "pose")
    flips, plain = wrapper(fake, path, "pose"), wrapper(fake, path, "pose", flip_test=False)
    assert isinstance(flips, Sapiens2Pose)
    assert flips.flip_test
    x = fake.picture(150, 110)
    a, b = fake.predict(flips, [x])[0], fake.predict(plain, [x])[0]
    assert not np.array_equal(a.keypoint_scores_NK, b.keypoint_scores_NK)


def test_a_padded_picture_lies_in_the_middle_and_keeps_its_aspect() -> None:
    assert padded_frame(150, 110, (256, 192)) == (0, 2, 256, 189)
    assert padded_frame(100, 400, (1024, 768)) == (416, 0, 608, 768)
    assert padded_frame(1, 5000, (64, 64)) == (31, 0, 32, 64)


def test_files_of_another_task_size_or_family_are_refused(fake: ModuleType, shared: Path, tmp_path: Path) -> None:
    seg, normal = official(shared, tmp_path, "seg"), official(shared, tmp_path, "normal")
    with pytest.raises(CheckpointRejected, match="normal network of 3 maps, but tiny asks for seg with 7"):
        wrapper(fake, normal, "seg")
    with pytest.raises(CheckpointRejected, match=r"size 0\.4b"):
        wrapper(fake, normal, "normal", size="0.4b")
    with pytest.raises(CheckpointRejected, match="asks for seg with 28 maps"):
        build(fake.context("sapiens2", seg, "seg", "safetensors", INPUT, fake.space("labels", 28)))
    first = shared / "golden" / "sapiens-v1" / "models" / "seg.safetensors"
    with pytest.raises(CheckpointRejected, match="no Sapiens2 task file"):
        wrapper(fake, first, "seg")
    with pytest.raises(CheckpointRejected, match="no Sapiens2 task folder"):
        wrapper(fake, shared / "golden" / "baselines" / "segformer", "seg")


@pytest.mark.parametrize(("fault", "message"), [("missing", "missing keys"), ("nan", "NaN"), ("more", "unexpected")])
def test_a_file_in_which_something_is_wrong_is_refused(
    fake: ModuleType, shared: Path, tmp_path: Path, fault: str, message: str
) -> None:
    path = official(shared, tmp_path, "seg")
    state = load_file(path)
    if fault == "missing":
        del state["backbone.blocks.1.attn.wq.weight"]
    elif fault == "nan":
        state["decode_head.conv_seg.bias"][0] = float("nan")
    else:
        state["backbone.extra.weight"] = torch.zeros(2)
    save_file(state, path)
    with pytest.raises(CheckpointRejected, match=message):
        wrapper(fake, path, "seg")


def test_wrong_cards_are_refused(fake: ModuleType, shared: Path, tmp_path: Path) -> None:
    point_map = fake.context(
        "sapiens2",
        official(shared, tmp_path, "pointmap"),
        "depth",
        "safetensors",
        (128, 96),
        depth_kind="scale_invariant_depth",
    )
    with pytest.raises(CheckpointRejected, match="Sapiens2ForPointmapEstimation"):  # its scale is bound to one size
        build(point_map)
    path = official(shared, tmp_path, "pose")
    with pytest.raises(CardError, match="flip_index"):
        build(fake.context("sapiens2", path, "pose", "safetensors", INPUT))
    with pytest.raises(CardError, match="multiple of 16"):
        build(fake.context("sapiens2", path, "pose", "safetensors", (250, 190), fake.space("keypoints", 5)))


def test_every_published_card_names_a_known_size() -> None:
    entries = [e for e in Catalog.load().models.values() if e.card.wrapper == "sapiens2"]
    assert len(entries) == 25
    assert {e.variant.options["size"] for e in entries} <= set(SIZES)
