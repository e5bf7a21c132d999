"""Archives that a card's address leads to."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path

from fault_suite.hostile.place import Found, Place
from sapiens_bench.testing.hub import FakeHub

MEMBER = "net.bin"
DATA = b"weights of a network"
_PLAIN, _LINK = 0o100644 << 16, 0o120777 << 16
_CARD = """\
schema: model/1
id: {name}-family
title: Hostile archive
task: pose
licence: {{name: MIT, commercial: true, may_redistribute: true}}
wrapper: movenet
space: coco17
trained_on: nothing
variants:
  - id: {name}
    title: Hostile archive
    weights:
      file: {name}.bin
      format: graph
      sha256: {sha256}
      get: {{how: Fetch it., url: "https://files.example/{name}", archive_member: net.bin}}
"""


def _zip(*members: tuple[str, bytes, int]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data, attributes in ((MEMBER, DATA, _PLAIN), *members):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = attributes
            made.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _tar(*members: tuple[str, bytes, str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, kind, link in ((MEMBER, tarfile.REGTYPE, ""), *members):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, link
            data = DATA if kind == tarfile.REGTYPE else b""
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def _files(place: Place) -> dict[str, bytes]:
    out = f"../../../{place.outside.name}/escaped.txt"
    return {
        "zip_ok": _zip(("images/a.txt", b"a", _PLAIN)),
        "zip_slip": _zip((out, b"x", _PLAIN)),
        "zip_absolute": _zip((str(place.outside / "escaped.txt"), b"x", _PLAIN)),
        "zip_symlink": _zip(("link", str(place.outside).encode(), _LINK)),
        "zip_bomb": _zip(("zeros.bin", bytes(200_000_000), _PLAIN)),
        "zip_case_clash": _zip(("A.txt", b"1", _PLAIN), ("a.txt", b"2", _PLAIN)),
        "zip_truncated": _zip(("a.txt", bytes(range(256)) * 40, _PLAIN))[:150],
        "tar_slip": _tar((out, tarfile.REGTYPE, "")),
        "tar_symlink": _tar(("ln", tarfile.SYMTYPE, str(place.outside)), ("ln/escaped.txt", tarfile.REGTYPE, "")),
        "tar_hardlink": _tar(("h", tarfile.LNKTYPE, str(place.outside / "secret.txt"))),
        "tar_device": _tar(("dev", tarfile.CHRTYPE, "")),
    }


def make(place: Place) -> None:
    """Write the archives, and a card for each."""
    for folder in ("archives", "archive_cards"):
        (place.root / folder).mkdir()
    for name, data in _files(place).items():
        place.add(name, "archive", "ok" if name == "zip_ok" else "reject_file")
        (place.root / "archives" / name).write_bytes(data)
        card = _CARD.format(name=_id(name), sha256=hashlib.sha256(DATA).hexdigest())
        (place.root / "archive_cards" / f"{name}.yaml").write_text(card)


def _id(name: str) -> str:
    return name.replace("_", "-")


def judge(place: Place) -> dict[str, Found]:
    """Fetch each from a server on this machine, into a cache of its own."""
    hub, cache = FakeHub(), place.root / "cache"
    for case in place.of("archive"):
        hub.put(f"https://files.example/{_id(case.id)}", (place.root / "archives" / case.id).read_bytes())
    before = os.environ.get("SAPIENS_BENCH_CACHE")
    os.environ["SAPIENS_BENCH_CACHE"] = str(cache)
    found = {}
    try:
        with hub.serving():
            for case in place.of("archive"):
                cards = ("--cards", place.root / "archive_cards")
                call = place.call("weights", "get", _id(case.id), "--accept-licence", "MIT", *cards)
                got = {0: "ok", 2: "reject_file", 5: "reject_file"}.get(call.code, f"exit {call.code}")
                if _there(cache, _id(case.id)) != (call.code == 0):
                    got = "another file than told"
                found[case.id] = Found(got, call.code == 0 or _id(case.id) in call.said, call.said)
    finally:
        os.environ.pop("SAPIENS_BENCH_CACHE")
        if before is not None:
            os.environ["SAPIENS_BENCH_CACHE"] = before
    return found


def _there(cache: Path, name: str) -> bool:
    return any(path.read_bytes() == DATA for path in cache.rglob(f"{name}.bin"))
