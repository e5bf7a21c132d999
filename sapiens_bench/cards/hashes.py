"""SHA-256 of files. A hash is remembered beside what the file system says of the file, and never trusted longer.

A note counts while device, inode, size, time of change of the content and of the inode are the same, and only if the
file had rested for two seconds when it was hashed: within the resolution of a file system's clock a second change would
not show. Programs cannot set the inode's time, so a file that was replaced with size and time kept is hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from sapiens_bench.cards.folders import cache_root
from sapiens_bench.errors import ChecksumMismatch, WeightsMissing

_REST_NS = 2_000_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAY_WRITE = ContextVar("_MAY_WRITE", default=True)
Stamp = tuple[str, int, int, int, int, int]  # real path, device, inode, size, mtime_ns, ctime_ns


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file as it was when its bytes were read."""

    path: Path
    sha256: str
    stamp: Stamp
    carries_code: bool = False  # its format can: hashed anew before it is opened, whatever the stamp says


@contextmanager
def without_notes() -> Iterator[None]:
    """Inside, hashes are made and remembered nowhere, for commands that promise to write nothing."""
    before = _MAY_WRITE.set(False)
    try:
        yield
    finally:
        _MAY_WRITE.reset(before)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, from a note where one counts.

    Raises:
        WeightsMissing: the file cannot be read.
    """
    return hash_file(path).sha256


def hash_file(path: Path, *, fresh: bool = False) -> HashedFile:
    """``file_sha256`` with what is needed to tell later that the file is still this one.

    Args:
        fresh: read the bytes whatever a note says.

    Raises:
        WeightsMissing: the file cannot be read.
    """
    try:
        before = _stamp(path)
        note = cache_root() / "hashes" / f"{hashlib.sha256(os.fsencode(before[0])).hexdigest()[:32]}.json"
        if not fresh and (known := _read_note(note, before)) is not None:
            return HashedFile(path, known, before)
        rested = time.time_ns() - before[5] >= _REST_NS
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        after = _stamp(path)
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read: {error.strerror or error}.") from None
    if rested and after == before and _MAY_WRITE.get():
        _write_note(note, before, sha256)
    return HashedFile(path, sha256, before)


def confirm_file(file: HashedFile) -> None:
    """That the file still holds the bytes that were hashed.

    Raises:
        ChecksumMismatch: it does not. WeightsMissing: it cannot be read any more.
    """
    try:
        if not file.carries_code and _stamp(file.path) == file.stamp:
            return
    except OSError as error:
        raise WeightsMissing(f"{file.path} cannot be read: {error.strerror or error}.") from None
    if (now := hash_file(file.path, fresh=True).sha256) != file.sha256:
        raise ChecksumMismatch(
            f"{file.path} was changed after it had been checked: sha256 {now}, before {file.sha256}. Not opened."
        )


def _stamp(path: Path) -> Stamp:
    real = os.path.realpath(path, strict=True)
    facts = os.stat(real)
    return real, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _read_note(note: Path, stamp: Stamp) -> str | None:
    try:
        stored = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(stored, dict) and stored.get("stamp") == list(stamp):
        sha256 = str(stored.get("sha256"))
        return sha256 if _SHA256.fullmatch(sha256) else None
    return None


def _write_note(note: Path, stamp: Stamp, sha256: str) -> None:
    temporary = note.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"stamp": stamp, "sha256": sha256}), encoding="utf-8")
        os.replace(temporary, note)
    except OSError:
        return  # a read-only cache costs time, nothing else
