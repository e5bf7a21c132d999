"""Large JSON in parts: a document is cut into its members without reading what nobody asks for.

The same documents pass as with ``strict_json.parse``; whatever is doubtful here (not JSON, a repeated key, deep
nesting, bytes that are not UTF-8) raises ``Doubtful``, and the strict reader then finds the words for it.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Part = msgspec.Raw | Any  # a value that is not read yet, or one that is

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_NUMBERS = msgspec.json.Decoder(list[float])
_ANYTHING = msgspec.json.Decoder()
_KEY = re.compile(rb'"[ \t\n\r]*:')
_BETWEEN = re.compile(rb'[ \t\n\r]*[{,][ \t\n\r]*"(?:[^"\\]|\\.)*"[ \t\n\r]*:[ \t\n\r]*')
_FIRST = re.compile(rb"[ \t\n\r]*(.)", re.DOTALL)
_CHUNK = 1 << 20


class Doubtful(Exception):
    """The strict reader must decide."""


def check_text(data: bytes) -> bytes:
    """The bytes without byte order mark.

    Raises:
        Doubtful: not UTF-8.
    """
    if not data.isascii():
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            for start in range(0, len(data), _CHUNK):
                decoder.decode(data[start : start + _CHUNK])
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise Doubtful from None
    return data[3:] if data[:3] == codecs.BOM_UTF8 else data


def document(data: bytes) -> dict[str, msgspec.Raw]:
    """The members of a large document, unread and not copied. Objects inside them are not looked at.

    Raises:
        Doubtful: not a JSON object, nested too deeply, or a key stands twice in it.
    """
    if not _starts(data, b"{"):
        raise Doubtful
    found: dict[str, msgspec.Raw] = _read(_MEMBERS, data)
    base, end = _address(data), 0
    for part in found.values():  # between two members stands one key: a repeated key would leave its value there, too
        start = _address(part) - base
        if not _BETWEEN.fullmatch(data, end, start):
            raise Doubtful
        end = start + memoryview(part).nbytes
    return found


def _address(part: msgspec.Raw | bytes) -> int:
    address: int = np.frombuffer(part, np.uint8).__array_interface__["data"][0]
    return address


def _starts(part: msgspec.Raw | bytes, with_: bytes) -> bool:
    found = _FIRST.match(part)
    return found is not None and found[1] == with_


def members(part: msgspec.Raw | bytes) -> dict[str, msgspec.Raw] | None:
    """The members of an object, unread; None when the part is no object.

    Raises:
        Doubtful: not JSON, nested too deeply, or a key stands twice in it or in an object inside it.
    """
    data = bytes(part)
    if not _starts(data, b"{"):
        return None
    found: dict[str, msgspec.Raw] = _read(_MEMBERS, data)
    n_keys = len(_KEY.findall(data))
    if n_keys != len(found):  # objects inside, text that looks like a key, or a repeated key
        inside = [bytes(value) for value in found.values()]
        if n_keys - sum(len(_KEY.findall(value)) for value in inside) != len(found):
            raise Doubtful
        for value in inside:
            _check_inside(value)
    return found


def _check_inside(data: bytes) -> None:
    """Repeated keys of objects inside a value."""
    if b"{" not in data:
        return
    if data.startswith(b"["):
        for entry in _read(_ENTRIES, data):
            _check_inside(bytes(entry))
    elif data.startswith(b"{"):
        members(data)


def entries(part: msgspec.Raw | bytes) -> list[msgspec.Raw] | None:
    """The entries of a list, unread; None when the part is no list.

    Raises:
        Doubtful: not JSON, or nested too deeply.
    """
    if not _starts(part, b"["):
        return None
    found: list[msgspec.Raw] = _read(_ENTRIES, part)
    return found


def value(part: Part) -> Any:
    """The plain value of a part.

    Raises:
        Doubtful: see ``members``.
    """
    if not isinstance(part, msgspec.Raw):
        return part
    data = bytes(part)
    _check_inside(data)
    try:
        return _ANYTHING.decode(data)
    except msgspec.ValidationError:  # a number beyond the range of floats, which JSON allows
        return _with_infinities(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Doubtful from None


def _with_infinities(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        raise Doubtful from None


def pick(part: Part, wanted: frozenset[str], unread: frozenset[str] = frozenset()) -> dict[str, Any] | None:
    """Some members of an object: ``wanted`` as plain values, ``unread`` as parts; None when it is no object.

    Raises:
        Doubtful: see ``members``.
    """
    found = members(part) if isinstance(part, msgspec.Raw) else part
    if not isinstance(found, dict):
        return None
    picked: dict[str, Any] = {name: value(found[name]) for name in wanted & found.keys()}
    picked.update((name, found[name]) for name in unread & found.keys())
    return picked


def read(data: bytes) -> Any:
    """The plain value of a whole document.

    Raises:
        Doubtful: ``strict_json.parse`` must decide.
    """
    text = check_text(data)
    if not _starts(text, b"[") and not _starts(text, b"{"):
        raise Doubtful
    return value(msgspec.Raw(text))


def numbers(part: Part, n: int) -> NDArray[np.float64] | None:
    """A list of exactly ``n`` finite numbers, float64 [n]; None when it is anything else."""
    if isinstance(part, msgspec.Raw):
        try:
            listed = _NUMBERS.decode(part)
        except msgspec.MsgspecError:
            return None
    elif isinstance(part, list) and all(type(v) in (int, float) for v in part):
        listed = part
    else:
        return None
    if len(listed) != n:
        return None
    try:
        array = np.array(listed, np.float64)
    except OverflowError:  # an integer beyond the range of floats
        return None
    return array if np.isfinite(array).all() else None


def _read(decoder: Any, data: msgspec.Raw | bytes) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise Doubtful from None
