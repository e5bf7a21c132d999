"""Files of a run folder: written whole or not at all, read only where they are plain files.

The rule for links: the run folder itself may be one (results on another disk); nothing below it may. A link in the
place of a folder or file that we read or write is refused by name, so that a folder from somebody else cannot point
outside.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from sapiens_bench.errors import PathEscape, StorageFull, StoreError

TEMPORARY = ".tmp-"
STUDY = "study.json"  # what makes a folder a study, a set of runs
STRAY_AFTER_S = 3600.0  # a living writer holds its temporary file for seconds
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_watchers: list[tuple[Path, Callable[[Path], None]]] = []  # copies of a run folder elsewhere
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def write_atomic(path: Path, data: bytes | memoryview, *, sync_folder: bool = True) -> Path:
    """Put ``data`` at ``path`` by temporary file, fsync, rename, fsync of the folder; the folder is made if absent.

    A reader, or a process that starts after a crash, sees the old file, no file, or all of the new one. The temporary
    name is drawn anew each time and is never opened when it exists: a link planted under it is not followed.

    Args:
        path: where the file shall be.
        data: all of it.
        sync_folder: False when another file of the same folder is written next, whose fsync covers both renames.

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
        if sync_folder:
            _sync_folder(path.parent)
    except BaseException as error:  # Ctrl-C too must leave no temporary file behind
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(error, path) from error
        raise
    for root, tell in _watchers:
        if path.is_relative_to(root):
            tell(path)
    return path


@contextmanager
def watched_writes(root: Path, tell: Callable[[Path], None]) -> Iterator[None]:
    """``tell`` is called with every file that is put below ``root``, once it is in place; what it raises comes through.

    Files may be written by several threads at once.
    """
    watcher = (root, tell)
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


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
    return StoreError(f"{path} could not be written: {reason}. What is committed is kept. Give another --out.")


def file_identity(paths: Iterable[Path]) -> str:
    """Size and modification time of each file, "-" for one that is not there: another text when any of them changes."""
    parts = []
    for path in paths:
        try:
            found = path.stat()
            parts.append(f"{found.st_size}:{found.st_mtime_ns}")
        except OSError:
            parts.append("-")
    return " ".join(parts)


def read_file(path: Path) -> bytes:
    """The bytes of a plain file below a run folder; a pipe or a device is never waited for, a link is not followed.

    Raises:
        FileNotFoundError: nothing is there.
        PathEscape: a link is there.
        StoreError: something that is no file is there, or it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StoreError(f"{path} is not a plain file. Move it away and run the same command again.")
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            _refuse_link(path)
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from None


def read_json(path: Path) -> Any:
    """What a JSON file below a run folder holds.

    Raises:
        FileNotFoundError: nothing is there.
        StoreError: no JSON: cut off, damaged, or nested beyond reason; says where.
        PathEscape: a link is there.
    """
    data = read_file(path)
    try:
        return _DECODER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except RecursionError:
        raise StoreError(f"{path} is damaged: it is nested too deeply.") from None
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is damaged: byte {error.start} is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise StoreError(f"{path} is damaged: {error.msg}, line {error.lineno}, column {error.colno}.") from None
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {str(error)[:120]}.") from None


def refuse_links(root: Path, path: Path) -> None:
    """Nothing between ``root`` (which may be a link itself) and ``path`` may be a link; what is absent is none.

    Raises:
        PathEscape: names the link.
    """
    place = root
    for part in path.relative_to(root).parts:
        place = place / part
        if place.is_symlink():
            _refuse_link(place)


def _refuse_link(path: Path) -> NoReturn:
    raise PathEscape(
        f"{path} is a link. Links inside a run folder are not followed, for they could lead anywhere; the run folder "
        f"itself may be a link. Put the files there, or make --out the link."
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # json.loads would make one at every call


def free_bytes(path: Path) -> int:
    """Bytes free on the disk that ``path`` is on, or would be on."""
    for folder in (path, *path.absolute().parents):
        with suppress(OSError):
            return shutil.disk_usage(folder).free
    return 0


def held_bytes(root: Path, folders: Sequence[str]) -> int:
    """Bytes of all files in some folders below ``root``; of those that cannot be looked at, none."""
    total = 0
    for file in (file for name in folders for file in (root / name).rglob("*")):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


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
