"""Meshes with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.render.camera import Camera, intrinsics, look_at

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


@lru_cache(maxsize=4)
def _icosphere(level: int) -> Mesh:
    golden = (1 + 5**0.5) / 2
    vertices = np.array([(0, s, t * golden) for s in (-1, 1) for t in (-1, 1)], np.float64)
    vertices = np.concatenate([np.roll(vertices, k, 1) for k in range(3)])
    gaps = np.linalg.norm(vertices[:, None] - vertices[None], axis=2)
    near = np.abs(gaps - 2) < 1e-9
    faces = np.array(
        [(i, j, k) for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]]
    )
    out = np.einsum(
        "fi,fi->f", np.cross(*(vertices[faces[:, k]] - vertices[faces[:, 0]] for k in (1, 2))), vertices[faces[:, 0]]
    )
    faces[out < 0] = faces[out < 0][:, [0, 2, 1]]
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    for _ in range(level):
        ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
        edges, which = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_inverse=True)
        middle = vertices[edges // len(vertices)] + vertices[edges % len(vertices)]
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        p, q, r = which.reshape(3, -1) + len(vertices)
        a, b, c = faces.T
        faces = np.concatenate([np.stack(f, 1) for f in ((a, p, r), (p, b, q), (r, q, c), (p, q, r))])
        vertices = np.concatenate([vertices, middle])
    return vertices, faces


@pytest.fixture(scope="session")
def icosphere() -> Callable[[int], Mesh]:
    """Unit sphere with 20 * 4^level faces that point outwards."""
    return _icosphere


@pytest.fixture(scope="session")
def portrait() -> Camera:
    """1024 x 768, f = 1500 px, 2.5 m in front of the origin."""
    R, t = look_at([0, 0, 2.5], [0, 0, 0])
    return Camera(intrinsics(1500, 768, 1024), R, t, 768, 1024)


@pytest.fixture(scope="session")
def thumbnail() -> Camera:
    """48 x 40, f = 60 px, 2.5 m in front of the origin, a little from the side."""
    R, t = look_at([0.4, 0.3, 2.4], [0, 0, 0])
    return Camera(intrinsics(60, 48, 40), R, t, 48, 40)
