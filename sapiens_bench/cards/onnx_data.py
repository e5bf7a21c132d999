"""Which files beside an ONNX file hold a part of its weights ("external data")."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sapiens_bench.cards.schema import relative_path
from sapiens_bench.errors import CheckpointRejected, PathEscape

_KEY = b"\x0a\x08location"  # StringStringEntryProto.key: no tensor can lie outside the file without it


def external_files(path: Path) -> list[Path]:
    """The files that ONNX Runtime would read besides ``path``, each once, sorted by name.

    Raises:
        CheckpointRejected: the file cannot be parsed. PathEscape: it names a file outside its own folder.
    """
    if not _mentions_external(path):
        return []  # without importing onnx
    import onnx
    from onnx.external_data_helper import uses_external_data

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf has error types of its own
        raise CheckpointRejected(f"{path} is not a readable ONNX file: {error}.") from None
    names = {
        entry.value
        for tensor in _tensors(model, onnx.TensorProto)
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    try:
        return [path.parent / relative_path(name.removeprefix("./")) for name in sorted(names)]
    except ValueError as error:
        raise PathEscape(f"{path} keeps weights outside its own folder: {error}. Not opened.") from None


def _mentions_external(path: Path) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(_KEY) >= 0
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def _tensors(message: Any, kind: type) -> Iterator[Any]:
    """Every tensor of a message at any depth: initialisers, attributes, subgraphs, functions."""
    if isinstance(message, kind):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if hasattr(value, "__len__") else (value,):
                yield from _tensors(each, kind)
