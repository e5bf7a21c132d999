"""Hi4D layout, calibration, self-check and lists of frames, on a generated stand-in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.adapters.scans.hi4d import Hi4D
from sapiens_bench.adapters.scans.hi4d_cameras import read_cameras
from sapiens_bench.adapters.scans.hi4d_layout import find_sequences
from sapiens_bench.adapters.scans.hi4d_list import read_list
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault
from sapiens_bench.render.manifest import compare, read_manifest

KEYS = ["hi4d/pair00/hug00/4/000001", "hi4d/pair00/hug00/4/000002"]


@pytest.fixture(scope="module")
def card() -> DatasetCard:
    return Catalog.load().dataset("hi4d")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def standin(shared: Path) -> Path:
    return shared / "data/hi4d_layout_standin"


@pytest.fixture
def root(standin: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(standin, tmp_path / "hi4d")
    return tmp_path / "hi4d"


def adapter(card: DatasetCard, root: Path, task: str = "depth", **options: Any) -> Hi4D:
    read = read_options(Hi4D.Options, options, f"data set {card.id}")
    protocol = EvalProtocol(task=task, title="test", options=options)
    context = DataContext(
        card=card, protocol=protocol, space=None, to_space={}, root=root, split="", boxes="", seed=0, options=read
    )
    return Hi4D(context)


def change_cameras(root: Path, **change: Any) -> None:
    path = root / "pair00/hug00/cameras/rgb_cameras.npz"
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, value in change.items():
        arrays[name] = value(arrays[name])
    np.savez(path, **arrays)


# Pictures of calibrated cameras ---------------------------------------------------------------------------------------


def test_masks_equal_the_stored_ones_pixel_for_pixel(card: DatasetCard, standin: Path) -> None:
    made = adapter(card, standin, cameras=[4, 16])
    report = prepare_data(made, workers=2)
    assert (report.n_made, report.n_failed) == (4, 0)
    for sample, key in zip((made[i] for i in range(4)), made.keys):
        camera, frame = key.split("/")[3:]
        folder = standin / "pair00/hug00"
        stored = np.asarray(Image.open(folder / f"seg/img_seg_mask/{camera}/all/{frame}.png")) > 0
        assert int((sample.target.mask_HW != stored).sum()) == 0
        picture = np.asarray(Image.open(folder / f"images/{camera}/{frame}.jpg"))
        np.testing.assert_array_equal(sample.input.image_HW3, picture)
        depth = sample.target.depth_HW[stored]
        assert 2.5 < depth.min() < depth.max() < 4.5
    assert made.groups == ["pair00/hug00"] * 4
    assert made.sequence_iou("pair00/hug00") == 1.0
    assert report.manifest_path is not None
    entries = read_manifest(report.manifest_path)
    assert [entry.view["silhouette_iou"] for entry in entries] == [1.0] * 4
    assert "rgb" not in entries[0].arrays  # the picture itself is identified by its hash
    assert len(entries[0].source["image_sha256"]) == 64


def test_both_spellings_of_the_intrinsics_are_read(root: Path) -> None:
    path = root / "pair00/hug00/cameras/rgb_cameras.npz"
    right = read_cameras(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["intirnsics"] = arrays.pop("intrinsics")
    np.savez(path, **arrays)
    wrong = read_cameras(path)
    assert sorted(wrong) == [4, 16, 28, 40, 52, 64, 76, 88]
    np.testing.assert_array_equal(wrong[4].K, right[4].K)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"intrinsics": lambda K: K[:4]}, "expected \\(8, 3, 3\\)"),
        ({"extrinsics": lambda E: E * 2}, "no rotation"),
        ({"intrinsics": lambda K: K * np.nan}, "NaN"),
        ({"ids": lambda ids: np.full_like(ids, 4)}, "twice"),
        ({"dist_coeffs": lambda d: d[:, :3]}, "dist_coeffs"),
        ({"intrinsics": lambda K: K.astype(object)}, "object array"),
    ],
)
def test_a_calibration_that_cannot_be_right_is_refused(root: Path, change: dict[str, Any], words: str) -> None:
    change_cameras(root, **change)
    with pytest.raises(DatasetRejected, match=words):
        read_cameras(root / "pair00/hug00/cameras/rgb_cameras.npz")


def test_folders_and_frames_are_matched_as_numbers_whatever_their_zeros_and_case(card: DatasetCard, root: Path) -> None:
    sequence = root / "pair00/hug00"
    (sequence / "images/4").rename(sequence / "images/0004")
    (sequence / "images/0004/000002.jpg").rename(sequence / "images/0004/2.JPG")
    (sequence / "frames/mesh-f00002.obj").rename(sequence / "frames/Mesh-F2.OBJ")
    shutil.move(root / "pair00", root / "release/pair00")
    assert adapter(card, root).keys == KEYS


def test_frames_outside_start_and_end_or_without_a_scan_are_left_out(card: DatasetCard, root: Path) -> None:
    sequence = root / "pair00/hug00"
    odd = np.array(["female", None], object)  # the released file may hold such arrays; they are not opened
    np.savez(sequence / "meta.npz", start=2, end=150, genders=odd)
    assert adapter(card, root).keys == KEYS[1:]
    np.savez(sequence / "meta.npz", start=1, end=150)
    (sequence / "frames/mesh-f00002.obj").unlink()
    assert adapter(card, root).keys == KEYS[:1]
    np.savez(sequence / "meta.npz", start=1)
    with pytest.raises(DatasetRejected, match="end"):
        adapter(card, root)


def test_pairs_that_are_not_there_are_named(card: DatasetCard, standin: Path) -> None:
    with pytest.raises(DataMissing, match=r"pairs 28, 32, 37.*there is pair00"):
        adapter(card, standin, pairs=[28, 32, 37])
    with pytest.raises(DatasetRejected, match="no camera 5"):
        adapter(card, standin, cameras=[5])


def test_one_person_alone_can_be_scored(card: DatasetCard, standin: Path) -> None:
    both, first, second = (adapter(card, standin, person=p)[0].target.mask_HW for p in ("all", "0", "1"))
    np.testing.assert_array_equal(first | second, both)
    assert not (first & second).any()
    for person, mask in (("0", first), ("1", second)):
        stored = standin / f"pair00/hug00/seg/img_seg_mask/4/{person}/000001.png"
        assert int((mask != (np.asarray(Image.open(stored)) > 0)).sum()) == 0


# The self-check -------------------------------------------------------------------------------------------------------


def test_a_sequence_whose_silhouettes_disagree_is_refused_unless_allowed(card: DatasetCard, root: Path) -> None:
    change_cameras(
        root, extrinsics=lambda E: E + np.array([0, 0, 0, 0.05])[None, None] * np.array([[1], [0], [0]])[None]
    )
    made = adapter(card, root)
    report = prepare_data(made)
    assert {fault.code for fault in report.faults} == {"scan.silhouette"}
    assert report.n_failed == 2
    assert 0.3 < made.sequence_iou("pair00/hug00") < 0.95
    with pytest.raises(SampleFault, match="pair00/hug00"):
        made[0]
    allowed = adapter(card, root, allow_silhouette_mismatch=True)
    assert allowed[0].target.mask_HW.any()
    assert "switched off" in allowed.notes[0]


def test_a_frame_without_a_mask_cannot_be_checked(card: DatasetCard, root: Path) -> None:
    masks = root / "pair00/hug00/seg/img_seg_mask/4"
    for folder in ("all", "0", "1"):
        (masks / folder / "000002.png").unlink()
    made = adapter(card, root)
    assert made[0].target.mask_HW.any()
    with pytest.raises(SampleFault, match="img_seg_mask"):
        made[1]


def test_an_empty_picture_mask_lowers_the_agreement_and_an_unreadable_one_is_a_row_error(
    card: DatasetCard, root: Path
) -> None:
    masks = root / "pair00/hug00/seg/img_seg_mask/4/all"
    Image.new("L", (940, 1280)).save(masks / "000001.png")
    (masks / "000002.png").write_bytes(b"<html>")
    report = prepare_data(adapter(card, root))
    assert [(fault.key, fault.code) for fault in report.faults] == [
        (KEYS[0], "scan.silhouette"),
        (KEYS[1], "image.decode"),
    ]


# Lists of frames ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("pair00/hug00\n", KEYS),
        ("# authors' list\r\n\r\n/data/hi4d/Pair00/HUG00/images/4/000002.jpg\r\n", KEYS[1:]),
        ("pair00\\hug00\\images\\4\\000001.jpg", KEYS[:1]),
        ("hug00/images/04/1.jpg\n", KEYS[:1]),
    ],
)
def test_a_list_selects_sequences_or_pictures(card: DatasetCard, root: Path, text: str, keys: list[str]) -> None:
    (root / "hi4d_list.txt").write_text(text)
    assert adapter(card, root, list="hi4d_list.txt").keys == keys


def test_a_list_that_is_absent_says_where_to_get_it(card: DatasetCard, standin: Path) -> None:
    with pytest.raises(DataMissing, match="issues/194"):
        adapter(card, standin, list="hi4d_list.txt")


def test_every_line_that_names_nothing_here_is_listed(card: DatasetCard, root: Path) -> None:
    path = root / "hi4d_list.txt"
    path.write_text("pair28/dance28\npair00/hug00\npair00/hug00/000001.jpg\n")
    with pytest.raises(DatasetRejected) as caught:
        read_list("hi4d_list.txt", root, find_sequences(root))
    assert [fault[:6] for fault in caught.value.faults] == ["line 1", "line 3"]
    path.write_text("pair00/hug00/images/4/000001.jpg\npair00/hug00/images/4/000009.jpg\n")
    with pytest.raises(DatasetRejected, match=r"(?s)000009.*1 of 2 pictures"):
        adapter(card, root, list="hi4d_list.txt")
    path.write_text("# nothing\n")
    with pytest.raises(DatasetRejected, match="names no sequence"):
        adapter(card, root, list="hi4d_list.txt")


# Virtual cameras ------------------------------------------------------------------------------------------------------


def test_virtual_views_render_the_textured_scan_and_need_no_pictures(
    card: DatasetCard, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(root / "pair00/hug00/images")
    options = {"source": "virtual", "framings": ["upper"], "size": [64, 48]}
    paths = []
    for workers in (1, 2):
        monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / f"cache{workers}"))
        made = adapter(card, root, "normal", **options)
        assert made.keys == [f"hi4d/pair00/hug00/virtual-upper/{frame:06d}" for frame in (1, 2)]
        report = prepare_data(made, workers)
        assert report.n_failed == 0
        assert report.manifest_path is not None
        paths.append(report.manifest_path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert compare(*map(read_manifest, paths)).verdict == "equal"
    sample = made[0]
    inside = sample.input.image_HW3[sample.target.mask_HW].astype(int)
    assert np.ptp(inside, axis=1).max() > 30  # coloured, not grey
    with pytest.raises(DataMissing, match="both a picture and a scan"):
        adapter(card, root)
