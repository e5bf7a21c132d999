"""Meshes of scans: reading (OBJ, PLY), which way is up, size.

Axes: V vertices, F triangles, T texture coordinates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.files import read_plain
from sapiens_bench.render.obj import NONE, ObjText, parse_obj, triangles
from sapiens_bench.render.ply import PlyMesh, parse_ply

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".tga", ".webp")
MESH_SUFFIXES = (".obj", ".ply")
MAX_MESH_BYTES = 1 << 30  # scans of 2 million faces take 250 MB
Up = Literal["y", "z", "auto"]


@dataclass(frozen=True, slots=True)
class MeshData:
    """A triangle mesh with texture coordinates kept apart from positions."""

    vertices_V3: NDArray[np.float64]  # file units
    faces_F3: NDArray[np.int64]  # position indices; order of the file, polygons as fans; degenerate faces are kept
    uv_T2: NDArray[np.float64] | None = None  # v points up
    texture_faces_F3: NDArray[np.int64] | None = None  # texture indices; -1 where a corner has none
    face_material_F: NDArray[np.int64] | None = None  # index into ``materials``; -1 before the first usemtl
    colours_V3: NDArray[np.float32] | None = None  # as written (0..1 or 0..255), when every vertex has them
    n_degenerate: int = 0  # faces without area: they cover no pixel and count in no normal
    n_polygons: int = 0  # faces with more than three corners that were cut into fans
    sha256: str = ""  # of the file's bytes
    path: Path | None = None
    libraries: tuple[str, ...] = ()  # mtllib names
    materials: tuple[str, ...] = ()  # usemtl names


@dataclass(frozen=True, slots=True)
class Normalisation:
    """``normalised = (original - offset) * scale``."""

    scale: float
    offset: tuple[float, float, float]  # file units
    height_m: float

    def apply(self, points_V3: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Points of the file in the normalised frame, float64 [V, 3]."""
        moved: NDArray[np.float64] = (np.asarray(points_V3, np.float64) - np.array(self.offset)) * self.scale
        return moved


def read_mesh(path: Path) -> MeshData:
    """The mesh of an OBJ or PLY file; links are followed, pipes and devices are not waited for.

    Raises:
        SampleFault: mesh.missing, and everything ``parse_obj`` and ``parse_ply`` raise.
    """
    data = read_plain(path, "mesh.missing", MAX_MESH_BYTES)
    if _is_link_as_text(data):
        raise SampleFault(
            "mesh.link",
            f"{path} holds the path of another file: a link that became text, as git leaves it where links are "
            "switched off (core.symlinks). Make it a link, or copy the file.",
        )
    is_ply = data.startswith(b"ply") and path.suffix.lower() == ".ply"
    if is_ply:
        mesh = _from_ply(parse_ply(data, str(path)))
    else:
        mesh = _from_text(parse_obj(data, str(path), quote=not path.is_symlink()))
    return replace(mesh, sha256=hashlib.sha256(data).hexdigest(), path=path)


def _is_link_as_text(data: bytes) -> bool:
    """One line that looks like a path; no mesh fits on one line."""
    line = data[:1025].strip()
    return len(line) < 1024 and b"/" in line and not any(sign in line for sign in (b"\n", b"\r", b"\0", b"<", b"{"))


def _from_text(text: ObjText) -> MeshData:
    faces = triangles(text.corner_position, text.corners_per_face)
    has_texture = bool((text.corner_texture >= 0).any())
    return MeshData(
        vertices_V3=text.vertices_V3,
        faces_F3=faces,
        uv_T2=text.uv_T2 if has_texture else None,
        texture_faces_F3=triangles(text.corner_texture, text.corners_per_face) if has_texture else None,
        face_material_F=np.repeat(text.face_material, text.corners_per_face - 2),
        colours_V3=text.colours_V3,
        n_degenerate=count_degenerate(text.vertices_V3, faces),
        n_polygons=int((text.corners_per_face > 3).sum()),
        libraries=text.libraries,
        materials=text.materials,
    )


