from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.errors import DataMissing, DatasetRejected, PathEscape, SampleFault, UsageError
from sapiens_bench.pixels.codecs import (
    load_npy,
    load_npz,
    read_depth_png,
    read_exr,
    read_labels,
    read_mask,
    read_rgb,
    safe_join,
)

SCENE = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)


def saved(folder: Path, array: np.ndarray, name: str, **options: object) -> Path:
    Image.fromarray(array).save(folder / name, **options)
    return folder / name


def code_of(call: object, *args: object, **options: object) -> str:
    with pytest.raises(SampleFault) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.side == "input"
    return caught.value.code


def test_png_pixels_come_back_exactly(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_rgb(saved(tmp_path, SCENE, "a.png")), SCENE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_or_ignored_as_told(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    for name in ("a.png", "a.jpg", "a.webp"):
        path = saved(tmp_path, SCENE, name, exif=exif)
        with Image.open(path) as image:
            stored, turned = np.asarray(image.convert("RGB")), np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(read_rgb(path, exif="ignore"), stored)
        np.testing.assert_array_equal(read_rgb(path, exif="apply"), turned)


def test_swapped_size_names_the_policy_and_other_sizes_do_not(tmp_path: Path) -> None:
    path = saved(tmp_path, SCENE, "a.png")
    assert read_rgb(path, expected_size=(32, 24)).shape == (24, 32, 3)
    assert code_of(read_rgb, path, expected_size=(24, 32)) == "image.exif_policy"
    assert code_of(read_rgb, path, expected_size=(33, 24)) == "image.size"


def test_sixteen_bit_grey_is_divided_by_257_and_not_clipped(tmp_path: Path) -> None:
    path = saved(tmp_path, np.array([[0, 40000, 65535]], np.uint16), "a.png")
    assert read_rgb(path)[0, :, 0].tolist() == [0, 156, 255]  # 40000 / 257 = 155.6


def test_a_link_out_of_the_root_is_refused_and_one_inside_is_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    saved(tmp_path, SCENE, "secret.png")
    saved(root, SCENE, "a.png")
    os.symlink(tmp_path / "secret.png", root / "out.png")
    os.symlink(root / "a.png", root / "in.png")
    assert code_of(read_rgb, "out.png", root=root) == "image.path"
    assert code_of(read_rgb, root / "out.png", root=root) == "image.path"
    assert code_of(read_rgb, "../secret.png", root=root) == "image.path"
    np.testing.assert_array_equal(read_rgb("in.png", root=root), SCENE)


def test_a_pipe_or_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert code_of(read_rgb, tmp_path / "pipe.jpg") == "image.missing"
    assert code_of(read_rgb, Path("/dev/zero")) == "image.missing"
    assert code_of(read_rgb, "nul\0.jpg") == "image.path"


def test_the_pixel_limit_is_inclusive_and_silent_below_it(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (9500, 9500)).save(path)  # 90 MP: Pillow alone would warn
    assert code_of(read_rgb, path, max_pixels=9500 * 9500 - 1) == "image.too_large"
    assert read_labels(path, max_pixels=9500 * 9500).shape == (9500, 9500)


def test_postscript_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    assert code_of(read_rgb, tmp_path / "a.jpg") == "image.decode"


def test_sha256_decides_before_decoding(tmp_path: Path) -> None:
    path = saved(tmp_path, SCENE, "a.png")
    assert read_rgb(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()).shape == (24, 32, 3)
    assert code_of(read_rgb, path, sha256="0" * 64) == "image.sha256"


def test_no_byte_flip_escapes_as_another_exception(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for suffix in ("jpg", "png", "gif", "webp", "tiff", "bmp"):
        original = saved(tmp_path, SCENE, f"a.{suffix}").read_bytes()
        for _ in range(60):
            data = bytearray(original)
            for position in generator.integers(0, len(data), 3):
                data[position] ^= int(generator.integers(1, 256))
            (tmp_path / "b").write_bytes(data[: int(generator.integers(1, len(data) + 1))])
            with contextlib.suppress(SampleFault):
                assert read_rgb(tmp_path / "b").dtype == np.uint8


def test_threads_read_the_same_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, SCENE, "a.jpg")
    expected = read_rgb(path)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: read_rgb(path), range(64)):
            np.testing.assert_array_equal(found, expected)


def test_palette_labels_keep_their_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 27, 255]], np.uint8)).convert("P")
    image.putpalette([200 - i % 200 for i in range(768)])
    image.save(tmp_path / "labels.png")
    assert read_labels(tmp_path / "labels.png").tolist() == [[0, 1, 27, 255]]
    assert code_of(read_labels, saved(tmp_path, SCENE, "rgb.png")) == "label.mode"


