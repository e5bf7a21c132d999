"""Opening what a data set or a user names: regular files only, never waited for; and what counts as no file at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r", "$recycle.bin"})
_LINK_BYTES = 4096  # the longest path of the usual systems


def is_junk(name: str) -> bool:
    """Left behind by a file manager or an archive program (``._0000.obj``, ``.DS_Store``, ``__MACOSX``)."""
    return name.startswith(".") or name.lower() in JUNK


def open_regular(path: Path | str) -> IO[bytes]:
    """The file, open for reading; links are followed.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device.
        ValueError: the path holds a NUL character.
    """
    # Non-blocking, so that a pipe without a writer is opened at once and can be looked at.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "a folder, pipe or device, not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path | str, most: int | None = None) -> bytes:
    """All bytes of a regular file.

    Raises:
        OSError: as ``open_regular``; or it holds more than ``most`` bytes.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise OSError(errno.EOVERFLOW, f"{size} bytes, at most {most} make sense here", str(path))
        return file.read()


def shown(path: Path | str) -> str:
    r"""The path as printable text: bytes that are no UTF-8 appear as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def link_as_text(folder: Path) -> Path | None:
    """The first entry of a folder that is a link turned into text (git without symlinks, archives); None without one.

    Such a file holds nothing but the path of another place, and has no ending of its own.
    """
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and not is_junk(entry.name))
    except OSError:
        return None
    for name in entries:
        try:
            data = read_regular(folder / name, _LINK_BYTES)
        except OSError:
            continue
        if data.startswith((b"../", b"./", b"/")) and len(data.split()) == 1 and "." not in name:
            return folder / name
    return None
