"""Training views of one sample: a picture at the trunk's input size, and the truth on the head's grid.

View 0 is the picture as the model will see it. The others are mirrored, zoomed, shifted and recoloured by draws that
depend on the sample's key, the view's number and the seed alone, so that they can be kept on disk and made again.

Mirroring swaps left and right labels and turns the x of normals. Zooming changes no depth and no normal: it is a crop.
Axes: h, w input pixels; g, f rows and columns of the head's grid.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.models.parts.dense_view import frame_matrix, framed
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.seg.types import IGNORE, SegTarget

Arrays = dict[str, NDArray[Any]]
NORMAL_STEPS = 32767
ZOOM = (0.85, 1.9)  # least and largest enlargement of a changed view


@dataclass(frozen=True, slots=True)
class Grid:
    """Sizes that all views share."""

    input_hw: tuple[int, int]
    stride: int  # input pixels per cell of the truth

    @property
    def hw(self) -> tuple[int, int]:
        """Rows and columns of the truth."""
        return self.input_hw[0] // self.stride, self.input_hw[1] // self.stride


def draws(*what: str | int) -> np.random.Generator:
    """Random numbers that depend on the words given and on nothing else."""
    digest = hashlib.sha256("\n".join(map(str, what)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def make_view(
    image_HW3: NDArray[np.uint8],
    targets: dict[str, Any],
    number: int,
    grid: Grid,
    rng: np.random.Generator,
    flip_index: NDArray[np.int64] | None = None,
) -> Arrays:
    """One view: ``image`` uint8 [3, h, w], and per task in ``targets``

    - seg: uint8 [g, f], 255 off the picture;
    - depth: float32 [g, f] in metres, 0 where there is no truth;
    - normal: int16 [3, g, f] in steps of 1 / 32767, zeros where there is no truth.

    Args:
        number: 0 for the plain view.
        rng: draws of the other views.
        flip_index: label -> its mirror image; needed to mirror labels.
    """
    height, width = image_HW3.shape[:2]
    plain, inside = framed(image_HW3, grid.input_hw)
    matrix = frame_matrix((height, width), inside)
    mirrored = False
    if number == 0:
        picture = plain
    else:
        mirrored = bool(number % 2)
        matrix = _moved(matrix, grid.input_hw, mirrored, rng)
        warped = cv2.warpAffine(
            image_HW3, matrix, grid.input_hw[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        picture = recoloured(np.asarray(warped, np.uint8), rng)
    rows, columns, seen = _looked_up(matrix, (height, width), grid)
    view: Arrays = {"image": np.ascontiguousarray(picture.transpose(2, 0, 1))}
    for task, target in targets.items():
        view[task] = _truth(target, rows, columns, seen, mirrored, flip_index)
    return view


def _moved(
    matrix: NDArray[np.float64], input_hw: tuple[int, int], mirrored: bool, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The frame's matrix, zoomed about a drawn point, and mirrored."""
    zoom = float(np.exp(rng.uniform(np.log(ZOOM[0]), np.log(ZOOM[1]))))
    size = np.array([input_hw[1], input_hw[0]], np.float64)
    free = size * abs(zoom - 1)  # how far the window may move
    shift = -rng.random(2) * free if zoom >= 1 else rng.random(2) * free
    moved = matrix * zoom
    moved[:, 2] += (zoom - 1) / 2 + shift  # pixel centres: the edge, not the first centre, is the origin of a zoom
    if mirrored:
        moved[0] = -moved[0]
        moved[0, 2] += size[0] - 1
    return moved


def _looked_up(
    matrix: NDArray[np.float64], image_hw: tuple[int, int], grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Picture row of every grid row, column of every column (the matrix has no rotation), and which lie inside."""
    step = grid.stride
    y = ((np.arange(grid.hw[0]) + 0.5) * step - 0.5 - matrix[1, 2]) / matrix[1, 1]
    x = ((np.arange(grid.hw[1]) + 0.5) * step - 0.5 - matrix[0, 2]) / matrix[0, 0]
    rows, columns = np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
    ok_rows, ok_columns = (rows >= 0) & (rows < image_hw[0]), (columns >= 0) & (columns < image_hw[1])
    return rows.clip(0, image_hw[0] - 1), columns.clip(0, image_hw[1] - 1), ok_rows[:, None] & ok_columns


def _truth(
    target: Any,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    seen: NDArray[np.bool_],
    mirrored: bool,
    flip_index: NDArray[np.int64] | None,
) -> NDArray[Any]:
    at = np.ix_(rows, columns)
    if isinstance(target, SegTarget):
        labels = target.labels_HW[at]
        if mirrored and flip_index is not None:
            labels = np.append(flip_index, np.full(256 - len(flip_index), IGNORE)).astype(np.uint8)[labels]
        return np.where(seen, labels, IGNORE).astype(np.uint8)
    valid = target.mask_HW[at] & seen
    if isinstance(target, DepthTarget):
        return np.where(valid, target.depth_HW[at], 0).astype(np.float32)
    assert isinstance(target, NormalTarget)
    normals = np.where(valid[..., None], target.normals_HW3[at], 0).astype(np.float32)
    if mirrored:
        normals[..., 0] *= -1
    return np.rint(normals.transpose(2, 0, 1) * NORMAL_STEPS).astype(np.int16)


def recoloured(image_hw3: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Other light, white balance and contrast; sometimes grey, blurred or noisy."""
    x = image_hw3.astype(np.float32) / 255
    x = x ** np.float32(np.exp(rng.uniform(-0.35, 0.35)))
    x = x * rng.uniform(0.85, 1.15, 3).astype(np.float32) * np.float32(rng.uniform(0.75, 1.25))
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * np.float32(0.0 if rng.random() < 0.05 else rng.uniform(0.6, 1.4))
    if rng.random() < 0.2:
        x = cv2.GaussianBlur(x, (0, 0), float(rng.uniform(0.4, 1.2)))
    if rng.random() < 0.3:
        x = x + rng.normal(0, rng.uniform(0.005, 0.03), x.shape).astype(np.float32)
    return np.asarray(np.rint(np.clip(x, 0, 1) * 255), np.uint8)
