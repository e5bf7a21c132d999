"""Wavefront OBJ text: a fast reader for files whose lines of one kind look alike, an exact one for every other file.

The fast reader finds lines, kinds and tokens with NumPy and converts numbers with pyarrow (correctly rounded, strict).
At anything unusual it steps back, and the line reader either understands the file or names the line at fault.
Both give the same result.

Position, texture and normal indices of a corner are independent in OBJ. They stay so here: splitting vertices where
textures have a seam would break vertex normals. ``vn`` is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault

NONE, INVALID = -1, -2  # texture index of a corner without one, material of a face before any usemtl; points nowhere
MAX_CORNERS = (
    4096  # of one face: a fan of more hides a damaged or hostile file, and covers the same pixels over and over
)
BOM = b"\xef\xbb\xbf"
MAX_SHOWN = 60  # characters of a faulty line that are repeated in the message

_V, _VT, _F, _OTHER = 1, 2, 3, 0
_IGNORED = frozenset(
    b"vn vp g o s l p mg lod bevel c_interp d_interp shadow_obj trace_obj maplib usemap call csh deg bmat step cstype "
    b"curv curv2 surf parm trim hole scrv sp end con ctech stech".split()
)


class _Unusual(Exception):
    """The fast reader does not handle this file."""


@dataclass(frozen=True, slots=True)
class ObjText:
    """The statements of one OBJ file. Corners are listed face after face; indices start at 0."""

    vertices_V3: NDArray[np.float64]
    colours_V3: NDArray[np.float32] | None  # when every vertex line carries three more numbers
    uv_T2: NDArray[np.float64]
    corner_position: NDArray[np.int64]
    corner_texture: NDArray[np.int64]  # NONE where the corner has no texture index
    corners_per_face: NDArray[np.int64]
    face_line: NDArray[np.int64]  # line number of each face, from 1
    face_material: NDArray[np.int64]  # index into ``materials`` of each face, NONE before the first usemtl
    libraries: tuple[str, ...]  # what stands behind each mtllib: one file name, or several
    materials: tuple[str, ...]  # names of usemtl statements, each once, in order


def parse_obj(data: bytes, name: str, *, quote: bool = True) -> ObjText:
    """The statements of an OBJ file.

    Args:
        data: the bytes of the file.
        name: how messages call the file.
        quote: whether messages may repeat a faulty line.

    Raises:
        SampleFault: mesh.binary, mesh.parse, mesh.nonfinite, mesh.index, mesh.polygon, mesh.no_vertices, mesh.no_faces;
            the message names the file and, where there is one, the line.

    Source: Wavefront "Object Files" specification, appendix B1 (polygonal subset).
    """
    if b"\0" in data[: 1 << 16]:
        raise SampleFault("mesh.binary", f"{name} is not a text file: it holds zero bytes. Expected Wavefront OBJ.")
    data = data.removeprefix(BOM)
    try:
        text = _read_fast(data)
    except _Unusual:
        text = _LineReader(name, quote).read(data)
    _check(text, name)
    return text


def triangles(corner: NDArray[np.int64], corners_per_face: NDArray[np.int64]) -> NDArray[np.int64]:
    """Polygons as fans around their first corner, int64 [F, 3], in file order."""
    if (corners_per_face == 3).all():
        return corner.reshape(-1, 3)
    fans = corners_per_face - 2
    first = np.cumsum(corners_per_face) - corners_per_face
    begin = np.repeat(first, fans)
    step = np.arange(len(begin)) - np.repeat(np.cumsum(fans) - fans, fans)
    return np.stack([corner[begin], corner[begin + step + 1], corner[begin + step + 2]], 1)


def _check(text: ObjText, name: str) -> None:
    n_vertices, n_uv = len(text.vertices_V3), len(text.uv_T2)
    if not n_vertices:
        raise SampleFault("mesh.no_vertices", f"{name} has no vertex (v) line. Is it a Wavefront OBJ file?")
    if not len(text.corners_per_face):
        raise SampleFault("mesh.no_faces", f"{name} has {n_vertices} vertices but no face (f) line.")
    most = int(np.argmax(text.corners_per_face))
    if text.corners_per_face[most] > MAX_CORNERS:
        raise SampleFault(
            "mesh.polygon",
            f"{name}:{text.face_line[most]}: a face with {text.corners_per_face[most]} corners; at most {MAX_CORNERS} "
            "are allowed. Is the file damaged? Else triangulate it.",
        )
    position, texture = text.corner_position, text.corner_texture
    bad = (position < 0) | (position >= n_vertices) | (texture == INVALID) | (texture >= n_uv)
    if bad.any():
        corner = int(np.argmax(bad))
        face = int(np.searchsorted(np.cumsum(text.corners_per_face), corner, "right"))
        what = "vertex" if not 0 <= position[corner] < n_vertices else "texture"
        raise SampleFault(
            "mesh.index",
            f"{name}:{text.face_line[face]}: a {what} index of this face is 0 or points outside the file, which has "
            f"{n_vertices} v and {n_uv} vt lines ({int(bad.sum())} such corners in all). Is the file cut off?",
        )


# The fast reader -----------------------------------------------------------------------------------------------------


def _read_fast(data: bytes) -> ObjText:
    if b"\\\n" in data or b"\\\r" in data or (b"\r" in data and b"\n" not in data):
        raise _Unusual
    if not data.endswith(b"\n"):
        data += b"\n"
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    kind = _kinds(np.frombuffer(data + b"\n\n", np.uint8), starts)
    libraries, materials, switches = _names(data, starts, ends, kind)
    vertices, colours = _vertices(_lines(data, starts, ends, kind == _V), int((kind == _V).sum()))
    uv = _floats(_lines(data, starts, ends, kind == _VT), int((kind == _VT).sum()), b"vt", (1, 2, 3))
    uv = np.column_stack([uv, np.zeros(len(uv))]) if uv.shape[1] == 1 else uv
    is_face = np.flatnonzero(kind == _F)
    raw, per_face = _corners(_lines(data, starts, ends, kind == _F), len(is_face))
    before = [np.repeat(np.cumsum(kind == k)[is_face], per_face) if (raw < 0).any() else None for k in (_V, _VT)]
    position = _from_zero(raw[:, 0], before[0])
    texture = _from_zero(raw[:, 1], before[1]) if raw.shape[1] > 1 else np.full(len(raw), NONE)
    return ObjText(
        vertices,
        colours,
        np.ascontiguousarray(uv[:, :2]),
        position,
        texture,
        per_face,
        is_face + 1,
        _face_materials(is_face, switches),
        libraries,
        materials,
    )


def _face_materials(face_line: NDArray[np.int64], switches: list[tuple[int, int]]) -> NDArray[np.int64]:
    """Material of each face, from (line, material) of the usemtl statements."""
    lines, materials = np.array([(-1, NONE), *switches], np.int64).T
    return np.asarray(materials[np.searchsorted(lines, face_line, "right") - 1])


def _kinds(buffer: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.int8]:
    first, second, third = (buffer[starts + k] for k in range(3))
    kind = np.zeros(len(starts), np.int8)
    kind[(first == ord("v")) & (second <= 32)] = _V
    kind[(first == ord("v")) & (second == ord("t")) & (third <= 32)] = _VT
    kind[(first == ord("f")) & (second <= 32)] = _F
    return kind


def _names(
    data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], kind: NDArray[np.int8]
) -> tuple[tuple[str, ...], tuple[str, ...], list[tuple[int, int]]]:
    """Library and material names, and where materials change; refuses lines that only the line reader understands."""
    libraries: dict[str, None] = {}
    materials: dict[str, int] = {}
    switches: list[tuple[int, int]] = []
    other = np.flatnonzero(kind == _OTHER)
    first = np.frombuffer(data, np.uint8)[starts[other]]
    second = np.frombuffer(data + b"\n", np.uint8)[starts[other] + 1]
    other = other[(first != ord("#")) & ~((first == ord("v")) & (second == ord("n")))]
    for number, start, end in zip(other.tolist(), starts[other].tolist(), ends[other].tolist()):
        line = data[start:end]
        word, _, rest = line.strip().partition(b" ")
        if not word:
            continue
        if line[:1].isspace() or b"#" in line or b"\t" in line:
            raise _Unusual
        if word == b"mtllib":
            libraries[_decoded(rest)] = None
        elif word == b"usemtl":
            switches.append((number, materials.setdefault(_decoded(rest), len(materials))))
        elif word not in _IGNORED:
            raise _Unusual
    return tuple(libraries), tuple(materials), switches


def _lines(data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], wanted: NDArray[np.bool_]) -> bytes:
    """The wanted lines joined, one slice per run of neighbours."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    begin, last = starts[edges[::2]], ends[edges[1::2] - 1] + 1
    return b"".join(data[i:j] for i, j in zip(begin.tolist(), last.tolist()))


