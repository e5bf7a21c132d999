"""Is A better than B? Paired differences with intervals, p values over the family shown, and what the set can see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Literal, NamedTuple

from sapiens_bench.decide import choose, pairs, wording
from sapiens_bench.decide.pairs import Difference, Pair
from sapiens_bench.decide.sides import Side
from sapiens_bench.decide.slices import Slice, said_of_small, slices
from sapiens_bench.engine.scores import Draws
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.stats.draws import OF_DIFFERENCES
from sapiens_bench.stats.multiple import PROMISES, TITLES, Correction, adjusted, draws_for
from sapiens_bench.stats.power import POWER, smallest_seen
from sapiens_bench.types import Task

SCHEMA = "compare/1"
By = Literal["", "part", "class", "slice"]
MOST_DRAWS = 20_000  # that are made unasked


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences that are shown together: one family."""

    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    p_adjusted: tuple[float, ...]  # of each difference
    remarks: tuple[str, ...]
    n_draws: int
    seed: int
    correction: Correction = "holm"

    @property
    def incomplete(self) -> str:
        """What is missing; empty when nothing is."""
        return "; ".join(side.incomplete for side in self.sides if side.incomplete)


def compare(
    sides: Sequence[Side],
    *,
    models: Sequence[str] = (),
    scores: Sequence[str] = (),
    by: By = "",
    n_draws: int = OF_DIFFERENCES,
    seed: int = 0,
    correction: Correction = "holm",
) -> Comparison:
    """Two runs model by model, or the models of one run with each other.

    Args:
        sides: one or two.
        n_draws: of the bootstrap, at least: a large family needs more to call out anything after the correction.
        models: only these; all when empty.
        scores: "<metric>/<score>" keys; the headline score of each task when empty.
        by: "part" (or "class"): the scores of parts or classes as well; "slice": the same scores on parts of the data.
        correction: of the p values over all rows: holm, or bh for the false discovery rate.

    Raises:
        UsageError: nothing to compare, or unlike things; names the differing field.
        UnknownName: no such score.
    """
    excluded = pairs.left_out(m for side in sides for m in side.members)
    chosen = [side.chosen(models) for side in sides]
    found, remarks = (choose.within_run(chosen[0]), []) if len(chosen) == 1 else choose.across_runs(*chosen)
    small: dict[str, None] = {}
    asked = [_questions(pair, scores, by, excluded[pair.a.place], small) for pair in found]
    needed = draws_for(sum(len(q.keys) * (1 + len(q.slices)) for q in asked), n_draws)
    weights = Draws(max(n_draws, min(needed, MOST_DRAWS)), seed)
    result = [d for pair, question in zip(found, asked) for d in _answers(pair, question, weights)]
    p = adjusted({str(i): d.found.p_value for i, d in enumerate(result)}, correction)
    p_adjusted = tuple(p[str(i)] for i in range(len(result)))
    remarks += [*_left_out(excluded, found), *said_of_small(small)]
    if needed > weights.n_draws:
        remarks.append(
            f"{weights.n_draws} draws cannot tell a single one of so many rows from noise where p comes from their "
            f"shares: ask for fewer rows, or for --n-boot {needed}."
        )
    return Comparison(tuple(chosen), tuple(result), p_adjusted, tuple(remarks), weights.n_draws, seed, correction)


class _Questions(NamedTuple):
    """What is asked of one pair."""

    task: Task
    keys: list[str]
    slices: list[Slice]
    left_out: set[str]


def _questions(pair: Pair, scores: Sequence[str], by: By, left_out: set[str], small: dict[str, None]) -> _Questions:
    task = pairs.task_of(pair.a)
    keys = list(dict.fromkeys(scores)) or [pair.a.headline]
    keys += [k for k in choose.part_scores(task) if k not in keys] if by in ("part", "class") else []
    return _Questions(task, keys, slices(pair.a, left_out, small) if by == "slice" else [], left_out)


def _answers(pair: Pair, asked: _Questions, weights: Draws) -> Iterator[Difference]:
    """On the whole set, then on each slice of A's pictures."""
    yield from pairs.differences(pair, asked.task, asked.keys, weights, asked.left_out)
    everything = set(pair.a.rows["key"].to_pylist())
    for part in asked.slices:
        others = asked.left_out | (everything - part.keys)
        found = pairs.differences(pair, asked.task, asked.keys, weights, others)
        yield from (replace(d, part=part.title) for d in found)


