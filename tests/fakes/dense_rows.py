"""Seeded rows of the dense metrics, as if that many images had been measured."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

ALIGNMENTS = ("none", "median", "scale", "scale_shift")


def lists(values: NDArray[np.integer]) -> pa.ListArray:
    n, k = values.shape
    return pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32) * k, values.ravel())


def seg_rows(n: int, n_classes: int, seed: int = 0) -> pa.Table:
    """Six in ten classes in an image; what is wrong of a class is called one other class, or none."""
    rng = np.random.default_rng(seed)
    area = rng.integers(0, 40_000, (n, n_classes)) * (rng.random((n, n_classes)) < 0.6)
    table = np.zeros((n, n_classes, n_classes + 1), np.int64)
    for c in range(n_classes):
        table[:, c, c] = area[:, c] * rng.uniform(0.5, 1, n)
        table[np.arange(n), c, rng.integers(0, n_classes + 1, n)] += area[:, c] - table[:, c, c]
    hit = np.diagonal(table, axis1=1, axis2=2)
    return pa.table(
        {
            "seg/confusion": lists(table.reshape(n, -1)),
            "boundary/intersection": lists(hit // 7),
            "boundary/union": lists(area // 6),
        }
    )


def depth_rows(n: int, seed: int = 0) -> pa.Table:
    """Sums of images of different size; errors of images are spread over two orders of magnitude."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1_000, 300_000, n)
    columns: dict[str, object] = {"depth/n_mask": pixels}
    for alignment in ALIGNMENTS:
        one = {"n": pixels, "log": pixels * rng.normal(0, 0.01, n), "clamped": np.zeros(n, np.int64)}
        names = ("sq_error", "abs_rel", "sq_rel", "log_sq", "abs_log10")
        one |= {field: pixels * rng.gamma(2, 0.05, n) for field in names}
        for i, field in enumerate(("delta1", "delta2", "delta3")):
            one[field] = (pixels * (1 - 0.1 * rng.random(n) / (i + 1))).astype(np.int64)
        columns |= {f"depth/{alignment}/{field}": values for field, values in one.items()}
    true = rng.integers(0, 3_000, (n, 10)) * (rng.random((n, 1)) < 0.8)
    columns["depth_edge/true"] = lists(true)
    columns["depth_edge/predicted"] = lists(true + rng.integers(0, 500, (n, 10)))
    columns["depth_edge/both"] = lists(true // 2)
    return pa.table(columns)


def normal_rows(n: int, seed: int = 0) -> pa.Table:
    """Rayleigh-like angles, each image with a scale of its own."""
    rng = np.random.default_rng(seed)
    angle, histogram = (np.arange(3600) + 0.5) * 0.05, np.zeros((n, 3600), np.int32)
    for image in range(n):
        scale = rng.uniform(5, 25)
        density = angle * np.exp(-(angle**2) / (2 * scale**2))
        histogram[image] = rng.poisson(density / density.sum() * rng.integers(1_000, 300_000))
    pixels, cumulative = histogram.sum(axis=1, dtype=np.int64), histogram.cumsum(axis=1)
    return pa.table(
        {
            "normal/n_mask": pixels + rng.integers(0, 3, n),
            "normal/n": pixels,
            "normal/angle_deg": histogram @ angle + rng.random(n),
            "normal/angle_sq_deg": histogram @ angle**2 + rng.random(n),
            "normal/below": lists(cumulative[:, [99, 149, 224, 449, 599]].astype(np.int64)),
            "normal/histogram": lists(histogram),
        }
    )
