"""COCO matching of detections to people with numpy, for many images at once: what runs where nothing is compiled.

Axes: G people, D detections (both flattened over images), S selected detections, P pairs of one detection and one
person of the same image, I images, K keypoints, A area ranges (all, medium, large), T OKS thresholds.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.tasks.pose.oks import (
    AREA_RANGES_A2,
    EPSILON,
    FALSE_BITS_A,
    N_CELLS,
    OKS_THRESHOLDS,
    Detections,
    Group,
    People,
    columns_of,
    ignored,
    outside_ranges,
)

_CHUNK_VALUES = 1 << 16  # keypoint distances held at once; fits the second-level cache
_COUNTS = np.int64(1) << 62  # added to a similarity's bit pattern: people that count come before ignored ones


def match_group(
    people: People, detections: Detections, selected: NDArray[np.int64], n_images: int, group: Group
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Outcome bits of the selected detections [len(selected)], and people that count [I, A]."""
    visible_GK = people.visible_GK[:, group.index]
    ignored_GA = ignored(people, group)
    n_people = np.zeros((n_images, len(AREA_RANGES_A2)), np.int64)
    np.add.at(n_people, people.image_G, ~ignored_GA)

    image_S = detections.image_D[selected]
    bits = np.where(outside_ranges(detections.area_D[selected]), 0, FALSE_BITS_A).sum(axis=1)  # nobody matched yet
    n_gt = np.bincount(people.image_G, minlength=n_images)
    n_dt = np.bincount(image_S, minlength=n_images)
    first_gt, first_dt = np.cumsum(n_gt) - n_gt, np.cumsum(n_dt) - n_dt

    pairs_of_S = n_gt[image_S]
    first_pair = np.cumsum(pairs_of_S) - pairs_of_S
    pair_S = np.repeat(np.arange(len(selected)), pairs_of_S)
    pair_G = np.arange(len(pair_S)) - first_pair[pair_S] + first_gt[image_S[pair_S]]
    oks_P = _similarity(people, visible_GK, detections, group, selected[pair_S], pair_G)

    active = np.flatnonzero((n_gt > 0) & (n_dt > 0))
    width_I = 1 << np.ceil(np.log2(np.maximum(n_gt, 1))).astype(np.int64)  # people padded to a power of two
    for width in np.unique(width_I[active]):
        images = active[width_I[active] == width]
        images = images[np.argsort(-n_dt[images], kind="stable")]  # images with a further detection form a prefix
        _match_bucket(_Bucket.gather(images, int(width), first_gt, n_gt, ignored_GA, people.is_crowd_G),
                      first_dt[images], n_dt[images], first_pair, oks_P, bits)  # fmt: skip
    return bits, n_people


class _Bucket(NamedTuple):
    """Images with about as many people; m images, g padded people."""

    column_mg: NDArray[np.int64]  # position of a person among the image's people, clipped where padded
    exists_mg: NDArray[np.bool_]
    counts_mAg: NDArray[np.bool_]  # the person is not ignored in the area range
    crowd_mg: NDArray[np.bool_]

    @classmethod
    def gather(
        cls,
        images: NDArray[np.int64],
        width: int,
        first_gt: NDArray[np.int64],
        n_gt: NDArray[np.int64],
        ignored_GA: NDArray[np.bool_],
        crowd_G: NDArray[np.bool_],
    ) -> _Bucket:
        column = np.minimum(np.arange(width), n_gt[images][:, None] - 1)
        person = first_gt[images][:, None] + column
        exists = np.arange(width) < n_gt[images][:, None]
        return cls(column, exists, ~ignored_GA[person].transpose(0, 2, 1), crowd_G[person])


def _match_bucket(
    bucket: _Bucket,
    first_dt: NDArray[np.int64],
    n_dt: NDArray[np.int64],
    first_pair: NDArray[np.int64],
    oks_P: NDArray[np.float64],
    bits: NDArray[np.int64],
) -> None:
    """Greedy matching, best score first, for all images, areas and thresholds of a bucket; overwrites ``bits``."""
    m, n_areas, width = bucket.counts_mAg.shape
    free_gmAT = np.ones((width, m, n_areas, len(OKS_THRESHOLDS)), bool)
    for rank in range(int(n_dt[0])):
        n = int(np.searchsorted(-n_dt, -rank, side="left"))  # images with more than `rank` detections
        detection = first_dt[:n] + rank
        oks = np.where(bucket.exists_mg[:n], oks_P[first_pair[detection][:, None] + bucket.column_mg[:n]], -1.0)
        rows = np.flatnonzero((oks >= OKS_THRESHOLDS[0]).any(axis=1))  # the others match nobody
        if len(rows) == 0:
            continue
        is_hit, is_true = _pick(oks[rows], rows, bucket, free_gmAT)
        at = detection[rows]
        bits[at] = _pack(is_true) | (bits[at] & ~(_pack(is_hit) << N_CELLS))


