"""`verify golden` on the fixtures of the pose baselines."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.verify import verify

ITEMS = {
    "vitpose_plus_official_tiny_io.npz": {
        "vitpose_plus_official_tiny/heatmaps_dataset0",
        "vitpose_plus_official_tiny/heatmaps_dataset5",
    },
    "vitpose_hf_moe_io.npz": {
        "vitpose_hf_moe/crop",
        "vitpose_hf_moe/heatmaps_idx0",
        "vitpose_hf_moe/heatmaps_idx5",
        "vitpose_hf_moe/heatmaps_flip_avg",
        "vitpose_hf_moe/flip_pairs",
    },
    "pose_decode.npz": {
        "pose_decode/official_udp_keypoints",
        "pose_decode/official_default_keypoints",
        "pose_decode/mmpose1_dark_udp_keypoints",
        "pose_decode/hf_keypoints",
    },
    "simcc.npz": {
        "simcc/locs_mmpose",
        "simcc/locs_fliptest",
        "simcc/locs_rtmlib",
        "simcc/keypoints_img_mmpose",
        "simcc/keypoints_img_fliptest",
        "simcc/crop_rgb_first",
    },
    "pose_simcc_tiny_io.npz": {
        "pose_simcc_tiny/keypoints_rgb",
        "pose_simcc_tiny/scores_min_rgb",
        "pose_simcc_tiny/scores_mean_rgb",
        "pose_simcc_tiny/keypoints_if_bgr_fed",
    },
}
COMPANIONS = (
    "README.md", "manifest.json", "image.png", "vitpose_plus_official_tiny.json",
    "vitpose_plus_official_tiny.safetensors", "pose_simcc_tiny.onnx",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    torch.set_num_threads(1)
    return Catalog.load()


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """The pose part of the folder, free to be changed."""
    source = shared / "golden" / "baselines"
    for name in (*ITEMS, *COMPANIONS):
        shutil.copy(source / name, tmp_path / name)
    shutil.copytree(source / "vitpose_hf_moe", tmp_path / "vitpose_hf_moe")
    return tmp_path


def change(path: Path, name: str, by: float) -> None:
    with np.load(path) as data:
        arrays = {key: data[key] for key in data.files}
    arrays[name] = arrays[name] + np.asarray(by, arrays[name].dtype)
    np.savez(path, **arrays)


def test_every_item_of_the_pose_baselines_passes(folder: Path, catalog: Catalog) -> None:
    checks = list(verify(folder, catalog))
    assert [(c.item, c.difference, c.note) for c in checks if c.failed] == []
    assert set().union(*ITEMS.values()) <= {c.item for c in checks}


@pytest.mark.parametrize(
    ("file", "array", "item"),
    [
        ("vitpose_plus_official_tiny_io.npz", "heatmaps_dataset5", "vitpose_plus_official_tiny/heatmaps_dataset5"),
        ("pose_decode.npz", "official_udp_keypoints", "pose_decode/official_udp_keypoints"),
        ("pose_decode.npz", "official_default_keypoints", "pose_decode/official_default_keypoints"),
        ("simcc.npz", "keypoints_img_fliptest", "simcc/keypoints_img_fliptest"),
        ("pose_simcc_tiny_io.npz", "scores_min_rgb", "pose_simcc_tiny/scores_min_rgb"),
    ],
)
def test_a_changed_expected_value_fails(folder: Path, catalog: Catalog, file: str, array: str, item: str) -> None:
    change(folder / file, array, 0.01)
    assert [c.item for c in verify(folder, catalog) if not c.passed] == [item]
