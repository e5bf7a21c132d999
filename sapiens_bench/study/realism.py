"""Do models rank on rendered people as they do on photographs? Beside a study, from a run on photographs.

A rank correlation of few models is weak evidence: of four, only perfect agreement has p below 0.05 (1 of 24 orders). It
is told with its exact p value and never moves a number of the study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.decide import pairs, wording
from sapiens_bench.decide.sides import Member, Side
from sapiens_bench.errors import UsageError
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.stats.bootstrap import point_scores
from sapiens_bench.study.effects import Profile
from sapiens_bench.types import Cell

CAN_SHOW = (
    "Rendered evidence shows what one change does to a model on rendered people, alone and with exact truth. It does "
    "not show how large the effect is on photographs, and no effect here is no proof of none there."
)
UNCHECKED = (
    "Realism: not checked. Give --beside a run of the same models on photographs to see whether they rank alike there; "
    "docs/study.md tells how the four shipped pose networks do."
)
UNCHECKED_OVER_TIME = "Realism: not checked; no clips of real people with exact motion are at hand."
MOST_EXACT = 8  # models whose orders are all counted


@dataclass(frozen=True, slots=True)
class Agreement:
    """Scores of the same models on rendered people and on photographs."""

    rendered: str  # data set and protocol
    real: str
    key: str
    rows: tuple[tuple[str, float, float], ...]  # title, rendered, real
    rho: float  # Spearman's rank correlation
    p_value: float  # of a rho at least as large if ranks had nothing to do with each other; NaN over MOST_EXACT
    sheet: Sheet


FEWEST_MODELS = 3  # that can be ranked


def require_shared(cells: Sequence[Cell], beside: Side) -> None:
    """See before a study is made that its models can be ranked beside a run.

    Raises:
        UsageError: fewer than three of its models were measured there.
    """
    models, tasks, sets = ({getattr(cell, name) for cell in cells} for name in ("model", "task", "dataset"))
    there = dict.fromkeys(m.model for m in beside.members if m.task in tasks and m.dataset not in sets)
    shared = [model for model in there if model in models]
    if len(shared) < FEWEST_MODELS:
        raise UsageError(
            f"--beside {beside.path}: ranks take {FEWEST_MODELS} models that both have, on another data set than "
            f"{', '.join(sorted(sets))}. Of this study's {len(models)} it has {', '.join(shared) or 'none'}."
        )


def agreement(found: Sequence[Profile], beside: Side) -> list[Agreement]:
    """One for each data set of the study and each of the run, over the models that both have.

    Raises:
        UsageError: fewer than three models are in both.
    """
    result = []
    places = dict.fromkeys(p.place for p in found)
    real_places = dict.fromkeys(m.place for m in beside.members)
    for place in places:
        here = {p.model: p for p in found if p.place == place}
        for other in real_places:
            there = {m.model: m for m in beside.members if m.place == other and m.task == found[0].task}
            shared = [model for model in here if model in there]
            if len(shared) >= FEWEST_MODELS and other[0] != place[0]:
                result.append(_agreement([here[m] for m in shared], [there[m] for m in shared]))
    if not result:
        raise UsageError(f"--beside {beside.path}: fewer than three models of this study were measured on photographs.")
    return result


def _agreement(profiles: Sequence[Profile], members: Sequence[Member]) -> Agreement:
    info, key = profiles[0].info, profiles[0].key
    rows = tuple((p.title, p.reference, _score(m, key)) for p, m in zip(profiles, members))
    rho = spearman([r for _, r, _ in rows], [r for _, _, r in rows])
    p_value = exact_p([r for _, r, _ in rows], [r for _, _, r in rows])
    real, rendered = (f"{x.dataset} {x.protocol}" for x in (members[0], profiles[0]))
    sheet = Sheet(
        title=f"Rendered and real: rank correlation {rho:.2f} over {len(rows)} models, "
        f"{'exact p ' + wording.p_text(p_value) if p_value == p_value else 'no exact p'}",
        heads=("Model", f"{info.title} on {rendered}", f"{info.title} on {real}"),
        rows=tuple((title, wording.shown(a, info), wording.shown(b, info)) for title, a, b in rows),
        left=(0,),
    )
    return Agreement(rendered, real, key, rows, rho, p_value, sheet)


def _score(member: Member, key: str) -> float:
    prefix, _, name = key.partition("/")
    metric = next(m for m in pairs.task_of(member).metrics if m.name == prefix)
    return point_scores(metric.aggregate(member.rows), member.rows.num_rows, [name])[name]


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; equal values share their mean rank. NaN where one side does not vary.

    Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    x, y = (_ranks(np.asarray(values, np.float64)) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / spread) if spread > 0 else math.nan


def exact_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Share of all orders of ``b`` whose rank correlation with ``a`` is at least that found."""
    found = spearman(a, b)
    if len(a) > MOST_EXACT or found != found:
        return math.nan
    all_orders = [spearman(a, order) for order in permutations(b)]
    return float(np.mean([rho >= found - 1e-12 for rho in all_orders]))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values], np.float64)
