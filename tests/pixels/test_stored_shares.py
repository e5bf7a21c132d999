"""Mattes and colours as programs store them: what a number is divided by is known, or the file is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.stored_shares import Shares, read_alpha_plane, read_shares

INSIDE = np.zeros((8, 9), np.bool_)
INSIDE[2:6, 3:7] = True


def read(path: Path, channels: int = 1) -> Shares:
    return read_shares(path, channels, ("alpha",), None)


def saved(path: Path, array: np.ndarray[Any, Any]) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("kind", ["png", "tif", "npy"])
def test_one_bit_is_nothing_or_all(tmp_path: Path, kind: str) -> None:
    assert np.array_equal(read(saved(tmp_path / f"a.{kind}", INSIDE)).values, INSIDE)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "uint32"])
def test_whole_numbers_that_are_no_counts_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(SampleFault, match=f"whole numbers of type {dtype}; store uint8"):
        read(saved(tmp_path / "a.npy", (INSIDE * 255).astype(dtype)))


def test_whole_numbers_of_32_bits_in_a_tiff_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleFault, match="32-bit whole numbers"):
        read(saved(tmp_path / "a.tif", (INSIDE * 255).astype(np.int32)))


def exr(path: Path, **planes: np.ndarray[Any, Any]) -> Path:
    library = pytest.importorskip("OpenEXR")
    library.File({}, {name: np.ascontiguousarray(plane, np.float32) for name, plane in planes.items()}).write(str(path))
    return path


def test_a_grey_exr_with_an_opaque_alpha_is_its_grey(tmp_path: Path) -> None:
    grey, opaque = INSIDE * 0.5, np.ones(INSIDE.shape)
    found = read(exr(tmp_path / "a.exr", R=grey, G=grey, B=grey, A=opaque))
    assert found.alpha_HW is None
    assert np.array_equal(found.values, np.float32(grey))
    assert np.array_equal(read(exr(tmp_path / "b.exr", A=grey)).values, np.float32(grey))


def test_the_alpha_of_an_exr_is_told_where_it_varies_and_its_colours_are_no_matte(tmp_path: Path) -> None:
    grey = INSIDE * 0.5
    cut = read(exr(tmp_path / "a.exr", R=grey, G=grey * 0.1, B=grey, A=INSIDE))
    assert cut.alpha_HW is not None
    assert np.array_equal(cut.alpha_HW, INSIDE)
    with pytest.raises(SampleFault, match="colours, where one channel is needed"):
        read(exr(tmp_path / "b.exr", R=grey, G=grey * 0.1, B=grey))


def test_an_exr_with_a_alone_or_beside_colours_has_a_matte(tmp_path: Path) -> None:
    grey = INSIDE * 0.5
    alone, beside = exr(tmp_path / "a.exr", A=grey), exr(tmp_path / "b.exr", R=INSIDE, G=grey, B=INSIDE, A=grey)
    for path in (alone, beside):
        assert np.array_equal(read_alpha_plane(path, INSIDE.shape), np.float32(grey))
    with pytest.raises(SampleFault, match="A"):
        read_alpha_plane(exr(tmp_path / "c.exr", Y=grey), None)
