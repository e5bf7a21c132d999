"""Which files lie in a folder, and what they are called. One rule each, for data sets and for stored predictions:

- **names**: a file is called by its path below the folder, in Unicode's composed form (NFC); sub-folders are searched.
- **junk**: what file managers leave behind is not there: names that begin with a dot (``._x``, ``.DS_Store``),
  Thumbs.db, desktop.ini, ``__MACOSX``.
- **links**: a link to a folder or a file is followed wherever it leads, since that is how people keep data on another
  disk and how the Hugging Face cache keeps files; what is read must be a regular file, and an error text never quotes
  what stands in it.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sapiens_bench.pixels.files import is_junk, shown

DEPTH = 4  # folders below the one that is named


class Found(NamedTuple):
    """One entry that is no folder: a file, or something in a file's place, which reading it will tell."""

    path: str
    inside: str  # path below the folder that was listed
    is_link: bool


def composed(name: str) -> str:
    r"""A name as it is compared and shown: NFC; bytes that are no UTF-8 appear as ``\xe9``."""
    return name if name.isascii() else unicodedata.normalize("NFC", shown(name))


def listed(folder: Path) -> list[Found]:
    """Everything below a folder that is no folder itself, by path; links are followed, loops are not.

    Raises:
        OSError: the folder, or one below it, cannot be read.
    """
    return sorted(_walk(os.fspath(folder), "", DEPTH, frozenset()))


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, and the links to folders, by name.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not is_junk(entry.name) and entry.is_dir())


def _walk(folder: str, inside: str, depth: int, above: frozenset[tuple[int, int]]) -> Iterator[Found]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a link back to a folder above
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_junk(entry.name):
                continue
            if not entry.is_dir():
                yield Found(entry.path, inside + entry.name, entry.is_symlink())
            elif depth:
                yield from _walk(entry.path, f"{inside}{entry.name}/", depth - 1, above | {here})
