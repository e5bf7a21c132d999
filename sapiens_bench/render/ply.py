"""PLY meshes (ASCII, binary little and big endian): positions, polygons, colours of vertices. Textures are not read.

Everything is read in bulk where faces of one kind follow each other; a file whose faces differ in size is read face by
face. Elements other than ``vertex`` and ``face`` are skipped.

Source: Turk 1994, "The PLY Polygon File Format".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.obj import MAX_CORNERS

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER = 1 << 16
_INDICES = ("vertex_indices", "vertex_index")
_RGB = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))


@dataclass(frozen=True, slots=True)
class PlyMesh:
    """Corners are listed face after face; indices start at 0."""

    vertices_V3: NDArray[np.float64]
    colours_V3: NDArray[np.float32] | None  # 0..1
    corner_position: NDArray[np.int64]
    corners_per_face: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    kind: str  # NumPy type without byte order
    count: str = ""  # of a list: type of its length


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    n: int
    properties: tuple[_Property, ...]

    @property
    def has_list(self) -> bool:
        return any(p.count for p in self.properties)


def parse_ply(data: bytes, name: str) -> PlyMesh:
    """The mesh of a PLY file.

    Args:
        data: the bytes of the file.
        name: how messages call the file.

    Raises:
        SampleFault: mesh.parse, mesh.nonfinite, mesh.index, mesh.polygon, mesh.no_vertices, mesh.no_faces.
    """
    order, elements, start = _header(data, name)
    reader = _Text(data[start:], name) if not order else _Binary(memoryview(data)[start:], order, name)
    vertices: dict[str, NDArray[Any]] = {}
    faces = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    for element in elements:
        if element.name == "vertex" and not element.has_list:
            vertices = reader.table(element)
        elif element.name == "face":
            faces = reader.faces(element)
        else:
            reader.skip(element)
    return _checked(vertices, *faces, name)


def _header(data: bytes, name: str) -> tuple[str, list[_Element], int]:
    """Byte order ("" for text), elements, and where the body starts."""
    end = data.find(b"end_header", 0, _MAX_HEADER)
    newline = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0:
        raise SampleFault("mesh.parse", f"{name} is no PLY file: no header from 'ply' to 'end_header'.")
    order = ""
    elements: list[_Element] = []
    try:
        for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
            word, *rest = line.split() or [""]
            if word == "format":
                order = _ORDERS[rest[0]]
            elif word == "element":
                elements.append(_Element(rest[0], int(rest[1]), ()))
            elif word == "property":
                last = elements[-1]
                new = _Property(rest[3], _TYPES[rest[2]], _TYPES[rest[1]]) if rest[0] == "list" else None
                new = new or _Property(rest[1], _TYPES[rest[0]])
                elements[-1] = _Element(last.name, last.n, (*last.properties, new))
        if any(e.n < 0 for e in elements):
            raise ValueError("a negative count")
    except (KeyError, IndexError, ValueError) as error:
        raise SampleFault("mesh.parse", f"{name}: its PLY header cannot be read ({error}).") from None
    return order, elements, (newline if newline >= 0 else len(data)) + 1


def _checked(
    table: dict[str, NDArray[Any]], corners: NDArray[np.int64], per_face: NDArray[np.int64], name: str
) -> PlyMesh:
    if not all(axis in table for axis in "xyz") or not len(table["x"]):
        raise SampleFault("mesh.no_vertices", f"{name} has no vertex with x, y and z.")
    vertices = np.stack([np.asarray(table[axis], np.float64) for axis in "xyz"], 1)
    if not np.isfinite(vertices).all():
        first = int(np.argmin(np.isfinite(vertices).all(1)))
        raise SampleFault("mesh.nonfinite", f"{name}: vertex {first} has NaN or infinity.")
    if not len(per_face):
        raise SampleFault("mesh.no_faces", f"{name} has {len(vertices)} vertices but no face: is it a point cloud?")
    if (per_face < 3).any():
        raise SampleFault("mesh.parse", f"{name}: face {int(np.argmax(per_face < 3))} has fewer than 3 corners.")
    if per_face.max() > MAX_CORNERS:
        raise SampleFault("mesh.polygon", f"{name}: a face with {per_face.max()} corners; at most {MAX_CORNERS}.")
    bad = (corners < 0) | (corners >= len(vertices))
    if bad.any():
        face = int(np.searchsorted(np.cumsum(per_face), int(np.argmax(bad)), "right"))
        raise SampleFault(
            "mesh.index", f"{name}: face {face} names a vertex that is not among the {len(vertices)} of the file."
        )
    return PlyMesh(vertices, _colours(table), corners, per_face)


def _colours(table: dict[str, NDArray[Any]]) -> NDArray[np.float32] | None:
    for names in _RGB:
        if all(name in table for name in names):
            values = np.stack([table[name] for name in names], 1)
            full = float(np.iinfo(values.dtype).max) if np.issubdtype(values.dtype, np.integer) else 1.0
            return np.asarray(values / full, np.float32)
    return None


class _Binary:
    """The body of a binary file."""

    def __init__(self, body: memoryview, order: str, name: str) -> None:
        self._body, self._order, self._name, self._at = body, order, name, 0

    def _take(self, dtype: np.dtype[Any], n: int) -> NDArray[Any]:
        if n * dtype.itemsize > len(self._body) - self._at:
            raise SampleFault("mesh.parse", f"{self._name}: the file ends before its data. Is it cut off?")
        values: NDArray[Any] = np.frombuffer(self._body, dtype, n, self._at)
        self._at += n * dtype.itemsize
        return values

    def _scalars(self, properties: tuple[_Property, ...]) -> np.dtype[Any]:
        return np.dtype([(f"{i} {p.name}", self._order + p.kind) for i, p in enumerate(properties)])

    def table(self, element: _Element) -> dict[str, NDArray[Any]]:
        """Columns of an element without lists."""
        rows = self._take(self._scalars(element.properties), element.n)
        return {p.name: rows[f"{i} {p.name}"] for i, p in enumerate(element.properties)}

    def skip(self, element: _Element) -> None:
        if element.has_list:
            self._rows(element, "")
        elif element.properties:
            self._take(self._scalars(element.properties), element.n)

    def faces(self, element: _Element) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Corners, and corners of each face."""
        wanted = next((p.name for p in element.properties if p.count and p.name in _INDICES), None)
        if wanted is None:
            raise SampleFault("mesh.parse", f"{self._name}: its faces have no list 'vertex_indices'.")
        return self._alike(element, wanted) or self._rows(element, wanted)

    def _alike(self, element: _Element, wanted: str) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """All faces at once, when every list is as long as in the first face."""
        start, fields = self._at, []
        if not element.n:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        for i, p in enumerate(element.properties):
            if not p.count:
                fields.append((f"{i}", self._order + p.kind))
                self._take(np.dtype(p.kind), 1)
                continue
            n = int(self._take(np.dtype(self._order + p.count), 1)[0])
            self._take(np.dtype(p.kind), max(n, 0))
            fields += [(f"n{i}", self._order + p.count), (f"{i}", self._order + p.kind, (max(n, 0),))]  # type: ignore[list-item]
        self._at, row = start, np.dtype(fields)
        if element.n * row.itemsize > len(self._body) - start:
            return None
        rows = self._take(row, element.n)
        corners = np.zeros((element.n, 0), np.int64)
        for i, p in enumerate(element.properties):
            if p.count and (rows[f"n{i}"] != rows[f"n{i}"][0]).any():
                self._at = start
                return None
            if p.name == wanted:
                corners = rows[f"{i}"].astype(np.int64)
        return corners.reshape(-1), np.full(element.n, corners.shape[1], np.int64)

    def _rows(self, element: _Element, wanted: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        corners: list[NDArray[Any]] = []
        kinds = [
            (p.name == wanted, np.dtype(self._order + p.kind), np.dtype(self._order + p.count) if p.count else None)
            for p in element.properties
        ]
        for _ in range(element.n):
            for is_wanted, kind, count in kinds:
                values = self._take(kind, 1 if count is None else max(int(self._take(count, 1)[0]), 0))
                if is_wanted:
                    corners.append(values)
        per_face = np.array([len(c) for c in corners], np.int64)
        return (np.concatenate(corners) if corners else np.zeros(0)).astype(np.int64), per_face


class _Text:
    """The body of an ASCII file: one line a row."""

    def __init__(self, body: bytes, name: str) -> None:
        self._lines = iter([line for line in body.splitlines() if line.strip()])
        self._name = name

    def _numbers(self, element: _Element) -> list[list[float]]:
        try:
            # Python alone reads 1_0 as 10
            rows = [[float(w) for w in next(self._lines).replace(b"_", b"?").split()] for _ in range(element.n)]
        except StopIteration:
            raise SampleFault("mesh.parse", f"{self._name}: the file ends before its data. Is it cut off?") from None
        except ValueError as error:
            raise SampleFault("mesh.parse", f"{self._name}: in element {element.name!r}: {error}.") from None
        return rows

    def table(self, element: _Element) -> dict[str, NDArray[Any]]:
        rows = self._numbers(element)
        width = len(element.properties)
        if any(len(row) != width for row in rows):
            raise SampleFault("mesh.parse", f"{self._name}: a line of {element.name!r} has not {width} numbers.")
        values = np.array(rows, np.float64).reshape(-1, width)
        return {p.name: self._fitting(values[:, i], p) for i, p in enumerate(element.properties)}

    def _fitting(self, values: NDArray[np.float64], p: _Property) -> NDArray[Any]:
        kind = np.dtype(p.kind)
        if kind.kind != "f" and len(values):
            limits = np.iinfo(kind)
            if not (np.isfinite(values) & (values >= limits.min) & (values <= limits.max)).all():
                raise SampleFault("mesh.parse", f"{self._name}: {p.name!r} has values outside its type.")
        return values.astype(kind)

    def skip(self, element: _Element) -> None:
        self._numbers(element)

    def faces(self, element: _Element) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        corners: list[float] = []
        per_face: list[int] = []
        for row in self._numbers(element):
            if not np.isfinite(row).all():
                raise SampleFault("mesh.parse", f"{self._name}: a face line has NaN or infinity.")
            at = 0
            for p in element.properties:
                n = int(row[at]) if p.count and at < len(row) else 1
                at += bool(p.count)
                if p.name in _INDICES and p.count:
                    corners += row[at : at + n]
                    per_face.append(len(row[at : at + n]))
                at += n
            if at != len(row):
                raise SampleFault("mesh.parse", f"{self._name}: a face line of {len(row)} numbers needs {at}.")
        return np.array(corners, np.float64).astype(np.int64), np.array(per_face, np.int64)
