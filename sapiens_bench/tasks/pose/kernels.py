"""Compiled inner loops of OKS scoring: matching, and precision under image weights. Imported by compiled.py alone.

Importing this module compiles it, or loads what an earlier import compiled. Every result equals that of the numpy code
to the last bit: the exponential is numpy's, sums add in numpy's order, and nothing may be fused or reordered.

Axes: G people, D detections by image and falling score, P pairs (of each person all detections of its image), K
keypoints, I images, E elements, B weightings, A area ranges, T thresholds, C cells (area-major), R recall levels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from sapiens_bench.tasks.pose.oks import AREA_RANGES_A2, EPSILON, FALSE_BITS_A, N_CELLS, OKS_THRESHOLDS

_N_T = len(OKS_THRESHOLDS)
_LOWEST = float(OKS_THRESHOLDS[0])
# A similarity is the mean of exp(-e). Points with e up to a level count 1, those beyond it exp(-level): an upper bound
# that needs no exponential. The slack is far above what rounding of e could move.
_SLACK = 1e-9
_LEVEL = 1.5
_BEYOND = math.exp(-_LEVEL)
_NEVER = np.iinfo(np.int64).max
_BLOCK = 128  # numpy adds blocks of up to this many values with eight running sums


def _compiled(signature: str | list[str]) -> Any:
    return njit(signature, cache=True, nogil=True, error_model="numpy")


_part_of_kernel = njit(inline="always", error_model="numpy")  # compiled where it is called


@_compiled("float64(float64[::1], int64, int64)")
def _block_sum(values, start, n):  # type: ignore[no-untyped-def]
    """Sum of up to 128 values from ``start``. Source: numpy ``pairwise_sum`` (umath/loops_utils.h.src)."""
    if n < 8:
        total = 0.0
        for i in range(start, start + n):
            total += values[i]
        return total
    r0, r1, r2, r3 = values[start], values[start + 1], values[start + 2], values[start + 3]
    r4, r5, r6, r7 = values[start + 4], values[start + 5], values[start + 6], values[start + 7]
    end = start + n - n % 8
    for i in range(start + 8, end, 8):
        r0, r1, r2, r3 = r0 + values[i], r1 + values[i + 1], r2 + values[i + 2], r3 + values[i + 3]
        r4, r5, r6, r7 = r4 + values[i + 4], r5 + values[i + 5], r6 + values[i + 6], r7 + values[i + 7]
    total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(end, start + n):
        total += values[i]
    return total


@_compiled("float64(float64[::1], int64, int64)")
def pairwise_sum(values, start, n):  # type: ignore[no-untyped-def]
    """``values[start : start + n].sum()`` in numpy's order: halves of whole eights, down to blocks."""
    if n <= _BLOCK:
        return _block_sum(values, start, n)
    size, level = np.empty(64, np.int64), np.empty(64, np.int64)  # stretches to add, and how often they were halved
    part, depth = np.empty(64), np.empty(64, np.int64)  # sums of stretches that wait for their other half
    size[0], level[0], todo, done, at = n, 0, 1, 0, start
    while todo > 0:
        todo -= 1
        length, halved = size[todo], level[todo]
        if length > _BLOCK:
            half = length // 2
            half -= half % 8
            size[todo], level[todo] = length - half, halved + 1
            size[todo + 1], level[todo + 1] = half, halved + 1
            todo += 2
            continue
        part[done], depth[done] = _block_sum(values, at, length), halved
        done += 1
        at += length
        while done > 1 and depth[done - 1] == depth[done - 2]:
            part[done - 2] += part[done - 1]
            depth[done - 2] -= 1
            done -= 1
    return part[0]


@_part_of_kernel
def _look_at(gx_K, gy_K, visible_K, near_x, near_y, columns):  # type: ignore[no-untyped-def]
    """A person's points, hidden ones infinitely far away; returns the number of visible ones, listed in ``columns``."""
    n = 0
    for k in range(len(visible_K)):
        near_x[k] = gx_K[k] if visible_K[k] else np.inf
        near_y[k] = gy_K[k]
        columns[n] = k
        n += visible_K[k]
    return n


@_part_of_kernel
def _is_far(px_K, py_K, near_x, near_y, inverse_K, half, n):  # type: ignore[no-untyped-def]
    """Whether the similarity is below the lowest threshold for certain."""
    n_close = 0
    for k in range(len(inverse_K)):
        dx, dy = px_K[k] - near_x[k], py_K[k] - near_y[k]
        n_close += (dx * dx + dy * dy) * inverse_K[k] * half <= _LEVEL * (1 + _SLACK)
    return n_close + _BEYOND * (n - n_close) < (_LOWEST - _SLACK) * n


