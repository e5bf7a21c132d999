"""Pictures whose files say how they are to be turned: as stored, as viewed, or as their truth decides."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from saved_pictures import SCENE, code_of, read_labels, saved

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.codecs import (
    read_rgb,
)
from sapiens_bench.pixels.decode import open_picture


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_or_ignored_as_told(tmp_path: Path, orientation: int) -> None:

    exif = Image.Exif()
    exif[274] = orientation
    for name in ("a.png", "a.jpg", "a.webp"):
        path = saved(tmp_path, SCENE, name, exif=exif)
        with Image.open(path) as image:
            stored, turned = np.asarray(image.convert("RGB")), np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(read_rgb(path, exif="ignore"), stored)
        np.testing.assert_array_equal(read_rgb(path, exif="apply"), turned)


TiffTurns = Callable[[bool], None]


@pytest.fixture
def pillow(monkeypatch: pytest.MonkeyPatch) -> TiffTurns:
    """Makes Pillow turn TIFFs while it decodes them, whatever the size it says before, or leave them alone."""

    def turns(does: bool) -> None:
        def load_end(image: Image.Image) -> None:
            if does:
                ImageOps.exif_transpose(image, in_place=True)

        monkeypatch.setattr(TiffImageFile, "load_end", load_end)

    return turns


@pytest.mark.parametrize("does_turn", [True, False, None], ids=["Pillow turns", "does not", "as installed"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{"compression": "tiff_lzw"}, {}, {"big_tiff": True}], ids=["lzw", "raw", "big"])
def test_the_orientation_of_a_tiff_is_a_matter_of_the_policy_like_any_other(
    tmp_path: Path, pillow: TiffTurns, orientation: int, does_turn: bool | None, options: dict[str, Any]
) -> None:
    path = saved(tmp_path, SCENE, "a.tiff", tiffinfo={274: orientation}, **options)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(with_tag(tmp_path, orientation))))
    if does_turn is not None:
        pillow(does_turn)
    np.testing.assert_array_equal(read_rgb(path, exif="ignore", expected_size=(32, 24)), SCENE)
    np.testing.assert_array_equal(read_rgb(path, exif="apply"), turned)
    labels = saved(tmp_path, SCENE[..., 0], "labels.tiff", tiffinfo={274: orientation}, **options)
    np.testing.assert_array_equal(read_labels(labels), SCENE[..., 0])  # as stored, like labels of any format
    if orientation > 4:
        assert read_rgb(path, exif="unstated", expected_size=(24, 32)).shape == (32, 24, 3)
    elif orientation > 1:
        assert code_of(read_rgb, path, exif="unstated", expected_size=(32, 24)) == "image.exif_policy"


@pytest.mark.parametrize("kind", [TiffTags.BYTE, TiffTags.SHORT, TiffTags.LONG])
@pytest.mark.parametrize("prefix", [b"II", b"MM"])
def test_the_tag_of_a_tiff_counts_in_8_16_and_32_bits(tmp_path: Path, kind: int, prefix: bytes) -> None:
    tags = ImageFileDirectory_v2(prefix=prefix)
    tags[274], tags.tagtype[274] = 6, kind
    for compression in (None, "tiff_lzw"):
        path = saved(tmp_path, SCENE, "a.tiff", tiffinfo=tags, compression=compression)
        assert open_picture(path).orientation == 6
        np.testing.assert_array_equal(read_rgb(path, exif="apply"), np.rot90(SCENE, -1))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_there_is_not_is_none(tmp_path: Path, value: int) -> None:
    np.testing.assert_array_equal(read_rgb(saved(tmp_path, SCENE, "a.tiff", tiffinfo={274: value})), SCENE)


def test_metadata_of_a_tiff_do_not_turn_it(tmp_path: Path) -> None:
    """Pillow would, by that of TIFFs alone."""
    block = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    path = saved(tmp_path, SCENE, "a.tiff", tiffinfo={700: block})
    with Image.open(path) as image:
        assert b"Orientation" in image.info["xmp"]
    np.testing.assert_array_equal(read_rgb(path, exif="apply"), SCENE)
    np.testing.assert_array_equal(
        read_labels(saved(tmp_path, SCENE[..., 0], "l.tiff", tiffinfo={700: block})), SCENE[..., 0]
    )


def with_tag(folder: Path, orientation: int) -> Path:
    """The scene as PNG, whose pixels Pillow leaves alone, with an orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    return saved(folder, SCENE, "tag.png", exif=exif)


def test_swapped_size_names_the_policy_and_other_sizes_do_not(tmp_path: Path) -> None:
    path = saved(tmp_path, SCENE, "a.png")
    assert read_rgb(path, expected_size=(32, 24)).shape == (24, 32, 3)
    assert code_of(read_rgb, path, expected_size=(24, 32)) == "image.exif_policy"
    assert code_of(read_rgb, path, expected_size=(33, 24)) == "image.size"


def with_orientation(folder: Path, size_wh: tuple[int, int], orientation: int) -> Path:
    exif = Image.Exif()
    exif[274] = orientation
    Image.new("RGB", size_wh).save(folder / "turned.jpg", exif=exif)
    return folder / "turned.jpg"


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_unstated_orientation_is_settled_by_the_size_of_the_truth(tmp_path: Path, orientation: int) -> None:
    path = with_orientation(tmp_path, (32, 24), orientation)
    assert read_rgb(path, exif="unstated", expected_size=(32, 24)).shape == (24, 32, 3)
    assert read_rgb(path, exif="unstated", expected_size=(24, 32)).shape == (32, 24, 3)
    assert code_of(read_rgb, path, exif="unstated", expected_size=(24, 31)) == "image.size"


@pytest.mark.parametrize(("size_wh", "orientation"), [((32, 24), 3), ((32, 24), 2), ((32, 24), 4), ((24, 24), 6)])
def test_unstated_orientation_that_no_size_can_settle_asks_for_a_declaration(
    tmp_path: Path, size_wh: tuple[int, int], orientation: int
) -> None:
    path = with_orientation(tmp_path, size_wh, orientation)
    with pytest.raises(SampleFault, match=f"EXIF orientation {orientation}.*'exif: apply'") as caught:
        read_rgb(path, exif="unstated", expected_size=size_wh)
    assert caught.value.code == "image.exif_policy"
    assert read_rgb(path, exif="ignore", expected_size=size_wh).shape[:2] == size_wh[::-1]


def test_a_picture_without_orientation_needs_no_declaration(tmp_path: Path) -> None:
    assert read_rgb(saved(tmp_path, SCENE, "a.png"), exif="unstated").shape == (24, 32, 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "letter"), [(3, "H"), (4, "I")])
def test_an_orientation_in_16_or_32_bits_counts(tmp_path: Path, order: str, kind: int, letter: str) -> None:

    path = tmp_path / "a.jpg"
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(path)
    value = struct.pack(order + letter, 6).ljust(4, b"\0")
    block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, 1)
    block += struct.pack(order + "HHI", 274, kind, 1) + value + bytes(4)
    segment = b"Exif\0\0" + block
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    with Image.open(path) as image:
        assert ImageOps.exif_transpose(image).size == (24, 32)  # as viewers turn it
    assert read_rgb(path, exif="apply").shape == (32, 24, 3)