def _pick(
    oks_rg: NDArray[np.float64], rows: NDArray[np.int64], bucket: _Bucket, free_gmAT: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """One detection of each row takes its person; returns "matched" and "matched one that counts", both [r, A, T].

    A person that counts comes before an ignored one; of equal similarity the last one wins. Both are one comparison of
    integers: the bit pattern of a positive float grows with its value.
    """
    best = np.full((len(rows), *free_gmAT.shape[2:]), -1, np.int64)
    person = np.full(best.shape, -1, np.int8 if len(free_gmAT) < 128 else np.int32)
    free = [free_gmAT[j][rows] for j in range(len(free_gmAT))]
    key_rAg = np.ascontiguousarray(oks_rg).view(np.int64)[:, None, :] + _COUNTS * bucket.counts_mAg[rows]
    enough_rgT = oks_rg[..., None] >= np.minimum(OKS_THRESHOLDS, 1 - 1e-10)
    for j, is_free in enumerate(free):
        key = key_rAg[:, :, j, None]
        better = is_free & enough_rgT[:, None, j] & (key >= best)
        np.copyto(best, key, where=better)
        np.copyto(person, j, where=better, casting="unsafe")
    for j, is_free in enumerate(free):
        free_gmAT[j][rows] = is_free & ((person != j) | bucket.crowd_mg[rows, j, None, None])
    return best >= 0, best >= _COUNTS


def _pack(cells_rAT: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The 30 cells of each row as the low bits of one integer."""
    padded = np.zeros((len(cells_rAT), 32), np.uint8)
    padded[:, :N_CELLS] = cells_rAT.reshape(len(cells_rAT), N_CELLS)
    packed: NDArray[np.int64] = np.packbits(padded, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.int64)
    return packed


def _similarity(
    people: People,
    visible_GK: NDArray[np.bool_],
    detections: Detections,
    group: Group,
    pair_D: NDArray[np.int64],
    pair_G: NDArray[np.int64],
) -> NDArray[np.float64]:
    """OKS of each pair [P], on the group's keypoints.

    A person without a visible point in the group is compared by the distance to twice the person's box.
    Source: pycocotools ``computeOks``.
    """
    dx_DK, dy_DK = columns_of(detections.x_DK, group.index), columns_of(detections.y_DK, group.index)
    gx_GK, gy_GK = columns_of(people.x_GK, group.index), columns_of(people.y_GK, group.index)
    box_G4, scale_G = people.boxes_xywh_G4, people.area_G + EPSILON
    n_visible_G = visible_GK.sum(axis=1)
    order = np.argsort(n_visible_G[pair_G], kind="stable")
    oks = np.zeros(len(order))
    step = max(1, _CHUNK_VALUES // max(1, len(group.index)))
    n_blind = int(np.count_nonzero(n_visible_G[pair_G] == 0))
    bounds = [*range(0, n_blind, step), *range(n_blind, len(order), step), len(order)]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for start, end in pairwise(bounds):
            chunk = order[start:end]
            d, g = pair_D[chunk], pair_G[chunk]
            dx, dy = dx_DK[d], dy_DK[d]
            if end <= n_blind:
                dx, dy = _beyond(dx, box_G4[g, 0], box_G4[g, 2]), _beyond(dy, box_G4[g, 1], box_G4[g, 3])
            else:
                dx -= gx_GK[g]
                dy -= gy_GK[g]
            dx *= dx
            dy *= dy
            dx += dy
            dx /= group.variances
            dx /= scale_G[g][:, None]
            dx *= -0.5
            np.exp(dx, out=dx)
            oks[chunk] = dx.sum(axis=1) / dx.shape[1] if end <= n_blind else _mean_visible(dx, visible_GK[g])
    return oks


def _beyond(
    x_PK: NDArray[np.float64], start_P: NDArray[np.float64], size_P: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance of each coordinate from the box grown by its own size on both sides; 0 inside."""
    low, high = (start_P - size_P)[:, None], (start_P + size_P * 2)[:, None]
    beyond: NDArray[np.float64] = np.maximum(0, low - x_PK) + np.maximum(0, x_PK - high)
    return beyond


def _mean_visible(values_PK: NDArray[np.float64], visible_PK: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean over visible points of rows sorted by their number of visible points, none of which is 0.

    Rows are squeezed to the visible points before the sum: numpy's pairwise sum rounds by position, and adding zeros
    for hidden points would change the last bit.
    """
    count = visible_PK.sum(axis=1)
    flat = values_PK.ravel() if count[0] == values_PK.shape[1] else values_PK[visible_PK]
    means = np.empty(len(count))
    numbers, first = np.unique(count, return_index=True)
    offset = 0
    for n, start, end in zip(numbers, first, [*first[1:], len(count)], strict=True):
        size = int(n) * int(end - start)
        means[start:end] = flat[offset : offset + size].reshape(-1, int(n)).sum(axis=1) / n
        offset += size
    return means
