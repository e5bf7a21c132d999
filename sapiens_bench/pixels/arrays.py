"""Reading NumPy files that may be broken or hostile: no pickles, and sizes are checked before memory is taken."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from sapiens_bench.errors import DataMissing, DatasetRejected, raise_if_machine
from sapiens_bench.pixels.files import open_regular

MAX_BYTES = 1 << 31  # of one array in a plain file
MAX_MEMBER_BYTES = 1 << 28
FREE_BYTES = 1 << 26  # members up to this size may be packed as well as they like: label maps shrink a thousandfold
MAX_RATIO = 100  # uncompressed / compressed of one .npz member above it


def load_npy(path: Path, *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises:
        DataMissing: no such file.
        DatasetRejected: not an array, an object array, shorter or longer than its header says, or over ``max_bytes``.
    """
    try:
        with open_regular(path) as file:
            return _read_array(file, os.fstat(file.fileno()).st_size, max_bytes, str(path))
    except OSError as error:
        raise_if_machine(error)
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from None


def npy_dtype(path: Path) -> np.dtype[Any] | None:
    """The dtype that the header of a ``.npy`` file names; None where there is no sound header."""
    try:
        with open_regular(path) as file:
            return _read_header(file)[2]
    except Exception as error:  # as in _read_array
        raise_if_machine(error)
        return None


def load_npz(
    path: Path, *, max_member_bytes: int = MAX_MEMBER_BYTES, only: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Every array of a ``.npz`` file, by name.

    Args:
        only: names of the members to open, where they are there; the others may be anything.

    Raises:
        DataMissing: no such file.
        DatasetRejected: not a zip, an encrypted or repeated member, a member over ``max_member_bytes`` or (above 64
            MiB) blown up more than 100 times, or a member that ``load_npy`` would refuse.
    """

    def wanted(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        return [member for member in members if not only or _name(member) in only]

    return _members(path, wanted, max_member_bytes)


def load_one(path: Path, names: Sequence[str], *, max_member_bytes: int = MAX_MEMBER_BYTES) -> NDArray[Any]:
    """The first of ``names`` that a ``.npz`` file has, or, where it has none of them, its only array.

    Raises:
        DataMissing, DatasetRejected: as ``load_npz``; or there are several arrays of other names.
    """

    def wanted(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
        named = [[member for member in members if _name(member) == name] for name in names]
        if found := next((each for each in named if each), members if len(members) == 1 else []):
            return found
        there = ", ".join(sorted(_name(member)[:40] for member in members)[:8])
        raise DatasetRejected(str(path), [f"no array {' or '.join(names)}; the file has {there}"], _REMEDY)

    return next(iter(_members(path, wanted, max_member_bytes).values()))


def _members(
    path: Path, wanted: Callable[[list[zipfile.ZipInfo]], list[zipfile.ZipInfo]], limit: int
) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            for member in wanted(archive.infolist()):
                _check_member(member, limit, arrays, str(path))
                with archive.open(member) as file:  # reads at most file_size bytes, and checks the CRC
                    data = file.read(member.file_size + 1)
                arrays[_name(member)] = _read_array(BytesIO(data), len(data), limit, f"{path}[{member.filename}]")
    except OSError as error:
        raise_if_machine(error)
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise_if_machine(error)
        raise DatasetRejected(str(path), [f"not a sound .npz archive: {error}"], _REMEDY) from None
    return arrays


class TooManyBytes(DatasetRejected):
    """An array is larger than it may be."""


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


_TOO_LARGE = "Store one map for a picture: a number a pixel (of class scores the arg max), three for normals."
_REMEDY = "Fetch or write the file again; object arrays must be saved as plain numbers."


def _check_member(member: zipfile.ZipInfo, limit: int, seen: dict[str, NDArray[Any]], path: str) -> None:
    fault = ""
    if not member.filename.endswith(".npy"):
        fault = "is not an array"
    elif _name(member) in seen:
        fault = "appears twice"
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        fault = f"is packed by method {member.compress_type}, which NumPy never writes"
    elif member.file_size > limit:
        fault = f"member {member.filename[:80]!r} becomes {member.file_size} bytes, the limit is {limit}"
        raise TooManyBytes(path, [fault], _TOO_LARGE)
    elif member.file_size > FREE_BYTES and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        fault = f"grows from {member.compress_size} to {member.file_size} bytes: over {MAX_RATIO} times"
    if fault:
        raise DatasetRejected(path, [f"member {member.filename[:80]!r} {fault}"], _REMEDY)


def _read_array(file: IO[bytes], size: int, max_bytes: int, name: str) -> NDArray[Any]:
    """The array in ``file``, whose header must account for exactly ``size`` bytes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header of Python 2 is read more slowly, which is no news to the user
            shape, fortran, dtype = _read_header(file)
    except Exception as error:  # numpy parses the header as Python text, down to its tokenizer's own exceptions
        raise_if_machine(error)
        raise DatasetRejected(name, [f"not a NumPy array file: {str(error)[:200]}"], _REMEDY) from None
    if dtype.hasobject:
        raise DatasetRejected(name, ["an object array: reading it would run code it carries"], _REMEDY)
    claimed, present = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed != present:
        fault = f"header claims {claimed} bytes (shape {shape}, {dtype}), the file has {present}"
        raise DatasetRejected(name, [fault], _REMEDY)
    if claimed > max_bytes:
        fault = f"{claimed} bytes (shape {shape}, {dtype}), the limit is {max_bytes}"
        raise TooManyBytes(name, [fault], _TOO_LARGE)
    flat = np.frombuffer(file.read(claimed), dtype=dtype) if dtype.itemsize else np.zeros(math.prod(shape), dtype)
    array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array.copy(order="C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    start = file.read(npy_format.MAGIC_LEN)
    if not start.startswith(npy_format.MAGIC_PREFIX):  # numpy would quote the bytes, which may be anybody's
        raise ValueError("it does not begin as one")
    version = npy_format.read_magic(BytesIO(start))
    if version == (1, 0):
        return npy_format.read_array_header_1_0(file)
    if version == (2, 0):
        return npy_format.read_array_header_2_0(file)
    raise ValueError(f"format version {version[0]}.{version[1]} is not one of 1.0, 2.0")
