"""Accuracy against cost: runs and profiles joined by model, the frontier, and how error falls with size.

A group holds one data set under one protocol, because scores of different protocols must not be compared. Printed
scores have groups of their own, labelled so, and never share a frontier with measured ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import PublishedEntry
from sapiens_bench.profiling.record import ProfileRecord, ProfileRow
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.store.record import CellRecord, RunRecord

FLOOR_DEVICE = "A100"
FRONTIER = "●"
LEVEL = 0.95  # of the intervals of a power law


@dataclass(frozen=True, slots=True)
class Cost:
    """One axis."""

    key: str
    title: str
    unit: str
    note: str = ""  # how it was measured, or that it is predicted


@dataclass(frozen=True, slots=True)
class Point:
    """One model."""

    model: str
    title: str
    family: str
    score: float
    low: float = math.nan
    high: float = math.nan
    costs: dict[str, float] = field(default_factory=dict)  # Cost.key -> value; unknown costs are absent


@dataclass(frozen=True, slots=True)
class Group:
    """Models that may be compared."""

    task: str
    dataset: str
    protocol: str
    score_title: str
    unit: str  # "%" or that of the score
    higher_is_better: bool
    decimals: int
    is_published: bool
    points: tuple[Point, ...]
    costs: tuple[Cost, ...]

    @property
    def title(self) -> str:
        kind = "printed scores" if self.is_published else "measured scores"
        return f"{self.task}: {self.dataset}, {self.protocol} ({kind})"


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``error = factor * params ** exponent`` over one family, with the exponent's interval."""

    family: str
    points: tuple[Point, ...]
    factor: float
    exponent: float
    low: float  # of the exponent, NaN with fewer than three points
    high: float
    level: float
    residual: float  # standard deviation of log error
    covariance: tuple[tuple[float, float], tuple[float, float]]  # of (log factor, exponent), in log params
    is_error: bool  # True: fitted to 100 % minus the score


def join(
    runs: Sequence[RunRecord], profiles: Sequence[ProfileRecord], catalog: Catalog | None = None
) -> tuple[Group, ...]:
    """Groups with at least one model that has a score and a cost; measured ones first."""
    rows = [row for profile in profiles for row in profile.rows if row.counts or row.latency]
    costs, axes = costs_by_model(rows)
    groups = [*_measured(runs, costs, axes), *(_printed(rows, costs, axes, catalog) if catalog else ())]
    return tuple(group for group in groups if any(point.costs for point in group.points))


def document(groups: Sequence[Group]) -> Document:
    """Every group's table, and the scaling laws; as JSON, points and laws as numbers."""
    laws = scaling_sheet(groups)
    data = {
        "schema": "pareto/1",
        "groups": [
            {
                **{f.name: getattr(group, f.name) for f in fields(group)},
                "frontier": {cost.key: sorted(frontier_of(group, cost.key)) for cost in group.costs},
            }
            for group in groups
        ],
        "scaling": [
            {
                "task": group.task, "dataset": group.dataset, "protocol": group.protocol, "family": law.family,
                "models": [point.model for point in law.points], "factor": law.factor, "exponent": law.exponent,
                "low": law.low, "high": law.high, "level": law.level, "residual": law.residual,
            }
            for group in groups
            for law in scaling(group)
        ],
    }  # fmt: skip
    sheets = (*(sheet(group) for group in groups), *((laws,) if laws else ()))
    return Document("Accuracy against cost", sheets, data=data)


def costs_by_model(rows: Sequence[ProfileRow]) -> tuple[dict[str, dict[str, float]], tuple[Cost, ...]]:
    """Costs by model. Times and memory come from one device, precision and batch: the one most models have."""
    found: dict[str, dict[str, float]] = {}
    timed = Counter((r.device, r.precision, r.batch, r.is_compiled, r.is_channels_last) for r in rows if r.latency)
    chosen = min(timed, key=lambda key: (-timed[key], key[2], key)) if timed else None
    precision = chosen[1] if chosen else next((r.precision for r in rows), "fp32")
    for row in rows:
        costs = found.setdefault(row.model, {})
        if row.counts:
            costs["params"] = row.counts.params_total / 1e6
            costs["flops"] = row.counts.flops_per_crop / 1e9
        floor = row.floors.get(FLOOR_DEVICE)
        if floor and row.precision == precision:
            costs["floor"] = floor.seconds * 1e3 / row.batch
        if row.latency and (row.device, row.precision, row.batch, row.is_compiled, row.is_channels_last) == chosen:
            costs["latency"] = row.latency.stages.forward.p50 * 1e3
            if row.memory:
                peak = row.memory.peak_allocated_bytes or row.memory.peak_rss_bytes
                costs["memory"] = peak / 1e9
    how = f"{chosen[0]}, {chosen[1]}, batch {chosen[2]}{', compiled' if chosen[3] else ''}" if chosen else ""
    axes = (
        Cost("latency", "Latency, median", "ms", how),
        Cost("flops", "Operations per crop", "GFLOPs", "two per MAC, attention included"),
        Cost("params", "Parameters", "M"),
        Cost("memory", "Peak memory", "GB", how),
        Cost("floor", f"Floor on {FLOOR_DEVICE}", "ms", f"predicted, {precision}"),
    )
    present = {key for costs in found.values() for key in costs}
    return found, tuple(axis for axis in axes if axis.key in present)