def test_masks_look_at_every_colour_channel(tmp_path: Path) -> None:
    array = np.zeros((2, 2, 3), np.uint8)
    array[0, 0] = (1, 0, 0)
    array[1, 1] = (0, 255, 0)
    assert read_mask(saved(tmp_path, array, "m.png")).tolist() == [[True, False], [False, True]]
    assert read_mask(saved(tmp_path, array[..., 0], "g.png")).tolist() == [[True, False], [False, False]]


def test_depth_pictures_become_metres_with_nan_for_invalid(tmp_path: Path) -> None:
    path = saved(tmp_path, np.array([[0, 1000, 65535]], np.uint16), "d.png")
    np.testing.assert_allclose(read_depth_png(path, metres_per_unit=1e-3), [[np.nan, 1.0, 65.535]], rtol=1e-6)
    assert code_of(read_depth_png, saved(tmp_path, SCENE, "rgb.png"), metres_per_unit=1.0) == "label.mode"


def test_exr_without_the_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(UsageError, match=r"sapiens-vision-bench\[exr\]"):
        read_exr(tmp_path / "a.exr", ("Z",))


def test_exr_channels_come_back_in_the_order_asked(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    planes = {name: np.full((3, 4), value, np.float32) for name, value in (("X", 1), ("Y", 2), ("Z", 3))}
    exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, planes).write(str(tmp_path / "a.exr"))
    assert read_exr(tmp_path / "a.exr", ("Z", "X"))[0, 0].tolist() == [3.0, 1.0]
    assert code_of(read_exr, tmp_path / "a.exr", ("A",)) == "label.channels"
    (tmp_path / "b.exr").write_bytes(b"not exr")
    assert code_of(read_exr, tmp_path / "b.exr", ("X",)) == "image.decode"


@pytest.mark.parametrize(
    "relative", ["", "/a", "../a", "a/../b", "a//b", "./a", "a\\b", "C:x", "http://a/b", "a\0b", "é" * 200, "\ud800"]
)
def test_only_plain_relative_paths_join(tmp_path: Path, relative: str) -> None:
    with pytest.raises(PathEscape):
        safe_join(tmp_path, relative)


def test_names_with_any_other_character_join(tmp_path: Path) -> None:
    for name in ("人物 é😀.jpg", "-rf.jpg", "ab:c.jpg", "line\nbreak", "a/b/c.png"):
        assert safe_join(tmp_path, name) == Path(os.path.realpath(tmp_path)) / name


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_round_trip(tmp_path: Path, order: str) -> None:
    array = np.asarray(np.arange(24, dtype="<f4").reshape(2, 3, 4), order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", normal=array, scalar=np.int64(3), empty=np.zeros((0, 4)))
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy"), array)
    found = load_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["normal"], array)
    assert found["scalar"].shape == ()
    assert found["empty"].shape == (0, 4)
    assert found["normal"].flags.writeable


def test_flipped_array_files_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(50), b=np.zeros((3, 3)))
    np.save(tmp_path / "a.npy", np.arange(50.0))
    generator = np.random.default_rng(5)
    for original, load in ((buffer.getvalue(), load_npz), ((tmp_path / "a.npy").read_bytes(), load_npy)):
        for _ in range(300):
            data = bytearray(original)
            data[int(generator.integers(len(data)))] ^= int(generator.integers(1, 256))
            (tmp_path / "b").write_bytes(data)
            with contextlib.suppress(DatasetRejected):
                load(tmp_path / "b")


def test_absent_arrays_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        load_npy(tmp_path / "a.npy")
    with pytest.raises(DataMissing):
        load_npz(tmp_path / "a.npz")
