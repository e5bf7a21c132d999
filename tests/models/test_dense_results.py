"""Depth, normals and labels stored by other programs: found by name, read in any encoding, refused with both shapes."""

from __future__ import annotations

import itertools
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CardError, CheckpointRejected, SampleFault, UsageError
from sapiens_bench.models.dense_options import DENSE_PREDICTIONS
from sapiens_bench.models.dense_results import DenseResults
from sapiens_bench.pixels.png import encode_png

SIZE = (6, 8)
DEPTH = np.linspace(1.5, 2.5, 48, dtype=np.float32).reshape(SIZE)
LABELS = (np.arange(48).reshape(SIZE) % 28).astype(np.uint8)


def opened(folder: Path, task: str, **options: Any) -> DenseResults:
    return DenseResults(folder, task, read_options(DENSE_PREDICTIONS[task], options, "model mine"))  # type: ignore[arg-type]


def answer(folder: Path, task: str, key: str = "set/a", **options: Any) -> Any:
    found = opened(folder, task, **options).prediction(key, SIZE)
    return getattr(found, {"seg": "labels_HW", "depth": "depth_HW", "normal": "normals_HW3"}[task])


def fault(folder: Path, task: str, key: str = "set/a", **options: Any) -> SampleFault:
    with pytest.raises(SampleFault) as caught:
        answer(folder, task, key, **options)
    assert caught.value.side == "prediction"
    return caught.value


def put(path: Path, array: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    "name",
    ["set/a/0001.npy", "a/0001.npy", "a_0001.npy", "set/a/0001_depth.npy", "a/0001_depth.npy", "a_0001_depth.npy"],
)
def test_a_prediction_is_found_by_its_sample(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, DEPTH)
    np.testing.assert_array_equal(answer(tmp_path, "depth", "set/a/0001"), DEPTH)


def test_the_last_part_of_a_longer_name_is_not_enough(tmp_path: Path) -> None:
    put(tmp_path / "0001.npy", DEPTH)  # of which scene?
    found = fault(tmp_path, "depth", "set/a/0001")
    assert found.code == "pred.missing"
    assert "holds 1 such as 0001.npy" in found.detail


def test_class_scores_in_place_of_labels_are_named_as_such(tmp_path: Path) -> None:
    put(tmp_path / "a.npy", np.zeros((28, 60, 80)))
    with pytest.raises(SampleFault, match="arg max"):
        opened(tmp_path, "seg").prediction("set/a", (60, 80))


def test_endings_of_ones_own_are_an_option(tmp_path: Path) -> None:
    put(tmp_path / "a_pred.npy", DEPTH)
    found = fault(tmp_path, "depth")
    assert found.code == "pred.missing"
    assert "option suffix=_pred would find it" in found.detail
    np.testing.assert_array_equal(answer(tmp_path, "depth", suffix="_pred"), DEPTH)


def test_files_in_a_folder_below_say_which_folder_to_give(tmp_path: Path) -> None:
    put(tmp_path / "raw/a.npy", DEPTH)
    put(tmp_path / "vis/b.npy", DEPTH)
    assert "such as raw/a.npy; give its folder raw to find it" in fault(tmp_path, "depth").detail


def test_names_are_compared_in_composed_form_and_junk_is_not_there(tmp_path: Path) -> None:
    put(tmp_path / f"{unicodedata.normalize('NFD', 'é')}.npy", DEPTH)
    put(tmp_path / "._é.npy", DEPTH * 0)
    np.testing.assert_array_equal(answer(tmp_path, "depth", unicodedata.normalize("NFC", "set/é")), DEPTH)


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "disk/a.npy", DEPTH)
    (tmp_path / "preds").symlink_to(tmp_path / "disk")
    np.testing.assert_array_equal(answer(tmp_path / "preds", "depth"), DEPTH)


def test_the_demo_of_sapiens_writes_a_mask_a_map_and_a_picture(tmp_path: Path) -> None:
    put(tmp_path / "a_seg.npy", LABELS.astype(np.int64))
    put(tmp_path / "a.npy", LABELS > 0)
    Image.new("RGB", (16, 6)).save(tmp_path / "a.png")  # picture and overlay, side by side
    np.testing.assert_array_equal(answer(tmp_path, "seg"), LABELS)


