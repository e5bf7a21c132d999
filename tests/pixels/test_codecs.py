"""Pictures as they are decoded, array files, and the names of files: read, or refused by name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saved_pictures import SCENE, code_of, read_labels, saved

from sapiens_bench.errors import DataMissing, DatasetRejected, PathEscape, SampleFault, UsageError
from sapiens_bench.pixels import arrays, decode, strict_json
from sapiens_bench.pixels.arrays import load_one
from sapiens_bench.pixels.codecs import (
    depth_counts,
    load_npy,
    load_npz,
    read_exr,
    read_mask,
    read_rgb,
    safe_join,
    stored_of,
)
from sapiens_bench.pixels.decode import open_picture
from sapiens_bench.pixels.exr import read_exr_choice
from sapiens_bench.pixels.png import encode_png


def test_png_pixels_come_back_exactly(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_rgb(saved(tmp_path, SCENE, "a.png")), SCENE)


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


def test_a_few_bytes_cannot_become_a_large_photograph(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("P", (5001, 5000)).save(path)  # 25 kB that ask for 75 MB
    with pytest.raises(SampleFault, match="decompression bomb") as caught:
        read_rgb(path)
    assert caught.value.code == "image.too_large"
    assert read_labels(path).shape == (5000, 5001)  # an empty label map of that size is no bomb
    Image.new("P", (5000, 5000)).save(path)
    assert read_rgb(path).shape == (5000, 5000, 3)


def test_large_pictures_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (6000, 5000)).save(path)
    picture = open_picture(path)
    with ThreadPoolExecutor(1) as pool:
        with picture.loaded():
            second = pool.submit(read_labels, path)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.3)
        assert second.result().shape == (5000, 6000)


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_a_sparse_file_far_larger_than_its_picture_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(decode, "LARGE_FILE", 1 << 16)
    path = tmp_path / "sparse.jpg"
    Image.fromarray(SCENE).save(path, kind)
    with path.open("r+b") as file:
        file.truncate(3 << 29)  # 1.5 GB that take no room on the disk
    with pytest.raises(SampleFault, match="1610612736 bytes for 32x24") as caught:
        read_rgb(path)
    assert caught.value.code == "image.too_large"


def test_a_larger_file_that_its_header_explains_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGE_FILE", 64)
    for name in ("a.jpg", "a.png", "a.bmp", "a.tiff"):
        exif = Image.Exif()
        exif[274] = 1
        options = {"exif": exif} if name == "a.jpg" else {}
        assert read_rgb(saved(tmp_path, SCENE, name, **options)).shape == SCENE.shape


def test_what_a_link_leads_to_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("root:x:0:0")
    (tmp_path / "a.png").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(SampleFault) as caught:
        read_rgb(tmp_path / "a.png")
    assert "root" not in caught.value.detail.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ENOSPC, "No space left"), OSError(errno.EMFILE, "many")]
)
def test_a_fault_of_the_machine_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = saved(tmp_path, SCENE, "a.png")
    np.save(tmp_path / "a.npy", SCENE)
    np.savez(tmp_path / "a.npz", SCENE)

    def fail(*_: object) -> None:
        raise error

    for place in (decode, arrays, strict_json):
        monkeypatch.setattr(place, "open_regular" if place is not strict_json else "read_regular", fail)
    calls: list[tuple[Callable[[Path], object], str]] = [
        (read_rgb, "a.png"), (read_labels, "a.png"), (load_npy, "a.npy"), (load_npz, "a.npz"),
        (strict_json.read_bytes, "a.json"),
    ]  # fmt: skip
    for call, name in calls:
        with pytest.raises(type(error)) as caught:
            call(tmp_path / name)
        assert caught.value is error
    monkeypatch.undo()
    monkeypatch.setattr(Image.Image, "load", fail)
    with pytest.raises(type(error)):
        read_rgb(path)


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


def painted(folder: Path, mode: str) -> Path:
    """The same two people, in red and blue, in the left half of a picture, in one of the ways masks are stored."""
    person = np.zeros((4, 6), np.uint8)
    person[:, 0], person[:, 1:3] = 1, 2
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[person]
    on = (person > 0).astype(np.uint8)
    if mode == "palette":
        image = Image.fromarray(person).convert("P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    elif mode == "palette without colours":
        image = Image.fromarray(person).convert("P")
        image.putpalette([0] * 9)
    elif mode == "palette, black last":
        image = Image.fromarray(2 - person).convert("P")
        image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 0])
    elif mode == "black cut-out":
        image = Image.fromarray(np.dstack([np.zeros((4, 6, 3), np.uint8), on * 255]))
    elif mode == "opaque colours":
        image = Image.fromarray(np.dstack([colours, np.full((4, 6), 255, np.uint8)]))
    elif mode == "16-bit colours":
        (folder / "m.png").write_bytes(encode_png(colours.astype(np.uint16) // 255))
        return folder / "m.png"
    else:
        arrays = {"colours": colours, "grey": on, "white": on * 255, "16 bits": on.astype(np.uint16) * 7}
        image = Image.fromarray(arrays[mode]) if mode in arrays else Image.fromarray(on * 255).convert("1")
    image.save(folder / "m.png")
    return folder / "m.png"


@pytest.mark.parametrize(
    "mode",
    [
        "colours", "opaque colours", "16-bit colours", "grey", "white", "16 bits", "1 bit", "black cut-out", "palette",
        "palette without colours", "palette, black last",
    ],
)  # fmt: skip
def test_a_mask_shows_everybody_whatever_their_colour(tmp_path: Path, mode: str) -> None:
    assert read_mask(painted(tmp_path, mode)).tolist() == [[True, True, True, False, False, False]] * 4


def test_an_empty_mask_is_empty_in_every_mode(tmp_path: Path) -> None:
    for mode in ("L", "RGB", "P", "1", "I;16"):
        Image.new(mode, (3, 2)).save(tmp_path / "m.png")
        assert not read_mask(tmp_path / "m.png").any(), mode


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_in_three_equal_channels_are_read_and_colours_are_not(tmp_path: Path, dtype: type) -> None:
    labels = np.array([[0, 1, 27], [255, 3, 4]], dtype)
    (tmp_path / "three.png").write_bytes(encode_png(np.dstack([labels] * 3)))
    assert read_labels(tmp_path / "three.png").tolist() == labels.tolist()
    (tmp_path / "colours.png").write_bytes(encode_png(np.dstack([labels, labels, labels * 0])))
    with pytest.raises(SampleFault, match="3 channels that differ") as caught:
        read_labels(tmp_path / "colours.png")
    assert caught.value.code == "label.mode"


def test_alpha_of_labels_may_be_constant_and_may_not_vary(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    for alpha in (0, 255):
        saved(tmp_path, np.dstack([labels] * 3 + [np.full((2, 2), alpha, np.uint8)]), "a.png")
        assert read_labels(tmp_path / "a.png").tolist() == labels.tolist()
    assert code_of(read_labels, saved(tmp_path, np.dstack([labels] * 4), "v.png")) == "label.mode"


def test_a_depth_picture_has_16_bits_in_one_channel_or_three_equal_ones(tmp_path: Path) -> None:
    def counts(path: Path) -> np.ndarray:
        return depth_counts(stored_of(open_picture(path)))

    assert counts(saved(tmp_path, np.array([[0, 1000, 65535]], np.uint16), "d.png")).tolist() == [[0, 1000, 65535]]
    (tmp_path / "three.png").write_bytes(encode_png(np.full((2, 2, 3), 1500, np.uint16)))  # as OpenCV writes grey
    assert counts(tmp_path / "three.png").tolist() == [[1500, 1500]] * 2
    for other in (SCENE, SCENE[..., 0]):
        assert code_of(counts, saved(tmp_path, other, "o.png")) == "label.mode"


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
    os.mkfifo(tmp_path / "pipe.exr")
    assert code_of(read_exr, tmp_path / "pipe.exr", ("X",)) == "image.missing"
    assert code_of(read_exr, tmp_path / "a.exr", ("X",), max_pixels=11) == "image.too_large"


def test_layers_of_an_exr_file_go_by_their_last_name(tmp_path: Path) -> None:
    exr = pytest.importorskip("OpenEXR")
    planes = {"View.Depth.Z": np.full((2, 3), 4, np.float32), "A.X": np.ones((2, 3), np.float32)}
    planes |= {"B.X": np.zeros((2, 3), np.float32)}
    exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, planes).write(str(tmp_path / "a.exr"))
    assert read_exr_choice(tmp_path / "a.exr", (("Y",), ("Z",))).max() == 4
    assert code_of(read_exr, tmp_path / "a.exr", ("X",)) == "label.channels"  # two layers have it


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


def test_of_an_archive_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", normal=np.ones(3), rgb=np.zeros(3))
    assert list(load_npz(tmp_path / "a.npz", only=("normals", "normal"))) == ["normal"]
    assert load_one(tmp_path / "a.npz", ("normals", "normal")).tolist() == [1, 1, 1]
    np.savez(tmp_path / "one.npz", np.ones(2))
    assert load_one(tmp_path / "one.npz", ("depth",)).tolist() == [1, 1]
    assert load_npz(tmp_path / "a.npz", only=("depth",)) == {}
    with pytest.raises(DatasetRejected, match="no array depth; the file has normal, rgb"):
        load_one(tmp_path / "a.npz", ("depth",))


def test_a_label_map_may_be_packed_a_thousandfold(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", label=np.zeros((1500, 1000), np.int64))
    assert (tmp_path / "a.npz").stat().st_size < 12_000_000 / 500
    assert load_npz(tmp_path / "a.npz")["label"].shape == (1500, 1000)


def test_pipes_in_place_of_arrays_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    for call in (load_npy, load_npz):
        with pytest.raises(DataMissing, match="pipe"):
            call(tmp_path / "a.npy")


def test_absent_arrays_are_missing(tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        load_npy(tmp_path / "a.npy")
    with pytest.raises(DataMissing):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC: convert it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "a web page"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(SampleFault, match=said):
        read_rgb(tmp_path / "a.jpg")