def _measured(runs: Sequence[RunRecord], costs: dict[str, dict[str, float]], axes: tuple[Cost, ...]) -> Iterable[Group]:
    cells: dict[tuple[str, str, str], dict[str, CellRecord]] = {}
    for cell in (cell for run in runs for cell in run.cells):
        if cell.status == "done" and cell.kind == "network" and cell.headline in cell.scores:
            cells.setdefault((cell.task, cell.dataset, cell.protocol), {})[cell.model] = cell
    for (task, dataset, protocol), members in cells.items():
        facts = next(cell.scores[cell.headline] for cell in members.values())
        scale = 100.0 if facts.percent else 1.0
        points = tuple(_point(cell, scale, costs.get(cell.model, {})) for cell in members.values())
        yield Group(
            task, dataset, protocol, facts.title, "%" if facts.percent else facts.unit, facts.higher_is_better,
            facts.decimals, False, tuple(p for p in points if math.isfinite(p.score)), axes,
        )  # fmt: skip


def _point(cell: CellRecord, scale: float, costs: dict[str, float]) -> Point:
    score = cell.scores[cell.headline]
    value, low, high = scale * score.value, scale * score.low, scale * score.high
    return Point(cell.model, cell.title, cell.family or cell.model, value, low, high, costs)


def _printed(
    rows: Sequence[ProfileRow], costs: dict[str, dict[str, float]], axes: tuple[Cost, ...], catalog: Catalog
) -> Iterable[Group]:
    """Printed headline scores of the profiled models, by data set and protocol; only costs of the network itself."""
    computed = tuple(axis for axis in axes if axis.key in ("flops", "params", "floor"))
    models = {row.model: row for row in rows if row.model in catalog.models}
    for dataset in catalog.datasets.values():
        for name, protocol in dataset.protocols.items():
            # (entry, score) -> points: a protocol may have several tables; the one that most models stand in is shown
            found: dict[tuple[str, str], list[Point]] = {}
            entries: dict[str, PublishedEntry] = {}
            for model, row in models.items():
                if row.task != protocol.task:
                    continue
                for printed in catalog.published_rows(catalog.models[model].variant, protocol):
                    entries[printed.entry.id] = printed.entry
                    for key, value in list(printed.scores().items())[:1]:
                        scale = 100.0 if printed.entry.scale.get(key) == 0.01 else 1.0
                        known = {axis.key: costs[model][axis.key] for axis in computed if axis.key in costs[model]}
                        point = Point(model, row.title, row.family, value * scale, costs=known)
                        found.setdefault((printed.entry.id, key), []).append(point)
            (entry_id, key), points = max(found.items(), key=lambda item: len(item[1]), default=(("", ""), []))
            if len(points) < 2:
                continue
            entry = entries[entry_id]
            is_share = entry.scale.get(key) == 0.01
            upwards = entry.directions.get(entry.metrics[key], "up") != "down"
            yield Group(
                protocol.task, dataset.id, name, key.rpartition("/")[2], "%" if is_share else "", upwards,
                1 if is_share else 3, True, tuple(points), computed,
            )  # fmt: skip


def frontier(costs: Sequence[float], scores: Sequence[float], higher_is_better: bool = True) -> list[bool]:
    """Which points no other beats: at most the cost and a better score, or less cost and at least the score.

    NaN never lies on the frontier and beats nobody; equal points share their place.
    """
    sign = 1.0 if higher_is_better else -1.0
    usable = [math.isfinite(c) and math.isfinite(s) for c, s in zip(costs, scores, strict=True)]

    def beaten(i: int) -> bool:
        return any(
            usable[j]
            and costs[j] <= costs[i]
            and sign * scores[j] >= sign * scores[i]
            and (costs[j] < costs[i] or sign * scores[j] > sign * scores[i])
            for j in range(len(costs))
        )

    return [usable[i] and not beaten(i) for i in range(len(costs))]


def frontier_of(group: Group, cost: str) -> set[str]:
    """Models of a group on the frontier of one cost."""
    costs = [point.costs.get(cost, math.nan) for point in group.points]
    marks = frontier(costs, [point.score for point in group.points], group.higher_is_better)
    return {point.model for point, mark in zip(group.points, marks) if mark}