def test_a_sample_of_that_name_keeps_its_own_file(tmp_path: Path) -> None:
    put(tmp_path / "a.npy", LABELS)
    put(tmp_path / "a_seg.npy", LABELS[::-1])
    np.testing.assert_array_equal(answer(tmp_path, "seg"), LABELS)
    np.testing.assert_array_equal(answer(tmp_path, "seg", "set/a_seg"), LABELS[::-1])


def test_of_several_files_the_array_counts_and_that_is_said(tmp_path: Path) -> None:
    put(tmp_path / "a.npy", DEPTH)
    Image.new("RGB", (24, 6)).save(tmp_path / "a.png")
    results = opened(tmp_path, "depth")
    np.testing.assert_array_equal(results.prediction("set/a", SIZE).depth_HW, DEPTH)  # type: ignore[union-attr]
    assert results.notes == ("1 samples have several files (a.npy and a.png): the first counts",)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int32, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [SIZE, (1, *SIZE), (*SIZE, 1)])
def test_labels_of_any_whole_type_are_bytes(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    put(tmp_path / "a.npy", LABELS.astype(dtype).reshape(shape))
    found = answer(tmp_path, "seg")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, LABELS)


@pytest.mark.parametrize("value", [-1, 256, 284, 70_000, 0.5, np.nan])
def test_a_number_that_is_no_label_never_wraps_into_one(tmp_path: Path, value: float) -> None:
    put(tmp_path / "a.npy", np.where(LABELS == 5, value, LABELS.astype(type(value))))
    assert fault(tmp_path, "seg").code == "pred.label"


def test_person_masks_of_0_and_255_are_declared(tmp_path: Path) -> None:
    Image.fromarray((LABELS > 3).astype(np.uint8) * 255).save(tmp_path / "a.png")
    found = fault(tmp_path, "seg")
    assert found.code == "pred.label"
    assert "encoding=mask" in found.detail
    np.testing.assert_array_equal(answer(tmp_path, "seg", encoding="mask"), LABELS > 3)


@pytest.mark.parametrize("kind", ["affine_invariant_depth", "metric_depth", "affine_invariant_inverse_depth"])
def test_depth_is_cast_and_counts_mean_what_is_declared(tmp_path: Path, kind: str) -> None:
    counts = (DEPTH * 1000).astype(np.uint16)
    counts[0, 0] = 0
    (tmp_path / "a.png").write_bytes(encode_png(counts))
    found = answer(tmp_path, "depth", kind=kind, unit="mm")
    assert found.dtype == np.float32
    if kind == "metric_depth":  # 0 means none
        np.testing.assert_allclose(found[1:], counts[1:] / 1000, rtol=1e-6)
        assert np.isnan(found[0, 0])
    else:  # the farthest, or nearest, value of a map of arbitrary scale
        np.testing.assert_array_equal(found, counts)
    put(tmp_path / "b.npy", counts)
    np.testing.assert_array_equal(answer(tmp_path, "depth", "set/b"), counts)


def test_eight_bits_are_no_depth_and_zeros_are_no_prediction(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    assert "8 bits" in fault(tmp_path, "depth").detail
    put(tmp_path / "z.npy", np.zeros(SIZE))
    assert fault(tmp_path, "depth", "set/z").code == "pred.range"


@pytest.mark.parametrize("ending", ["npz", "exr", "tiff"])
def test_depth_in_other_files(tmp_path: Path, ending: str) -> None:
    import cv2

    path = tmp_path / f"a.{ending}"
    if ending == "npz":
        np.savez_compressed(path, depth=DEPTH)
    elif ending == "tiff":
        cv2.imwrite(str(path), DEPTH)
    else:
        exr = pytest.importorskip("OpenEXR")
        exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, {"Y": DEPTH}).write(str(path))
    np.testing.assert_array_equal(answer(tmp_path, "depth"), DEPTH)


def test_exr_predictions_without_the_package_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "a.exr").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(UsageError, match=r"sapiens-vision-bench\[exr\]"):
        opened(tmp_path, "depth")


