"""A study as tables: what every model keeps, then every condition, and the same as numbers for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from sapiens_bench.decide import wording
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.stats.paired import PairedDifference, holm
from sapiens_bench.stats.power import POWER, smallest_seen
from sapiens_bench.study.effects import Effect, Profile
from sapiens_bench.study.folder import SCHEMA
from sapiens_bench.study.realism import Agreement
from sapiens_bench.study.sight import UNSEEN
from sapiens_bench.types import ScoreInfo

TITLES = {
    "corruption": "sensitivity to corruptions",
    "factor": "sensitivity to one factor of the scene",
    "boxes": "accuracy against box quality",
    "resolution": "accuracy against resolution",
}
SURE = 0.05  # Holm's p below which a condition counts as one that has an effect


def document(
    kind: str,
    found: Sequence[Profile],
    *,
    n_draws: int,
    seed: int,
    facts: dict[str, str],
    notes: Sequence[str] = (),
    beside: Sequence[Agreement] = (),
    realism: Sequence[str] = (),
) -> Document:
    """The study for any format.

    Args:
        beside: how the models rank on photographs.
        realism: what is known of that, see ``realism.said``.
        notes: what went wrong in which run, and what is to be said beside the numbers.
    """
    sheets = [sheet for _, members in groupby(found, key=lambda p: p.place) for sheet in sheets_of(list(members))]
    sheets += [each.sheet for each in beside]
    return Document(
        title=f"sapiens-bench study: {TITLES[kind]}",
        sheets=tuple(sheets),
        facts=facts,
        notes=(*notes, *_notes(found, n_draws, seed), *realism),
        data={
            **_data(kind, found, n_draws, seed, facts),
            "realism": [_agreed(each) for each in beside],
            "realism_known": list(realism),
        },
    )


def sheets_of(found: Sequence[Profile]) -> Iterator[Sheet]:
    """The tables of one data set and protocol: all models, each thing changed where there are several, conditions."""
    yield _summary(found)
    if len({e.trial.series for e in found[0].effects}) > 1:
        yield _sensitivity(found)
    yield from (_conditions(profile) for profile in found)


def _summary(found: Sequence[Profile]) -> Sheet:
    first = found[0]
    rows = []
    for p in found:
        worst = p.worst
        rows.append((
            p.title,
            wording.shown(p.reference, p.info),
            wording.shown(p.kept.b, p.info),
            _share(p),
            UNDEFINED if worst is None else _named(worst),
            UNDEFINED if worst is None else wording.shown(worst.found.difference, p.info),
            f"{sum(e.p_holm <= SURE for e in p.effects)} of {len(p.seen)}",
        ))  # fmt: skip
    unit = f"{first.info.title} %" if first.info.percent else wording.unit(first.info)
    return Sheet(
        title=f"{first.dataset_title} · {first.protocol} · {first.n} images, {first.n_groups} groups",
        heads=("Model", unit, "Mean of conditions", "Kept % [95 %]", "Worst", "Worst - ref.", "With an effect"),
        rows=tuple(rows),
        left=(0, 4),
    )


def _sensitivity(found: Sequence[Profile]) -> Sheet:
    """What each thing that is changed does to each model at most: the sensitivity profile."""
    series = list(dict.fromkeys(e.trial.series for e in found[0].effects))
    p_of = [series_p(p) for p in found]
    rows, bold = [], []
    for row, name in enumerate(series):
        cells = [name.replace("_", " ")]
        for column, p in enumerate(found):
            most = max((e for e in p.effects if e.trial.series == name), key=lambda e: _size(e.found.difference))
            places = wording.digits(most.found.difference, p.info)
            where = f" at {most.trial.level.replace('_', ' ')}" if most.found.difference else ""  # else at every level
            seen = any(e.trial.series == name for e in p.seen)
            cells.append(wording.shown(most.found.difference, p.info, places) + where if seen else "not seen")
            if p_of[column].get(name, 1.0) <= SURE:
                bold.append((row, column + 1))
        rows.append(tuple(cells))
    unit = f"{found[0].info.title} %" if found[0].info.percent else wording.unit(found[0].info)
    return Sheet(
        title=f"Largest change of {unit} by each; in bold with an effect (Holm over what is changed)",
        heads=("Changed", *(p.title for p in found)),
        rows=tuple(rows),
        left=(0,),
        bold=bold,
    )


def _size(change: float) -> float:
    return abs(change) if change == change else -1.0


def series_p(p: Profile) -> dict[str, float]:
    """p of each thing that is changed: the smallest of its levels times their number, then Holm over the things."""
    raw: dict[str, list[float]] = {}
    for e in p.seen:
        raw.setdefault(e.trial.series, []).append(e.found.p_value)
    known = {name: [v for v in values if v == v] for name, values in raw.items()}
    return holm({name: min(1.0, len(raw[name]) * min(v)) if v else float("nan") for name, v in known.items()})


def _share(p: Profile) -> str:
    if p.kept.difference != p.kept.difference:
        return UNDEFINED
    ends = f" [{100 * p.kept.low:.1f}, {100 * p.kept.high:.1f}]" if p.kept.low == p.kept.low else ""
    return f"{100 * p.kept.difference:.1f}{ends}"


def _named(effect: Effect) -> str:
    return f"{effect.trial.series} {effect.trial.level}"


def _conditions(p: Profile) -> Sheet:
    unit = f"{p.info.title} %" if p.info.percent else wording.unit(p.info)
    return Sheet(
        title=f"{p.title} · {p.dataset}",
        heads=("Condition", unit, "Change", "95 % interval", "p", "Holm p", "Sees >="),
        rows=tuple(_line(e, p) for e in p.effects),
        left=(0,),
        bold=[(row, 2) for row, e in enumerate(p.effects) if e.p_holm <= SURE],
    )


def _line(e: Effect, p: Profile) -> tuple[str, ...]:
    found, info = e.found, p.info
    places = wording.digits(found.difference, info)
    least = smallest_seen(found)
    return (
        _named(e),
        wording.shown(found.b, info),
        "not seen" if e.is_unseen else wording.shown(found.difference, info, places),
        interval(found, info),
        wording.p_text(found.p_value),
        wording.p_text(e.p_holm),
        wording.shown(least, info, wording.digits(least, info)),
    )


def interval(found: PairedDifference, info: ScoreInfo) -> str:
    """The ends of a change, as exact as the change is shown."""
    places = wording.digits(found.difference, info)
    ends = [wording.shown(end, info, places) for end in (found.low, found.high)]
    return f"[{ends[0]}, {ends[1]}]" if found.low == found.low else UNDEFINED


def _notes(found: Sequence[Profile], n_draws: int, seed: int) -> Iterator[str]:
    yield (
        f"Intervals: paired bootstrap over groups, {n_draws} draws, seed {seed}, the same draws for every condition. "
        "p: the change over the error of its interval, as Student's t. Holm p holds for all conditions of one model "
        "together."
    )
    yield (
        "Kept: mean over the conditions as a share of the reference; of errors, the reference as a share of the mean. "
        "Its 95 % interval is over the same groups and draws."
    )
    yield (f"Sees >=: the true change that would be called out in {POWER:.0%} of sets like this one, before Holm.")
    if any(len(p.seen) < len(p.effects) for p in found):
        yield f"Not seen: {UNSEEN}. It has no p, and Holm does not count it."
    yield from wording.few_groups(p.n_groups for p in found)


def _agreed(each: Agreement) -> dict[str, Any]:
    scores = [{"model": title, "rendered": a, "real": b} for title, a, b in each.rows]
    return {
        "rendered": each.rendered, "real": each.real, "metric": each.key, "rho": each.rho, "p": each.p_value,
        "scores": scores,
    }  # fmt: skip


def _found(e: Effect) -> dict[str, Any]:
    """The change; its interval's level is not the condition's."""
    change = asdict(e.found)
    return {"confidence": change.pop("level"), **change}


def _data(kind: str, found: Sequence[Profile], n_draws: int, seed: int, facts: dict[str, str]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "kind": kind,
        "draws": n_draws,
        "seed": seed,
        **{name: value for name, value in facts.items() if name == "folder"},
        "profiles": [
            {
                "task": p.task, "dataset": p.dataset, "protocol": p.protocol, "model": p.model, "metric": p.key,
                "unit": p.info.unit, "higher_is_better": p.info.higher_is_better, "n": p.n, "n_groups": p.n_groups,
                "reference": p.reference, "mean": p.kept.b, "kept": p.kept.difference, "kept_low": p.kept.low,
                "kept_high": p.kept.high, "p_of_series": series_p(p),
                "conditions": [
                    {
                        **_found(e), "name": e.trial.name, "series": e.trial.series, "level": e.trial.level,
                        "p_holm": e.p_holm, "unseen": e.is_unseen, "smallest_seen": smallest_seen(e.found),
                    }
                    for e in p.effects
                ],
            }
            for p in found
        ],
    }  # fmt: skip
