"""Opening what a data set or a user names: regular files only, never waited for; and the machine's faults kept apart.

A pipe in place of a label must not hang a run, and a full disk must not become the fault of the picture that was being
read when it happened.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

# What a machine runs out of. Everything else that the system says about a file is that file's fault.
MACHINE_ERRNOS = frozenset(
    number
    for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM")
    if (number := getattr(errno, name, None)) is not None
)


def raise_if_machine(error: BaseException) -> None:
    """Raise ``error`` again when the machine is at fault and not a file: memory, space, quota, open files."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in MACHINE_ERRNOS):
        raise error


def open_regular(path: Path | str) -> IO[bytes]:
    """The file, open for reading; links are followed.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device.
        ValueError: the path holds a NUL character.
    """
    # Non-blocking, so that a pipe without a writer is opened at once and can be looked at.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
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
            raise OSError(errno.EFBIG, f"{size} bytes, at most {most} make sense here", str(path))
        return file.read()


def shown(path: Path | str) -> str:
    r"""The path as printable text: bytes that are no UTF-8 appear as ``\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