@pytest.mark.parametrize(
    ("task", "stored", "words"),
    [
        ("depth", (8, 6), "(8, 6), needed is (6, 8): height and width are swapped"),
        ("depth", (3, 4), "(3, 4), needed is (6, 8): another size; if the map covers the whole picture"),
        ("seg", (28, 6, 8), "28 maps in one"),
        ("normal", (3, 8, 6), "(3, 8, 6), needed is (6, 8, 3)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(tmp_path: Path, task: str, stored: tuple[int, ...], words: str) -> None:
    put(tmp_path / "a.npy", np.ones(stored, np.float32))
    found = fault(tmp_path, task)
    assert found.code == "pred.shape"
    assert words in found.detail


def test_maps_of_network_size_are_resized_as_declared(tmp_path: Path) -> None:
    put(tmp_path / "a.npy", DEPTH[::2, ::2])
    assert answer(tmp_path, "depth", resize="bilinear").shape == SIZE
    np.testing.assert_array_equal(answer(tmp_path, "depth", resize="nearest")[::2, ::2], DEPTH[::2, ::2])
    put(tmp_path / "l.npy", LABELS[::2, ::2].astype(np.int64))
    assert set(np.unique(answer(tmp_path, "seg", "set/l", resize="nearest"))) <= set(np.unique(LABELS))
    put(tmp_path / "n.npy", np.tile(np.array([0, 0, 2.0]), (3, 4, 1)))
    for how in ("nearest", "bilinear"):
        found = answer(tmp_path, "normal", "set/n", resize=how)
        assert found.shape == (*SIZE, 3)
        assert (found[..., 2] > 0.99).all()
    with pytest.raises(CardError, match="resize"):
        opened(tmp_path, "seg", resize="bilinear")


def test_a_turned_map_is_not_resized_into_place(tmp_path: Path) -> None:
    put(tmp_path / "a.npy", DEPTH.T)
    assert fault(tmp_path, "depth", resize="bilinear").code == "pred.shape"


def test_normals_come_in_our_axes_from_any_encoding(tmp_path: Path) -> None:
    n = np.random.default_rng(0).standard_normal((*SIZE, 3))
    n = (n / np.linalg.norm(n, axis=-1, keepdims=True)).astype(np.float32)
    put(tmp_path / "a.npy", n * np.array([1, -1, -1]))
    np.testing.assert_allclose(answer(tmp_path, "normal", axis_sign=[1, -1, -1]), n, atol=1e-6)
    put(tmp_path / "b.npy", n[..., ::-1])
    np.testing.assert_allclose(answer(tmp_path, "normal", "set/b", order="zyx"), n, atol=1e-6)
    put(tmp_path / "c.npy", np.moveaxis(n, -1, 0))
    put(tmp_path / "d.npy", np.moveaxis(n, -1, 0)[None])
    for layout, name in itertools.product(("hwc", "chw"), "cd"):
        np.testing.assert_allclose(answer(tmp_path, "normal", f"set/{name}", layout=layout), n, atol=1e-6)
    for bits in (8, 16):
        counts = np.rint((n + 1) / 2 * (2**bits - 1)).astype(f"uint{bits}")
        (tmp_path / f"p{bits}.png").write_bytes(encode_png(counts))
        np.testing.assert_allclose(answer(tmp_path, "normal", f"set/p{bits}"), n, atol=1.1 / (2**bits - 1))
    coded = np.tile((n + 1) / 2, (2, 1, 1))[: SIZE[0] + 2]
    put(tmp_path / "f.npy", coded[: SIZE[0]])
    np.testing.assert_allclose(answer(tmp_path, "normal", "set/f", encoding="colour"), n, atol=1e-6)


def test_coded_normals_in_floating_point_are_not_taken_for_vectors(tmp_path: Path) -> None:
    n = np.random.default_rng(0).standard_normal((20, 20, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    put(tmp_path / "a.npy", (n + 1) / 2)
    with pytest.raises(SampleFault, match="set encoding=colour") as caught:
        opened(tmp_path, "normal").prediction("set/a", (20, 20))
    assert caught.value.code == "pred.encoding"


def test_unusable_folders_are_refused_and_pipes_are_one_samples_fault(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRejected, match="not a folder"):
        opened(tmp_path / "absent", "depth")
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(CheckpointRejected, match=r"no file with one of the endings \.npy, \.npz, \.exr"):
        opened(tmp_path, "depth")
    os.mkfifo(tmp_path / "a.npy")
    assert "pipe" in fault(tmp_path, "depth").detail
