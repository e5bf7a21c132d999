"""Floors: what can be had without looking, or from the silhouette alone. A network below them has learnt nothing.

    all-background     every pixel is background
    median-depth       a constant; a fit to the ground truth makes it the median or mean depth of the image
    flat-normal        every normal points at the viewer, (0, 0, 1)
    silhouette-depth   the silhouette inflated like a balloon, towards the viewer
    silhouette-normal  the normals of that balloon; (0, 0, 1) elsewhere

No floor sees the ground truth, so the silhouette is that of the embedded person-mask network (models/selfie.py), and
carries its mistakes.

Axes: H, W image; h, w grid on which the balloon is computed. Normals: x right, y up, z towards the viewer.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import CardError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.pixels.resize import resize_depth
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import Model, ModelInput, Prepared

Size = tuple[int, int]
RULES: dict[str, str] = {  # rule -> the task it is for
    "all-background": "seg",
    "median-depth": "depth",
    "silhouette-depth": "depth",
    "flat-normal": "normal",
    "silhouette-normal": "normal",
}
GRID = 192  # longer side of the balloon's grid


def build(context: ModelContext) -> Model:
    """The floor that the option ``rule`` names.

    Raises:
        CardError: no such rule, or one for another task.
    """
    rule: str = context.options.rule
    if RULES.get(rule) != context.card.task:
        known = [name for name, task in RULES.items() if task == context.card.task]
        raise CardError(f"{context.variant.id}: rule {rule!r} is no floor for {context.card.task}; known: {known}")
    if rule == "silhouette-depth" or rule == "silhouette-normal":
        return Silhouette(context, "depth" if rule == "silhouette-depth" else "normal")
    return Constant(rule)


class Constant:
    """The same answer for every image; there is no network, so ``forward`` is never called."""

    def __init__(self, rule: str) -> None:
        self.rule = rule

    def prepare(self, x: ModelInput) -> Prepared:
        """No crops; the geometry is (H, W)."""
        return Prepared({}, x.image_HW3.shape[:2])

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Size) -> Any:
        if self.rule == "all-background":
            return SegPrediction(np.zeros(geometry, np.uint8))
        if self.rule == "median-depth":
            # One metre everywhere: the protocol's alignment moves it to where the image is.
            return DepthPrediction(np.ones(geometry, np.float32), "scale_invariant_depth")
        return NormalPrediction(_flat(geometry))


class Silhouette:
    """The person mask of the embedded network, inflated."""

    def __init__(self, context: ModelContext, answer: Literal["depth", "normal"]) -> None:
        from dataclasses import replace

        from sapiens_bench.models.options import SelfieOptions
        from sapiens_bench.models.selfie import SelfieSegmentation

        self.answer = answer
        self.network = SelfieSegmentation(replace(context, options=SelfieOptions()))

    def prepare(self, x: ModelInput) -> Prepared:
        """See ``SelfieSegmentation.prepare``."""
        return self.network.prepare(x)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """See ``SelfieSegmentation.forward``."""
        return self.network.forward(tensors)

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: Size) -> DepthPrediction | NormalPrediction:
        mask = self.network.probability(outputs, geometry) >= self.network.threshold
        if self.answer == "normal":
            return NormalPrediction(balloon_normals(mask))
        # Height towards the viewer makes a pixel nearer; only the order and proportions matter after the fit.
        return DepthPrediction(-balloon_heights(mask), "affine_invariant_depth")


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
    vectors = np.asarray(cv2.resize(vectors, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    inside = mask_HW[..., None] & (length > 1e-6)
    return np.where(inside, vectors / np.maximum(length, 1e-6), _flat((height, width))).astype(np.float32)


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


def _flat(size: Size) -> NDArray[np.float32]:
    normals = np.zeros((*size, 3), np.float32)
    normals[..., 2] = 1
    return normals
