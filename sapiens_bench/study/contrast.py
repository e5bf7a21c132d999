"""Is one model more sensitive than another? Differences of changes, condition by condition, over the same draws.

Of models A and B under a condition t with reference r: (B_t - B_r) - (A_t - A_r). What makes a picture hard cancels in
each change, and what a condition costs everyone cancels in their difference. Axes: B draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

from sapiens_bench.decide import pairs, wording
from sapiens_bench.decide.sides import Member
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import UsageError
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.stats.draws import OF_DIFFERENCES
from sapiens_bench.stats.paired import PairedDifference, change_of, holm
from sapiens_bench.study.design import Trial
from sapiens_bench.study.document import interval
from sapiens_bench.study.effects import LEVEL, Scored, joined, scored, untested
from sapiens_bench.study.sight import UNSEEN, is_unseen
from sapiens_bench.study.stored import StoredStudy
from sapiens_bench.types import ScoreInfo

SCHEMA = "study-compare/1"


@dataclass(frozen=True, slots=True)
class Contrast:
    """One condition, two models (or one model in two studies)."""

    trial: Trial
    found: PairedDifference  # a and b: the changes of A and of B
    p_holm: float  # over the conditions of this pair
    unseen: tuple[bool, bool] = (False, False)  # whether every row of A, of B keeps its bits


@dataclass(frozen=True, slots=True)
class Rivals:
    """Two profiles side by side."""

    name_a: str
    name_b: str
    title: str  # of the data set and protocol
    info: ScoreInfo
    n: int
    n_groups: int
    contrasts: tuple[Contrast, ...]


def contrasts(
    studies: Sequence[StoredStudy],
    *,
    models: Sequence[str] = (),
    score: str = "",
    n_draws: int = OF_DIFFERENCES,
    seed: int = 0,
) -> list[Rivals]:
    """The models of one study with each other, or each model of two studies with itself.

    Raises:
        UsageError: studies of different kinds or without a common condition, or nothing to compare.
    """
    if len(studies) == 2 and studies[0].kind != studies[1].kind:
        raise UsageError(f"{studies[0].path} is a study of {studies[0].kind}, {studies[1].path} of {studies[1].kind}.")
    chosen = [study.side.chosen(models).members for study in studies]
    if len(studies) == 1:
        couples = [(a, b) for a, b in combinations(chosen[0], 2) if a.place == b.place]
        a_study = b_study = studies[0]
    else:
        couples = [(a, b) for a in chosen[0] for b in chosen[1] if (a.place, a.model) == (b.place, b.model)]
        a_study, b_study = studies
    weights, result = Draws(n_draws, seed), []
    for a, b in couples:
        shared = [t for t, _ in a_study.under if t.name in {u.name for u, _ in b_study.under}]
        under_a, under_b = _under(a_study, a, shared), _under(b_study, b, shared)
        trials = [t for t in shared if t.name in under_a and t.name in under_b]
        if trials:
            members = [a, *(under_a[t.name] for t in trials)], [b, *(under_b[t.name] for t in trials)]
            result.append(_rivals(trials, *members, weights, score, len(studies) == 2))
    if not result and len(studies) == 1 and not couples:
        raise UsageError(_lonely(studies[0], chosen[0]))
    if not result:
        raise UsageError("No two profiles have a condition in common: there is nothing to compare.")
    return result


def _lonely(study: StoredStudy, chosen: Sequence[Member]) -> str:
    """Why the models of one study cannot be compared with each other."""
    names = ", ".join(dict.fromkeys(m.model for m in chosen))
    only = "is the only model chosen" if len(study.side.members) > len(chosen) else "is its only model"
    return (
        f"{study.path}: {names} {only} on a data set. `compare` asks which of two models a condition costs more: make "
        f"a study of several with --models, or give a second study (`compare {study.path} OTHER`). What each condition "
        f"does to this one is told by `report {study.path}`."
    )


def _under(study: StoredStudy, of: Member, trials: Sequence[Trial]) -> dict[str, Member]:
    wanted = {t.name for t in trials}
    return {
        trial.name: m
        for trial, side in study.under
        for m in side.members
        if trial.name in wanted and (m.place, m.model) == (of.place, of.model)
    }


def _rivals(
    trials: Sequence[Trial], a: Sequence[Member], b: Sequence[Member], weights: Draws, score: str, across: bool
) -> Rivals:
    excluded = pairs.left_out([*a, *b])[a[0].place]
    key = score or a[0].headline
    info = pairs.score_info(pairs.task_of(a[0]), key)
    tables = joined([*a, *b], excluded)
    under = scored(tables, pairs.task_of(a[0]), key, weights)
    n = len(a)
    unseen = [(is_unseen(tables[0], tables[t]), is_unseen(tables[n], tables[n + t])) for t in range(1, n)]
    found = [_contrast(under, t, n) for t in range(1, n)]
    found = [untested(each) if all(blind) else each for each, blind in zip(found, unseen)]
    adjusted = holm({trial.name: each.p_value for trial, each in zip(trials, found)})
    names = ("A: " + a[0].title, "B: " + b[0].title) if across else (a[0].title, b[0].title)
    title = f"{a[0].dataset_title} · {a[0].protocol}"
    rows = tuple(Contrast(trial, each, adjusted[trial.name], u) for trial, each, u in zip(trials, found, unseen))
    return Rivals(*names, title, info, tables[0].num_rows, under.n_groups, rows)


def _contrast(under: Scored, t: int, n: int) -> PairedDifference:
    """Change of the second model less that of the first; tables are those of the first (n), then of the second."""
    (a_B, a_G), (b_B, b_G) = under.changes(t), under.changes(n + t, n)
    changes = under.points[t] - under.points[0], under.points[n + t] - under.points[n]
    without_G = None if a_G is None or b_G is None else b_G - a_G
    return change_of(*changes, b_B - a_B, LEVEL, under.n_groups, without_G)


def document(studies: Sequence[StoredStudy], found: Sequence[Rivals], *, n_draws: int, seed: int) -> Document:
    """The contrasts for any format."""
    return Document(
        title="sapiens-bench: comparison of sensitivities",
        sheets=tuple(_sheet(rivals) for rivals in found),
        facts={f"study {letter}": str(study.path) for letter, study in zip("AB", studies)},
        notes=tuple(_notes(studies, found, n_draws, seed)),
        data={
            "schema": SCHEMA,
            "studies": [str(study.path) for study in studies],
            "draws": n_draws,
            "seed": seed,
            "rivals": [
                {
                    "a": r.name_a, "b": r.name_b, "n": r.n, "n_groups": r.n_groups, "unit": r.info.unit,
                    "conditions": [
                        {"name": c.trial.name, **asdict(c.found), "p_holm": c.p_holm,
                         "a_unseen": c.unseen[0], "b_unseen": c.unseen[1]}
                        for c in r.contrasts
                    ],
                }
                for r in found
            ],
        },
    )  # fmt: skip


def _sheet(rivals: Rivals) -> Sheet:
    info = rivals.info
    unit = f"{info.title} %" if info.percent else wording.unit(info)
    rows = []
    for c in rivals.contrasts:
        places = wording.digits(c.found.difference, info)
        changes = [
            "not seen" if blind else wording.shown(change, info)
            for change, blind in zip((c.found.a, c.found.b), c.unseen)
        ]
        rows.append((
            f"{c.trial.series} {c.trial.level}", *changes, wording.shown(c.found.difference, info, places),
            interval(c.found, info),
            wording.p_text(c.found.p_value), wording.p_text(c.p_holm),
        ))  # fmt: skip
    return Sheet(
        title=f"{rivals.title} · {rivals.n} images, {rivals.n_groups} groups · {unit}",
        heads=("Condition", f"Change of {rivals.name_a}", f"Change of {rivals.name_b}", "Difference",
               "95 % interval", "p", "Holm p"),
        rows=tuple(rows),
        left=(0,),
        bold=[(row, 3) for row, c in enumerate(rivals.contrasts) if c.p_holm <= 0.05],
    )  # fmt: skip


def _notes(studies: Sequence[StoredStudy], found: Sequence[Rivals], n_draws: int, seed: int) -> Iterator[str]:
    yield (
        "Difference: change of the second minus change of the first. Paired bootstrap over groups, "
        f"{n_draws} draws, seed {seed}, the same for both. Holm p holds for the conditions of one table together."
    )
    if any(any(c.unseen) for r in found for c in r.contrasts):
        yield f"Not seen: {UNSEEN}. A condition that neither sees has no p, and Holm does not count it."
    yield from wording.few_groups(r.n_groups for r in found)
    for study in studies:
        if study.incomplete:
            yield f"INCOMPLETE: {study.path}: {study.incomplete}"
