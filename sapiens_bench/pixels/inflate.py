"""A silhouette inflated like a balloon: heights and normals of a body from its outline alone.

Axes: H, W image; h, w grid on which the balloon is computed. Normals: x right, y up, z towards the viewer.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.pixels.resize import resize_depth

GRID = 192  # longer side of the balloon's grid


def balloon_heights(mask_HW: NDArray[np.bool_], grid: int = GRID) -> NDArray[np.float32]:
    """Height of the inflated silhouette in image pixels, float32 [H, W]; 0 outside."""
    square, scale = _balloon(mask_HW, grid)
    height, width = mask_HW.shape
    return np.asarray(resize_depth(np.sqrt(square), (width, height)) * np.float32(scale) * mask_HW, np.float32)


def balloon_normals(mask_HW: NDArray[np.bool_], grid: int = GRID) -> NDArray[np.float32]:
    """Unit normals of the inflated silhouette, float32 [H, W, 3]; (0, 0, 1) outside.

    With h = sqrt(u), the normal (-dh/dx, dh/dy, 1) is (-du/dx, du/dy, 2 sqrt(u)) up to its length, which stays finite
    at the rim.
    """
    square, _ = _balloon(mask_HW, grid)
    down, right = np.gradient(square) if min(square.shape) > 1 else (np.zeros_like(square), np.zeros_like(square))
    vectors = np.stack([-right, down, 2 * np.sqrt(square)], axis=-1).astype(np.float32)
    height, width = mask_HW.shape
    resized = cv2.resize(vectors, (width, height), interpolation=cv2.INTER_LINEAR)
    normals = flat_normals((height, width))
    if not mask_HW.any():
        return normals
    x, y, w, h = cv2.boundingRect(mask_HW.view(np.uint8))
    there = (slice(y, y + h), slice(x, x + w))
    # Component by component: sums over an axis of three, and choosing pixels one by one, are what numpy is slow at.
    planes = cv2.split(resized[there])
    length = np.sqrt(planes[0] * planes[0] + planes[1] * planes[1] + planes[2] * planes[2])
    known = mask_HW[there] & (length > 1e-6)
    at_least = np.maximum(length, 1e-6)
    cv2.copyTo(cv2.merge([plane / at_least for plane in planes]), known.view(np.uint8), normals[there])
    return normals


def _balloon(mask_HW: NDArray[np.bool_], grid: int) -> tuple[NDArray[np.float64], float]:
    """Squared height u on a grid with square cells, float64 [h, w] in cells squared, and image pixels per cell.

    u solves the Poisson equation, Laplacian of u = -4, inside the silhouette with u = 0 around it. Over a disc of
    radius R that is R^2 - r^2, so that sqrt(u) is exactly a hemisphere. Across the image edge u goes on as it is:
    people are cut off there, they do not end. A silhouette that fills the image has no rim and stays flat (u = 0).

    Source: inflation by a Poisson equation with a square root, after Oh et al., "Image-based modeling and photo
    editing" (SIGGRAPH 2001) and Johnston, "Lumo" (NPAR 2002); the constant and its proof are ours.
    """
    height, width = mask_HW.shape
    scale = max(1.0, max(height, width) / grid)
    w, h = max(1, round(width / scale)), max(1, round(height / scale))
    # Averaged, so that thin parts do not vanish with the pixel that happens to be looked at.
    inside = cv2.resize(mask_HW.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA) >= 0.5
    u = np.zeros((h, w))
    n = int(np.count_nonzero(inside))
    if n in (0, inside.size):
        return u, scale
    u[inside] = np.maximum(_solve(inside), 0.0)
    return u, scale


def _solve(inside_hw: NDArray[np.bool_]) -> NDArray[np.float64]:
    """u of the cells inside, in their order: 4 u less its four neighbours' is 4.

    Cells are numbered along the shorter way across the silhouette, so that a neighbour's number is never far: the
    matrix is a narrow band, which LAPACK factors (Cholesky) several times faster than a sparse LU with its ordering.
    """
    from scipy.linalg import solveh_banded

    cells, turned = _numbered(inside_hw), _numbered(inside_hw.T)
    shape = inside_hw.shape
    if is_turned := turned.reach < cells.reach:
        cells, shape = turned, shape[::-1]
    n = len(cells.y)
    band = np.zeros((cells.reach + 1, n), order="F")  # band[k, i]: of cells i and i + k
    band[0] = 4.0 - sum((at == edge).astype(np.float64) for at, size in zip(cells[:2], shape) for edge in (0, size - 1))
    band[1, cells.right] = -1.0
    band[cells.to_below, cells.below] = -1.0
    found = solveh_banded(band, np.full(n, 4.0), overwrite_ab=True, overwrite_b=True, lower=True, check_finite=False)
    if not is_turned:
        return np.asarray(found)
    back = np.empty(shape)
    back[cells.y, cells.x] = found
    return np.asarray(back.T[inside_hw])


class _Cells(NamedTuple):
    """The cells of a silhouette, numbered row by row."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    right: NDArray[np.int64]  # numbers of the cells whose right neighbour, the next number, is inside
    below: NDArray[np.int64]  # of those whose lower neighbour is inside
    to_below: NDArray[np.int64]  # how much greater that one's number is
    reach: int  # greatest difference of neighbours' numbers, at least 2: the solver's own path for 1 fails on one cell


def _numbered(inside_hw: NDArray[np.bool_]) -> _Cells:
    y, x = np.nonzero(inside_hw)
    number = np.cumsum(inside_hw).reshape(inside_hw.shape) - 1
    right = number[:, :-1][inside_hw[:, :-1] & inside_hw[:, 1:]]
    both = inside_hw[:-1] & inside_hw[1:]
    below = number[:-1][both]
    to_below = number[1:][both] - below
    return _Cells(y, x, right, below, to_below, int(to_below.max(initial=2)))


def flat_normals(size: tuple[int, ...]) -> NDArray[np.float32]:
    """(0, 0, 1) everywhere, float32 [H, W, 3]."""
    normals = np.zeros((*size, 3), np.float32)
    normals[..., 2] = 1
    return normals
