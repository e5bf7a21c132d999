"""The kinds of files that people have in plain folders: each is read, or refused with what to do about it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.adapters.dense import files as dense_files
from sapiens_bench.adapters.dense.folder import DenseFolder
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault
from sapiens_bench.pixels.png import encode_png

Open = Callable[..., DenseFolder]


@pytest.fixture
def root(sphere: ModuleType, tmp_path: Path) -> Path:
    balls = {"b": sphere.perspective(), "a": sphere.perspective(x=-0.3, y=0.1), "c": sphere.perspective(radius=0.4)}
    return Path(sphere.write_folder(tmp_path / "data", balls))


def code_of(adapter: DenseFolder, index: int) -> str:
    with pytest.raises(SampleFault) as caught:
        adapter[index]
    assert caught.value.side == "input"
    return caught.value.code


# ---------------------------------------------------------------- names, junk, links


def test_what_file_managers_leave_behind_is_not_there(root: Path, open_folder: Open) -> None:
    for folder in ("images", "masks", "depths"):
        for name in ("._a.png", "._a.npy", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (root / folder / name).write_bytes(b"\0\5\x16\7")
    adapter = open_folder(root, "depth")
    assert adapter.keys == ["folder/a", "folder/b", "folder/c"]
    assert adapter.notes == ()


@pytest.mark.parametrize("how", ["folders", "files", "hub cache"])
def test_links_out_of_the_folder_are_followed_and_said(root: Path, tmp_path: Path, open_folder: Open, how: str) -> None:
    expected = open_folder(root, "depth")[1].target.depth_HW
    store = tmp_path / "disk"
    if how == "folders":
        root.rename(store)
        root.mkdir()
        for part in store.iterdir():
            (root / part.name).symlink_to(part)
    else:
        store.mkdir()
        for path in [p for p in root.rglob("*") if p.is_file()]:
            blob = store / f"{path.parent.name}-{path.name.replace('.', '')}"  # the cache's names have no endings
            path.rename(blob)
            path.symlink_to(os.path.relpath(blob, path.parent) if how == "hub cache" else blob)
    adapter = open_folder(root, "depth")
    assert np.array_equal(adapter[1].target.depth_HW, expected, equal_nan=True)
    assert any("links that lead out" in note for note in adapter.notes)


def test_links_inside_the_folder_need_no_word(root: Path, open_folder: Open) -> None:
    (root / "images/a.png").rename(root / "images/real-a.png")
    (root / "images/a.png").symlink_to("real-a.png")
    assert not any("links" in note for note in open_folder(root, "depth").notes)


def test_a_link_that_was_unpacked_as_text_is_recognised(root: Path, open_folder: Open) -> None:
    shutil.rmtree(root / "images")
    (root / "images").write_text("../store/images")
    with pytest.raises(DataMissing, match=r"images is a file, not a folder\. A link"):
        open_folder(root, "depth")


def test_a_file_of_the_system_behind_a_link_is_a_fault_and_is_not_quoted(
    root: Path, tmp_path: Path, open_folder: Open
) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:secret")
    for name in ("images/a.png", "depths/b.npy", "masks/c.png"):
        (root / name).unlink()
        (root / name).symlink_to(tmp_path / "passwd")
    adapter = open_folder(root, "depth")
    for index in range(3):
        with pytest.raises(SampleFault) as caught:
            adapter[index]
        assert "secret" not in caught.value.detail
        assert "root:x" not in caught.value.detail


def test_names_in_another_unicode_form_belong_together(root: Path, open_folder: Open) -> None:
    for index, path in enumerate(p for p in root.rglob("b.*") if p.is_file()):
        form = "NFC" if index % 2 else "NFD"
        path.rename(path.with_stem(unicodedata.normalize(form, "bébé")))
    adapter = open_folder(root, "depth")
    assert adapter.keys[1] == unicodedata.normalize("NFC", "folder/bébé")
    assert adapter[1].target.mask_HW.any()


def test_a_name_that_is_no_unicode_is_one_sample_with_a_printable_key(root: Path, open_folder: Open) -> None:
    for path in [p for p in root.rglob("b.*") if p.is_file()]:
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix)))
    adapter = open_folder(root, "depth")
    assert adapter.keys == ["folder/a", "folder/c", "folder/caf\\xe9"]
    assert adapter[2].target.mask_HW.any()
    adapter.keys[2].encode()


def test_one_name_in_two_files_is_refused_with_both(root: Path, open_folder: Open) -> None:
    Image.open(root / "images/a.png").save(root / "images/a.jpg")
    with pytest.raises(DatasetRejected, match=r"a\.jpg and a\.png"):
        open_folder(root, "depth")


def test_scenes_are_folders_of_each_role_or_hold_the_roles(
    root: Path, sphere: ModuleType, tmp_path: Path, open_folder: Open
) -> None:
    ball, names = sphere.perspective(), {"image": "image_HW3", "mask": "mask_HW", "depth": "depth_HW"}
    first, second = tmp_path / "role-scene", tmp_path / "scene-role"
    for scene in ("scene1", "scene2"):
        for role, attribute in names.items():
            ending = "npy" if role == "depth" else "png"
            array = getattr(ball, attribute)
            array = array.astype(np.uint8) * 255 if role == "mask" else array
            sphere.put(first / role / scene / f"000001.{ending}", array)
            sphere.put(second / scene / role / f"000001.{ending}", array)
    for layout in (first, second):
        sphere.declare(layout)
        adapter = open_folder(layout, "depth")
        assert adapter.keys == ["folder/scene1/000001", "folder/scene2/000001"]
        assert np.array_equal(adapter[0].target.mask_HW, ball.mask_HW)


def test_folders_of_other_names_are_named_by_an_option(root: Path, open_folder: Open) -> None:
    (root / "depths").rename(root / "gt")
    with pytest.raises(DataMissing, match=r"has no folder depths or depth \(it has .*gt.*\); option depths"):
        open_folder(root, "depth")
    assert len(open_folder(root, "depth", depths="gt")) == 3
    with pytest.raises(CardError, match="option depths"):
        open_folder(root, "depth", depths="../elsewhere")


def test_two_folders_for_one_thing_are_refused(root: Path, open_folder: Open) -> None:
    shutil.copytree(root / "images", root / "rgb")
    with pytest.raises(DatasetRejected, match="images and rgb may both hold the image files"):
        open_folder(root, "depth")
    assert len(open_folder(root, "depth", images="rgb")) == 3


def test_what_has_no_partner_is_named_and_no_partner_at_all_says_why(root: Path, open_folder: Open) -> None:
    (root / "depths/b.npy").unlink()
    assert open_folder(root, "depth").notes[:2] == (
        "image: b left out, since another folder has no file of that name",
        "mask: b left out, since another folder has no file of that name",
    )
    for path in (root / "depths").iterdir():
        path.rename(path.with_suffix(".hdr"))
    with pytest.raises(DataMissing, match=r"depth: 0 files in .*; not read: 2 \.hdr; read: \.npy, \.npz, \.exr"):
        open_folder(root, "depth")


# ---------------------------------------------------------------- pictures


def turned(path: Path, orientation: int) -> None:
    """Store a picture so that its EXIF orientation brings it back."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.open(path).transpose(back).save(path, exif=exif)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_phone_picture_is_turned_when_its_truth_shows_that(root: Path, open_folder: Open, orientation: int) -> None:
    upright = open_folder(root, "depth")[1].input.image_HW3
    turned(root / "images/b.png", orientation)
    adapter = open_folder(root, "depth")
    np.testing.assert_array_equal(adapter[1].input.image_HW3, upright)
    assert any(
        "EXIF orientation" in note and f"b, orientation {orientation}, read as viewed" in note for note in adapter.notes
    )


