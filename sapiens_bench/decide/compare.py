"""Is A better than B? Paired differences with intervals, p values over the family shown, and what the set can see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sapiens_bench.decide import choose, pairs, wording
from sapiens_bench.decide.pairs import Difference, Pair
from sapiens_bench.decide.sides import Side
from sapiens_bench.engine.scores import Weights
from sapiens_bench.report.footnotes import FEW_GROUPS
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.stats.paired import holm

SCHEMA = "compare/1"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences that are shown together: one family."""

    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    p_holm: tuple[float, ...]  # of each difference
    remarks: tuple[str, ...]
    n_draws: int
    seed: int

    @property
    def incomplete(self) -> str:
        """What is missing; empty when nothing is."""
        return "; ".join(side.incomplete for side in self.sides if side.incomplete)


def compare(
    sides: Sequence[Side],
    *,
    models: Sequence[str] = (),
    scores: Sequence[str] = (),
    by_part: bool = False,
    n_draws: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Two runs model by model, or the models of one run with each other.

    Args:
        sides: one or two.
        models: only these; all when empty.
        scores: "<metric>/<score>" keys; the headline score of each task when empty.
        by_part: the scores of parts or classes as well.

    Raises:
        UsageError: nothing to compare, or unlike things; names the differing field.
        UnknownName: no such score.
    """
    excluded = pairs.left_out(m for side in sides for m in side.members)
    chosen = [side.chosen(models) for side in sides]
    found, remarks = (choose.within_run(chosen[0]), []) if len(chosen) == 1 else choose.across_runs(*chosen)
    weights = Weights(n_draws, seed)
    result: list[Difference] = []
    for pair in found:
        task = pairs.task_of(pair.a)
        keys = list(scores) or [pair.a.headline]
        keys += [k for k in choose.part_scores(task) if k not in keys] if by_part else []
        result += pairs.differences(pair, task, keys, weights, excluded[pair.a.place])
    adjusted = holm({str(i): d.found.p_value for i, d in enumerate(result)})
    p_holm = tuple(adjusted[str(i)] for i in range(len(result)))
    return Comparison(tuple(chosen), tuple(result), p_holm, tuple(remarks), n_draws, seed)


def document(found: Comparison) -> Document:
    """The comparison for any format: one table for each data set, and the numbers for JSON."""
    rows = list(zip(found.differences, found.p_holm))
    places = groupby(rows, key=lambda row: row[0].pair.a.place)
    head = "INCOMPLETE: " if found.incomplete else ""
    facts = {f"run {letter}": str(side.path) for letter, side in zip("AB", found.sides)}
    notes = [f"INCOMPLETE: {found.incomplete}."] if found.incomplete else []
    return Document(
        title=f"{head}sapiens-bench: comparison",
        sheets=tuple(_sheet(list(members)) for _, members in places),
        facts=facts,
        notes=(*notes, *_notes(found), *found.remarks),
        data=_data(found),
    )


def _sheet(rows: Sequence[tuple[Difference, float]]) -> Sheet:
    first = rows[0][0].pair.a
    heads = ("Model", "Score", "A", "B", "B - A", "95 % interval", "p", "Holm p", "Sees >=", "In words")
    return Sheet(
        title=f"{first.dataset_title} · {first.protocol} · {rows[0][0].n} images, {rows[0][0].found.n_groups} groups",
        heads=heads,
        rows=tuple(_line(d, p) for d, p in rows),
        left=(0, 1, 9),
    )


def _line(d: Difference, p_holm: float) -> tuple[str, ...]:
    found, info = d.found, d.info
    places = wording.digits(found.difference, info)
    ends = [wording.shown(end, info, places) for end in (found.low, found.high)]
    least = wording.smallest_seen(found)
    return (
        _who(d.pair),
        f"{info.title} %" if info.percent else wording.unit(info),
        wording.shown(found.a, info),
        wording.shown(found.b, info),
        wording.shown(found.difference, info, places),
        f"[{ends[0]}, {ends[1]}]" if found.low == found.low else UNDEFINED,
        wording.p_text(found.p_value),
        wording.p_text(p_holm),
        wording.shown(least, info, wording.digits(least, info)),
        wording.effect(d, p_holm),
    )


def _who(pair: Pair) -> str:
    return pair.a.title if pair.a.model == pair.b.model else f"{pair.a.title} : {pair.b.title}"


def _notes(found: Comparison) -> Iterator[str]:
    yield (
        f"Intervals and p: paired percentile bootstrap over groups, {found.n_draws} draws, seed {found.seed}, the same "
        f"draws for A and B. Holm p holds for all {len(found.differences)} rows together."
    )
    yield (
        f"Sees >=: the true difference that would be called out in {wording.POWER:.0%} of sets like this one, "
        "before Holm."
    )
    groups = [d.found.n_groups for d in found.differences if d.found.n_groups]
    if groups and min(groups) < FEW_GROUPS:
        yield f"Only {min(groups)} independent groups: below {FEW_GROUPS} the intervals are too narrow and p too small."


def _data(found: Comparison) -> dict[str, Any]:
    rows = [
        {
            "task": d.pair.a.task, "dataset": d.pair.a.dataset, "protocol": d.pair.a.protocol,
            "model_a": d.pair.a.model, "model_b": d.pair.b.model, "name_a": d.pair.name_a, "name_b": d.pair.name_b,
            "metric": d.key, "unit": d.info.unit, "higher_is_better": d.info.higher_is_better, "n": d.n,
            **asdict(d.found), "p_holm": p, "smallest_seen": wording.smallest_seen(d.found),
            "words": wording.effect(d, p),
        }
        for d, p in zip(found.differences, found.p_holm)
    ]  # fmt: skip
    return {
        "schema": SCHEMA,
        "runs": [str(side.path) for side in found.sides],
        "incomplete": found.incomplete,
        "draws": found.n_draws,
        "seed": found.seed,
        "rows": rows,
    }
