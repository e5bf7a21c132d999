"""One run at a time in one folder.

``run.lock`` names its owner. The lock itself is the kernel's record lock on that file: it ends with the process, so a
file that a killed run left behind bars nobody, and no process id has to be guessed alive or dead.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sapiens_bench.errors import FolderInUse
from sapiens_bench.store.files import storage_error

try:
    import fcntl
except ImportError:  # Windows: no lock, and no note either, since every run would carry it
    fcntl = None  # type: ignore[assignment]

FILE = "run.lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_mine: set[str] = set()  # record locks are per process: a second thread would be let in
_guard = threading.Lock()


@contextmanager
def locked(root: Path) -> Iterator[str]:
    """Hold a run folder; gives "" or, where the file system knows no locks, a sentence that says so.

    Raises:
        FolderInUse: another process, or another thread of this one, works in the folder; names it.
        StorageFull: the folder cannot be written.
    """
    key = os.path.realpath(root)
    with _guard:
        if key in _mine:
            raise FolderInUse(_complaint(root, "this process"))
        _mine.add(key)
    try:
        descriptor, note = _take(root)
        try:
            yield note
        finally:
            if descriptor is not None:
                with suppress(OSError):
                    (root / FILE).unlink()  # while it is held: nobody else can have taken this file meanwhile
                os.close(descriptor)
    finally:
        with _guard:
            _mine.discard(key)


def holder(root: Path) -> str:
    """Who works in the folder now, e.g. ``process 12 on host since ...``; "" for nobody. Only looks."""
    path = root / FILE
    with _guard:
        if os.path.realpath(root) in _mine:
            return "this process"
    if fcntl is None:
        return ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return _owner(descriptor) if error.errno in _TAKEN else ""
    finally:
        os.close(descriptor)
    return ""


def _take(root: Path) -> tuple[int | None, str]:
    """An open, locked file; or none and the reason."""
    path = root / FILE
    if fcntl is None:
        return None, ""
    while True:
        try:
            root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        except OSError as error:
            raise storage_error(error, path) from error
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(descriptor)
            os.close(descriptor)
            if error.errno in _TAKEN:
                raise FolderInUse(_complaint(root, owner)) from None
            if error.errno in _NO_LOCKS:
                return None, f"{root}: the file system has no locks. Do not start two runs on this folder at once."
            raise storage_error(error, path) from error
        if _is_still(path, descriptor):
            _sign(descriptor)
            return descriptor, ""
        os.close(descriptor)  # its owner removed it between our open and our lock: try the new one


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _sign(descriptor: int) -> None:
    owner = {"pid": os.getpid(), "host": platform.node(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    with suppress(OSError):  # a full disk is told by the first thing that matters
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode() + b"\n", 0)


def _owner(descriptor: int) -> str:
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(owner['pid'])} on {owner['host']!s:.80} since {owner['since']!s:.40}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _complaint(root: Path, owner: str) -> str:
    return (
        f"{root} is in use by {owner}. Two runs in one folder would overwrite each other's record: wait for it, stop "
        f"it, or give another --out."
    )
