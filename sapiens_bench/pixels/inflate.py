"""A silhouette inflated like a balloon: heights and normals of a body from its outline alone.

Axes: H, W image; h, w grid on which the balloon is computed. Normals: x right, y up, z towards the viewer.
"""

from __future__ import annotations

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
    # Of the person's pixels alone, component by component: sums over an axis of three are what numpy is slow at.
    at = np.flatnonzero(mask_HW)
    found = np.ascontiguousarray(resized.reshape(-1, 3).take(at, axis=0).T)
    length = np.sqrt(found[0] * found[0] + found[1] * found[1] + found[2] * found[2])
    has_length = length > 1e-6
    unit = (found / np.maximum(length, 1e-6)).T
    normals.reshape(-1, 3)[at[has_length]] = unit[has_length]
    return normals


def _balloon(mask_HW: NDArray[np.bool_], grid: int) -> tuple[NDArray[np.float64], float]:
    """Squared height u on a grid with square cells, float64 [h, w] in cells squared, and image pixels per cell.

    u solves the Poisson equation, Laplacian of u = -4, inside the silhouette with u = 0 around it. Over a disc of
    radius R that is R^2 - r^2, so that sqrt(u) is exactly a hemisphere. Across the image edge u goes on as it is:
    people are cut off there, they do not end. A silhouette that fills the image has no rim and stays flat (u = 0).

    Source: inflation by a Poisson equation with a square root, after Oh et al., "Image-based modeling and photo
    editing" (SIGGRAPH 2001) and Johnston, "Lumo" (NPAR 2002); the constant and its proof are ours.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    height, width = mask_HW.shape
    scale = max(1.0, max(height, width) / grid)
    w, h = max(1, round(width / scale)), max(1, round(height / scale))
    # Averaged, so that thin parts do not vanish with the pixel that happens to be looked at.
    inside = cv2.resize(mask_HW.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA) >= 0.5
    u = np.zeros((h, w))
    n = int(np.count_nonzero(inside))
    if n in (0, inside.size):
        return u, scale
    number = np.full((h + 2, w + 2), -1)
    number[1:-1, 1:-1][inside] = np.arange(n)
    y, x = np.nonzero(inside)
    n_beyond = (y == 0).astype(float) + (y == h - 1) + (x == 0) + (x == w - 1)
    rows, columns = [np.arange(n)], [np.arange(n)]
    values = [4.0 - n_beyond]
    for shift_y, shift_x in ((0, 1), (2, 1), (1, 0), (1, 2)):
        neighbour = number[shift_y : shift_y + h, shift_x : shift_x + w][inside]
        known = neighbour >= 0
        rows.append(np.flatnonzero(known))
        columns.append(neighbour[known])
        values.append(np.full(int(known.sum()), -1.0))
    matrix = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n)).tocsc()
    u[inside] = np.maximum(spsolve(matrix, np.full(n, 4.0)), 0.0)
    return u, scale


def flat_normals(size: tuple[int, ...]) -> NDArray[np.float32]:
    """(0, 0, 1) everywhere, float32 [H, W, 3]."""
    normals = np.zeros((*size, 3), np.float32)
    normals[..., 2] = 1
    return normals
