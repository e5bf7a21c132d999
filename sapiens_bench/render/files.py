"""Files beside a scan: which belong to it, and reading them without waiting for a pipe or filling the memory.

The rule for links, here and in every data set of scans: **a link in the data set is followed wherever it leads** (a
store on another disk, the cache of a hub, ``ln -s``), since that is how people keep such data; only plain files are
opened at its end. **A name written inside a file never leads out of that file's folder**: of
``../../x/skin.png`` or ``C:\\skin.png`` only ``skin.png`` is looked for. Text that was reached over a link is not
repeated in messages.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from sapiens_bench.errors import SampleFault, raise_if_machine
from sapiens_bench.pixels.files import is_junk, open_regular


def listing(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without junk; nothing when it cannot be read."""
    try:
        return sorted(child for child in folder.iterdir() if not is_junk(child.name))
    except OSError as error:
        raise_if_machine(error)
        return []


def read_plain(path: Path, code: str, max_bytes: int) -> bytes:
    """The bytes of a plain file.

    Raises:
        SampleFault: ``code``; absent, unreadable, no plain file (a pipe, a folder, a device), or over ``max_bytes``.
    """
    try:
        with open_regular(path) as file:
            if (n_bytes := os.fstat(file.fileno()).st_size) > max_bytes:
                size = f"{n_bytes / 1e6:.0f} MB, {max_bytes / 1e6:.0f} MB are allowed"
                raise SampleFault(code, f"{path} is too large: {size}.")
            return file.read()
    except (OSError, ValueError) as error:
        raise_if_machine(error)
        raise SampleFault(code, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def named_file(folder: Path, name: str) -> Path | None:
    """The plain file that a name written in a file stands for, or None.

    First below ``folder`` with the folders of the name, unless they lead out of it, then its last part alone. Case and
    Unicode form (NFC, NFD) do not matter where the exact name is not there.
    """
    if "\0" in name:
        return None
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts:
        return None
    stays = ".." not in parts and not name.startswith(("/", "\\")) and ":" not in parts[0]
    for candidate in ([parts] if stays else []) + [parts[-1:]]:
        if found := _below(folder, candidate):
            return found
    return None


def _below(folder: Path, parts: list[str]) -> Path | None:
    place = folder
    for part in parts:
        if is_junk(part):
            return None
        exact = place / part
        if not os.path.exists(exact):  # a name longer than any file may have is not there, and no error
            same = [child for child in listing(place) if _plain(child.name) == _plain(part)]
            if not same:
                return None
            exact = same[0]
        place = exact
    return place if os.path.isfile(place) else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
