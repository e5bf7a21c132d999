"""The store of prepared samples, the recipe's hash, and rendering in several processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.scans.cache import (
    PreparedSample,
    SampleFolder,
    decode_normals,
    encode_normals,
    recipe_hash,
    stamp,
)
from sapiens_bench.adapters.scans.jobs import Job, Recipe, View, job_from_json, job_to_json
from sapiens_bench.adapters.scans.photo import RealPhoto, fit_photo
from sapiens_bench.errors import SampleFault, StoreError
from sapiens_bench.render.camera import Camera, intrinsics, seeded
from sapiens_bench.render.manifest import ManifestEntry, digest
from sapiens_bench.render.scan_scene import LightDraw, draw_light
from sapiens_bench.workers import run_all


def directions(n: int) -> np.ndarray[Any, Any]:
    vectors = seeded("directions").normal(size=(n, 3))
    special = [np.eye(3), -np.eye(3), [[1, 1, 0], [1, 0, -1], [0, -1, -1], [1e-9, 0, -1], [-0.0, 0.0, -1.0]]]
    vectors = np.concatenate([vectors, *special])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_stored_normals_are_within_four_thousandths_of_a_degree_all_over_the_sphere() -> None:
    given = directions(200_000)
    back = decode_normals(encode_normals(given)).astype(np.float64)
    chord = np.linalg.norm(back - given, axis=1)  # acos of a float32 dot product could not see such small angles
    assert np.degrees(2 * np.arcsin(chord / 2)).max() < 0.004
    assert np.abs(np.linalg.norm(back, axis=1) - 1).max() < 2e-7


@pytest.fixture
def sample() -> PreparedSample:
    mask = np.zeros((6, 5), np.bool_)
    mask[1:4, 2:5] = True
    depth = np.where(mask, np.float32(2.3456789) + np.arange(30, dtype=np.float32).reshape(6, 5) / 7, np.nan)
    normal = np.full((6, 5, 3), np.nan, np.float32)
    normal[mask] = directions(0)[: mask.sum()]
    rgb = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
    camera = Camera(intrinsics(7.0, 5, 6), np.eye(3), np.zeros(3), 5, 6)
    arrays = {"depth": digest("depth", depth, mask), "mask": digest("mask", mask)}
    return PreparedSample(
        ManifestEntry("x/1", camera, arrays), depth.astype(np.float32), normal, mask, rgb, ("a note",)
    )


def test_a_sample_comes_back_bit_for_bit_but_for_the_code_of_its_normals(
    tmp_path: Path, sample: PreparedSample
) -> None:
    folder = SampleFolder(tmp_path / "a" / "b")
    assert folder.entry() is None
    n_bytes = folder.save(sample)
    stored = folder.entry()
    assert stored is not None
    assert stored.entry.arrays == sample.entry.arrays
    assert stored.notes == ("a note",)
    assert n_bytes == sum(stored.sizes.values())
    np.testing.assert_array_equal(folder.rgb(), sample.rgb_HW3)
    mask = folder.mask()
    np.testing.assert_array_equal(mask, sample.mask_HW)
    np.testing.assert_array_equal(folder.depth(mask), sample.depth_HW)
    normals = folder.normals(mask)
    assert np.isnan(normals[~mask]).all()
    np.testing.assert_allclose(normals[mask], sample.normal_HW3[mask], atol=7e-5)


@pytest.mark.parametrize("damage", ["entry.json", "depth.npy", "mask.png", "cut", "version", "garbage"])
def test_a_sample_that_is_not_whole_does_not_exist(tmp_path: Path, sample: PreparedSample, damage: str) -> None:
    folder = SampleFolder(tmp_path)
    folder.save(sample)
    if damage == "cut":
        (tmp_path / "normal.npy").write_bytes((tmp_path / "normal.npy").read_bytes()[:-1])
    elif damage == "version":
        record = json.loads((tmp_path / "entry.json").read_text())
        (tmp_path / "entry.json").write_text(json.dumps({**record, "version": 0}))
    elif damage == "garbage":
        (tmp_path / "entry.json").write_bytes(b"\x00[")
    else:
        (tmp_path / damage).unlink()
    assert folder.entry() is None


def test_flipped_bytes_in_a_stored_array_are_a_row_error_that_says_what_to_do(
    tmp_path: Path, sample: PreparedSample
) -> None:
    folder = SampleFolder(tmp_path)
    folder.save(sample)
    data = bytearray((tmp_path / "depth.npy").read_bytes())
    data[:6] = b"?????!"
    (tmp_path / "depth.npy").write_bytes(data)
    with pytest.raises(SampleFault, match=r"scan\.cache.*prepare the data set again"):
        folder.depth(folder.mask())


def test_a_fault_is_remembered_until_the_sample_is_made(tmp_path: Path, sample: PreparedSample) -> None:
    folder = SampleFolder(tmp_path)
    folder.save_fault("scan.texture", "scan 7: no picture")
    fault = folder.fault()
    assert fault is not None
    assert (fault.code, fault.detail, fault.side) == ("scan.texture", "scan 7: no picture", "input")
    folder.save(sample)
    assert folder.fault() is None


def test_the_stamp_sees_a_changed_name_size_or_block_and_no_path(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2048  # 512 KiB
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.obj").write_bytes(data)
    first = stamp([tmp_path / "a/0.obj"])
    assert stamp([tmp_path / "b/0.obj"]) == first
    for position in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        (tmp_path / "b/0.obj").write_bytes(changed)
        assert stamp([tmp_path / "b/0.obj"]) != first
    (tmp_path / "b/0.obj").write_bytes(data + b"\n")
    assert stamp([tmp_path / "b/0.obj"]) != first
    (tmp_path / "a/1.obj").write_bytes(data)
    assert stamp([tmp_path / "a/1.obj"]) != first
    assert stamp([tmp_path / "a/none.obj"]) != first


def test_every_choice_of_a_recipe_changes_its_hash_but_not_the_path_of_the_backgrounds() -> None:
    plain = Recipe("draws/1")
    others = [
        replace(plain, **change)
        for change in (
            {"protocol": "draws/2"},
            {"height_m": 1.7},
            {"width": 769},
            {"focal_mm": (35.0, 84.0)},
            {"seed": 1},
            {"grey": 0},
            {"supersampling": 1},
            {"person": "0"},
            {"projection": "orthographic"},
            {"span_m": 2.0},
            {"light": LightDraw(total=1.0)},
            {"backgrounds": "/a", "backgrounds_stamp": "1"},
        )
    ]
    assert len({recipe.sha256() for recipe in [plain, *others]}) == len(others) + 1
    moved = replace(plain, backgrounds="/b", backgrounds_stamp="1")
    assert moved.sha256() == others[-1].sha256()
    assert recipe_hash({"a": 1, "b": 2}) == recipe_hash({"b": 2, "a": 1})


def test_a_job_survives_the_way_through_json() -> None:
    photo = RealPhoto(
        "i.jpg",
        ("0.png", "1.png"),
        ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)),
        ((1.0, 0, 0),) * 3,
        (0.0, 0.0, 1.0),
        4,
        5,
        (0.1,),
    )
    views = (View("k/1", "f", "face", 2, 90), View("k/2", "g", photo=photo))
    job = Job("0001", "0001.obj", views, Recipe("draws/1", height_m=1.7), "z", "labels.npz")
    assert job_from_json(json.loads(json.dumps(job_to_json(job)))) == job


def test_lights_come_from_the_front_and_depend_on_the_generator_alone() -> None:
    lights = [draw_light(LightDraw(), seeded("light", k)) for k in range(50)]
    assert lights[3] == draw_light(LightDraw(), seeded("light", 3))
    for light in lights:
        x, y, z = light.direction_3
        assert abs(x * x + y * y + z * z - 1) < 1e-9
        assert y > 0
        assert z > 0
        assert 0.45 <= light.ambient <= 0.65
        assert light.ambient + light.direct == pytest.approx(1.05)


@pytest.fixture
def barrel(tmp_path: Path) -> RealPhoto:
    """k1 = 0.2: the pixel at radius r (in focal lengths) of the pinhole picture is found at r (1 + 0.2 r²)."""
    height, width, focal = 120, 160, 100.0
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.arange(width)
    Image.fromarray(ramp).save(tmp_path / "i.png")
    Image.fromarray(np.where(np.arange(width) >= 120, 255, 0).astype(np.uint8)[None].repeat(height, 0)).save(
        tmp_path / "m.png"
    )
    K = ((focal, 0.0, 80.0), (0.0, focal, 60.0), (0.0, 0.0, 1.0))
    image, masks = str(tmp_path / "i.png"), (str(tmp_path / "m.png"),)
    return RealPhoto(image, masks, K, K, (0.0, 0.0, 0.0), width, height, (0.2, 0.0, 0.0, 0.0, 0.0))


def straight_edge(barrel: RealPhoto) -> np.ndarray[Any, Any]:
    """The mask m.png as a pinhole sees it: 80 + 100 r (1 + 0.2 r²) >= 119.5 along the axis."""
    y, x = (np.mgrid[:120, :160] - np.array([60, 80])[:, None, None]) / 100
    return np.asarray(80 + 100 * x * (1 + 0.2 * (x**2 + y**2)) >= 119.5)


def test_undistorting_moves_picture_and_mask_alike_and_knows_where_nothing_was_seen(barrel: RealPhoto) -> None:
    silhouette = straight_edge(barrel)
    seen = fit_photo(barrel, silhouette)
    assert seen.is_undistorted
    assert seen.rgb_HW3[60, 130, 0] == round(80 + 100 * 0.5 * (1 + 0.2 * 0.25))  # r = 0.5
    assert seen.valid_HW[60, 130]
    assert not seen.valid_HW[0, 0]  # r² = 1: it would lie at -16 pixels
    assert seen.iou == pytest.approx(1.0, abs=0.01)
    assert seen.other_iou is not None
    assert seen.other_iou < 0.96
    unmasked = fit_photo(replace(barrel, masks=()), silhouette)
    assert unmasked.is_undistorted  # nothing to compare: the calibration is believed
    assert unmasked.iou is None


def test_a_picture_that_is_undistorted_already_stays_as_it_is(barrel: RealPhoto) -> None:
    silhouette = np.repeat(np.arange(160)[None] >= 120, 120, 0)
    seen = fit_photo(barrel, silhouette)
    assert not seen.is_undistorted
    assert seen.iou == 1.0
    assert seen.other_iou is not None
    assert seen.other_iou < 0.97
    assert seen.valid_HW.all()
    assert seen.rgb_HW3[60, 130, 0] == 130
    straight = fit_photo(replace(barrel, distortion=(0.0,) * 5), silhouette)
    assert (straight.is_undistorted, straight.iou, straight.other_iou) == (False, 1.0, None)


def test_masks_of_each_person_together_show_everybody(barrel: RealPhoto, tmp_path: Path) -> None:
    for k, person in enumerate((np.arange(160) < 20, np.arange(160) >= 120)):
        Image.fromarray((person * 255).astype(np.uint8)[None].repeat(120, 0)).save(tmp_path / f"{k}.png")
    both = replace(barrel, masks=(str(tmp_path / "0.png"), str(tmp_path / "1.png")), distortion=())
    silhouette = np.repeat(((np.arange(160) < 20) | (np.arange(160) >= 120))[None], 120, 0)
    assert fit_photo(both, silhouette).iou == 1.0


def test_a_mask_of_another_size_than_its_picture_is_refused(barrel: RealPhoto, tmp_path: Path) -> None:
    Image.new("L", (80, 60), 255).save(tmp_path / "half.png")
    with pytest.raises(SampleFault, match=r"image\.size.*half\.png"):
        fit_photo(replace(barrel, masks=(str(tmp_path / "half.png"),)), np.ones((120, 160), np.bool_))


def test_a_cache_that_cannot_be_written_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    jobs = [
        job_to_json(Job(f"{k}", "none.obj", (View(f"s/{k}", str(tmp_path / "file" / f"{k}"), "full"),), Recipe("d/1")))
        for k in range(2)
    ]
    for workers in (1, 2):
        with pytest.raises(StoreError, match="could not be written"):
            run_all(
                "sapiens_bench.adapters.scans.render:run_record", jobs, workers, lambda job, outcomes: None, tmp_path
            )
