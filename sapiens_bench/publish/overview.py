"""Plots that any task has: the scores with their intervals, score against cost, models against each other."""

from __future__ import annotations

import math

from sapiens_bench.decide import wording
from sapiens_bench.publish.pairwise import Contest, adjusted
from sapiens_bench.report import figures
from sapiens_bench.report.figures import Estimate, Figure
from sapiens_bench.report.numbers import head
from sapiens_bench.report.page import Matrix, MatrixCell
from sapiens_bench.report.table import Block, TableRow
from sapiens_bench.stats.multiple import ALPHA
from sapiens_bench.stats.paired import PairedDifference
from sapiens_bench.types import ScoreInfo

MOST_SCORES = 4  # plots of intervals beside each other
_COSTS = (("params_m", "Parameters (M)"), ("images_per_s", "Images per second, as measured in this run"))


def interval_figures(block: Block, prefix: str) -> list[Figure]:
    """Scores of the short table with their intervals."""
    columns = [c for c in block.shown() if c.kind == "score"][:MOST_SCORES]
    drawn = []
    for i, column in enumerate(columns):
        rows = [row for row in block.measured if column.key in row.cells]
        if rows:
            scale = 100.0 if column.percent else 1.0
            members = [_estimate(row, column.key, scale, j) for j, row in enumerate(rows)]
            drawn.append(figures.forest(f"{prefix}-interval{i}", column.title, head(column), {"": members}))
    return drawn


def _estimate(row: TableRow, key: str, scale: float, series: int) -> Estimate:
    cell = row.cells[key]
    return Estimate(
        row.title, cell.value * scale, cell.low * scale, cell.high * scale, series, is_faint=row.group != "network"
    )


def cost_figures(block: Block, prefix: str) -> list[Figure]:
    """The score that ranks against each cost that two models or more have."""
    column = next((c for c in block.columns if c.key == block.headline), None)
    drawn: list[Figure] = []
    if column is None:
        return drawn
    scale = 100.0 if column.percent else 1.0
    rows = [row for row in block.measured if row.group == "network" and column.key in row.cells]
    for name, title in _COSTS:
        points = []
        for i, row in enumerate(rows):
            cost = float(getattr(row, name))
            if math.isfinite(cost) and cost > 0 and math.isfinite(row.cells[column.key].value):
                points.append((cost, _estimate(row, column.key, scale, i)))
        if len(points) > 1:
            drawn.append(
                figures.scatter(f"{prefix}-{name.replace('_', '-')}", f"{column.title} against {title.lower()}", title,
                                head(column), points)
            )  # fmt: skip
    return drawn


def matrix(found: Contest, key: str) -> Matrix:
    """Every model against every other one; all pairs are one family."""
    info, n = found.info(key), len(found.members)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    found.draw({i: [key] for i in range(n)})
    differences = [found.difference(j, i, key) for i, j in pairs]  # row i minus column j
    p_holm = dict(zip(pairs, adjusted(differences)))
    known = dict(zip(pairs, differences))
    cells = tuple(tuple(_cell(i, j, known, p_holm, info) for j in range(n)) for i in range(n))
    groups = next((d.n_groups for d in differences if d is not None), 0)
    notes = (
        f"{info.title}{', %' if info.percent else f', {info.unit}' if info.unit else ''}: row minus column, paired "
        f"bootstrap over {groups} groups of {found.n_samples} images. Shaded: told from noise at 95 % after Holm's "
        f"correction over the {len(pairs)} pairs.",
    )
    return Matrix(f"Paired differences in {info.title}", tuple(m.title for m in found.members), cells, notes)


def _cell(
    i: int,
    j: int,
    known: dict[tuple[int, int], PairedDifference | None],
    p_holm: dict[tuple[int, int], float],
    info: ScoreInfo,
) -> MatrixCell:
    if i == j:
        return MatrixCell("")
    pair = (i, j) if i < j else (j, i)
    d, p, sign = known[pair], p_holm[pair], 1.0 if i < j else -1.0
    if d is None or not math.isfinite(d.difference):
        return MatrixCell("–", "undefined")
    places = wording.digits(d.difference, info)
    ends = sorted((sign * d.low, sign * d.high))
    shown = [wording.shown(end, info, places) for end in ends]
    is_better = (sign * d.difference > 0) == info.higher_is_better
    verdict = ("better" if is_better else "worse") if p <= ALPHA else ""
    hint = f"95 % interval [{shown[0]}, {shown[1]}], Holm p {wording.p_text(p)}"
    return MatrixCell(wording.shown(sign * d.difference, info, places), hint, verdict)
