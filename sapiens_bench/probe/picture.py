"""A row of pictures: input, labels, depth and normals, prediction beside truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sapiens_bench.store.files import write_atomic

Image = NDArray[np.uint8]
GAP = 4  # pixels between pictures


def label_picture(labels_HW: NDArray[Any], colours: Sequence[tuple[int, int, int]]) -> Image:
    """Labels in the set's colours; black where there is no class."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return np.asarray(table[labels_HW], np.uint8)


def depth_picture(depth_HW: NDArray[Any], mask_HW: NDArray[np.bool_]) -> Image:
    """Near is bright, far is dark, over the mask's own range; grey off it."""
    out = np.full((*depth_HW.shape, 3), 60, np.uint8)
    if mask_HW.any():
        low, high = np.percentile(depth_HW[mask_HW], (1, 99))
        near = np.clip((high - np.where(mask_HW, depth_HW, high)) / max(float(high - low), 1e-6), 0, 1)
        colour = cv2.applyColorMap((near * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
        out[mask_HW] = colour[mask_HW]
    return out


def normal_picture(normals_HW3: NDArray[Any], mask_HW: NDArray[np.bool_]) -> Image:
    """(n + 1) / 2 as colour; grey off the mask."""
    out = np.full(normals_HW3.shape, 60, np.uint8)
    out[mask_HW] = np.rint((np.clip(normals_HW3[mask_HW], -1, 1) + 1) * 127.5).astype(np.uint8)
    return out


def save_rows(rows: Sequence[Sequence[Image]], path: Path, height: int = 200, quality: int = 85) -> Path:
    """Pictures of equal size side by side, row under row, as JPEG."""
    lines = []
    for row in rows:
        small = [
            cv2.resize(p, (round(p.shape[1] * height / p.shape[0]), height), interpolation=cv2.INTER_AREA) for p in row
        ]
        gap = np.full((height, GAP, 3), 255, np.uint8)
        lines.append(np.hstack([part for picture in small for part in (picture, gap)][:-1]))
    between = np.full((GAP, lines[0].shape[1], 3), 255, np.uint8)
    sheet = np.vstack([part for line in lines for part in (line, between)][:-1])
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(sheet[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return write_atomic(path, data.tobytes())
