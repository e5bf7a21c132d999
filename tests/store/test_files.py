"""Files that are no files, outputs that the user names, and the right advice."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sapiens_bench.errors import PathEscape, StorageFull, StoreError
from sapiens_bench.store.files import file_identity, read_file, read_json, storage_error, write_atomic
from sapiens_bench.store.paths import cell_folder, part_fault


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(StoreError, match="not a plain file"):
        read_file(tmp_path / "run.json")


def test_a_folder_and_a_link_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="folder"):
        read_file(tmp_path / "folder")
    with pytest.raises(PathEscape, match="link is a link"):
        read_file(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "absent")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b'{"a": 1', "line 1, column"),
        (b'{"a":\n1,,}', "line 2, column"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"9" * 5000, "is damaged"),
    ],
    ids=["cut", "comma", "bytes", "deep", "nan", "digits"],
)
def test_damaged_json_is_named_with_its_place(tmp_path: Path, data: bytes, named: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(StoreError, match=named) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


@pytest.mark.parametrize(
    ("number", "advice", "kind"),
    [
        (errno.ENOSPC, "Free some space", StorageFull),
        (errno.EDQUOT, "Free some space", StorageFull),
        (errno.EACCES, "Make the folder writable", StorageFull),
        (errno.EROFS, "Make the folder writable", StorageFull),
        (errno.ENOTDIR, "Give another --out", StoreError),
        (errno.ENAMETOOLONG, "Give another --out", StoreError),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else "",
)
def test_the_advice_is_that_of_the_fault(tmp_path: Path, number: int, advice: str, kind: type[StoreError]) -> None:
    error = storage_error(OSError(number, os.strerror(number)), tmp_path / "x")
    assert type(error) is kind
    assert advice in str(error)
    assert ("Free some space" in str(error)) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_a_planted_temporary_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("sapiens_bench.store.files.temporary_name", lambda: ".tmp-guessed")
    (tmp_path / ".tmp-guessed").symlink_to(victim)
    with pytest.raises(StoreError):
        write_atomic(tmp_path / "a.json", b"new")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../escaped", "a/b", "a\\b", ".hidden", "a\x00b", "a\nb", "x" * 201, "é" * 101]
)
def test_names_that_would_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    assert part_fault(name)
    with pytest.raises(PathEscape):
        cell_folder(tmp_path, "rows", "pose", "set", "plain", name)


@pytest.mark.parametrize("name", ["sapiens-0.3b", "movenet_thunder", "my model", "predictions:file.json", "é" * 100])
def test_ordinary_names_are_folders(tmp_path: Path, name: str) -> None:
    assert cell_folder(tmp_path, "rows", "pose", "set", "plain", name).name == name


def test_the_identity_of_files_changes_with_any_of_them(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1")
    b.write_bytes(b"22")
    first = file_identity([a, b])
    assert file_identity([a, b]) == first
    os.utime(b, ns=(1, 1))
    touched = file_identity([a, b])
    b.unlink()
    gone = file_identity([a, b])
    assert len({first, touched, gone, file_identity([b, a]), ""}) == 5
