"""What the numbers of dense truth mean: masks, depth, normals, labels; doubted, refused, or said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.adapters.dense.folder import DenseFolder
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault
from sapiens_bench.pixels.png import encode_png

Open = Callable[..., DenseFolder]


@pytest.fixture
def root(sphere: ModuleType, tmp_path: Path) -> Path:
    balls = {"b": sphere.perspective(), "a": sphere.perspective(x=-0.3, y=0.1), "c": sphere.perspective(radius=0.4)}
    return Path(sphere.write_folder(tmp_path / "data", balls))


def test_a_mask_may_be_coloured_cut_out_or_an_array(root: Path, sphere: ModuleType, open_folder: Open) -> None:
    mask = sphere.perspective().mask_HW
    half = np.arange(mask.shape[1]) < 90
    two_people = np.zeros((*mask.shape, 3), np.uint8)
    two_people[mask & half] = (0, 255, 0)
    two_people[mask & ~half] = (0, 0, 255)
    cut_out = np.dstack([np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.uint8) * 255])
    for array in (two_people, cut_out):
        sphere.put(root / "masks/b.png", array)
        assert np.array_equal(open_folder(root, "depth")[1].target.mask_HW, mask)
    (root / "masks/b.png").unlink()
    np.save(root / "masks/b.npy", mask)
    assert np.array_equal(open_folder(root, "depth")[1].target.mask_HW, mask)


def test_odd_masks_are_said(root: Path, sphere: ModuleType, open_folder: Open) -> None:
    sphere.put(root / "masks/a.png", np.zeros((120, 160), np.uint8))
    sphere.put(root / "masks/b.png", np.full((120, 160), 255, np.uint8))
    Image.open(root / "masks/c.png").save(root / "masks/c.jpg")
    (root / "masks/c.png").unlink()
    notes = " ".join(open_folder(root, "depth").notes)
    assert "samples without a pixel to score, which are left out for every model (1; the first: a)" in notes
    assert "masks that cover the whole picture: is the background black? (1; the first: b)" in notes
    assert "masks in JPEG" in notes
    assert "MASKS IN DOUBT" not in notes


def test_inverted_masks_are_doubted_and_people_cut_off_by_the_picture_are_not(
    root: Path, sphere: ModuleType, open_folder: Open
) -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[30:, 10:] = 255
    sphere.put(root / "masks/a.png", mask)
    assert not any("MASKS IN DOUBT" in note for note in open_folder(root, "depth").notes)
    mask[:] = 255  # a close-up, with a hole between arm and body
    mask[70:90, 60:80] = 0
    sphere.put(root / "masks/a.png", mask)
    assert not any("MASKS IN DOUBT" in note for note in open_folder(root, "depth").notes)
    sphere.put(root / "masks/b.png", 255 * (sphere.perspective().mask_HW == 0).astype(np.uint8))
    np.save(root / "normals/b.npy", np.full((120, 160, 3), (0, 0, 1), np.float32))  # also where no person is
    for task in ("depth", "normal"):
        notes = [note for note in open_folder(root, task, trusted=True).notes if "MASKS IN DOUBT" in note]
        assert len(notes) == 1
        assert "(1; the first: b)" in notes[0]


@pytest.mark.parametrize("code", [65504.0, 1e10, 3.4028235e38, np.inf, np.nan, 0.0, -1.0, 77777.0])
def test_numbers_that_stand_for_no_depth_are_not_scored_and_said(root: Path, open_folder: Open, code: float) -> None:
    clean = open_folder(root, "depth")[1].target
    depth = np.load(root / "depths/b.npy")
    inside = np.flatnonzero(clean.mask_HW)[:25]
    depth.ravel()[inside] = code
    np.save(root / "depths/b.npy", depth)
    adapter = open_folder(root, "depth")
    target = adapter[1].target
    assert clean.mask_HW.sum() - target.mask_HW.sum() == 25
    assert np.nanmax(target.depth_HW) < 3
    said = [note for note in adapter.notes if "stand for no depth" in note]
    assert bool(said) == (np.isfinite(code) and code > 0)
    assert all(f"b, 25 pixels of {np.float32(code):g}" in note for note in said)


def test_a_mask_that_reaches_into_the_background_is_scored_as_it_is(root: Path, open_folder: Open) -> None:
    depth = np.load(root / "depths/b.npy")
    rim = np.flatnonzero(np.isfinite(depth))[:40]
    depth.ravel()[rim] = np.linspace(12, 15, 40)  # forty different depths of a wall: no code
    np.save(root / "depths/b.npy", depth)
    assert np.nanmax(open_folder(root, "depth")[1].target.depth_HW) == pytest.approx(15)


def test_declared_codes_need_not_look_odd(root: Path, sphere: ModuleType, open_folder: Open) -> None:
    depth = np.load(root / "depths/b.npy")
    depth.ravel()[np.flatnonzero(np.isfinite(depth))[:9]] = 2.0
    np.save(root / "depths/b.npy", depth)
    before = open_folder(root, "depth")[1].target.mask_HW.sum()
    sphere.declare(root, depth={"unit": "m", "none": [2.0]})
    assert open_folder(root, "depth")[1].target.mask_HW.sum() == before - 9
    assert open_folder(root, "depth", none=[-1.0])[1].target.mask_HW.sum() == before


def test_the_largest_count_of_a_picture_is_a_code(root: Path, sphere: ModuleType, open_folder: Open) -> None:
    for stem in "abc":
        counts = np.rint(np.nan_to_num(np.load(root / f"depths/{stem}.npy")) * 1000).astype(np.uint16)
        counts.ravel()[np.flatnonzero(counts)[:5]] = 65535
        (root / f"depths/{stem}.npy").unlink()
        (root / f"depths/{stem}.png").write_bytes(encode_png(counts))
    sphere.declare(root, depth={"unit": "mm"})
    assert np.nanmax(open_folder(root, "depth")[1].target.depth_HW) < 3


def test_depth_below_zero_says_what_is_wrong(root: Path, open_folder: Open) -> None:
    np.save(root / "depths/b.npy", -np.load(root / "depths/b.npy"))
    with pytest.raises(SampleFault, match="every depth of the person is negative") as caught:
        open_folder(root, "depth")[1]
    assert caught.value.code == "label.depth_sign"


@pytest.mark.parametrize("ending", ["exr", "tiff", "pfm"])
def test_depth_in_files_of_renderers(root: Path, sphere: ModuleType, open_folder: Open, ending: str) -> None:
    import cv2

    for stem in "abc":
        depth = np.load(root / f"depths/{stem}.npy")
        (root / f"depths/{stem}.npy").unlink()
        if ending in ("tiff", "pfm"):  # OpenCV writes PFM as MiDaS does: little-endian, from the bottom up
            cv2.imwrite(str(root / f"depths/{stem}.{ending}"), depth)
            continue
        exr = pytest.importorskip("OpenEXR")
        header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
        exr.File(header, {"Z": depth}).write(str(root / f"depths/{stem}.exr"))
    target = open_folder(root, "depth")[1].target
    assert np.allclose(target.depth_HW, sphere.perspective().depth_HW, equal_nan=True)


def test_exr_truth_without_the_package_is_missing_data(
    root: Path, open_folder: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for stem in "abc":
        (root / f"depths/{stem}.npy").rename(root / f"depths/{stem}.exr")
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(DataMissing, match=r"pip install 'sapiens-vision-bench\[exr\]'"):
        open_folder(root, "depth")


@pytest.mark.parametrize("shape", [(120, 160, 1), (1, 120, 160)])
def test_truth_with_a_singleton_axis_is_read_and_a_transposed_one_names_both_shapes(
    root: Path, open_folder: Open, shape: tuple[int, ...]
) -> None:
    depth = np.load(root / "depths/b.npy")
    np.save(root / "depths/b.npy", depth.reshape(shape))
    normals = np.load(root / "normals/b.npy")
    np.save(root / "normals/b.npy", np.moveaxis(normals, -1, 0))
    assert open_folder(root, "depth")[1].target.mask_HW.any()
    assert open_folder(root, "normal")[1].target.mask_HW.any()
    np.save(root / "depths/b.npy", depth.T)
    with pytest.raises(SampleFault, match=r"shape \(160, 120\), needed is \(120, 160\): height and width are swapped"):
        open_folder(root, "depth")[1]


@pytest.mark.parametrize("sign", [(1, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("order", ["xyz", "zyx"])
def test_normals_in_other_axes_than_declared_are_refused_without_any_depth(
    root: Path, sphere: ModuleType, open_folder: Open, sign: tuple[int, int, int], order: str
) -> None:
    expected = open_folder(root, "normal")[1].target.normals_HW3
    shutil.rmtree(root / "depths")
    for stem in "abc":
        path = root / f"normals/{stem}.npy"
        stored = np.load(path) * np.array(sign, np.float32)
        np.save(path, stored if order == "xyz" else stored[..., ::-1])
    with pytest.raises(DatasetRejected, match='the pictures speak for "frame"') as caught:
        open_folder(root, "normal")
    advice = str(caught.value).partition("the pictures speak for ")[2].partition("\n")[0]
    sphere.declare(root, normals=json.loads("{" + advice + "}"))
    np.testing.assert_allclose(open_folder(root, "normal")[1].target.normals_HW3, expected, atol=1e-6)


def test_a_declaration_can_be_trusted_against_the_evidence(root: Path, open_folder: Open) -> None:
    for stem in "abc":
        np.save(root / f"normals/{stem}.npy", np.load(root / f"normals/{stem}.npy") * np.float32(-1))
    adapter = open_folder(root, "normal", trusted=True)
    assert adapter[1].target.mask_HW.any()
    assert any("trusted in spite of" in note for note in adapter.notes)


def test_coded_normals_in_floating_point_are_recognised(root: Path, sphere: ModuleType, open_folder: Open) -> None:
    expected = open_folder(root, "normal")[1].target.normals_HW3
    for stem in "abc":
        np.save(root / f"normals/{stem}.npy", (np.load(root / f"normals/{stem}.npy") + 1) / 2)
    with pytest.raises(DatasetRejected, match="declare the encoding 'colour'"):
        open_folder(root, "normal")
    sphere.declare(root, normals={"frame": "viewer", "encoding": "colour"})
    np.testing.assert_allclose(open_folder(root, "normal")[1].target.normals_HW3, expected, atol=1e-6)


def test_counts_in_floating_point_are_recognised(root: Path, open_folder: Open) -> None:
    for stem in "abc":
        np.save(root / f"normals/{stem}.npy", (np.load(root / f"normals/{stem}.npy") + 1) * np.float32(127.5))
    with pytest.raises(DatasetRejected, match="look like colours: store them as 8- or 16-bit integers"):
        open_folder(root, "normal")


def put_labels(root: Path, labels: NDArray[Any]) -> None:
    for stem in "abc":
        Image.fromarray(labels).save(root / f"labels/{stem}.png")


def test_person_masks_of_0_and_255_are_refused_until_they_are_declared(
    root: Path, sphere: ModuleType, open_folder: Open
) -> None:
    mask = sphere.perspective().mask_HW
    put_labels(root, mask.astype(np.uint8) * 255)
    sphere.declare(root, labels={"space": "person2"})
    with pytest.raises(DatasetRejected, match=r"hold only 0 and 255.*no pixel of Person.*encoding 'mask'"):
        open_folder(root, "person")
    sphere.declare(root, labels={"space": "person2", "encoding": "mask"})
    assert np.array_equal(open_folder(root, "person")[1].target.labels_HW, mask)
    assert np.array_equal(open_folder(root, "person", label_encoding="mask")[0].target.labels_HW, mask)
    sphere.declare(root, labels={"space": "body28", "encoding": "mask"})
    with pytest.raises(CardError, match="label set of masks is person2"):
        open_folder(root, "seg")


def test_truth_without_any_foreground_is_refused_or_said(root: Path, sphere: ModuleType, open_folder: Open) -> None:
    put_labels(root, np.zeros((120, 160), np.uint8))
    with pytest.raises(DatasetRejected, match="background alone"):
        open_folder(root, "seg")
    assert len(open_folder(root, "seg", trusted=True)) == 3
    balls = {f"{i:02d}": sphere.perspective() for i in range(12)}
    sphere.write_folder(root, balls)
    for path in (root / "labels").iterdir():
        Image.new("L", (160, 120)).save(path)
    assert any("a model that predicts nobody looks perfect" in note for note in open_folder(root, "seg").notes)


def test_person_masks_declared_as_body_parts_are_doubted(root: Path, open_folder: Open) -> None:
    labels = np.zeros((120, 160), np.uint8)
    labels[20:60] = 1
    put_labels(root, labels)
    assert any("one foreground class only, 1 (Apparel)" in note for note in open_folder(root, "seg").notes)


def test_what_is_read_off_the_files_is_said_and_what_is_not_is_asked_for(
    root: Path, sphere: ModuleType, tmp_path: Path, open_folder: Open
) -> None:
    (root / "frame.json").unlink()
    adapter = open_folder(root, "depth", infer=True, pictures=False)
    assert any("not declared: depth is read in metres" in note for note in adapter.notes)
    assert adapter[0].input.image_HW3.shape == (120, 160, 3)
    for stem in "abc":  # OpenCV's axes
        path = root / f"normals/{stem}.npy"
        np.save(path, np.load(path) * np.array([1, -1, -1], np.float32))
    adapter = open_folder(root, "normal", infer=True)
    assert any("frame 'opencv'" in note for note in adapter.notes)
    ball = sphere.perspective()
    assert np.allclose(adapter[1].target.normals_HW3[ball.mask_HW], ball.normals_HW3[ball.mask_HW], atol=1e-6)
    with pytest.raises(DataMissing, match="space=body28"):
        open_folder(root, "seg", infer=True)
    for stem in "abc":  # 1500: millimetres, or centimetres at 15 m
        np.save(root / f"depths/{stem}.npy", np.load(root / f"depths/{stem}.npy") * 1000)
    with pytest.raises(DataMissing, match=r"give the unit, --data-option unit=cm \(\S+ m\), unit=mm \(\S+ m\)"):
        open_folder(root, "depth", infer=True)
    for stem in "abc":
        sphere.put(root / f"masks/{stem}.png", np.full((60, 80), 255, np.uint8))
    with pytest.raises(DataMissing, match=r"none of the depth maps .*120.*60"):  # and no unit is asked for
        open_folder(root, "depth", infer=True)
    with pytest.raises(DataMissing, match=r"none of the normal maps .*120.*60"):
        open_folder(root, "normal", infer=True)
