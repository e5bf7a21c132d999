"""Which joint moved? Positions of every keypoint in two runs, paired by picture: finer than AP by orders of magnitude.

A decoder that is off by a pixel moves every point by the same vector. Against the scatter of a model's errors that is
nothing, and AP on a dozen pictures cannot tell; between the two runs the scatter cancels. So each joint has two tests:

- *moved*: the mean shift from BASE to CAND along x or y is beyond ``min_shift``. Asked only where both sides ran the
  same weights: then nothing but code can have moved a joint. A shift that certainly lowers the error passes.
- *farther*: its mean distance from the truth rose, for certain and by more than half a per cent.

Holm holds over all tests of all joints of all models. Source of the columns: ``tasks/pose/joints.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from sapiens_bench.decide.pairs import Pair, joined
from sapiens_bench.decide.spec import SHARE_OF_BASE, JointRule
from sapiens_bench.stats.cluster_mean import ClusterMeans, above_p, cluster_means
from sapiens_bench.stats.paired import holm
from sapiens_bench.tasks.columns import vectors
from sapiens_bench.tasks.pose.joints import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["", "moved", "farther", "nearer"]
_PREFIX = "oks/"


@dataclass(frozen=True, slots=True)
class JointChange:
    """One keypoint of one model. Shares are of the longer side of a person's box."""

    pair: Pair
    joint: str
    n: int  # labelled points that both runs found
    n_groups: int
    dx_px: float  # mean shift from BASE to CAND, right and down
    dy_px: float
    shift: float  # its length, as a share
    base: float  # mean distance from the truth, as a share
    cand: float
    p_moved: float  # NaN where it is not asked
    p_farther: float
    p_holm: float  # the smaller one, adjusted
    kind: Kind

    @property
    def is_failed(self) -> bool:
        return self.kind in ("moved", "farther")

    @property
    def words(self) -> str:
        """``"left wrist moved by (+1.0, -0.2) px, 0.41 % of the box; error 2.31 % -> 2.40 %"``."""
        name = self.joint.replace("_", " ")
        verb = {"moved": "moved", "farther": "is farther off: moved", "nearer": "moved nearer to the truth:"}
        shift = f"by ({self.dx_px:+.1f}, {self.dy_px:+.1f}) px, {100 * self.shift:.2f} % of the box"
        return (
            f"{name} {verb.get(self.kind, 'moved')} {shift}; error {100 * self.base:.2f} % -> {100 * self.cand:.2f} %"
        )


class _Tests(NamedTuple):
    """Of all joints of one pair, each [K]."""

    shift_x: ClusterMeans
    shift_y: ClusterMeans
    pixels: tuple[Any, Any]
    base: ClusterMeans
    rise: ClusterMeans
    moved: Any  # p
    farther: Any  # p
    nearer: Any  # p
    points: Any


def joint_changes(
    pairs: Sequence[Pair], excluded: dict[tuple[str, str], set[str]], rule: JointRule, level: float
) -> tuple[list[JointChange], list[str]]:
    """Every joint of every pose pair, and remarks on pairs whose rows cannot tell."""
    tests: list[tuple[Pair, _Tests]] = []
    remarks = []
    for pair in pairs:
        if pair.a.task != "pose" or not rule.check:
            continue
        rows = joined(pair, excluded[pair.a.place])
        lacking = [n for n, table in zip((pair.name_a, pair.name_b), rows) if not _has_columns(table)]
        if lacking:
            remarks.append(
                f"{pair.a.title}: joints are not checked, an earlier version made the rows of {' and '.join(lacking)}."
            )
        elif rows[0].num_rows:
            tests.append((pair, _tests(pair, *rows, rule.min_shift / 100)))
    return list(_judged(tests, level)), remarks


def _has_columns(rows: pa.Table) -> bool:
    return all(_PREFIX + name in rows.column_names and not rows[_PREFIX + name].null_count for name in COLUMNS)


