"""One file out of an archive of somebody else."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sapiens_bench.errors import SecurityRefusal, WeightsMissing
from sapiens_bench.fetch import archive
from sapiens_bench.fetch.archive import extract_member

DATA = bytes(range(256)) * 100
Make = Callable[..., Path]


def make_zip(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return path


def make_tar(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return path


BOTH = pytest.mark.parametrize("make", [make_zip, make_tar])


@BOTH
@pytest.mark.parametrize("inside", ["end2end.onnx", "./end2end.onnx", "20230728/sdk/end2end.onnx"])
def test_the_member_is_found_by_its_path_or_by_its_name(tmp_path: Path, make: Make, inside: str) -> None:
    packed = make(tmp_path / "a", ("detail.json", b"{}"), (inside, DATA), ("x/other.onnx", b"other"))
    extract_member(packed, "end2end.onnx", tmp_path / "out", size=len(DATA))
    assert (tmp_path / "out").read_bytes() == DATA
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "out"]


@BOTH
def test_a_path_with_folders_means_exactly_that_member(tmp_path: Path, make: Make) -> None:
    packed = make(tmp_path / "a", ("a/net.onnx", b"a"), ("b/net.onnx", DATA))
    extract_member(packed, "b/net.onnx", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA
    with pytest.raises(WeightsMissing, match="2 of that name"):
        extract_member(packed, "net.onnx", tmp_path / "again")
    with pytest.raises(WeightsMissing, match=r"it holds a/net\.onnx"):
        extract_member(packed, "c/net.onnx", tmp_path / "again")


@BOTH
@pytest.mark.parametrize("hostile", ["../end2end.onnx", "/tmp/end2end.onnx", "a/../../end2end.onnx", "C:/x"])
def test_an_archive_with_a_path_that_leaves_it_is_refused(tmp_path: Path, make: Make, hostile: str) -> None:
    packed = make(tmp_path / "a", (hostile, b"evil"), ("end2end.onnx", DATA))
    with pytest.raises(SecurityRefusal, match="relative path"):
        extract_member(packed, "end2end.onnx", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_is_not_unpacked_from_a_tar(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a", "w") as opened:
        info = tarfile.TarInfo("end2end.onnx")
        info.type, info.linkname = kind, "/etc/passwd"
        opened.addfile(info)
    with pytest.raises(SecurityRefusal, match="no plain file"):
        extract_member(tmp_path / "a", "end2end.onnx", tmp_path / "out")


def test_a_link_beside_the_member_refuses_the_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as opened:
        info = tarfile.TarInfo("net")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        opened.addfile(info)
        info = tarfile.TarInfo("net/end2end.onnx")
        info.size = len(DATA)
        opened.addfile(info, io.BytesIO(DATA))
    with pytest.raises(SecurityRefusal, match="no plain file"):
        extract_member(tmp_path / "a", "end2end.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@BOTH
def test_names_that_differ_by_case_alone_are_refused(tmp_path: Path, make: Make) -> None:
    packed = make(tmp_path / "a", ("End2end.onnx", DATA), ("end2end.onnx", DATA))
    with pytest.raises(SecurityRefusal, match="case does not count"):
        extract_member(packed, "end2end.onnx", tmp_path / "out")


def test_a_link_is_not_unpacked_from_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("end2end.onnx")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as opened:
        opened.writestr(info, "/etc/passwd")
    with pytest.raises(SecurityRefusal, match="no plain file"):
        extract_member(tmp_path / "a", "end2end.onnx", tmp_path / "out")


@BOTH
def test_a_bomb_is_refused(tmp_path: Path, make: Make) -> None:
    packed = make(tmp_path / "a", ("end2end.onnx", bytes(200_000_000)))
    assert packed.stat().st_size < 300_000
    with pytest.raises(SecurityRefusal, match="far"):
        extract_member(packed, "end2end.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@BOTH
def test_too_many_members_are_refused(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_MEMBERS", 3)
    packed = make(tmp_path / "a", *((f"{i}", b"") for i in range(4)), ("end2end.onnx", DATA))
    with pytest.raises(SecurityRefusal, match="far more"):
        extract_member(packed, "end2end.onnx", tmp_path / "out")


@BOTH
def test_a_member_of_another_size_than_the_card_says_is_refused(tmp_path: Path, make: Make) -> None:
    packed = make(tmp_path / "a", ("end2end.onnx", DATA))
    with pytest.raises(WeightsMissing, match=r"has 25,600 bytes, expected 1,000"):
        extract_member(packed, "end2end.onnx", tmp_path / "out", size=1_000)


def test_a_zip_that_lies_about_a_size_is_found_out(tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "a", ("end2end.onnx", DATA))
    data = bytearray(packed.read_bytes())
    where = data.rindex(b"PK\x01\x02") + 24  # size once unpacked, in the directory
    data[where : where + 4] = (len(DATA) - 100).to_bytes(4, "little")
    packed.write_bytes(data)
    with pytest.raises((WeightsMissing, SecurityRefusal)):
        extract_member(packed, "end2end.onnx", tmp_path / "out")


def test_two_members_of_one_path_are_no_choice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        packed = make_zip(tmp_path / "a", ("end2end.onnx", DATA), ("end2end.onnx", b"other"))
    with pytest.raises(WeightsMissing, match="2 of that name"):
        extract_member(packed, "end2end.onnx", tmp_path / "out")


@BOTH
def test_a_cut_or_damaged_archive_is_no_archive(tmp_path: Path, make: Make) -> None:
    packed = make(tmp_path / "a", ("end2end.onnx", os.urandom(20_000)))
    whole = packed.read_bytes()
    for damaged in (b"", b"<html>", whole[: len(whole) // 2], whole[:9_000] + bytes(500) + whole[9_500:]):
        packed.write_bytes(damaged)
        with pytest.raises(WeightsMissing):
            extract_member(packed, "end2end.onnx", tmp_path / "out")
        (tmp_path / "out").unlink(missing_ok=True)


def test_an_encrypted_member_is_explained(tmp_path: Path) -> None:
    packed = make_zip(tmp_path / "a", ("end2end.onnx", DATA))
    data = bytearray(packed.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    packed.write_bytes(data)
    with pytest.raises(WeightsMissing, match="encrypted"):
        extract_member(packed, "end2end.onnx", tmp_path / "out")
