"""Meshes of scans: reading, caching, normalising, texture.

Axes: V vertices, F triangles, T texture coordinates, H height, W width.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.obj import ObjText, parse_obj, triangles

CACHE_VERSION = 1
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".tga", ".webp")
MAX_TEXTURE_PIXELS = 300_000_000  # scans carry 8k atlases (67 MP); refuses bombs from the header


@dataclass(frozen=True, slots=True)
class MeshData:
    """A triangle mesh with texture coordinates kept apart from positions."""

    vertices_V3: NDArray[np.float64]  # file units
    faces_F3: NDArray[np.int64]  # position indices; order of the file, polygons as fans; degenerate faces are kept
    uv_T2: NDArray[np.float64] | None = None  # v points up
    texture_faces_F3: NDArray[np.int64] | None = None  # texture indices; -1 where a corner has none
    colours_V3: NDArray[np.float32] | None = None  # as written, when every vertex line carries them
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


def read_mesh(path: Path, cache: Path | None = None) -> MeshData:
    """The mesh of an OBJ file.

    Args:
        path: the file.
        cache: folder for parsed copies (``.npz``), found again by the SHA-256 of the OBJ bytes; a copy that cannot be
            read is written anew.

    Raises:
        SampleFault: mesh.missing, and everything ``parse_obj`` raises.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SampleFault("mesh.missing", f"{path} cannot be read: {error.strerror or error}.") from None
    sha256 = hashlib.sha256(data).hexdigest()
    stored = cache / f"mesh-{sha256}.npz" if cache else None
    mesh = _read_cache(stored) if stored else None
    if mesh is None:
        mesh = _from_text(parse_obj(data, str(path)))
        if stored:
            _write_cache(stored, mesh)
    return replace(mesh, sha256=sha256, path=path)


