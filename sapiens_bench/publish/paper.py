"""What stands out in the paper's tables: the rule of ``best.py``, over the measured rows of one part, whatever run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sapiens_bench.decide.sides import Member, read_side
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.publish.best import Lead, ranked_leads, standing_out
from sapiens_bench.publish.pairwise import Contest, contest
from sapiens_bench.report.paper import Measured, ScoreColumn, Telling, name_of
from sapiens_bench.report.tables import Chosen
from sapiens_bench.stats.multiple import draws_for
from sapiens_bench.store.record import RunRecord


def telling(runs: Sequence[tuple[str, Path, RunRecord]]) -> Telling:
    """The rule for ``paper_table``, from the rows of the runs.

    Args:
        runs: (label, folder, record), labels as ``paper_table`` gets them. Runs without intervals take no part.
    """
    sides: dict[str, list[Member]] = {}
    draws = {label: int(record.request.get("n_boot") or 0) for label, _, record in runs}
    seeds = {label: record.seeds.get("bootstrap", 0) for label, _, record in runs}

    def members(label: str, root: Path) -> list[Member]:
        if label not in sides:
            try:
                sides[label] = list(read_side(root).members) if draws[label] else []
            except SapiensBenchError:  # damaged rows, or none: nothing of this run stands out
                sides[label] = []
        return sides[label]

    def choose(measured: Sequence[Measured], columns: Sequence[ScoreColumn]) -> Chosen:
        rivals = {name_of(m): m for m in measured if _competes(m)}
        leads: list[Lead] = []
        for column in columns:
            values = {n: m.cell.scores[column.key].value for n, m in rivals.items() if column.key in m.cell.scores}
            leads += ranked_leads(column.key, values, column.higher_is_better)
        if not leads:
            return Chosen()
        named = [(label, m) for label, root, _ in runs for m in members(label, root)]
        contests: dict[str, Contest] = {}
        for place in {(m.cell.dataset, m.cell.protocol) for m in rivals.values()}:
            found = [(label, m, f"{label}/{'/'.join(place)}/{m.model}") for label, m in named if m.place == place]
            joined = [replace(m, model=name) for _, m, name in found if name in rivals]
            used = [label for label, _, name in found if name in rivals]
            one = _contest(joined, _draws(len(leads), [draws[label] for label in used]), seeds[used[0]] if used else 0)
            if one is not None:
                contests["/".join(place)] = one
        where = {n: ("/".join((m.cell.dataset, m.cell.protocol)), n) for n, m in rivals.items()}
        return standing_out(leads, contests, where.__getitem__)

    return choose


def _draws(n_tests: int, asked: Sequence[int]) -> int:
    return draws_for(n_tests, min(asked)) if asked and min(asked) else 0


def _competes(m: Measured) -> bool:
    counts = m.cell.counts
    return m.cell.kind == "network" and counts.done == counts.planned


def _contest(members: Sequence[Member], n_draws: int, seed: int) -> Contest | None:
    if len(members) < 2 or not n_draws:
        return None
    try:
        return contest(members, Draws(n_draws, seed))
    except SapiensBenchError:  # scored on other data or in another way: no difference may be formed
        return None
