"""Short lists of jobs in one file, of which a worker reads those that it does, each when it does it.

Read whole by every worker, 1.6 million pictures (100,000 lists) would be 240 MB of text, seven seconds and 0.9 GB of
memory each. The file holds a line of JSON for every list, where each begins, and how many there are (8 bytes each).
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from sapiens_bench.store.files import storage_error, temporary_name

_NUMBER = struct.Struct("<Q")


@contextmanager
def listed_in(folder: Path, lists: Iterable[Sequence[Any]]) -> Iterator[Path]:
    """The file, for as long as it is needed.

    Raises:
        StorageFull: no room or no permission.
    """
    path = folder / temporary_name()
    try:
        try:
            with open(path, "xb") as file:
                _write(file, lists)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise storage_error(error, path) from error
        yield path
    finally:
        with suppress(OSError):
            path.unlink()


def _write(file: BinaryIO, lists: Iterable[Sequence[Any]]) -> None:
    starts = array("Q", [0])
    for each in lists:
        starts.append(starts[-1] + file.write(json.dumps(each).encode() + b"\n"))
    file.writelines(map(_NUMBER.pack, starts))
    file.write(_NUMBER.pack(len(starts) - 1))


def list_in(path: Path, number: int) -> list[Any]:
    """One of the lists.

    Raises:
        IndexError: there is none of that number.
    """
    with open(path, "rb") as file:
        file.seek(-_NUMBER.size, os.SEEK_END)
        (count,) = _NUMBER.unpack(file.read(_NUMBER.size))
        if not 0 <= number < count:
            raise IndexError(f"list {number} of {count}")
        file.seek((number - count - 2) * _NUMBER.size, os.SEEK_END)
        start, end = struct.unpack("<2Q", file.read(2 * _NUMBER.size))
        file.seek(start)
        found: list[Any] = json.loads(file.read(end - start))
    return found