def test_an_orientation_that_nothing_settles_asks_for_a_declaration(
    root: Path, sphere: ModuleType, open_folder: Open
) -> None:
    upright = open_folder(root, "depth")[1].input.image_HW3
    turned(root / "images/b.png", 3)
    adapter = open_folder(root, "depth")
    assert code_of(adapter, 1) == "image.exif_policy"
    assert any("EXIF orientation 3" in note and "'exif: apply'" in note for note in adapter.notes)
    np.testing.assert_array_equal(open_folder(root, "depth", exif="apply")[1].input.image_HW3, upright)
    sphere.declare(root, exif="ignore")
    np.testing.assert_array_equal(open_folder(root, "depth")[1].input.image_HW3, upright[::-1, ::-1])


def test_a_picture_of_another_size_names_both_files_and_sizes(root: Path, open_folder: Open) -> None:
    Image.new("RGB", (80, 60)).save(root / "images/b.png")
    with pytest.raises(SampleFault, match=r"b\.png: 160x120 .*images/b\.png has 80x60") as caught:
        open_folder(root, "depth")[1]
    assert caught.value.code == "label.shape"


def test_a_bomb_beside_ordinary_truth_is_refused_by_its_header(root: Path, open_folder: Open) -> None:
    Image.new("P", (9000, 9000)).save(root / "images/b.png")
    assert code_of(open_folder(root, "depth"), 1) == "image.too_large"
    with pytest.raises(SampleFault, match=r"9000x9000 is over 1000000 pixels \(--max-pixels\)"):
        open_folder(root, "depth", max_pixels=1_000_000)[1]


