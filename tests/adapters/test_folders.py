"""Files that belong together by their name; what the manifest covers."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.adapters import folders
from sapiens_bench.adapters.folders import list_files, manifest, partners, read_matrix
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault


def put(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_names_are_paths_without_endings(tmp_path: Path) -> None:
    for name in ("a.png", "s/b.PNG", "s/t/c.jpg", "d.txt", "e.tar.png"):
        put(tmp_path / name)
    found = list_files(tmp_path, (".png", ".jpg"))
    assert list(found.files) == ["a", "e.tar", "s/b", "s/t/c"]
    assert dict(found.endings) == {".txt": 1}


def test_two_endings_and_two_unicode_forms_are_one_name(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        put(tmp_path / unicodedata.normalize(form, "\u00e9.png"))
    put(tmp_path / "a.png")
    put(tmp_path / "a.jpg")
    with pytest.raises(DatasetRejected, match=r"a\.jpg and a\.png") as caught:
        list_files(tmp_path, (".png", ".jpg"))
    assert len(caught.value.faults) == 2


def test_partners_are_sorted_and_the_rest_is_named(tmp_path: Path) -> None:
    for name in ("i/b.png", "i/a.png", "i/only.png", "l/a.png", "l/b.png", "l/x.png", "l/y.png"):
        put(tmp_path / name)
    names, notes = partners({role: list_files(tmp_path / role, (".png",)) for role in ("i", "l")})
    assert names == ["a", "b"]
    assert [note.partition(" left out")[0] for note in notes] == ["i: only", "l: x and 1 more"]


def test_a_folder_that_is_none_or_cannot_be_read_is_missing_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataMissing, match="No such file"):
        list_files(tmp_path / "absent", (".png",))
    with pytest.raises(DataMissing, match="a file, not a folder"):
        list_files(put(tmp_path / "text"), (".png",))

    def fail(_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(folders, "listed", fail)
    with pytest.raises(OSError, match="too many open files"):
        list_files(tmp_path, (".png",))


def test_the_manifest_follows_content_names_and_parts_and_survives_what_cannot_be_read(tmp_path: Path) -> None:
    image, truth = put(tmp_path / "i.png"), put(tmp_path / "t.npy")
    first = manifest(["x"], tmp_path, [image], [truth])
    assert manifest(["x"], tmp_path, [image], [truth]) == first
    assert manifest(["y"], tmp_path, [image], [truth]) != first
    put(truth, b"y")
    second = manifest(["x"], tmp_path, [image], [truth])
    assert second != first
    truth.unlink()
    os.mkfifo(truth)
    assert manifest(["x"], tmp_path, [image], [truth]) not in (first, second)
    truth.unlink()
    truth.symlink_to(tmp_path / "gone")
    assert len(manifest(["x"], tmp_path, [image], [truth])) == 64


@pytest.mark.parametrize("text", ["1 0 2\n0 1 3\n0 0 1", "1,0,2,0,1,3,0,0,1"])
def test_camera_matrices_are_nine_numbers(tmp_path: Path, text: str) -> None:
    np.testing.assert_array_equal(
        read_matrix(put(tmp_path / "K.txt", text.encode())), [[1, 0, 2], [0, 1, 3], [0, 0, 1]]
    )


@pytest.mark.parametrize(
    "data", [b"1 2 3", b"a b", b"\xff", b"nan 0 0 0 1 0 0 0 1", b"-1 0 0 0 1 0 0 0 1", b"1 " * 9000]
)
def test_other_texts_are_no_camera_and_are_not_quoted(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SampleFault) as caught:
        read_matrix(put(tmp_path / "K.txt", data))
    assert caught.value.code == "label.camera"
    assert "'a'" not in caught.value.detail


def test_many_files_are_listed_without_a_look_at_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(500):
        put(tmp_path / f"{i:06d}.png")
    looks: list[object] = []
    stat = os.stat

    def counted(path: object, *given: object, **named: object) -> os.stat_result:
        looks.append(path)
        return stat(path, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", counted)
    assert len(list_files(tmp_path, (".png",))) == 500
    assert len(looks) < 20