@_part_of_kernel
def _write_visible(out, px_K, py_K, near_x, near_y, columns, n, variances_K, scale):  # type: ignore[no-untyped-def]
    for i in range(n):
        k = columns[i]
        dx, dy = px_K[k] - near_x[k], py_K[k] - near_y[k]
        out[i] = (dx * dx + dy * dy) / variances_K[k] / scale * -0.5


@_part_of_kernel
def _write_to_box(out, px_K, py_K, box, variances_K, scale):  # type: ignore[no-untyped-def]
    """A person without a visible point is compared by the distance to twice the person's box."""
    left, right, top, bottom = box[0] - box[2], box[0] + box[2] * 2, box[1] - box[3], box[1] + box[3] * 2
    for k in range(len(variances_K)):
        dx = np.maximum(0.0, left - px_K[k]) + np.maximum(0.0, px_K[k] - right)
        dy = np.maximum(0.0, top - py_K[k]) + np.maximum(0.0, py_K[k] - bottom)
        out[k] = (dx * dx + dy * dy) / variances_K[k] / scale * -0.5


@_compiled(
    "UniTuple(int64, 2)(int64, float64[::1], int64[::1], float64[:, ::1], float64[:, ::1], int64[::1], int64[::1],"
    "int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], boolean[:, ::1], float64[::1], float64[:, ::1],"
    "float64[::1])"
)
def exponents(  # type: ignore[no-untyped-def]
    start_G, buffer, n_points_P, dx_DK, dy_DK, row_D, first_D_G, n_D_G, first_P_G, gx_GK, gy_GK, visible_GK, scale_G,
    box_G4, variances_K,
):  # fmt: skip
    """Exponents of the similarity's terms, person by person, until ``buffer`` is full.

    Only those of pairs that can reach the lowest threshold are written; the number of terms of each pair goes to
    ``n_points_P`` (0: cannot). ``buffer`` must have room for all detections of any one person; the coordinates of a
    detection lie in the row ``row_D``.

    Returns:
        (first person not done, values written).
    """
    n_keypoints, at, g = len(variances_K), 0, start_G
    near_x, near_y, columns = np.empty(n_keypoints), np.empty(n_keypoints), np.empty(n_keypoints, np.int64)
    inverse_K = 1.0 / variances_K
    while g < len(scale_G) and at + n_D_G[g] * n_keypoints <= len(buffer):
        scale = scale_G[g]
        n = _look_at(gx_GK[g], gy_GK[g], visible_GK[g], near_x, near_y, columns)
        for rank in range(n_D_G[g]):
            row, pair = row_D[first_D_G[g] + rank], first_P_G[g] + rank
            px_K, py_K, n_points_P[pair] = dx_DK[row], dy_DK[row], n
            if n == 0:
                _write_to_box(buffer[at:], px_K, py_K, box_G4[g], variances_K, scale)
                n_points_P[pair] = n_keypoints
            elif _is_far(px_K, py_K, near_x, near_y, inverse_K, 0.5 / scale, n):
                n_points_P[pair] = 0
            else:
                _write_visible(buffer[at:], px_K, py_K, near_x, near_y, columns, n, variances_K, scale)
            at += n_points_P[pair]
        g += 1
    return g, at


@_compiled("void(int64, int64, float64[::1], int64[::1], float64[::1])")
def means(start_P, end_P, terms, n_points_P, oks_P):  # type: ignore[no-untyped-def]
    """Similarities of pairs from their terms, which lie end to end; 0 for pairs without terms."""
    at = 0
    for pair in range(start_P, end_P):
        n = n_points_P[pair]
        oks_P[pair] = 0.0
        if n > 0:
            oks_P[pair] = pairwise_sum(terms, at, n) / n
            at += n


@_part_of_kernel
def _sort_near(oks_P, first_P_G, first, n_people, rank, near):  # type: ignore[no-untyped-def]
    """People of an image that are near enough, the most similar first, of equal similarity the last; their number."""
    n_near = 0
    for j in range(n_people):
        oks, at = oks_P[first_P_G[first + j] + rank], n_near
        if not oks >= _LOWEST:
            continue
        while at > 0 and oks >= oks_P[first_P_G[first + near[at - 1]] + rank]:
            near[at] = near[at - 1]
            at -= 1
        near[at] = j
        n_near += 1
    return n_near


@_part_of_kernel
def _reached(oks, enough):  # type: ignore[no-untyped-def]
    """The cells whose threshold a similarity reaches, as bits."""
    cells = np.int64(0)
    for t in range(_N_T):
        cells |= np.int64(oks >= enough[t]) << t
    return cells | (cells << _N_T) | (cells << 2 * _N_T)


@_part_of_kernel
def _nobody_matched(area):  # type: ignore[no-untyped-def]
    """A false positive in every area range that the detection is in."""
    bits = np.int64(0)
    for a in range(len(AREA_RANGES_A2)):
        if not (area < AREA_RANGES_A2[a, 0] or area > AREA_RANGES_A2[a, 1]):
            bits |= FALSE_BITS_A[a]
    return bits


