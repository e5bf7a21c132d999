"""Names, junk and links: one rule each."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from sapiens_bench.errors import DataMissing
from sapiens_bench.pixels.files import open_regular, read_regular
from sapiens_bench.pixels.listing import composed, listed, subfolders
from sapiens_bench.pixels.strict_json import read_bytes

JUNK = ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "ehthumbs.db")


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_files_below_a_folder_without_what_file_managers_leave(tmp_path: Path) -> None:
    for name in ("b/c.png", "a.png", "b/d/e.png", "__MACOSX/b/c.png", ".cache/x.png", *JUNK, *(f"b/{j}" for j in JUNK)):
        put(tmp_path / name)
    assert [found.inside for found in listed(tmp_path)] == ["a.png", "b/c.png", "b/d/e.png"]
    assert [folder.name for folder in subfolders(tmp_path)] == ["b"]


def test_linked_folders_and_files_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    put(tmp_path / "disk/x.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/linked").symlink_to(tmp_path / "disk")
    (tmp_path / "data/y.png").symlink_to(tmp_path / "disk/x.png")
    (tmp_path / "data/loop").symlink_to(tmp_path / "data")
    (tmp_path / "data/broken.png").symlink_to(tmp_path / "gone")
    found = {entry.inside: entry.is_link for entry in listed(tmp_path / "data")}
    assert found == {"linked/x.png": False, "y.png": True, "broken.png": True}


def test_names_are_compared_in_composed_form() -> None:
    assert composed(unicodedata.normalize("NFD", "é.png")) == unicodedata.normalize("NFC", "é.png")
    assert composed(os.fsdecode(b"caf\xe9")) == "caf\\xe9"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match=r"not a file|directory"):
            open_regular(path)
    with pytest.raises(DataMissing, match="pipe"):
        read_bytes(tmp_path / "pipe")
    with pytest.raises(OSError, match="1 bytes, at most 0"):
        read_regular(put(tmp_path / "a"), most=0)
