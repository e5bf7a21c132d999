"""JSON from outside (labels, boxes, results), read strictly: what ``json.load`` lets pass in silence is refused."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any, NoReturn

from sapiens_bench.errors import DataError, DataMissing, DatasetRejected, raise_if_machine
from sapiens_bench.pixels.files import read_regular

_REMEDY = "Fetch or export the file again; `sapiens-bench data check` repeats this check."
_GZIP = b"\x1f\x8b"
_MOST_RATIO = 100  # of coordinates about 5; a bomb has 1,000
_NOT_A_NUMBER = re.compile(r"(?<![\w\"])(?:NaN|-?Infinity)\b")
_HUGE_INTEGER = re.compile(r"\d{4301,}")
# Of two marks that begin alike the longer stands first. PowerShell and Windows editors write UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHER_FORMATS = {  # how a file begins -> what it is, and what to do
    b"PK": "a zip archive: unpack it first",
    b"\x80": "a Python pickle, which is not read, since that would run code: write it as JSON",
    b"\x93NUMPY": "a NumPy file: write it as JSON",
    b"\x89HDF": "an HDF5 file: write it as JSON",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"BZh": "packed by bzip2: unpack it first",
    b"\xfd7zXZ": "packed by xz: unpack it first",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run `git lfs pull`",
}


class _DuplicateKey(ValueError):
    pass


class _NotFinite(ValueError):
    pass


def read_bytes(path: Path) -> bytes:
    """The bytes of a file: of gzip those inside, of UTF-16 and UTF-32 with a byte order mark the same text in UTF-8.

    A pipe in its place is refused, not waited for.

    Raises:
        DataMissing: it cannot be read, or is no regular file.
        DatasetRejected: a damaged gzip file, or one that unpacks to far more than it is.
    """
    try:
        data = read_regular(path)
    except (OSError, ValueError) as error:
        raise_if_machine(error)
        raise DataMissing(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return _as_utf8(_unpacked(data, path) if data.startswith(_GZIP) else data, path)


def _as_utf8(data: bytes, path: Path) -> bytes:
    coding = next((coding for mark, coding in _MARKS.items() if data.startswith(mark)), "")
    try:
        return data.decode(coding).encode() if coding else data
    except UnicodeDecodeError as error:
        raise _refused(path, f"its byte order mark says {coding.upper()}, which it is not ({error.reason})") from None


def _unpacked(data: bytes, path: Path) -> bytes:
    most = max(len(data), 1_000_000) * _MOST_RATIO
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _refused(path, f"a damaged gzip file ({error})") from None
    if len(text) > most:
        raise _refused(path, "it unpacks to far more than a file of labels or results")
    return text


def parse(data: bytes, path: Path | str, *, finite: bool = True) -> Any:
    """The parsed document. UTF-8 with or without byte order mark; every object a dict without repeated keys.

    Args:
        data: the file's bytes.
        path: its name, for messages.
        finite: refuse NaN and Infinity; False lets them through as floats, for results, where they cost one image only.

    Raises:
        DatasetRejected: empty, cut, not UTF-8, a repeated key, NaN or Infinity, an integer of thousands of digits, or
            nested too deeply; with line and column where they are known.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse_format(data, path)
        line, column = _place(data[: error.start].decode("utf-8-sig", "replace"))
        raise _refused(path, f"not UTF-8 at line {line}, column {column}") from None
    if not text.strip():
        raise _refused(path, "the file is empty")
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants if finite else float)
    except json.JSONDecodeError as error:
        _refuse_format(data, path)
        hint = " (one object a line? Such files end in .jsonl)" if error.msg == "Extra data" else ""
        raise _refused(path, f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}{hint}") from None
    except RecursionError:
        raise _refused(path, "nested too deeply to be data") from None
    except _DuplicateKey as error:
        raise _refused(path, f"the key {str(error)[:80]!r} stands twice in one object") from None
    except _NotFinite as error:
        raise _refused(path, f"{error}{_at(_NOT_A_NUMBER, text)}; coordinates must be finite numbers") from None
    except ValueError:  # int() refuses thousands of digits
        raise _refused(path, f"an integer of more than 4300 digits{_at(_HUGE_INTEGER, text)}") from None


def _refuse_format(data: bytes, path: Path | str) -> None:
    what = next((what for start, what in _OTHER_FORMATS.items() if data.startswith(start)), "")
    if not what and b"\0" in data[:8] and data[:1] in b"{[\0":
        what = "UTF-16 without a byte order mark: save it as UTF-8"
    if what:
        raise _refused(path, f"it is {what}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key)
            seen.add(key)
    return result


def _no_constants(name: str) -> NoReturn:
    raise _NotFinite(name)


def _refused(path: Path | str, fault: str) -> DatasetRejected:
    return DatasetRejected(str(path), [fault], _REMEDY)


def _at(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if found is None:
        return ""
    line, column = _place(text[: found.start()])
    return f" at line {line}, column {column}"


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def in_one_line(error: DataError, remedy: str) -> str:
    """What is wrong with a file that is no annotation file, and what to do about it."""
    if not isinstance(error, DatasetRejected):
        return " ".join(str(error).split())
    faults = "; ".join(" ".join(fault.split()).rstrip(".") for fault in error.faults)
    return f"{error.path}: {faults}. {remedy}"
