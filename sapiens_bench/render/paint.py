"""Colours of a mesh as a camera sees them: textures of its materials, plain colours, colours of vertices.

Axes: F faces, V vertices, H height, W width of the image (or of a texture).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.attributes import face_values, interpolate, texture_colour
from sapiens_bench.render.materials import Coats
from sapiens_bench.render.mesh import MeshData
from sapiens_bench.render.rasterise import Hits


@dataclass(frozen=True, slots=True)
class Paint:
    """A mesh's coats with their pictures."""

    coats: Coats
    textures: tuple[NDArray[np.uint8] | None, ...]  # [H, W, 3] of each coat; None for a plain colour


def seen_colours(mesh: MeshData, paint: Paint, hits: Hits) -> NDArray[np.float32]:
    """Stored colour (0..255, sRGB) of the surface at every pixel, float32 [H, W, 3]; NaN where nothing is hit, and on
    faces of a textured material that have no texture coordinates.

    Raises:
        SampleFault: mesh.texture; colours of vertices that are neither 0..1 nor 0..255.
    """
    coats = paint.coats
    if not coats.coats:
        return interpolate(hits, mesh.faces_F3, vertex_colours(mesh)).astype(np.float32)
    if len(coats.coats) == 1 and set(coats.of_material) <= {0, -1}:
        return _coat_colours(mesh, paint, 0, None, hits)
    assert mesh.face_material_F is not None
    coat_F = np.array(coats.of_material)[mesh.face_material_F]  # -1, before any usemtl, is the last entry
    seen_HW = face_values(hits, coat_F, -1)
    out = np.full((*hits.face_HW.shape, 3), np.nan, np.float32)
    for k in range(len(coats.coats)):
        here = seen_HW == k
        out[here] = _coat_colours(mesh, paint, k, coat_F, hits)[here]
    return out


def _coat_colours(
    mesh: MeshData, paint: Paint, k: int, coat_F: NDArray[np.int64] | None, hits: Hits
) -> NDArray[np.float32]:
    """Colours of one coat; elsewhere anything."""
    coat, texture = paint.coats.coats[k], paint.textures[k]
    if coat.map is None or texture is None:
        colour = np.float32(255) * np.array(coat.colour, np.float32)
        return np.where(hits.mask_HW[..., None], colour, np.float32(np.nan))
    assert mesh.uv_T2 is not None
    assert mesh.texture_faces_F3 is not None
    uv, faces = mesh.uv_T2, mesh.texture_faces_F3
    if coat.map.scale != (1.0, 1.0) or coat.map.offset != (0.0, 0.0):
        uv = uv * np.array(coat.map.scale) + np.array(coat.map.offset)
    if coat_F is not None:
        faces = np.where((coat_F == k)[:, None], faces, -1)
    colour = texture_colour(hits, faces, uv, texture, math.nan, repeat=not coat.map.clamps)
    if (coat.map.base, coat.map.gain) != (0.0, 1.0):
        colour = np.clip(np.float32(255 * coat.map.base) + np.float32(coat.map.gain) * colour, 0, 255)
    return colour


def vertex_colours(mesh: MeshData) -> NDArray[np.float32]:
    """Colours of vertices, float32 [V, 3], 0..255. Files hold 0..1 (MeshLab) or, where one is above 1, 0..255.

    Raises:
        SampleFault: mesh.texture; neither.
    """
    assert mesh.colours_V3 is not None
    low, high = float(mesh.colours_V3.min()), float(mesh.colours_V3.max())
    if not (low >= 0 and high <= 255):
        raise SampleFault("mesh.texture", f"{mesh.path}: vertex colours from {low:g} to {high:g}; need 0..1 or 0..255.")
    return mesh.colours_V3 * np.float32(255 if high <= 1 else 1)