# ---------------------------------------------------------------- masks


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
    sphere.put(root / "masks/b.png", 255 * (sphere.perspective().mask_HW == 0).astype(np.uint8))
    np.save(root / "normals/b.npy", np.full((120, 160, 3), (0, 0, 1), np.float32))  # also where no person is
    for task in ("depth", "normal"):
        notes = [note for note in open_folder(root, task, trusted=True).notes if "MASKS IN DOUBT" in note]
        assert len(notes) == 1
        assert "(1; the first: b)" in notes[0]


# ---------------------------------------------------------------- depth


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


# ---------------------------------------------------------------- normals


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


# ---------------------------------------------------------------- labels


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


# ---------------------------------------------------------------- declared by options


def test_options_are_laid_over_the_declaration(root: Path, open_folder: Open) -> None:
    (root / "frame.json").unlink()
    with pytest.raises(DataMissing, match=r"frame\.json cannot be read.*It says what the numbers mean, for example"):
        open_folder(root, "depth")
    assert open_folder(root, "depth", unit="m")[0].target.mask_HW.any()
    with pytest.raises(DatasetRejected, match="looks like metres"):
        open_folder(root, "depth", unit="mm")
    assert open_folder(root, "normal", frame="viewer")[0].target.mask_HW.any()
    assert open_folder(root, "seg", space="body28")[0].target.labels_HW.any()
    with pytest.raises(CardError, match="unit"):
        open_folder(root, "depth", unit="feet")


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


def test_maps_alone_are_truth_where_that_is_enough(sphere: ModuleType, tmp_path: Path, open_folder: Open) -> None:
    ball, truth = sphere.perspective(), tmp_path / "truth"
    sphere.put(truth / "x.npy", ball.depth_HW)
    adapter = open_folder(truth, "depth", infer=True, pictures=False)
    assert adapter.keys == ["folder/x"]
    assert np.array_equal(adapter[0].target.mask_HW, ball.mask_HW)
    assert adapter[0].input.image_HW3.shape == (120, 160, 3)


# ---------------------------------------------------------------- identity, pipes, machine


def test_the_identity_of_a_sample_follows_its_files(root: Path, open_folder: Open) -> None:
    adapter = open_folder(root, "depth")
    before = [adapter.identity(i) for i in range(3)]
    assert before == [open_folder(root, "depth").identity(i) for i in range(3)]
    os.utime(root / "images/b.png", ns=(1, 1))
    after = [adapter.identity(i) for i in range(3)]
    assert [a == b for a, b in zip(before, after)] == [True, False, True]
    (root / "depths/a.npy").unlink()
    assert "-" in adapter.identity(0).split()


@pytest.mark.parametrize("name", ["images/b.png", "masks/b.png", "depths/b.npy", "camera_intrinsics/b.txt"])
def test_a_pipe_in_place_of_a_file_is_one_samples_fault(root: Path, open_folder: Open, name: str) -> None:
    (root / name).unlink()
    os.mkfifo(root / name)
    adapter = open_folder(root, "depth")
    with pytest.raises(SampleFault, match="pipe"):
        adapter[1]
    assert adapter[0].target.mask_HW.any()


def test_a_pipe_in_place_of_the_declaration_is_refused(root: Path, open_folder: Open) -> None:
    (root / "frame.json").unlink()
    os.mkfifo(root / "frame.json")
    with pytest.raises(DataMissing, match="pipe"):
        open_folder(root, "depth")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "no space"), OSError(errno.EMFILE, "files")])
def test_a_fault_of_the_machine_leaves_the_adapter_as_it_is(
    root: Path, open_folder: Open, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    adapter = open_folder(root, "depth")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(dense_files, "read_depth_map", fail)
    with pytest.raises(type(error)) as caught:
        adapter[0]
    assert caught.value is error