def _from_ply(ply: PlyMesh) -> MeshData:
    faces = triangles(ply.corner_position, ply.corners_per_face)
    return MeshData(
        vertices_V3=ply.vertices_V3,
        faces_F3=faces,
        face_material_F=np.full(len(faces), NONE),
        colours_V3=ply.colours_V3,
        n_degenerate=count_degenerate(ply.vertices_V3, faces),
        n_polygons=int((ply.corners_per_face > 3).sum()),
    )


def count_degenerate(vertices_V3: NDArray[np.float64], faces_F3: NDArray[np.integer[Any]]) -> int:
    """Faces with a repeated vertex, or whose cross product is exactly zero."""
    n = 0
    for start in range(0, len(faces_F3), 1 << 16):
        a, b, c = (np.take(vertices_V3, faces_F3[start : start + (1 << 16), k], axis=0).T for k in range(3))
        u, v = b - a, c - a
        zero = np.ones(u.shape[1], np.bool_)
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            zero &= u[i] * v[j] == u[j] * v[i]
        n += int(zero.sum())
    return n


def used_vertices(mesh: MeshData) -> NDArray[np.float64]:
    """Vertices that some face uses, float64 [N, 3]: a stray vertex moves nothing."""
    used = np.zeros(len(mesh.vertices_V3), np.bool_)
    used[mesh.faces_F3.reshape(-1)] = True
    return mesh.vertices_V3[used]


def extents(mesh: MeshData) -> tuple[float, float, float]:
    """Sides of the bounding box of vertices in use, file units."""
    points = used_vertices(mesh)
    x, y, z = (points.max(0) - points.min(0)).tolist()
    return x, y, z


def up_axis(mesh: MeshData, declared: Up) -> Literal["y", "z"]:
    """The axis along which a scan stands: as declared, or, where nothing is known, the longer of y and z.

    x is left out of it, since arms are often spread along x. A person who lies cannot be told from one in another
    frame, so a declaration is never overruled (``doubts_up`` says when it looks wrong).
    """
    _, y, z = extents(mesh)
    if declared == "auto":
        return "y" if y >= z else "z"
    return declared


def doubts_up(mesh: MeshData, up: Literal["y", "z"]) -> bool:
    """Whether the extents speak for the other axis: a standing person is never deeper than tall."""
    _, y, z = extents(mesh)
    return z > y if up == "y" else y > z


def upright(mesh: MeshData, up: Literal["y", "z"]) -> MeshData:
    """The mesh with y up. From z up the axes move on by one (x, y, z) <- (y, z, x): no mirror image.

    Source: public renderers of THuman2.1, whose scans from 0526 on are z up, use ``vertices[:, [1, 2, 0]]``.
    """
    return mesh if up == "y" else replace(mesh, vertices_V3=np.ascontiguousarray(mesh.vertices_V3[:, [1, 2, 0]]))


def normalise(mesh: MeshData, height_m: float) -> tuple[MeshData, Normalisation]:
    """The mesh scaled to a height (y up), standing on y = 0 with its bounding box centred in x and z.

    The box is that of vertices some face uses, so a stray vertex moves nothing.

    Raises:
        SampleFault: mesh.flat when the mesh has no height.
    """
    points = used_vertices(mesh)
    lower, upper = points.min(0), points.max(0)
    height = float(upper[1] - lower[1])
    if not height > 0:
        raise SampleFault("mesh.flat", f"{mesh.path or 'mesh'} has no extent along y, so it cannot be scaled to height")
    middle = (lower + upper) / 2
    step = Normalisation(height_m / height, (float(middle[0]), float(lower[1]), float(middle[2])), height_m)
    return replace(mesh, vertices_V3=step.apply(mesh.vertices_V3)), step
