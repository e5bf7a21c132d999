"""The kinds of files that people have in plain folders: each is read, or refused with what to do about it."""

from __future__ import annotations

import errno
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.dense import files as dense_files
from sapiens_bench.adapters.dense.folder import DenseFolder
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault

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


def test_maps_alone_are_truth_where_that_is_enough(sphere: ModuleType, tmp_path: Path, open_folder: Open) -> None:
    ball, truth = sphere.perspective(), tmp_path / "truth"
    sphere.put(truth / "x.npy", ball.depth_HW)
    adapter = open_folder(truth, "depth", infer=True, pictures=False)
    assert adapter.keys == ["folder/x"]
    assert np.array_equal(adapter[0].target.mask_HW, ball.mask_HW)
    assert adapter[0].input.image_HW3.shape == (120, 160, 3)


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
