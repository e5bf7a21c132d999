"""MPII's own files: a list of people and a MATLAB file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import DataMissing, DatasetRejected

RNG = np.random.default_rng(5)
POINTS = RNG.uniform(50, 150, (3, 16, 2)).round(2)  # of MATLAB: 1-based
MISSING = np.zeros((3, 16))
MISSING[1, 4] = 1
HEADS = np.array([[[40.0, 30], [70, 70]], [[41, 31], [71, 71]], [[0, 0], [30, 40]]])
PEOPLE = [
    {"image": "005808361.jpg", "center": [100, 90], "scale": 0.5, "joints": [], "joints_vis": []},
    {"image": "000000017.jpg", "center": [80.5, 90], "scale": 0.8},
    {"image": "005808361.jpg", "center": [30, 40], "scale": 0.25},
]


def opened(
    coco: ModuleType, root: Path, people: Any = PEOPLE, names: tuple[str, str] = ("mpii_val", "mpii_gt_val")
) -> Any:
    (root / "annotations").mkdir(exist_ok=True)
    (root / f"annotations/{names[0]}.json").write_text(json.dumps(people))
    arrays = {
        "pos_gt_src": POINTS.transpose(1, 2, 0),
        "jnt_missing": MISSING.T,
        "headboxes_src": HEADS.transpose(1, 2, 0),
    }
    savemat(root / f"annotations/{names[1]}.mat", {**arrays, "dataset_joints": np.array(["rank", "head"], object)})
    catalog = Catalog.load()
    card = catalog.dataset("mpii")
    protocol = card.protocols["pckh"]
    options = {**protocol.options, "annotations": f"annotations/{names[0]}.json"}
    chosen = protocol.model_copy(update={"options": options})
    return coco.CocoKeypoints(coco.context(card, chosen, root, space=catalog.space("mpii-16")))


def test_people_are_grouped_by_picture_and_moved_to_zero_based_pixels(coco: ModuleType, tmp_path: Path) -> None:
    data = opened(coco, tmp_path)
    assert data.keys == ["mpii/000000017", "mpii/005808361"]
    assert [data.image_id(i) for i in range(2)] == [17, 5808361]
    target = data.unseen(1).target
    np.testing.assert_allclose(target.keypoints_NK2_px, POINTS[[0, 2]] - 1)
    np.testing.assert_allclose(target.head_size_px_N, [30.0, 30.0])  # 0.6 x the diagonal of 30 x 40
    assert data.unseen(0).target.visible_NK[0].tolist() == [2] * 4 + [0] + [2] * 11


def test_boxes_are_the_squares_that_methods_crop(coco: ModuleType, tmp_path: Path) -> None:
    first = opened(coco, tmp_path).unseen(1).input.boxes_xyxy_px[0]
    np.testing.assert_allclose((first[:2] + first[2:]) / 2, [99, 90 + 7.5 - 1])  # down by 15 x 0.5
    np.testing.assert_allclose(first[2:] - first[:2], 100)


def test_the_files_of_other_authors_have_other_names(coco: ModuleType, tmp_path: Path) -> None:
    ours, theirs = opened(coco, tmp_path), opened(coco, tmp_path, names=("valid", "gt_valid"))
    assert len(theirs) == len(ours) == 2


def test_either_file_decides_over_the_manifest(coco: ModuleType, tmp_path: Path) -> None:
    before = opened(coco, tmp_path).manifest_sha256
    HEADS[0, 1] += 1
    try:
        assert opened(coco, tmp_path).manifest_sha256 != before
    finally:
        HEADS[0, 1] -= 1


def test_what_is_wrong_is_named(coco: ModuleType, tmp_path: Path) -> None:
    for people, part in (
        (PEOPLE[:2], "2 people; mpii_gt_val.mat has 3"),
        ([*PEOPLE[:2], {"image": "a.jpg", "center": [1], "scale": 1}], r"\[2\] is no"),
        ([*PEOPLE[:2], {"image": "a.jpg", "center": [1, 2], "scale": -1}], r"\[2\] is no"),
        ({}, "a dict"),
    ):
        with pytest.raises(DatasetRejected, match=part):
            opened(coco, tmp_path, people)
    data = opened(coco, tmp_path)
    mat = tmp_path / "annotations/mpii_gt_val.mat"
    mat.write_bytes(b"MATLAB 5.0 MAT-file, or not")
    with pytest.raises(DatasetRejected, match=r"mpii_gt_val\.mat"):
        _again(coco, tmp_path)
    mat.unlink()
    with pytest.raises(DataMissing, match=r"mpii_gt_val\.mat"):
        _again(coco, tmp_path)
    assert len(data) == 2


def _again(coco: ModuleType, root: Path) -> None:
    coco.opened(Catalog.load(), "mpii", "pckh", root)