@_part_of_kernel
def _count_people(image_G, ignored_GA, n_people_IA, counts_G):  # type: ignore[no-untyped-def]
    """Per image and area range the people that count, and per person the cells in which it does, as bits."""
    for g in range(len(image_G)):
        for a in range(len(AREA_RANGES_A2)):
            if not ignored_GA[g, a]:
                n_people_IA[image_G[g], a] += 1
                counts_G[g] |= np.int64((1 << _N_T) - 1) << a * _N_T


@_compiled(
    "void(float64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], boolean[:, ::1],"
    "boolean[::1], float64[::1], int64[::1], int64[::1], int64[:, ::1])"
)
def match_images(  # type: ignore[no-untyped-def]
    oks_P, first_P_G, first_G_I, n_G_I, first_D_I, n_D_I, image_G, ignored_GA, crowd_G, area_D, row_D, bits_D,
    n_people_IA,
):  # fmt: skip
    """Greedy matching, best score first; fills ``bits_D`` as oks.Matches says, and adds to ``n_people_IA``.

    All cells at once, as bits: of the people near enough, those that count come before ignored ones, the more similar
    before the less, of equal similarity the later; each takes the cells in which nobody before did and it is free. The
    area of a detection lies in the row ``row_D``.
    """
    enough = np.minimum(OKS_THRESHOLDS, 1 - 1e-10)
    counts_G = np.zeros(len(crowd_G), np.int64)
    _count_people(image_G, ignored_GA, n_people_IA, counts_G)
    for image in range(len(n_G_I)):
        n_people, first = n_G_I[image], first_G_I[image]
        taken, near = np.zeros(n_people, np.int64), np.empty(n_people, np.int64)
        for rank in range(n_D_I[image]):
            n_near = _sort_near(oks_P, first_P_G, first, n_people, rank, near)
            hit, true = np.int64(0), np.int64(0)
            for must_count in (True, False):
                for i in range(n_near):
                    j = near[i]
                    cells = _reached(oks_P[first_P_G[first + j] + rank], enough) & ~(taken[j] | hit)
                    cells &= counts_G[first + j] if must_count else ~counts_G[first + j]
                    hit |= cells
                    true |= cells if must_count else 0
                    taken[j] |= 0 if crowd_G[first + j] else cells
            bits = _nobody_matched(area_D[row_D[first_D_I[image] + rank]])
            bits_D[first_D_I[image] + rank] = (bits & ~(hit << N_CELLS)) | true


@_part_of_kernel
def _count_base(bits_E, column_E, base, base_E, images):  # type: ignore[no-untyped-def]
    """Number of elements up to each that the base cell counts, itself included; ``images``: of those. All of them."""
    n = np.int64(0)
    for e in range(len(bits_E)):
        if ((bits_E[e] >> base) | (bits_E[e] >> (base + N_CELLS))) & 1:
            images[n] = column_E[e]
            n += 1
        base_E[e] = n
    return n


@_part_of_kernel
def _number_stops(before, upto, special, start, end, n_base, number, is_stop):  # type: ignore[no-untyped-def]
    """Replace counts by the number of the stop at which they are reached (0: the start); which counts are stops."""
    number[: n_base + 1] = 0
    for i in range(start, end):
        number[before[i]], number[upto[i]] = 1, 1
    number[0] = 0
    for n in range(1, n_base + 1):
        is_stop[n - 1] = number[n]
        number[n] += number[n - 1]
    for i in range(start, end):
        before[i] = -1 if special[i] else number[before[i]]
        upto[i] = number[upto[i]]


