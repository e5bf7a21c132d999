"""A minimal ONNX writer, straight from the protobuf definition, so that tests need no onnx package."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def weight(name: str, shape: Sequence[int]) -> bytes:
    n = 1
    for size in shape:
        n *= size
    dims = block(1, b"".join(varint(size) for size in shape))
    return dims + number(2, 1) + block(8, name) + block(9, struct.pack(f"<{n}f", *([0.5] * n)))


def integers(name: str, values: Sequence[int]) -> bytes:
    return number(1, len(values)) + number(2, 7) + block(8, name) + block(9, struct.pack(f"<{len(values)}q", *values))


def value(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(block(1, block(2, s) if isinstance(s, str) else number(1, s)) for s in shape)
    return block(1, name) + block(2, block(1, number(1, 1) + block(2, dims)))


def node(
    op: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, list[int]] | None = None
) -> bytes:
    parts = [*(block(1, i) for i in inputs), *(block(2, o) for o in outputs), block(4, op)]
    for name, ints in (attributes or {}).items():
        parts.append(block(5, block(1, name) + b"".join(number(8, i) for i in ints) + number(20, 7)))
    return b"".join(parts)


def write(
    path: Path, nodes: Sequence[bytes], weights: Sequence[bytes], inputs: Sequence[bytes], outputs: Sequence[bytes]
) -> Path:
    graph = b"".join(
        [*(block(1, n) for n in nodes), block(2, "g"), *(block(5, w) for w in weights),
         *(block(11, i) for i in inputs), *(block(12, o) for o in outputs)]
    )  # fmt: skip
    path.write_bytes(number(1, 8) + block(7, graph) + block(8, block(1, "") + number(2, 13)))
    return path