def sheet(group: Group) -> Sheet:
    """The table: best score first, every cost, with the frontier marked cost by cost."""
    marked = {cost.key: frontier_of(group, cost.key) for cost in group.costs}
    order = sorted(group.points, key=lambda p: -p.score if group.higher_is_better else p.score)
    lines = []
    for point in order:
        value = f"{point.score:.{group.decimals}f}"
        if math.isfinite(point.low) and math.isfinite(point.high):
            value += f" [{point.low:.{group.decimals}f}, {point.high:.{group.decimals}f}]"
        cells = []
        for cost in group.costs:
            known = point.costs.get(cost.key)
            mark = f" {FRONTIER}" if point.model in marked[cost.key] else ""
            cells.append(UNDEFINED if known is None else f"{known:.4g}{mark}")
        lines.append((point.title, value, *cells))
    arrow = "↑" if group.higher_is_better else "↓"
    heads = ("Model", " ".join(p for p in (group.score_title, group.unit, arrow) if p))
    notes = [f"{FRONTIER}: on the frontier of that cost: no model here is both cheaper and better."]
    notes += [f"{cost.title}: {cost.note}." for cost in group.costs if cost.note]
    if group.is_published:
        notes.append("Scores as printed in the paper; costs computed here.")
    return Sheet(
        group.title, (*heads, *(f"{c.title}, {c.unit}" for c in group.costs)), tuple(lines), notes=tuple(notes)
    )


def scaling(group: Group) -> list[PowerLaw]:
    """A power law of error in parameters for every family with at least three sizes.

    The error is 100 % minus a score that is a share of which more is better, and the score itself where less is better;
    other scores have no error to fit. Least squares in logarithms; the interval of the exponent is Student's, with two
    degrees of freedom fewer than there are sizes, so four sizes give a wide one.
    """
    if group.higher_is_better and group.unit != "%":
        return []
    families: dict[str, list[Point]] = {}
    for point in group.points:
        if point.costs.get("params", 0) > 0 and 0 < error_of(group, point.score) < math.inf:
            families.setdefault(point.family, []).append(point)
    laws = []
    for family, points in families.items():
        if len({p.costs["params"] for p in points}) >= 3:
            laws.append(_fit(group, family, sorted(points, key=lambda p: p.costs["params"])))
    return laws


def error_of(group: Group, score: float) -> float:
    """What the power law is fitted to."""
    return 100.0 - score if group.higher_is_better else score


def _fit(group: Group, family: str, points: list[Point]) -> PowerLaw:
    from scipy import stats

    x = np.log([point.costs["params"] for point in points])
    y = np.log([error_of(group, point.score) for point in points])
    design = np.stack([np.ones_like(x), x], 1)
    (intercept, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    left = y - design @ np.array([intercept, slope])
    freedom = len(x) - 2
    variance = float(left @ left) / freedom if freedom > 0 else math.nan
    covariance = variance * np.linalg.inv(design.T @ design)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(covariance[1, 1]) if freedom > 0 else math.nan
    (c00, c01), (c10, c11) = covariance.tolist()
    return PowerLaw(
        family, tuple(points), float(np.exp(intercept)), float(slope), float(slope) - reach, float(slope) + reach,
        LEVEL, math.sqrt(variance) if variance >= 0 else math.nan, ((c00, c01), (c10, c11)), group.higher_is_better,
    )  # fmt: skip


def band(law: PowerLaw, params_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(curve, low, high) of the fitted error over parameter counts in millions: the interval of the curve itself."""
    from scipy import stats

    x = np.log(params_m)
    centre = np.log(law.factor) + law.exponent * x
    (c00, c01), (_, c11) = law.covariance
    spread = np.sqrt(np.maximum(c00 + 2 * c01 * x + c11 * x * x, 0))
    reach = float(stats.t.ppf((1 + law.level) / 2, max(1, len(law.points) - 2))) * spread
    return np.exp(centre), np.exp(centre - reach), np.exp(centre + reach)


def scaling_sheet(groups: Sequence[Group]) -> Sheet | None:
    """Exponents of every family and group."""
    lines = []
    for group in groups:
        for law in scaling(group):
            what = "100 % - " + group.score_title if law.is_error else group.score_title
            lines.append((
                law.family, group.title, what, str(len(law.points)), f"{law.exponent:.3f}",
                f"[{law.low:.3f}, {law.high:.3f}]", f"{100 * (1 - 2**law.exponent):.1f} %", f"{law.residual:.3f}",
            ))  # fmt: skip
    if not lines:
        return None
    return Sheet(
        "Scaling: error = factor x parameters ^ exponent",
        ("Family", "Scores", "Error", "Sizes", "Exponent", "95 % interval", "Error cut per doubling", "Residual (log)"),
        tuple(lines),
        left=range(3),
        notes=("Few sizes, hence wide intervals: an interval that holds zero shows no trend.",),
    )