@_compiled(
    "int64(int64[::1], int64[::1], int64[::1], int64[::1], int32[:, ::1], int8[:, ::1], int64[::1], int64[::1],"
    "int64[::1], int32[::1], int32[::1], int32[::1], int8[::1], int8[::1])"
)
def plan_cells(  # type: ignore[no-untyped-def]
    bits_E, column_E, cell_C, base_of_C, base_images, is_stop, n_base, bounds, special_C, before, upto, special_images,
    gains, hits,
):  # fmt: skip
    """What happens in each cell, in element order, told by what the base cell of its area counts.

    A run of true positives with nothing counted in between is one entry: precision rises inside it, so that only its
    end matters. An element that the base cell counts otherwise is an entry of its own: a special one.

    Args:
        column_E: of each element the column of its weight.
        base_of_C: number of each cell's base, rising; the base of an area is its cell of the highest threshold.
        base_images and all that follow: filled, as ``precisions`` wants them; the entries of cell c are those from
            ``bounds[c]`` to ``bounds[c + 1]``. A special element adds 1 or -1 to the count (``gains``).

    Returns:
        How many special entries there are; ``bounds[-1]`` says how many entries.
    """
    n_elements, n, n_special, first_entry = len(bits_E), np.int64(0), np.int64(0), np.int64(0)
    base_E, number = np.empty(n_elements, np.int32), np.empty(n_elements + 1, np.int32)
    special = np.empty(len(before), np.int8)
    for c in range(len(cell_C)):
        cell, row, bounds[c] = cell_C[c], base_of_C[c], n
        base = cell // _N_T * _N_T + _N_T - 1
        if c == 0 or row != base_of_C[c - 1]:
            n_base[row] = _count_base(bits_E, column_E, base, base_E, base_images[row])
            first_entry = n
        special_C[c] = n_special
        for e in range(n_elements):
            bits, rank = bits_E[e], base_E[e]
            hit = (bits >> cell) & 1
            counted = ((bits >> base) | (bits >> (base + N_CELLS))) & 1
            gain = (hit | ((bits >> (cell + N_CELLS)) & 1)) - counted
            if gain != 0:
                before[n], upto[n], special[n] = rank, rank, 1
                special_images[n_special], gains[n_special], hits[n_special] = column_E[e], gain, hit
                n_special += 1
                n += 1
            elif hit and n > bounds[c] and not special[n - 1] and upto[n - 1] == rank - 1:
                upto[n - 1] = rank
            elif hit:
                before[n], upto[n], special[n] = rank - 1, rank, 0
                n += 1
        if c + 1 == len(cell_C) or base_of_C[c + 1] != row:
            _number_stops(before, upto, special, first_entry, n, n_base[row], number, is_stop[row])
    bounds[-1] = n
    return n_special


@_part_of_kernel
def _add_up(weights_I, images, is_stop, n, totals):  # type: ignore[no-untyped-def]
    """Running totals of the weights of ``n`` elements at the stops; the first total is 0."""
    total, stop = np.int64(0), 1
    for i in range(n):
        total += weights_I[images[i]]
        totals[stop] = total
        stop += is_stop[i]


@_part_of_kernel
def _walk(weights_I, totals, start, end, special, before, upto, special_images, gains, hits, needed, best):  # type: ignore[no-untyped-def]
    """One cell under one weighting: fills the precision at each level, returns the weighted true positives."""
    best[:] = 0.0
    true, gained, level, highest, next_needed = np.int64(0), np.int64(0), 0, 0.0, needed[1]
    for i in range(start, end):
        is_hit = 1.0
        if before[i] >= 0:
            true += totals[upto[i]] - totals[before[i]]
        else:
            weight, is_hit = np.int64(weights_I[special_images[special]]), float(hits[special])
            gained += weight * gains[special]
            true += weight * hits[special]
            special += 1
        while next_needed <= true:
            best[level], highest, level = highest, 0.0, level + 1
            next_needed = needed[level + 1] if level + 1 < len(needed) else _NEVER
        highest = max(highest, is_hit * true / (totals[upto[i]] + gained + EPSILON))
    best[level] = highest
    for r in range(len(needed) - 2, -1, -1):
        best[r] = max(best[r], best[r + 1])
    return true


_PRECISIONS = (
    "void({}[:, ::1], int32[:, ::1], int8[:, ::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1],"
    "int32[::1], int32[::1], int32[::1], int8[::1], int8[::1], int64[:, :, ::1], float64[:, :, ::1], int64[:, ::1])"
)


@_compiled([_PRECISIONS.format("uint8"), _PRECISIONS.format("int64")])
def precisions(  # type: ignore[no-untyped-def]
    weights_BI, base_images, is_stop, n_base, base_of_C, start_C, end_C, special_C, before, upto, special_images, gains,
    hits, needed_BCR, precision_BCR, hits_BC,
):  # fmt: skip
    """Interpolated precision at the recall levels, and weighted true positives, of each cell under each weighting.

    Args:
        base_images, is_stop, n_base: per base the images of the elements it counts, [bases, E], which of these running
            totals are looked at, and their number.
        base_of_C, start_C, end_C, special_C: of each cell the base, where its entries lie, and its first special one.
        before, upto: entries of ``plan_cells``, told by the number of the stop; -1 before a special one.
        special_images, gains, hits: the special entries.
        needed_BCR: fewest true positives that reach each recall level.
    """
    totals = np.zeros((len(n_base), base_images.shape[1] + 2), np.int64)
    for b in range(len(weights_BI)):
        for base in range(len(n_base)):
            _add_up(weights_BI[b], base_images[base], is_stop[base], n_base[base], totals[base])
        for c in range(len(base_of_C)):
            hits_BC[b, c] = _walk(
                weights_BI[b], totals[base_of_C[c]], start_C[c], end_C[c], special_C[c], before, upto, special_images,
                gains, hits, needed_BCR[b, c], precision_BCR[b, c],
            )  # fmt: skip