def _tests(pair: Pair, rows_a: pa.Table, rows_b: pa.Table, least: float) -> _Tests:
    """Only pictures where both runs found as many people count: another person found is no shift."""
    size = len(rows_a[_PREFIX + COLUMNS[0]][0])
    a, b = ({n: vectors(t, _PREFIX + n, size, np.float64) for n in COLUMNS} for t in (rows_a, rows_b))
    points = np.where(a["joint_points"] == b["joint_points"], a["joint_points"], 0.0)
    groups = rows_a["group"].to_pylist()

    def change(name: str) -> ClusterMeans:
        return cluster_means(np.where(points > 0, b[name] - a[name], 0.0), points, groups)

    x, y, rise = (change(name) for name in ("joint_dx", "joint_dy", "joint_distance"))
    base = cluster_means(np.where(points > 0, a["joint_distance"], 0.0), points, groups)
    moved = _moved_p(x, y, least) if _is_same_network(pair) else np.full(size, math.nan)
    return _Tests(
        x, y, (change("joint_dx_px").value, change("joint_dy_px").value), base, rise, moved, above_p(rise),
        above_p(rise._replace(value=-rise.value)), points.sum(axis=0).astype(int),
    )  # fmt: skip


def _moved_p(x: ClusterMeans, y: ClusterMeans, least: float) -> Any:
    """Two axes of two sides each. A single group has no error: there the shift itself decides."""
    shifts = [f._replace(value=np.abs(f.value)) for f in (x, y)]
    alone = [np.where(f.value > least, 0.0, 1.0) for f in shifts]
    sides = [np.where(f.groups == 1, sure, 2 * above_p(f, least)) for f, sure in zip(shifts, alone)]
    return np.minimum(1.0, 2 * np.minimum(*sides))


def _is_same_network(pair: Pair) -> bool:
    a, b = (member.fields.get("weights_sha256") for member in (pair.a, pair.b))
    return pair.a.model == pair.b.model and a == b


def _judged(tests: Sequence[tuple[Pair, _Tests]], level: float) -> Iterator[JointChange]:
    family: dict[str, float] = {}
    for i, (_, found) in enumerate(tests):
        for what, p_K in (("moved", found.moved), ("farther", found.farther)):
            family |= {f"{i}/{k}/{what}": float(p) for k, p in enumerate(p_K)}
    adjusted = holm(family)
    n_tests = sum(math.isfinite(p) for p in family.values())
    for i, (pair, found) in enumerate(tests):
        names = pair.a.fields["space"]["names"]
        for k, name in enumerate(names):
            p_moved, p_farther = (adjusted[f"{i}/{k}/{what}"] for what in ("moved", "farther"))
            yield _change(pair, name, k, found, (p_moved, p_farther, n_tests * float(found.nearer[k])), 1 - level)


def _change(
    pair: Pair, name: str, k: int, found: _Tests, adjusted: tuple[float, float, float], alpha: float
) -> JointChange:
    p_moved, p_farther, p_nearer = adjusted
    base, rise = float(found.base.value[k]), float(found.rise.value[k])
    kind: Kind = ""
    if p_moved <= alpha:
        kind = "nearer" if rise < 0 and p_nearer <= alpha else "moved"
    elif p_farther <= alpha and rise > SHARE_OF_BASE * base:
        kind = "farther"
    defined = [p for p in (p_moved, p_farther) if math.isfinite(p)]
    return JointChange(
        pair=pair,
        joint=name,
        n=int(found.points[k]),
        n_groups=int(found.rise.groups[k]),
        dx_px=float(found.pixels[0][k]),
        dy_px=float(found.pixels[1][k]),
        shift=float(np.hypot(found.shift_x.value[k], found.shift_y.value[k])),
        base=base,
        cand=base + rise,
        p_moved=float(found.moved[k]),
        p_farther=float(found.farther[k]),
        p_holm=min(defined, default=math.nan),
        kind=kind,
    )
