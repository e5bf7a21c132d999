"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from sapiens_bench.errors import StorageFull, StoreError

TEMPORARY = ".tmp-"
STRAY_AFTER_S = 3600.0  # a living writer holds its temporary file for seconds
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_atomic(path: Path, data: bytes | memoryview) -> Path:
    """Put ``data`` at ``path`` by temporary file, fsync, rename, fsync of the folder; the folder is made if absent.

    A reader, or a process that starts after a crash, sees the old file, no file, or all of the new one.

    Raises:
        StorageFull: no space left, or no permission; the temporary file is removed.
        StoreError: any other fault of the file system.
    """
    temporary = path.parent / temporary_name()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:  # Ctrl-C too must leave no temporary file behind
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(error, path) from error
        raise
    return path


def storage_error(error: OSError, path: Path) -> StoreError:
    """The exception of ours that says what to do about ``error`` at ``path``."""
    reason = error.strerror or str(error)
    if error.errno in _NO_ROOM or error.errno in _NO_PERMISSION:
        room = f"{free_bytes(path) / 1e6:.0f} MB free there"
        remedy = "Free some space" if error.errno in _NO_ROOM else "Make the folder writable"
        return StorageFull(
            f"{path} could not be written: {reason} ({room}). Everything committed so far is kept. "
            f"{remedy}, then run the same command again: it goes on where it stopped."
        )
    return StoreError(f"{path} could not be written: {reason}. What is committed is kept; the same command resumes.")


def free_bytes(path: Path) -> int:
    """Bytes free on the disk that ``path`` is on, or would be on."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0


def temporary_name() -> str:
    """A new name for a file on its way. Machine and process stand in it, so that ``remove_strays`` need not guess."""
    return f"{TEMPORARY}{_machine()}-{os.getpid()}-{uuid.uuid4().hex}"


def remove_strays(root: Path, older_than_s: float = STRAY_AFTER_S) -> int:
    """Delete temporary files below ``root`` that no living writer can own any more; returns how many.

    Those of a process of this machine that has ended go at once, others when they are old.
    """
    removed = 0
    limit = time.time() - older_than_s
    for path in root.rglob(f"{TEMPORARY}*"):
        with suppress(OSError):  # another process may have swept it first
            if path.is_file() and (_writer_has_ended(path.name) or path.stat().st_mtime < limit):
                path.unlink()
                removed += 1
    return removed


def _machine() -> str:
    """This machine, and on Linux the space in which process numbers are unique (containers share disks)."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _writer_has_ended(name: str) -> bool:
    machine, _, rest = name.removeprefix(TEMPORARY).partition("-")
    process = rest.partition("-")[0]
    if os.name != "posix" or machine != _machine() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it lives under another user
        return False
    return False


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some network file systems refuse to fsync a folder, which is no loss there."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
