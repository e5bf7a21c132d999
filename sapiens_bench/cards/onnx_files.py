"""What an ONNX file says about itself before anything runs it: the files that hold its weights, and its operations.

Weights above 2 GB, and many below, lie in files of their own beside the graph; they are as much part of the model as
the graph, so whoever hashes the one has to hash the others.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sapiens_bench.errors import CheckpointRejected, PathEscape

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

_KEY = b"\x0a\x08location"  # StringStringEntryProto.key, as every writer of protobuf puts it


def read_model(path: Path) -> ModelProto:
    """The graph, without the weights that lie in other files.

    Raises:
        CheckpointRejected: no ONNX file, or one that is cut off.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # an OSError, or one of protobuf, which has no types
        raise CheckpointRejected(f"{path} is no ONNX file, or a damaged one ({error}). Fetch it again.") from None
    if not model.graph.node:
        raise CheckpointRejected(f"{path} is no ONNX file, or a damaged one (it has no operations). Fetch it again.")
    return model


def may_be_external(path: Path) -> bool:
    """False where no tensor can lie outside the file: what would name the place is not in it. Needs no import."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(_KEY) >= 0
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def external_files(path: Path) -> list[str]:
    """Files that hold weights of the model at ``path``, relative to its folder, sorted; empty when it holds its own.

    Raises:
        CheckpointRejected: no ONNX file.
        PathEscape: a file is named that does not lie below the model's folder.
    """
    return external_of(read_model(path), path)


def external_of(model: ModelProto, path: Path) -> list[str]:
    """``external_files`` of a model that was read from ``path``."""
    names: set[str] = set()
    for tensor in tensors(model):
        place = next((entry.value for entry in tensor.external_data if entry.key == "location"), None)
        if place is None:
            continue
        inside = PurePosixPath(place)
        if not place or "\\" in place or "\0" in place or inside.is_absolute() or ".." in inside.parts:
            raise PathEscape(f"{path} keeps weights in {place!r}, which does not lie below its folder. Not opened.")
        names.add(inside.as_posix())
    return sorted(names)


def operations(model: ModelProto) -> Iterator[NodeProto]:
    """Every node: of the graph, of graphs inside nodes, of the model's own functions."""
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every stored tensor: initialisers, sparse ones, and constants inside nodes, at any depth."""
    yield from _stored(model.graph)
    for training in model.training_info:
        yield from _stored(training.initialization)
        yield from _stored(training.algorithm)
    for node in operations(model):
        for attribute in node.attribute:
            yield from _in_attribute(attribute)


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node)


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _stored(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _in_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for sparse in (
        *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else ()),
        *attribute.sparse_tensors,
    ):
        yield from (sparse.values, sparse.indices)
    for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
        yield from _stored(graph)
