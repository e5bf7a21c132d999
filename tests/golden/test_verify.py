"""`verify golden` on the official fixtures, and on fixtures that were tampered with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.golden.check import compare
from sapiens_bench.checks.golden.verify import verify
from sapiens_bench.errors import DataMissing


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.mark.parametrize("part", ["codec", "eval", "models"])
def test_every_item_of_the_official_sapiens_fixtures_passes(shared: Path, catalog: Catalog, part: str) -> None:
    checks = list(verify(shared / "golden" / "sapiens-v1" / part, catalog))
    assert len(checks) > 20
    assert [(c.item, c.difference, c.note) for c in checks if c.failed] == []


def test_embedded_networks_equal_their_own_runtimes(shared: Path, catalog: Catalog) -> None:
    checks = list(verify(shared / "golden" / "embedded", catalog))
    assert len(checks) > 40
    assert [(c.item, c.difference) for c in checks if c.failed] == []


def test_an_unknown_file_fails(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "mystery.npz").write_bytes(b"x")
    (check,) = verify(tmp_path, catalog)
    assert not check.passed
    assert "does not know" in check.note


def test_a_changed_expected_number_fails(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    folder = tmp_path / "eval"
    shutil.copytree(shared / "golden" / "sapiens-v1" / "eval", folder)
    expected = json.loads((folder / "expected.json").read_text())
    expected["depth"]["mean_over_images"]["rmse"] *= 1.001
    expected["losses"]["silog"] += 1e-3
    expected["a_new_metric"] = {}
    (folder / "expected.json").write_text(json.dumps(expected))
    bad = {c.item for c in verify(folder, catalog) if c.failed}
    assert bad == {"depth/mean/rmse", "losses/silog", "expected.json/a_new_metric"}


def test_a_damaged_fixture_is_reported_and_the_others_go_on(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(shared / "golden" / "sapiens-v1" / "codec", folder)
    (folder / "bbox_affine.npz").write_bytes(b"not an archive")
    checks = list(verify(folder, catalog))
    assert [c.item for c in checks if c.failed] == ["bbox_affine.npz"]
    assert any(c.item.startswith("udp_codec") for c in checks)


def test_missing_or_empty_folders_are_named(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(DataMissing, match="not a folder"):
        list(verify(tmp_path / "nowhere", catalog))
    with pytest.raises(DataMissing, match="empty"):
        list(verify(tmp_path, catalog))


def test_compare_refuses_other_shapes_and_nan_places() -> None:
    assert compare("x", [1.0, np.nan], [1.0, np.nan], 0).passed
    assert not compare("x", [1.0, np.nan], [np.nan, 1.0], 1e9).passed
    assert not compare("x", np.zeros((2, 1)), np.zeros(2), 1e9).passed
    assert compare("x", [np.inf], [np.inf], 0).difference == 0


def _without(source: Path, target: Path, names: list[str]) -> None:
    with np.load(source) as z:
        np.savez(target, **{name: z[name] for name in z.files if name not in names})


CODEC = {  # fixture -> array that is left out -> items that cannot be checked without it
    "udp_codec": {
        "scores": {"scores"},
        "special_alone": {"special_alone"},
        "heatmaps": {"argmax_xy", "keypoints", "scores"},
        "input_size": {"keypoints", "special_keypoints", "special_alone", "encode_heatmaps", "encode_weights"},
    },
    "bbox_affine": {
        "center": {"center"},
        "rotation_deg": {"warp_matrix_rotated"},
        "bbox_xyxy": {"center", "scale", "warp_matrix", "warp_matrix_rotated", "image_xy"},
    },
}


@pytest.mark.parametrize(("stem", "array"), [(stem, array) for stem, of in CODEC.items() for array in of])
def test_a_fixture_may_hold_any_part_of_its_arrays(
    shared: Path, tmp_path: Path, catalog: Catalog, stem: str, array: str
) -> None:
    _without(shared / f"golden/sapiens-v1/codec/{stem}.npz", tmp_path / f"{stem}.npz", [array])
    checks = list(verify(tmp_path, catalog))
    lost = {f"{stem}/{item}" for item in CODEC[stem][array]}
    assert {c.item for c in checks if c.skipped} == lost
    assert all(array in c.note for c in checks if c.skipped)
    compared = {c.item for c in checks if c.passed}
    if lost == {c.item for c in verify(shared / "golden/sapiens-v1/codec", catalog) if c.item.startswith(stem)}:
        assert [c.item for c in checks if c.failed] == [f"{stem}.npz"]  # nothing of it could be compared
    else:
        assert (bool(compared), [c for c in checks if c.failed]) == (True, [])


@pytest.mark.parametrize(
    ("name", "left_out", "lost"),
    [
        ("pose17", ["heatmap"],
         {"heatmap", "heatmap_merged", "keypoints_image_space_noflip", "keypoint_scores_noflip"}),
        ("pose17", ["features", "crop_bgr"], {"features", "crop", "input"}),
        ("normal", ["head_output", "image_bgr"],
         {"resized_bgr", "input", "head_output", "logits_at_input_size", "output_at_original_size",
          "lite_output_at_original_size", "normal_normalised", "wrapper"}),
        ("seg", ["margin", "ori_shape"], {"logits_at_original_size", "pred", "lite_pred"}),
        ("encoder_pretrain", ["task_input", "featmap"], {"featmap", "task_*"}),
        ("lite_pose_preprocess", ["center"], {"center"}),
    ],
)  # fmt: skip
def test_networks_are_checked_as_far_as_their_arrays_are_there(
    shared: Path, tmp_path: Path, catalog: Catalog, name: str, left_out: list[str], lost: set[str]
) -> None:
    models = shared / "golden/sapiens-v1/models"
    network = "pose17" if name == "lite_pose_preprocess" else name
    for file in ("config.json", f"{network}.safetensors"):
        shutil.copy(models / file, tmp_path)
    _without(models / f"{name}.npz", tmp_path / f"{name}.npz", left_out)
    checks = list(verify(tmp_path, catalog))
    assert {c.item for c in checks if c.skipped} == {f"{name}/{item}" for item in lost}
    assert [c for c in checks if c.failed] == []
    assert any(c.passed for c in checks)


def test_a_fixture_of_which_nothing_can_be_compared_fails(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    with np.load(shared / "golden/sapiens-v1/codec/bbox_affine.npz") as z:
        np.savez(tmp_path / "bbox_affine.npz", center=z["center"])
    checks = list(verify(tmp_path, catalog))
    (bad,) = [c for c in checks if c.failed]
    assert (bad.item, "nothing" in bad.note) == ("bbox_affine.npz", True)


def test_parts_of_the_evaluation_are_checked_without_the_others(shared: Path, tmp_path: Path, catalog: Catalog) -> None:
    source = shared / "golden/sapiens-v1/eval"
    expected = json.loads((source / "expected.json").read_text())
    del expected["seg"]["Acc"], expected["depth"]["per_image"], expected["goliath_to_wholebody"]["mapping"]
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    _without(source / "losses.npz", tmp_path / "losses.npz", ["normal_pred"])
    for file in ("seg_labels.npz", "depth_maps.npz"):
        shutil.copy(source / file, tmp_path)
    checks = list(verify(tmp_path, catalog))
    assert [c for c in checks if c.failed] == []
    needs = {c.item: c.note.split()[1].rstrip(",") for c in checks if c.skipped}
    assert needs == {
        "coco17": "coco17_gt.json", "wholebody133": "wholebody133_gt.json", "goliath308": "goliath308_gt.json",
        "seg/Acc": "Acc", "losses/normal_cosine": "normal_pred", "losses/normal_l1": "normal_pred",
        "goliath_to_wholebody/mapping": "mapping",
    }  # fmt: skip
    assert {c.item for c in checks if c.passed} >= {"seg/IoU", "losses/silog", "depth/mean/rmse"}