def _left_out(excluded: Mapping[tuple[str, str], set[str]], found: Sequence[Pair]) -> Iterator[str]:
    """A word on images that count for nobody."""
    for place in dict.fromkeys(pair.a.place for pair in found):
        if n := len(excluded[place]):
            of = next(pair.a.n_planned for pair in found if pair.a.place == place)
            yield f"{'/'.join(place)}: {n} of {of} images leave every score, their picture or label being at fault."


def document(found: Comparison) -> Document:
    """The comparison for any format: one table for each data set, and the numbers for JSON."""
    rows = list(zip(found.differences, found.p_adjusted))
    places = groupby(rows, key=lambda row: row[0].pair.a.place)
    head = "INCOMPLETE: " if found.incomplete else ""
    facts = {f"run {letter}": str(side.path) for letter, side in zip("AB", found.sides)}
    notes = [f"INCOMPLETE: {found.incomplete}."] if found.incomplete else []
    return Document(
        title=f"{head}sapiens-bench: comparison",
        sheets=tuple(_sheet(list(members), found.correction) for _, members in places),
        facts=facts,
        notes=(*notes, *_notes(found), *found.remarks),
        data=_data(found),
    )


def _sheet(rows: Sequence[tuple[Difference, float]], correction: Correction) -> Sheet:
    first = rows[0][0].pair.a
    heads = (
        "Model",
        "Score",
        "A",
        "B",
        "B - A",
        "95 % interval",
        "p",
        f"{TITLES[correction]} p",
        "Sees >=",
        "In words",
    )
    return Sheet(
        title=f"{first.dataset_title} · {first.protocol} · {rows[0][0].n} images, {rows[0][0].found.n_groups} groups",
        heads=heads,
        rows=tuple(_line(d, p, correction) for d, p in rows),
        left=(0, 1, 9),
    )


def _line(d: Difference, p_adjusted: float, correction: Correction) -> tuple[str, ...]:
    found, info = d.found, d.info
    places = wording.digits(found.difference, info)
    ends = [wording.shown(end, info, places) for end in (found.low, found.high)]
    least = smallest_seen(found)
    return (
        _who(d.pair),
        (f"{info.title} %" if info.percent else wording.unit(info)) + (f" · {d.part} (n {d.n})" if d.part else ""),
        wording.shown(found.a, info),
        wording.shown(found.b, info),
        wording.shown(found.difference, info, places),
        f"[{ends[0]}, {ends[1]}]" if found.low == found.low else UNDEFINED,
        wording.p_text(found.p_value),
        wording.p_text(p_adjusted),
        wording.shown(least, info, wording.digits(least, info)),
        wording.effect(d, p_adjusted, TITLES[correction]),
    )


def _who(pair: Pair) -> str:
    return pair.a.title if pair.a.model == pair.b.model else f"{pair.a.title} : {pair.b.title}"


def _notes(found: Comparison) -> Iterator[str]:
    permuted = dict.fromkeys(d.key.partition("/")[0] for d in found.differences if pairs.is_permuted(d.key))
    yield (
        f"Intervals and p: paired bootstrap over groups, {found.n_draws} draws, seed {found.seed}, the same draws for "
        f"A and B{'; p of ' + ', '.join(permuted) + ': models exchanged by group' if permuted else ''}."
    )
    yield f"{TITLES[found.correction]} p: {PROMISES[found.correction].format(n=len(found.differences))}."
    yield (
        f"Sees >=: the true difference that would be called out in {POWER:.0%} of sets like this one, "
        "before correction."
    )
    yield from wording.few_groups(d.found.n_groups for d in found.differences)


def _data(found: Comparison) -> dict[str, Any]:
    rows = [
        {
            "task": d.pair.a.task, "dataset": d.pair.a.dataset, "protocol": d.pair.a.protocol,
            "model_a": d.pair.a.model, "model_b": d.pair.b.model, "name_a": d.pair.name_a, "name_b": d.pair.name_b,
            "metric": d.key, "part": d.part, "unit": d.info.unit, "higher_is_better": d.info.higher_is_better, "n": d.n,
            **asdict(d.found), f"p_{found.correction}": p, "smallest_seen": smallest_seen(d.found),
            "words": wording.effect(d, p, TITLES[found.correction]),
        }
        for d, p in zip(found.differences, found.p_adjusted)
    ]  # fmt: skip
    return {
        "schema": SCHEMA,
        "runs": [str(side.path) for side in found.sides],
        "incomplete": found.incomplete,
        "correction": found.correction,
        "draws": found.n_draws,
        "seed": found.seed,
        "rows": rows,
    }
