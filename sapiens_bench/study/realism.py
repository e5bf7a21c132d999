"""Do models rank on rendered people as they do on photographs? Beside a study, from a run on photographs.

A rank correlation of few models is weak evidence: of four, only perfect agreement has p below 0.05 (1 of 24 orders). It
is told with its exact p value and never moves a number of the study.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide import pairs, wording
from sapiens_bench.decide.sides import Member, Side
from sapiens_bench.errors import UsageError
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.stats.bootstrap import point_scores
from sapiens_bench.study.design import RENDERED
from sapiens_bench.study.effects import Profile
from sapiens_bench.study.video import MEASURES, Motion
from sapiens_bench.types import Cell

CAN_SHOW = (
    "Rendered evidence shows what one change does to a model on rendered people, alone and with exact truth. It does "
    "not show how large the effect is on photographs, and no effect here is no proof of none there."
)
KNOWN = "Realism: "  # a protocol's caveat says after it how models rank there and on photographs, with the evidence
UNCHECKED = "Realism: not checked: no runs of three models on photographs with this truth are at hand."
UNCHECKED_OVER_TIME = "Realism: not checked: no clips of real people with exact motion are at hand."
ASK = "--beside RUN, a run of the same models on photographs, puts their ranks there beside these."
ASK_OVER_TIME = "--beside RUN, a study or run of the same models over real frames, puts their ranks beside these."
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


def said(places: Iterable[tuple[str, str]], catalog: Catalog, *, is_beside: bool, over_time: bool = False) -> list[str]:
    """What is known of how rendered people compare with photographs, for data sets and protocols of a study.

    Args:
        catalog: the card of the rendered data set says it, once for every report.
        is_beside: ranks on photographs stand beside the study.
        over_time: the study is one of frames in a row.
    """
    protocols = list(dict.fromkeys(protocol for dataset, protocol in places if dataset == RENDERED))
    if not protocols:
        return []
    known = [UNCHECKED_OVER_TIME] if over_time else [_known(catalog, protocol) for protocol in protocols]
    return [CAN_SHOW, *dict.fromkeys(known), *([] if is_beside else [ASK_OVER_TIME if over_time else ASK])]


def _known(catalog: Catalog, protocol: str) -> str:
    about = catalog.dataset(RENDERED).protocols.get(protocol)
    _, is_known, evidence = " ".join(about.caveat.split() if about else []).partition(KNOWN)
    return f"{KNOWN}{evidence}" if is_known else UNCHECKED


FEWEST_MODELS = 3  # that can be ranked


def require_shared(cells: Sequence[Cell], there: Sequence[Member | Motion], path: Path) -> None:
    """See before a study is made that its models can be ranked beside a run.

    Args:
        there: what was measured in the run at ``path``.

    Raises:
        UsageError: fewer than three of its models were measured there.
    """
    models, tasks, sets = ({getattr(cell, name) for cell in cells} for name in ("model", "task", "dataset"))
    measured = dict.fromkeys(m.model for m in there if m.task in tasks and m.dataset not in sets)
    shared = [model for model in measured if model in models]
    if len(shared) < FEWEST_MODELS:
        raise UsageError(
            f"--beside {path}: ranks take {FEWEST_MODELS} models that both have, on another data set than "
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
            if len(shared) >= FEWEST_MODELS and other[0] != place[0] and _has(there[shared[0]], found[0].key):
                result.append(_agreement([here[m] for m in shared], [there[m] for m in shared]))
    if not result:
        raise UsageError(
            f"--beside {beside.path}: fewer than three models of this study have {found[0].key} there, on another data "
            "set. Name a score of both with --score, or run the same models there."
        )
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


def _has(member: Member, key: str) -> bool:
    """Whether the protocol of a run has the score of the study: dense tasks differ in their metrics."""
    return any(f"{m.name}/{name}" == key for m in pairs.task_of(member).metrics for name in m.scores)


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


def agreement_over_time(here: Sequence[Motion], there: Sequence[Motion]) -> Sheet:
    """How models rank over time on clips and on other frames in a row, measure by measure.

    Raises:
        UsageError: fewer than three models have any measure in both.
    """
    real = {m.model: m for m in there if m.dataset != here[0].dataset and m.task == here[0].task}
    shared = [m for m in here if m.model in real]
    rows = []
    for key, head in MEASURES[here[0].task]:
        both = [(m.values[key][0], real[m.model].values[key][0]) for m in shared]
        a, b = [x for x, y in both if x == x and y == y], [y for x, y in both if x == x and y == y]
        if len(a) >= FEWEST_MODELS:
            rows.append((head, str(len(a)), f"{spearman(a, b):.2f}", wording.p_text(exact_p(a, b))))
    if not rows:
        raise UsageError(
            f"--beside: fewer than three models of this study were measured over time on other frames than "
            f"{here[0].dataset}'s ({', '.join(real) or 'none'} were). Run the same models there."
        )
    where = next(iter(real.values()))
    return Sheet(
        title=f"Ranks on {here[0].dataset} {here[0].protocol} and on {where.dataset} {where.protocol}",
        heads=("Measure", "Models", "Rank correlation", "Exact p"),
        rows=tuple(rows),
        left=(0,),
    )
