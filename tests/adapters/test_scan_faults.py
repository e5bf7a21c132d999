"""Scans with faults, and what stands beside them: left out, named, refused, and never waited for."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from small_scans import QUADS, box, opened, scan

from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.adapters.scans import render, textures
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import dataset_root
from sapiens_bench.errors import DataMissing, DatasetRejected
from sapiens_bench.store.files import temporary_name


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


def test_what_operating_systems_leave_behind_is_not_there(tmp_path: Path) -> None:
    clean = opened(scan(tmp_path / "clean/0000").parent)
    folder = scan(tmp_path / "used/0000")
    for name in ("._0000.obj", "._material0.jpeg", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    for name in ("__MACOSX/0000/._0000.obj", "__MACOSX/0000/0000.obj", "._0000", ".Trash/0001/0001.obj"):
        (tmp_path / "used" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "used" / name).write_bytes(b"\0\5\x16\7")
    used = opened(tmp_path / "used")
    assert used.keys == clean.keys
    assert used.manifest_sha256 == clean.manifest_sha256


def test_links_are_followed_out_of_the_root_and_dead_ones_are_row_errors(tmp_path: Path) -> None:
    """A folder on another disk, a hub cache whose every file is a link to a blob, and a link whose target has gone."""
    store, root = scan(tmp_path / "store/0000"), tmp_path / "root"
    for name in ("0000", "0002"):
        (root / name).mkdir(parents=True)
        for file in store.iterdir():
            blob = tmp_path / "blobs" / f"{file.name.replace('.', '')}{name}"
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            (root / name / file.name.replace("0000.obj", f"{name}.obj")).symlink_to(os.path.relpath(blob, root / name))
    shutil.copytree(store, tmp_path / "store/0001")
    (tmp_path / "store/0001/0000.obj").rename(tmp_path / "store/0001/0001.obj")
    (root / "0001").symlink_to(tmp_path / "store/0001")
    (tmp_path / "blobs/0002obj0002").unlink(missing_ok=True)
    (tmp_path / "blobs/0000obj0002").unlink()
    (root / "loop").symlink_to(root)  # shows everything twice, and adds nothing
    data = opened(root)
    report = prepare_data(data)
    assert [key.split("/")[1] for key in data.keys] == ["0000", "0001", "0002"]
    assert [(fault.key, fault.code) for fault in report.faults] == [("thuman2/0002/full", "mesh.missing")]


def test_links_that_became_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "0001").write_text("../store/0001")
    with pytest.raises(DataMissing, match=r"0001 is a small text file.*core\.symlinks"):
        opened(tmp_path)


def test_a_folder_of_pairs_that_became_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pair28").write_text("../store/pair28")
    with pytest.raises(DataMissing, match=r"pair28 holds a path: a link that became text"):
        dataset_root(Catalog.load().dataset("hi4d"), tmp_path / "data")


def test_a_name_that_no_table_can_show_is_refused_by_name(tmp_path: Path) -> None:
    scan(tmp_path / "rp_ok", name="rp_ok")
    os.rename(scan(tmp_path / "x"), os.fsencode(tmp_path) + b"/rp_caf\xe9")
    with pytest.raises(DatasetRejected, match="not printable") as caught:
        opened(tmp_path, "renderpeople")
    str(caught.value).encode()  # can be printed


def test_pipes_in_the_place_of_files_are_not_waited_for(tmp_path: Path) -> None:
    folder = scan(tmp_path / "0000")
    (folder / "0000.obj").unlink()
    os.mkfifo(folder / "0000.obj")
    assert [fault.code for fault in prepare_data(opened(tmp_path)).faults] == ["mesh.missing"]


def bomb(path: Path, side: int) -> None:
    """A PNG of one grey, tiny on disk: its palette index 0 deflates to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"PLTE", bytes(3))
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def test_huge_textures_are_refused_from_their_headers_all_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textures, "MAX_TEXTURE_PIXELS", 1_000_000)
    folder = scan(tmp_path / "0000", box(head="mtllib material0.mtl\nusemtl a\n").replace("f 5/2", "usemtl b\nf 5/2"))
    (folder / "material0.mtl").write_text("newmtl a\nmap_Kd a.png\nnewmtl b\nmap_Kd b.png\n")
    bomb(folder / "a.png", 900), bomb(folder / "b.png", 900)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (fault,) = prepare_data(opened(tmp_path)).faults
    assert fault.code == "scan.texture"
    assert "b.png" in fault.detail
    assert "900x900" in fault.detail
    bomb(folder / "a.png", 20_000)  # 400 megapixels
    (fault,) = prepare_data(opened(tmp_path)).faults
    assert "20000x20000" in fault.detail
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_faces_that_cover_the_picture_over_and_over_are_refused_beforehand(tmp_path: Path) -> None:
    scan(tmp_path / "0000", box() + "".join("f " + " ".join(f"{i}/1" for i in QUADS[5]) + "\n" for _ in range(9000)))
    (fault,) = prepare_data(opened(tmp_path, yaw_deg=[0, 0])).faults
    assert fault.code == "mesh.overdraw"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM])
