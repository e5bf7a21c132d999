"""Depth, normals and labels in every way they are stored come out as the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.coded_normals import decoded_normals, looks_coded
from sapiens_bench.pixels.dense_maps import (
    Limits,
    read_depth_map,
    read_label_map,
    read_mask_map,
    read_normal_map,
)
from sapiens_bench.pixels.png import encode_png

SIZE = Limits((6, 8))
DEPTH = np.linspace(1.5, 2.5, 48, dtype=np.float32).reshape(6, 8)
LABELS = (np.arange(48).reshape(6, 8) % 28).astype(np.uint8)


def vectors() -> NDArray[np.float32]:
    n = np.random.default_rng(0).standard_normal((6, 8, 3))
    return np.asarray(n / np.linalg.norm(n, axis=-1, keepdims=True), np.float32)


def exr(path: Path, **planes: NDArray[Any]) -> Path:
    library = pytest.importorskip("OpenEXR")
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    library.File(header, {k: np.ascontiguousarray(v, np.float32) for k, v in planes.items()}).write(str(path))
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 8), (1, 6, 8), (6, 8, 1), (6, 8, 3)])
def test_depth_arrays(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.dstack([DEPTH] * 3) if shape == (6, 8, 3) else DEPTH.reshape(shape)
    np.save(tmp_path / "d.npy", array.astype(dtype))
    np.savez_compressed(tmp_path / "d.npz", depth=array.astype(dtype), other=np.zeros(3))
    for name in ("d.npy", "d.npz"):
        found = read_depth_map(tmp_path / name, SIZE)
        np.testing.assert_allclose(found.values_HW, DEPTH, rtol=1e-3)
        assert not found.are_counts


def test_depth_pictures_say_that_they_hold_counts(tmp_path: Path) -> None:
    (tmp_path / "d.png").write_bytes(encode_png((DEPTH * 1000).astype(np.uint16)))
    assert read_depth_map(tmp_path / "d.png", SIZE).are_counts
    cv2.imwrite(str(tmp_path / "d.tiff"), DEPTH)
    found = read_depth_map(tmp_path / "d.tiff", SIZE)
    np.testing.assert_array_equal(found.values_HW, DEPTH)
    assert not found.are_counts


@pytest.mark.parametrize("channels", ["Z", "Y", "R", "depth", "RGB"])
def test_depth_in_exr_files(tmp_path: Path, channels: str) -> None:
    names = [channels] if channels == "depth" else list(channels)
    path = exr(tmp_path / "d.exr", **dict.fromkeys(names, DEPTH))
    np.testing.assert_array_equal(read_depth_map(path, SIZE).values_HW, DEPTH)


@pytest.mark.parametrize("stored", ["float", "(n + 1) / 2", "uint8", "uint16", "png 8", "png 16", "exr"])
def test_normals_in_every_encoding(tmp_path: Path, stored: str) -> None:
    n = vectors()
    coded = {bits: np.rint((n + 1) / 2 * (2**bits - 1)).astype(f"uint{bits}") for bits in (8, 16)}
    path, encoding, tolerance = tmp_path / "n.npy", "auto", 1e-6
    if stored == "float":
        np.save(path, n)
    elif stored == "(n + 1) / 2":
        np.save(path, (n + 1) / 2)
        encoding = "colour"
    elif stored == "exr":
        path = exr(tmp_path / "n.exr", X=n[..., 0], Y=n[..., 1], Z=n[..., 2])
    else:
        bits = 8 if "8" in stored else 16
        tolerance = 1.1 / (2**bits - 1)
        if stored.startswith("png"):
            path = tmp_path / "n.png"
            path.write_bytes(encode_png(coded[bits]))
        else:
            np.save(path, coded[bits])
    found = read_normal_map(path, SIZE, encoding)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, n, atol=tolerance)


@pytest.mark.parametrize("none", [0, 127, 128])
def test_black_and_grey_are_no_normals(none: int) -> None:
    counts = np.full((2, 2, 3), (127, 127, 255), np.uint8)
    counts[0, 0] = none
    found = decoded_normals(counts)
    assert np.isnan(found[0, 0]).all()
    assert np.isfinite(found).sum() == 9


def test_transparent_normals_are_none(tmp_path: Path) -> None:
    rgba = np.dstack([np.full((6, 8, 3), (128, 128, 255), np.uint8), np.full((6, 8), 255, np.uint8)])
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "n.png")
    found = read_normal_map(tmp_path / "n.png", SIZE)
    assert np.isnan(found[0, 0]).all()
    assert np.isfinite(found[1:]).all()


def test_coded_vectors_are_told_from_plain_ones() -> None:
    n = np.random.default_rng(1).standard_normal((500, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    assert looks_coded((n + 1) / 2)
    assert not looks_coded(n)
    assert not looks_coded(np.abs(n))  # a ball's corner that faces right, up and the viewer
    assert not looks_coded(np.tile([0.0, 0.0, 1.0], (500, 1)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 8), (1, 6, 8), (6, 8, 1)])
def test_labels_of_any_whole_type(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "l.npy", LABELS.astype(dtype).reshape(shape))
    found = read_label_map(tmp_path / "l.npy", SIZE)
    assert found.dtype.kind in "iu"
    np.testing.assert_array_equal(found, LABELS)


def test_booleans_are_two_labels_and_fractions_are_none(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", LABELS > 3)
    np.testing.assert_array_equal(read_label_map(tmp_path / "b.npy", SIZE), LABELS > 3)
    for wrong in (0.5, np.nan, np.inf, 1e20):
        np.save(tmp_path / "f.npy", np.where(LABELS == 5, wrong, LABELS))
        with pytest.raises(SampleFault, match="whole numbers") as caught:
            read_label_map(tmp_path / "f.npy", SIZE)
        assert caught.value.code == "label.value"


def test_masks_may_be_arrays(tmp_path: Path) -> None:
    for values in (LABELS > 3, (LABELS > 3) * 255, np.where(LABELS > 3, 0.5, np.nan)):
        np.save(tmp_path / "m.npy", values)
        np.testing.assert_array_equal(read_mask_map(tmp_path / "m.npy", SIZE), LABELS > 3)


def test_both_shapes_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", DEPTH.T)
    with pytest.raises(
        SampleFault, match=r"shape \(8, 6\), needed is \(6, 8\): height and width are swapped"
    ) as caught:
        read_depth_map(tmp_path / "d.npy", SIZE)
    assert caught.value.code == "label.shape"


def test_an_array_far_larger_than_its_picture_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.zeros((600, 800), np.float64))
    with pytest.raises(SampleFault, match=r"shape \(600, 800\).*needed is \(6, 8\)") as caught:
        read_depth_map(tmp_path / "d.npy", SIZE)
    assert caught.value.code == "label.array"


def test_text_and_objects_are_no_maps(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([["a"] * 8] * 6))
    with pytest.raises(SampleFault, match="not numbers"):
        read_depth_map(tmp_path / "t.npy", SIZE)


def pfm(
    path: Path, values: NDArray[np.float32], *, big_endian: bool = False, scale: str = "1", gap: str = "\n"
) -> Path:
    """As the format has it: rows from the bottom up, a negative scale for little-endian numbers."""
    kind = "PF" if values.ndim == 3 else "Pf"
    head = f"{kind}{gap}{values.shape[1]} {values.shape[0]}{gap}{'' if big_endian else '-'}{scale}{gap}"
    path.write_bytes(head.encode() + values[::-1].astype(">f4" if big_endian else "<f4").tobytes())
    return path


@pytest.mark.parametrize("gap", ["\n", "\r\n", " "])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("scale", ["1", "1.0", "1.000000"])
def test_portable_float_maps_come_top_row_first(tmp_path: Path, big_endian: bool, scale: str, gap: str) -> None:
    path = pfm(tmp_path / "d.pfm", DEPTH, big_endian=big_endian, scale=scale, gap=gap)
    found = read_depth_map(path, SIZE)
    np.testing.assert_array_equal(found.values_HW, DEPTH)
    assert not found.are_counts
    normals = vectors()
    np.testing.assert_array_equal(
        read_normal_map(pfm(tmp_path / "n.pfm", normals, big_endian=big_endian), SIZE), normals
    )


def test_portable_float_maps_agree_with_opencv(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "d.pfm"), DEPTH)
    np.testing.assert_array_equal(read_depth_map(tmp_path / "d.pfm", SIZE).values_HW, DEPTH)
    found = cv2.imread(str(pfm(tmp_path / "e.pfm", DEPTH)), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, DEPTH)


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"P5\n8 6\n255\n" + bytes(48), "image.decode", "not a PFM file"),
        (b"Pf\n8 6\n-1\n" + bytes(100), "image.truncated", "100 bytes of numbers, 192 make 8x6"),
        (b"Pf\n8 6\n-1\n" + bytes(200), "image.decode", "200 bytes of numbers"),
        (b"Pf\n8 6\n-0.0039\n" + bytes(192), "image.decode", "scale -0.0039; programs differ"),
        (b"Pf\n99999 99999\n-1\n", "image.too_large", "over 100000000 pixels"),
        (b"Pf\n0 6\n-1\n", "image.decode", "width 0"),
        (b"Pf\n6 8\n-1\n" + bytes(192), "label.shape", "swapped"),
    ],
)
def test_damaged_portable_float_maps_are_named(tmp_path: Path, data: bytes, code: str, said: str) -> None:
    (tmp_path / "d.pfm").write_bytes(data)
    with pytest.raises(SampleFault, match=said) as caught:
        read_depth_map(tmp_path / "d.pfm", SIZE)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.int16, 255), *((d, top) for d in (np.int32, np.int64, np.uint32) for top in (255, 65535))]
)
def test_normal_colours_that_were_cast_keep_their_range(tmp_path: Path, dtype: type, top: int) -> None:
    normals = vectors()
    np.save(tmp_path / "n.npy", np.round((normals + 1) / 2 * top).astype(dtype))
    found = read_normal_map(tmp_path / "n.npy", SIZE)
    np.testing.assert_allclose(found, normals, atol=1.1 / top)


def test_integers_of_which_some_are_negative_are_vectors(tmp_path: Path) -> None:
    normals = np.round(vectors() * 127).astype(np.int8)
    np.save(tmp_path / "n.npy", normals)
    np.testing.assert_array_equal(read_normal_map(tmp_path / "n.npy", SIZE), normals.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_signed_vectors_without_a_negative_one_are_no_colours(tmp_path: Path, dtype: type) -> None:
    """A wall that faces the camera: (0, 0, 127), which as a colour would be a vector of length 1.4."""
    wall = np.zeros((*SIZE.size_hw, 3), dtype)
    wall[..., 2] = 127
    wall[0, 0] = (0, 90, 90)
    np.save(tmp_path / "n.npy", wall)
    np.testing.assert_array_equal(read_normal_map(tmp_path / "n.npy", SIZE), wall.astype(np.float32))


def test_unit_vectors_that_could_be_colours_as_well_ask(tmp_path: Path) -> None:
    """Components that add up to 1.5: 2 v - 1 has length 1, too."""
    angle = np.linspace(0, 0.5, 400).reshape(20, 20, 1)
    across, along = np.array([2, -1, -1]) / np.sqrt(6), np.array([0, 1, -1]) / np.sqrt(2)
    vectors = 0.5 + 0.5 * (np.cos(angle) * across + np.sin(angle) * along)
    assert vectors.min() > 0
    np.save(tmp_path / "n.npy", np.rint(vectors * 65535).astype(np.int32))
    limits = Limits((20, 20), 1 << 20)
    with pytest.raises(SampleFault, match=r"both colours of unit normals and unit vectors.*say which"):
        read_normal_map(tmp_path / "n.npy", limits)
    found = read_normal_map(tmp_path / "n.npy", limits, "vector")
    np.testing.assert_allclose(found / 65535, vectors, atol=1e-4)


def test_colours_of_a_wall_that_faces_us_are_still_colours(tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.full((20, 20, 3), (128, 128, 255), np.int32))
    found = read_normal_map(tmp_path / "n.npy", Limits((20, 20), 1 << 20))
    np.testing.assert_allclose(found, np.full((20, 20, 3), (0, 0, 1)), atol=0.01)


def test_signed_numbers_that_are_neither_vectors_nor_colours_ask(tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.random.default_rng(0).integers(0, 120, (*SIZE.size_hw, 3)).astype(np.int16))
    with pytest.raises(SampleFault, match="say which: encoding=colour or encoding=vector") as caught:
        read_normal_map(tmp_path / "n.npy", SIZE)
    assert caught.value.code == "label.mode"
    assert read_normal_map(tmp_path / "n.npy", SIZE, "vector").max() == 119


def test_colours_of_averaged_normals_are_not_taken_for_vectors_because_they_all_face_us(tmp_path: Path) -> None:
    """Averaging leaves them shorter than 1, and colours that face the camera have nearly one length as they are."""
    y, x = np.mgrid[-0.3 : 0.3 : SIZE.size_hw[0] * 1j, -0.3 : 0.3 : SIZE.size_hw[1] * 1j]
    averaged = 0.85 * np.stack([x, -y, np.sqrt(1 - x**2 - y**2)], -1)
    np.save(tmp_path / "n.npy", np.rint((averaged + 1) * 127.5).astype(np.int32))
    with pytest.raises(SampleFault, match="say which: encoding=colour or encoding=vector"):
        read_normal_map(tmp_path / "n.npy", SIZE)
    np.testing.assert_allclose(read_normal_map(tmp_path / "n.npy", SIZE, "colour"), averaged, atol=0.005)
