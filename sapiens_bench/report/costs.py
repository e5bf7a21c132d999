"""The cost table: what the paper prints, what was counted and timed here, and the scores that it buys."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sapiens_bench.errors import UsageError
from sapiens_bench.profiling.record import ProfileRecord, ProfileRow
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.pareto import costs_by_model
from sapiens_bench.report.profile_tables import missing_sheet, paper_sheet
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.store.record import RunRecord, ScoreRecord


def cost_table(runs: Sequence[tuple[str, RunRecord]], profiles: Sequence[ProfileRecord]) -> Document:
    """One row per profiled model, its headline score in every run beside its costs.

    Args:
        runs: (label, record); rows of ``profile`` that lie in a run's own folder count as well.
        profiles: of the same models.

    Raises:
        UsageError: nothing was profiled.
    """
    rows = [row for profile in profiles for row in profile.rows]
    rows += [ProfileRow.model_validate(row) for _, record in runs for row in record.costs]
    usable = [row for row in rows if row.counts or row.latency]
    if not usable:
        raise UsageError(
            "None of these folders holds costs. `sapiens-bench profile --models ... --out FOLDER` makes some."
        )
    sheets = [paper_sheet(usable), _sheet(usable, runs), missing_sheet(rows)]
    facts = {label: record.command or record.started for label, record in runs}
    facts |= {f"profile {i}": profile.command for i, profile in enumerate(profiles, start=1) if profile.command}
    return Document("What the models cost", tuple(sheet for sheet in sheets if sheet is not None), facts)


def _sheet(rows: Sequence[ProfileRow], runs: Sequence[tuple[str, RunRecord]]) -> Sheet:
    costs, axes = costs_by_model(rows)
    scored = _headlines(runs)
    models = {row.model: row for row in reversed(rows)}
    lines = []
    for model in dict.fromkeys(row.model for row in rows):
        row = models[model]
        known = [costs[model].get(axis.key, math.nan) for axis in axes]
        scores = [_score(found.get(model)) for found in scored.values()]
        lines.append((row.title, row.task, *(f"{c:.4g}" if math.isfinite(c) else UNDEFINED for c in known), *scores))
    heads = ("Model", "Task", *(f"{axis.title}, {axis.unit}" for axis in axes), *scored)
    return Sheet(
        "Costs", heads, tuple(lines), (0, 1), tuple(f"{axis.title}: {axis.note}." for axis in axes if axis.note)
    )


def _headlines(runs: Sequence[tuple[str, RunRecord]]) -> dict[str, dict[str, ScoreRecord]]:
    """Column head -> model -> headline score."""
    found: dict[str, dict[str, ScoreRecord]] = {}
    for label, record in runs:
        for cell in record.cells:
            score = cell.scores.get(cell.headline)
            if cell.status in ("done", "incomplete") and score is not None:
                arrow = "↑" if score.higher_is_better else "↓"
                unit = "%" if score.percent else score.unit
                where = f"{cell.dataset}/{cell.protocol}" + (f", {label}" if len(runs) > 1 else "")
                head = " ".join(part for part in (score.title, unit, arrow, f"({where})") if part)
                found.setdefault(head, {})[cell.model] = score
    return found


def _score(score: ScoreRecord | None) -> str:
    if score is None or not math.isfinite(score.value):
        return UNDEFINED
    return f"{score.value * (100 if score.percent else 1):.{score.decimals}f}"