@pytest.mark.parametrize("where", ["mesh", "texture", "lazily"])
def test_a_fault_of_the_machine_is_no_fault_of_a_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    scan(tmp_path / "0000")
    data = opened(tmp_path)
    suffix, real = {"texture": ".jpeg"}.get(where, ".obj"), os.open

    def failing(path: Any, *arguments: Any, **keywords: Any) -> int:
        if str(path).endswith(suffix):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
        _ = data[0] if where == "lazily" else prepare_data(data)
    assert caught.value.errno == number
    monkeypatch.undo()
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").rglob("fault.json"))
    assert data[0].target.mask_HW.any()  # nothing was committed: the same call goes on


def test_running_out_of_memory_stops_the_run_and_commits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(tmp_path / "0000")

    def hungry(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(render, "rasterise", hungry)
    with pytest.raises(MemoryError):
        prepare_data(opened(tmp_path))
    with pytest.raises(MemoryError):
        opened(tmp_path)[0]
    assert not list((tmp_path / "cache").rglob("fault.json"))


def test_a_missing_background_folder_of_nobody_is_a_refusal(tmp_path: Path) -> None:
    scan(tmp_path / "0000")
    with pytest.raises(DataMissing, match="nosuchuser"):
        opened(tmp_path, backgrounds="~nosuchuser/rooms")


def test_identity_changes_with_size_or_time_of_any_file_behind_a_sample(tmp_path: Path) -> None:
    folder = scan(tmp_path / "0000")
    data = opened(tmp_path, framings=["full", "face"])
    first = data.identity(0)
    assert first == data.identity(1) == opened(tmp_path).identity(0)
    for name in ("0000.obj", "material0.mtl", "material0.jpeg"):
        assert name in first
        status = (folder / name).stat()
        os.utime(folder / name, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert data.identity(0) != first
        os.utime(folder / name, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert data.identity(0) == first
    (folder / "material0.mtl").unlink()
    assert "material0.mtl -1" in data.identity(0)


def test_leftovers_of_a_killed_process_are_swept_before_rendering(tmp_path: Path) -> None:
    scan(tmp_path / "0000")
    data = opened(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = data.samples.folder / "samples/0000" / temporary_name().replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a picture")
    prepare_data(data)
    assert not list(data.samples.folder.rglob(".tmp-*"))


def test_notes_about_single_scans_are_few_however_many_there_are(tmp_path: Path) -> None:
    for k in range(23):
        scan(tmp_path / f"{k:04d}", box(z_up=True))
    data = opened(tmp_path, size=[16, 16])
    notes = prepare_data(data, workers=2).notes
    assert len(notes) == 21
    assert "3 more" in notes[-1]