def _from_text(text: ObjText) -> MeshData:
    faces = triangles(text.corner_position, text.corners_per_face)
    has_texture = bool((text.corner_texture >= 0).any())
    return MeshData(
        vertices_V3=text.vertices_V3,
        faces_F3=faces,
        uv_T2=text.uv_T2 if has_texture else None,
        texture_faces_F3=triangles(text.corner_texture, text.corners_per_face) if has_texture else None,
        colours_V3=text.colours_V3,
        n_degenerate=count_degenerate(text.vertices_V3, faces),
        n_polygons=int((text.corners_per_face > 3).sum()),
        libraries=text.libraries,
        materials=text.materials,
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


def normalise(mesh: MeshData, height_m: float) -> tuple[MeshData, Normalisation]:
    """The mesh scaled to a height (y up), standing on y = 0 with its bounding box centred in x and z.

    The box is that of vertices some face uses, so a stray vertex moves nothing.

    Raises:
        SampleFault: mesh.flat when the mesh has no height.
    """
    used = np.zeros(len(mesh.vertices_V3), np.bool_)
    used[mesh.faces_F3.reshape(-1)] = True
    points = mesh.vertices_V3[used]
    lower, upper = points.min(0), points.max(0)
    height = float(upper[1] - lower[1])
    if not height > 0:
        raise SampleFault("mesh.flat", f"{mesh.path or 'mesh'} has no extent along y, so it cannot be scaled to height")
    middle = (lower + upper) / 2
    step = Normalisation(height_m / height, (float(middle[0]), float(lower[1]), float(middle[2])), height_m)
    return replace(mesh, vertices_V3=step.apply(mesh.vertices_V3)), step


# Cache ---------------------------------------------------------------------------------------------------------------

_ARRAYS = ("vertices_V3", "faces_F3", "uv_T2", "texture_faces_F3", "colours_V3")


def _write_cache(path: Path, mesh: MeshData) -> None:
    """Best effort: a cache that cannot be written costs time, nothing else."""
    arrays: dict[str, Any] = {name: getattr(mesh, name) for name in _ARRAYS if getattr(mesh, name) is not None}
    for name in ("faces_F3", "texture_faces_F3"):
        if name in arrays:
            arrays[name] = arrays[name].astype(np.int32)
    arrays["counts"] = np.array([CACHE_VERSION, mesh.n_degenerate, mesh.n_polygons])
    arrays["libraries"], arrays["materials"] = (np.array(names, np.str_) for names in (mesh.libraries, mesh.materials))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _read_cache(path: Path) -> MeshData | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    counts = arrays.get("counts", np.zeros(1))
    if counts.shape != (3,) or counts[0] != CACHE_VERSION:
        return None
    texture = arrays.get("texture_faces_F3")
    return MeshData(
        arrays["vertices_V3"],
        arrays["faces_F3"].astype(np.int64),
        arrays.get("uv_T2"),
        None if texture is None else texture.astype(np.int64),
        arrays.get("colours_V3"),
        int(counts[1]),
        int(counts[2]),
        libraries=tuple(arrays["libraries"].tolist()),
        materials=tuple(arrays["materials"].tolist()),
    )


# Texture -------------------------------------------------------------------------------------------------------------


def texture_path(mesh: MeshData) -> Path:
    """The texture image of a mesh, always inside the folder of its OBJ file.

    From ``map_Kd`` of the material in use; names match without regard to case, and folders in them are ignored when
    they lead nowhere. Without such an entry: ``material0.jpeg``, then the only image of the folder.

    Raises:
        SampleFault: mesh.texture, when there is none or the choice is not clear. Geometry needs no texture.
    """
    if mesh.path is None:
        raise SampleFault("mesh.texture", "this mesh was not read from a file, so it has no texture image")
    folder = mesh.path.parent
    named: dict[str, list[str]] = {}
    for library in mesh.libraries:
        found = _beside(folder, library)
        for material, image in _diffuse_maps(found).items() if found else ():
            named.setdefault(material, []).append(image)
    wanted = [image for material in mesh.materials for image in named.get(material, ())]
    wanted = wanted or [image for images in named.values() for image in images]
    files = dict.fromkeys(file for image in wanted if (file := _beside(folder, image)))
    if not files:
        fallback = _beside(folder, "material0.jpeg")
        images = [f for f in sorted(_listing(folder)) if f.suffix.lower() in IMAGE_SUFFIXES and _beside(folder, f.name)]
        files = dict.fromkeys([fallback] if fallback else images if len(images) == 1 else [])
    if len(files) != 1:
        have = f"{len(files)} textures in use" if files else "no texture"
        raise SampleFault("mesh.texture", f"{mesh.path} has {have}; expected one image named by map_Kd beside it.")
    return next(iter(files))


def load_texture(mesh: MeshData) -> NDArray[np.uint8]:
    """The texture image, uint8 [H, W, 3] sRGB as stored.

    Raises:
        SampleFault: mesh.texture when it is missing, truncated, too large or no image.
    """
    path = texture_path(mesh)
    try:
        with Image.open(path) as image:
            if math.prod(image.size) > MAX_TEXTURE_PIXELS:
                raise SampleFault("mesh.texture", f"{path} is {image.size[0]}x{image.size[1]}: more than allowed.")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SampleFault("mesh.texture", f"{path} is not a readable image: {error}") from None


def _diffuse_maps(library: Path) -> dict[str, str]:
    """Material name -> file name of its map_Kd."""
    maps: dict[str, str] = {}
    material = ""
    try:
        lines = library.read_text("utf-8", "replace").splitlines()
    except OSError:
        return maps
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word.lower() == "newmtl":
            material = rest.strip()
        elif word.lower() == "map_kd" and rest.strip():
            maps[material] = _without_options(rest.strip())
    return maps


def _without_options(text: str) -> str:
    """The file name of a map statement, which options such as ``-s 1 1 1`` may precede."""
    words = text.split()
    start = 0
    while start < len(words) - 1 and words[start].startswith("-"):
        start += 1
        while start < len(words) - 1 and (_is_number(words[start]) or words[start] in ("on", "off")):
            start += 1
    return text if not start else " ".join(words[start:])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _beside(folder: Path, name: str) -> Path | None:
    """A regular file below ``folder`` that a library names; never one outside it."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or "\0" in name:
        return None
    root = folder.resolve()
    for candidate in (
        folder.joinpath(*parts) if ".." not in parts and ":" not in parts[0] else None,
        folder / parts[-1],
    ):
        if candidate is None:
            continue
        same = (f for f in _listing(candidate.parent) if f.name.lower() == candidate.name.lower())
        for file in [candidate] if candidate.is_file() else sorted(same):
            if file.is_file() and file.resolve().is_relative_to(root):
                return file
    return None


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
