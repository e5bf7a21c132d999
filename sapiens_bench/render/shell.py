"""Surfaces for clothes: one Catmull-Clark step, smoothing, and cutting triangles along a level line.

Axes: V coarse vertices, S fine vertices, F triangles, C channels.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sapiens_bench.render.human_kit import SKIRT, TIGHTS, Doubles, Ints, Kit, load_kit, triangles


@dataclass(frozen=True, slots=True, eq=False)
class Shell:
    """A helper surface of the kit, refined once."""

    coarse_V: Ints  # kit vertices it is made of
    neighbour_VN: Ints  # [V, n] neighbours among the coarse vertices, padded with the vertex itself
    stencil_SN: Ints  # [S, n] coarse vertices each fine vertex is a mean of
    weight_SN: Doubles
    faces_F3: Ints  # fine triangles
    template_S3: Doubles
    skin_SB: Doubles

    def refine(self, values_VC: Doubles) -> Doubles:
        """Coarse values [V, C] at the fine vertices [S, C]."""
        return _apply(self.stencil_SN, self.weight_SN, values_VC)

    def smooth(self, values_VC: Doubles, steps: int) -> Doubles:
        """Laplacian smoothing of coarse values."""
        for _ in range(steps):
            values_VC = 0.5 * values_VC + 0.5 * values_VC[self.neighbour_VN].mean(1)
        return values_VC


@lru_cache(maxsize=2)
def shell(group: int) -> Shell:
    """The tights (whole body without hands and head) or the skirt, refined; built once per process."""
    if group not in (TIGHTS, SKIRT):
        raise ValueError(f"group {group} is no garment helper")
    return refined(load_kit().quads(group))


def refined(quads_Q4: Ints) -> Shell:
    """Quads of the kit after one Catmull-Clark step."""
    kit = load_kit()
    used = np.unique(quads_Q4)
    local = np.searchsorted(used, quads_Q4)
    rows, fine_quads = _catmull_clark(local, len(used))
    width = max(len(row) for row in rows)
    stencil, weight = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width))
    for i, row in enumerate(rows):
        stencil[i, : len(row)], weight[i, : len(row)] = list(row), list(row.values())
    template, skin = _apply(stencil, weight, kit.mean_V3[used]), _apply(stencil, weight, kit.skin_VB[used])
    faces = triangles(fine_quads)
    return Shell(used, _neighbours(local, len(used)), stencil, weight, faces, template, skin)


def _apply(stencil_SN: Ints, weight_SN: Doubles, values_VC: Doubles) -> Doubles:
    out = np.zeros((values_VC.shape[1], len(stencil_SN)))
    values_CV = np.ascontiguousarray(values_VC.T)
    for k in range(stencil_SN.shape[1]):
        stencil_S, weight_S = np.ascontiguousarray(stencil_SN[:, k]), np.ascontiguousarray(weight_SN[:, k])
        for total_S, values_V in zip(out, values_CV):  # channel by channel: numpy is slow over an axis of three
            total_S += weight_S * values_V[stencil_S]
    return np.ascontiguousarray(out.T)


def _neighbours(quads: Ints, n: int) -> Ints:
    around: dict[int, list[int]] = defaultdict(list)
    for quad in quads.tolist():
        for a, b in zip(quad, quad[1:] + quad[:1]):
            around[a].append(b)
            around[b].append(a)
    lists = [sorted(set(around[i])) for i in range(n)]
    width = max(map(len, lists))
    return np.array([near + [i] * (width - len(near)) for i, near in enumerate(lists)])


def _catmull_clark(quads: Ints, n: int) -> tuple[list[dict[int, float]], Ints]:
    """Stencil of every fine vertex (vertices, then edges, then faces) and the fine quads.

    Source: Catmull and Clark 1978, with the boundary rules of cubic B-spline curves.
    """
    faces = quads.tolist()
    edge_faces: dict[tuple[int, int], list[int]] = defaultdict(list)
    vertex_faces: dict[int, list[int]] = defaultdict(list)
    for f, quad in enumerate(faces):
        for a, b in zip(quad, quad[1:] + quad[:1]):
            edge_faces[min(a, b), max(a, b)].append(f)
            vertex_faces[a].append(f)
    edges = sorted(edge_faces)
    vertex_edges: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for edge in edges:
        for end in edge:
            vertex_edges[end].append(edge)
    rows = [_vertex_row(v, faces, vertex_faces[v], vertex_edges[v], edge_faces) for v in range(n)]
    for edge in edges:
        inner = edge_faces[edge] if len(edge_faces[edge]) == 2 else []
        row: dict[int, float] = defaultdict(float)
        for end in edge:
            row[end] += 1 / (2 + len(inner))
        for f in inner:
            for v in faces[f]:
                row[v] += 1 / 16
        rows.append(row)
    rows += [dict.fromkeys(quad, 0.25) for quad in faces]
    number = {edge: n + i for i, edge in enumerate(edges)}
    fine = []
    for f, quad in enumerate(faces):
        at = [number[min(a, b), max(a, b)] for a, b in zip(quad, quad[1:] + quad[:1])]
        fine += [(quad[k], at[k], n + len(edges) + f, at[k - 1]) for k in range(4)]
    return rows, np.array(fine)


def _vertex_row(
    v: int,
    faces: list[list[int]],
    around: list[int],
    edges: list[tuple[int, int]],
    edge_faces: dict[tuple[int, int], list[int]],
) -> dict[int, float]:
    row: dict[int, float] = defaultdict(float)
    border = [edge for edge in edges if len(edge_faces[edge]) == 1]
    if border:
        row[v] += 0.75
        for a, b in border:
            row[b if a == v else a] += 0.25 / len(border)
        return row
    n = len(edges)
    row[v] += (n - 3) / n
    for f in around:
        for w in faces[f]:
            row[w] += 1 / (4 * n * len(around))
    for a, b in edges:
        row[a] += 1 / (n * n)
        row[b] += 1 / (n * n)
    return row


class Cut(NamedTuple):
    """Triangles left after cutting. Each vertex lies between two old ones."""

    faces_F3: Ints
    first_N: Ints  # vertex = (1 - share) * old[first] + share * old[second]
    second_N: Ints
    share_N: Doubles
    source_F: Ints  # the old triangle each new one comes from

    def carry(self, values_VC: Doubles) -> Doubles:
        """Values of the old vertices [V, C] at the new ones [N, C]."""
        share = self.share_N[:, None]
        return np.asarray((1 - share) * values_VC[self.first_N] + share * values_VC[self.second_N])


def cut(faces_F3: Ints, level_V: Doubles) -> Cut:
    """Keep the part of a surface where the linearly interpolated ``level`` is below zero.

    Triangles across the line are split there, so the border is the level line itself, not a staircase of faces.
    Vertices on a shared edge are computed once, so neighbours still meet.
    """
    below = level_V < 0
    inside = below[faces_F3]
    count = inside.sum(1)
    whole = np.flatnonzero(count == 3)
    one, two = np.flatnonzero(count == 1), np.flatnonzero(count == 2)
    # turn each crossing triangle so that the odd corner comes first; orientation is kept
    odd = np.where(count == 1, inside.argmax(1), (~inside).argmax(1))
    turned = np.stack([np.take_along_axis(faces_F3, (odd[:, None] + k) % 3, 1)[:, 0] for k in range(3)], 1)
    n = len(level_V)
    crossing = np.concatenate([turned[one][:, [0, 1]], turned[one][:, [0, 2]],
                               turned[two][:, [0, 1]], turned[two][:, [0, 2]]])  # fmt: skip
    low, high = crossing.min(1), crossing.max(1)
    key, at = np.unique(low * n + high, return_inverse=True)
    first, second = key // n, key % n
    share = level_V[first] / np.where(level_V[first] == level_V[second], 1.0, level_V[first] - level_V[second])
    at = at.reshape(-1) + n
    k1, k2 = len(one), len(two)
    a1, b1, a2, b2 = at[:k1], at[k1 : 2 * k1], at[2 * k1 : 2 * k1 + k2], at[2 * k1 + k2 :]
    t1, t2 = turned[one], turned[two]
    faces = np.concatenate([
        faces_F3[whole],
        np.stack([t1[:, 0], a1, b1], 1),
        np.stack([a2, t2[:, 1], t2[:, 2]], 1),
        np.stack([a2, t2[:, 2], b2], 1),
    ])  # fmt: skip
    source = np.concatenate([whole, one, two, two])
    used, compact = np.unique(faces, return_inverse=True)
    old = np.minimum(used, n - 1)
    new = np.maximum(used - n, 0)
    is_new = used >= n
    if not len(first):
        first = second = np.zeros(1, np.int64)
        share = np.zeros(1)
    return Cut(
        compact.reshape(-1, 3),
        np.where(is_new, first[new], old),
        np.where(is_new, second[new], old),
        np.where(is_new, share[new], 0.0),
        source,
    )


def normals_at_rest(vertices_V3: Doubles, faces_F3: Ints) -> Doubles:
    """Area-weighted unit vertex normals [V, 3]; fast, for offsetting (ground truth uses ``render.attributes``)."""
    corner_3F, columns = np.ascontiguousarray(faces_F3.T), np.ascontiguousarray(vertices_V3.T)
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = ([column[corner] for column in columns] for corner in corner_3F)
    ux, uy, uz = bx - ax, by - ay, bz - az  # a -> b
    vx, vy, vz = cx - ax, cy - ay, cz - az  # a -> c
    total = np.zeros((3, len(vertices_V3)))
    for axis, normal_F in enumerate((uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)):
        for corner_F in corner_3F:
            total[axis] += np.bincount(corner_F, normal_F, len(vertices_V3))
    length = np.sqrt(total[0] * total[0] + total[1] * total[1] + total[2] * total[2])
    total /= np.where(length > 0, length, 1.0)
    return np.ascontiguousarray(total.T)


def template_fields(template_N3: Doubles, skin_NB: Doubles, kit: Kit) -> TemplateFields:
    """Body coordinates of points of the template, in metres; see ``TemplateFields``."""
    x, y, z = template_N3.T
    arm_m, leg_m = np.full(len(x), -0.06), np.zeros(len(x))
    arm_w, leg_w = np.zeros(len(x)), np.zeros(len(x))
    for side in ("L", "R"):
        weight = _summed(skin_NB, kit, ("upperarm", "lowerarm", "wrist", "finger", "metacarpal"), side)
        along = _along(template_N3, *(kit.head(f"{bone}.{side}") for bone in ("upperarm01", "lowerarm01", "wrist")))
        arm_m = arm_m + weight * (along + 0.06)
        arm_w = arm_w + weight
        leg = _summed(skin_NB, kit, ("upperleg", "lowerleg", "foot", "toe"), side)
        is_side = (x >= 0) if side == "L" else (x < 0)
        joints = [kit.head(f"{bone}.{side}") for bone in ("upperleg01", "lowerleg01", "foot")]
        leg_m = np.where(is_side, _along(template_N3, *joints), leg_m)
        leg_w = leg_w + leg
    leg_m = np.where(arm_w > 0.5, -0.3, leg_m)
    neck = (
        (z - 0.692) - 0.5 * (y + 0.08) - 1.3 * np.maximum(np.abs(x) - 0.062, 0)
    )  # above the line from the pit of the neck to the seventh vertebra
    return TemplateFields(arm_m, arm_w, leg_m, leg_w, neck)


class TemplateFields(NamedTuple):
    """Where on the body a point is, metres on the template."""

    arm_m: Doubles  # along the arm from the shoulder joint, negative on the trunk
    arm_w: Doubles  # 1 on the arm, 0 on the trunk
    leg_m: Doubles  # along the leg from the hip joint, negative above it
    leg_w: Doubles
    neck: Doubles  # above the neck line


def _summed(skin: Doubles, kit: Kit, prefixes: tuple[str, ...], side: str) -> Doubles:
    chosen = [i for name, i in kit.bones.items() if name.startswith(prefixes) and name.endswith("." + side)]
    return np.asarray(skin[:, chosen].sum(1))


def _along(points: Doubles, a: Doubles, b: Doubles, c: Doubles) -> Doubles:
    """Metres along the bent line a-b-c; continues beyond c."""
    first, second = b - a, c - b
    length1, length2 = np.sqrt((first**2).sum()), np.sqrt((second**2).sum())
    t1, t2 = (points - a) @ first / length1, (points - b) @ second / length2
    return np.asarray(np.minimum(t1, length1) + np.maximum(t2, 0.0))
