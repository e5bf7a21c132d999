"""Which numbers may stand out: only a lead that the paired bootstrap tells from noise, after Holm's correction.

The best network of a column of the short table is bold where its paired difference from the runner-up excludes zero;
the second is underlined where the best is bold and its own difference from the third excludes zero. All these tests of
one table are one family. Without intervals (``--n-boot 0``), of incomplete rows, and of floors and diagnostics nothing
stands out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.report.table import Column, TableRow
from sapiens_bench.report.tables import NO_EMPHASIS, Chosen, Emphasis
from sapiens_bench.store.record import RunRecord

if TYPE_CHECKING:
    from sapiens_bench.decide.sides import Member
    from sapiens_bench.publish.pairwise import Contest

MEANS = (
    "Bold: best network, its lead over the runner-up told from noise (paired bootstrap, 95 %, Holm over the table); "
    "underlined: second best, by the same rule."
)


class Lead(NamedTuple):
    """One test: is ``ahead`` better than ``behind`` in a score?"""

    key: str
    place: int  # 0 for the best, 1 for the second
    ahead: str
    behind: str


def told_from_noise(record: RunRecord, folder: Path, members: Sequence[Member] | None = None) -> Emphasis:
    """The emphasis of a run's tables, from its rows; none where rows or intervals are missing.

    Args:
        folder: of the run, or its run.json.
        members: its rows, where somebody has read them.
    """
    n_boot = int(record.request.get("n_boot") or 0)
    if not n_boot:
        return NO_EMPHASIS
    root = folder.parent if folder.name == "run.json" else folder
    known: list[Sequence[Member]] = [] if members is None else [members]

    def choose(place: tuple[str, str], rows: Sequence[TableRow], columns: Sequence[Column]) -> Chosen:
        leads = leads_of(rows, columns)
        if not leads:
            return Chosen()
        names = {lead.ahead for lead in leads} | {lead.behind for lead in leads}
        try:
            from sapiens_bench.stats.multiple import draws_for

            if not known:
                from sapiens_bench.decide.sides import read_side  # rows are read only where something may stand out

                known.append(read_side(root).members)
            there = [m for m in known[0] if m.place == place]
            found = _contest(there, names, draws_for(len(leads), n_boot), record.seeds.get("bootstrap", 0))
        except SapiensBenchError:  # a damaged or foreign row: `verify run` says which; a table without bold is no lie
            return Chosen()
        return standing_out(leads, {"": found} if found else {}, lambda model: ("", model))

    return Emphasis(choose, MEANS)


def _contest(members: Sequence[Member], names: set[str], n_draws: int, seed: int) -> Contest | None:
    """Of the named ones; what any member's input fault leaves out is left out for all."""
    from sapiens_bench.engine.scores import Draws
    from sapiens_bench.publish.pairwise import contest

    return contest([m for m in members if m.model in names], Draws(n_draws, seed), members)


def leads_of(rows: Sequence[TableRow], columns: Sequence[Column]) -> list[Lead]:
    """The tests of one table, by column: the best against the second, the second against the third."""
    members = [row for row in rows if row.group == "network" and not row.is_incomplete]
    leads: list[Lead] = []
    for column in columns:
        if column.kind == "score" and column.headline:
            values = {row.model: row.cells[column.key].value for row in members if column.key in row.cells}
            leads += ranked_leads(column.key, values, column.higher_is_better)
    return leads


def ranked_leads(key: str, values: Mapping[str, float], higher_is_better: bool) -> list[Lead]:
    """The tests of one column of values by name."""
    defined = {name: value for name, value in values.items() if math.isfinite(value)}
    order = sorted(defined, key=lambda name: defined[name], reverse=higher_is_better)
    return [Lead(key, place, order[place], order[place + 1]) for place in range(min(2, len(order) - 1))]


def standing_out(
    leads: Sequence[Lead],
    contests: Mapping[str, Contest],
    where: Callable[[str], tuple[str, str]],
) -> Chosen:
    """What may stand out among one table's tests.

    Args:
        contests: by any name.
        where: name of a competitor -> (name of its contest, its model there).
    """
    from sapiens_bench.publish.pairwise import adjusted
    from sapiens_bench.stats.multiple import ALPHA

    tests = [_test(lead, contests, where) for lead in leads]
    for name, found in contests.items():
        wanted: dict[int, dict[str, None]] = {}
        for lead, test in zip(leads, tests):
            for member in test[1:] if test is not None and test[0] == name else ():
                wanted.setdefault(int(member), {})[lead.key] = None
        found.draw(wanted)
    differences = [
        None if test is None else contests[test[0]].difference(test[2], test[1], lead.key)
        for lead, test in zip(leads, tests)
    ]
    sure = [p <= ALPHA for p in adjusted(differences)]
    best = {(lead.ahead, lead.key) for lead, is_sure in zip(leads, sure) if is_sure and lead.place == 0}
    led = {key for _, key in best}
    second = {
        (lead.ahead, lead.key) for lead, is_sure in zip(leads, sure) if is_sure and lead.place == 1 and lead.key in led
    }
    return Chosen(best, second)


def _test(
    lead: Lead, contests: Mapping[str, Contest], where: Callable[[str], tuple[str, str]]
) -> tuple[str, int, int] | None:
    """(contest, number of who is ahead, of who is behind); None where the two cannot be compared."""
    place_a, model_a = where(lead.ahead)
    place_b, model_b = where(lead.behind)
    names = [m.model for m in contests[place_a].members] if place_a == place_b and place_a in contests else []
    if model_a not in names or model_b not in names:
        return None
    return place_a, names.index(model_a), names.index(model_b)