def _vertices(text: bytes, n_lines: int) -> tuple[NDArray[np.float64], NDArray[np.float32] | None]:
    values = _floats(text, n_lines, b"v", (3, 4, 6, 7))
    colours = values[:, 3:6].astype(np.float32) if values.shape[1] >= 6 else None
    return np.ascontiguousarray(values[:, :3]), colours


def _floats(text: bytes, n_lines: int, keyword: bytes, widths: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers of ``n_lines`` lines, float64 [n_lines, width]; all lines must have the same width."""
    if not n_lines:
        return np.zeros((0, max(2, widths[0])))
    text = text.translate(bytes.maketrans(keyword + b"\t\r", b" " * (len(keyword) + 2)))
    per_line, _ = _tokens(text)
    width = int(per_line[0])
    if width not in widths or (per_line != width).any():
        raise _Unusual
    values: NDArray[np.float64] = _numbers(text, "float64").reshape(n_lines, width)
    if not np.isfinite(values).all():
        raise _Unusual
    return values


def _tokens(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens on each line; where each token starts."""
    buffer = np.frombuffer(text, np.uint8)
    is_word = buffer > 32
    is_start = is_word.copy()
    is_start[1:] &= ~is_word[:-1]
    token = np.flatnonzero(is_start)
    before = np.searchsorted(token, np.flatnonzero(buffer == ord("\n")))
    return np.diff(before, prepend=0), token


def _corners(text: bytes, n_lines: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices as written, int64 [corners, 1 or 2] (position, texture), and corners per face."""
    if not n_lines:
        return np.zeros((0, 1), np.int64), np.zeros(0, np.int64)
    text = text.translate(bytes.maketrans(b"f\t\r", b"   "))
    per_line, token = _tokens(text)
    if (per_line < 3).any():
        raise _Unusual
    slash = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("/"))
    n_slashes, remainder = divmod(len(slash), len(token))
    if remainder or (n_slashes and (np.searchsorted(token, slash, "right") != _owners(token, n_slashes)).any()):
        raise _Unusual
    n_double = text.count(b"//")
    if n_slashes > 2 or n_double not in (0, len(token)) or (n_double and n_slashes != 2):
        raise _Unusual
    width = 2 if n_double else n_slashes + 1
    values: NDArray[np.int64] = _numbers(text.replace(b"/", b"\n"), "int64")
    if values.size != width * len(token):
        raise _Unusual
    columns = values.reshape(-1, width)
    return columns[:, :1] if n_double or width == 1 else columns[:, :2], per_line


def _owners(token: NDArray[np.int64], n_slashes: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(1, len(token) + 1), n_slashes)


def _numbers(text: bytes, dtype: str) -> NDArray[Any]:
    """Every number of a text separated by spaces and newlines."""
    import pyarrow as pa
    import pyarrow.csv as csv

    try:
        table = csv.read_csv(
            pa.BufferReader(text.replace(b" ", b"\n")),
            read_options=csv.ReadOptions(use_threads=False, column_names=["x"], block_size=1 << 22),
            parse_options=csv.ParseOptions(delimiter="\x01", quote_char=False),
            convert_options=csv.ConvertOptions(column_types={"x": dtype}, check_utf8=False, null_values=[]),
        )
    except pa.ArrowInvalid as error:
        raise _Unusual from error
    numbers: NDArray[Any] = table["x"].to_numpy()
    return numbers


def _from_zero(raw: NDArray[np.int64], n_before: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """OBJ indices (1 = first, -1 = latest) to indices from 0; INVALID for 0 and for what reaches before the start."""
    index = raw - 1
    if n_before is not None:
        index = np.where(raw < 0, raw + n_before, index)
    return np.where((raw == 0) | (index < 0), INVALID, index)


def _decoded(name: bytes) -> str:
    """A name as file systems give it: bytes that are no UTF-8 come back as the same bytes."""
    return name.strip().decode("utf-8", "surrogateescape")


# The line reader -----------------------------------------------------------------------------------------------------


class _LineReader:
    """Reads any OBJ file line by line; every fault names its line."""

    def __init__(self, name: str, quote: bool = True) -> None:
        self.name, self.quote = name, quote
        self.vertices: list[list[float]] = []
        self.uv: list[tuple[float, float]] = []
        self.position: list[int] = []
        self.texture: list[int] = []
        self.per_face: list[int] = []
        self.face_line: list[int] = []
        self.face_material: list[int] = []
        self.libraries: dict[str, None] = {}
        self.materials: dict[str, int] = {}
        self.material = NONE

    def read(self, data: bytes) -> ObjText:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        number = 1
        lines = iter(data.split(b"\n"))
        for line in lines:
            n_joined = 1
            while line.endswith(b"\\"):
                line = line[:-1] + b" " + next(lines, b"")
                n_joined += 1
            line = line.partition(b"#")[0].strip()
            words = line.split()
            if words and words[0] in (b"mtllib", b"usemtl"):
                self._name(words[0], _decoded(line[len(words[0]) :]))
            elif words:
                self._statement(words[0], words[1:], number)
            number += n_joined
        has_colour = bool(self.vertices) and all(len(v) >= 6 for v in self.vertices)
        return ObjText(
            np.array([v[:3] for v in self.vertices], np.float64).reshape(-1, 3),
            np.array([v[3:6] for v in self.vertices], np.float32) if has_colour else None,
            np.array(self.uv, np.float64).reshape(-1, 2),
            np.array(self.position, np.int64),
            np.array(self.texture, np.int64),
            np.array(self.per_face, np.int64),
            np.array(self.face_line, np.int64),
            np.array(self.face_material, np.int64),
            tuple(self.libraries),
            tuple(self.materials),
        )

    def _name(self, word: bytes, name: str) -> None:
        if word == b"mtllib":
            self.libraries[name] = None
        else:
            self.material = self.materials.setdefault(name, len(self.materials))

    def _statement(self, word: bytes, arguments: list[bytes], number: int) -> None:
        if word == b"v":
            self.vertices.append(self._floats(arguments, (3, 4, 6, 7), "a vertex needs x y z", number))
        elif word == b"vt":
            u, v, *_ = [*self._floats(arguments, (1, 2, 3), "a texture coordinate needs u v", number), 0.0]
            self.uv.append((u, v))
        elif word == b"f":
            self._face(arguments, number)
        elif word not in _IGNORED:
            what = f"unknown statement {self._shown(word)}. Is this a Wavefront OBJ file?"
            raise self._fault("mesh.parse", number, what)

    def _floats(self, words: list[bytes], widths: tuple[int, ...], need: str, number: int) -> list[float]:
        if len(words) not in widths:
            raise self._fault("mesh.parse", number, f"{need}, found {len(words)} numbers. Is the file cut off?")
        try:
            values = [float(word.replace(b"_", b"?")) for word in words]  # Python alone reads 1_0 as 10
        except ValueError:
            raise self._fault("mesh.parse", number, f"not a number in {self._shown(b' '.join(words))}.") from None
        if not np.isfinite(values).all():
            raise self._fault("mesh.nonfinite", number, f"NaN or infinity in {self._shown(b' '.join(words))}.")
        return values

    def _face(self, words: list[bytes], number: int) -> None:
        if len(words) < 3:
            raise self._fault("mesh.parse", number, f"a face needs 3 corners, found {len(words)}. Is the file cut off?")
        for word in words:
            parts = word.replace(b"_", b"?").split(b"/")
            try:
                position, *rest = [int(part) if part else None for part in parts[:2]]
                _ = int(parts[2]) if len(parts) > 2 and parts[2] else None
            except ValueError:
                position, rest = None, []
            if position is None or len(parts) > 3:
                raise self._fault(
                    "mesh.parse", number, f"a corner must be v, v/vt, v//vn or v/vt/vn, not {self._shown(word)}."
                )
            texture = rest[0] if rest else None
            self.position.append(_index(position, len(self.vertices)))
            self.texture.append(NONE if texture is None else _index(texture, len(self.uv)))
        self.per_face.append(len(words))
        self.face_line.append(number)
        self.face_material.append(self.material)

    def _shown(self, text: bytes) -> str:
        if not self.quote:
            return "(not shown, since the file was reached over a link)"
        return repr(text[:MAX_SHOWN].decode("ascii", "replace"))

    def _fault(self, code: str, number: int, detail: str) -> SampleFault:
        return SampleFault(code, f"{self.name}:{number}: {detail}")


def _index(raw: int, n_before: int) -> int:
    index = raw - 1 if raw > 0 else raw + n_before
    return INVALID if raw == 0 or not 0 <= index < 1 << 62 else index
