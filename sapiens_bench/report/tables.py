"""Run record and published numbers -> the one table object. All decisions of a report are taken here."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.report.causes import first_causes
from sapiens_bench.report.footnotes import Footnotes, block_alarms, block_remarks, legend, row_notes
from sapiens_bench.report.published import Printed, printed_numbers, score_key
from sapiens_bench.report.table import Block, Column, Remedy, ReportTable, RowGroup, TableCell, TableRow
from sapiens_bench.store.causes import all_failed
from sapiens_bench.store.record import CellRecord, DatasetRecord, RunRecord, ScoreRecord

_MEASURED = ("done", "incomplete")
_ORDER: dict[RowGroup, int] = {"network": 0, "floor": 1, "diagnostic": 2, "unavailable": 3}


class Chosen(NamedTuple):
    """(model, column key) pairs of one block."""

    best: Set[tuple[str, str]] = frozenset()  # bold
    second: Set[tuple[str, str]] = frozenset()  # underlined


@dataclass(frozen=True, slots=True)
class Emphasis:
    """Which numbers are set in bold and underlined, and the sentence that tells the reader what that says.

    ``choose`` is given (data set, protocol), the rows and the columns of one block.
    """

    choose: Callable[[tuple[str, str], Sequence[TableRow], Sequence[Column]], Chosen]
    means: str


NO_EMPHASIS = Emphasis(lambda place, rows, columns: Chosen(), "")  # a number that leads by chance is not to stand out


def build(record: RunRecord, catalog: Catalog | None = None, emphasis: Emphasis | None = None) -> ReportTable:
    """The table of a run.

    Args:
        record: run.json.
        catalog: where published numbers and titles come from; without it there is no published column.
        emphasis: which numbers are bold; none by default, since a record alone does not tell a lead from noise.
    """
    keys: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in record.cells:
        keys.setdefault((cell.dataset, cell.protocol), []).append(cell)
    blocks = tuple(_block(record, cells, catalog, emphasis or NO_EMPHASIS) for cells in keys.values())
    return ReportTable(
        title=f"sapiens-bench: {record.task}",
        task=record.task,
        status=record.status,
        incomplete=_incomplete(record, blocks),
        blocks=blocks,
        facts=_facts(record),
        legend=legend(blocks),
        notes=tuple(record.notes),
    )


def _incomplete(record: RunRecord, blocks: Sequence[Block]) -> str:
    rows = [row for block in blocks for row in block.rows if row.is_incomplete]
    planned = sum(row.n_planned for row in rows)
    found = sum(row.n_scored + row.n_excluded for row in rows)
    if rows:
        titles = ", ".join(dict.fromkeys(row.title for row in rows))
        return f"{found} of {planned} planned rows are on disk ({titles}); the same `run` command resumes"
    if record.status != "done":
        return f"the run's status is {record.status!r}; the same `run` command resumes"
    return ""


def _facts(record: RunRecord) -> dict[str, str]:
    git, hardware = record.git, record.hardware
    commit = git.commit[:12]
    dirty = " (with uncommitted changes)" if git.dirty else ""
    gpus = hardware.gpus if hardware.device.startswith("cuda") else None
    machine = ", ".join(part for part in (gpus or [hardware.cpu]) if part)
    facts = {
        "command": record.command,
        "version": " ".join(p for p in (record.version, f"commit {commit}{dirty}" if commit else "") if p),
        "finished": record.finished or record.started,
        "machine": machine,
        "precision": str(record.request.get("precision") or ""),
        "seeds": ", ".join(f"{name} {value}" for name, value in record.seeds.items()),
    }
    return {name: value for name, value in facts.items() if value}


def _block(record: RunRecord, cells: Sequence[CellRecord], catalog: Catalog | None, emphasis: Emphasis) -> Block:
    printed = {cell.model: printed_numbers(record, cell, catalog) for cell in cells}
    scores = _score_facts(cells)
    headline = next((c.headline for c in cells if c.headline in scores), "")
    columns = _columns(scores, [number for numbers in printed.values() for number in numbers], headline)
    footnotes = Footnotes()
    cells = _ordered(cells, scores.get(headline), headline)
    rows = [_row(cell, columns, printed[cell.model], scores, footnotes) for cell in cells]
    rows = _ranked(rows, headline)
    first = cells[0]
    chosen = emphasis.choose((first.dataset, first.protocol), rows, columns)
    rows = [_emphasised(row, chosen) for row in rows]
    protocol_title = _protocol_title(record, first, catalog)
    return Block(
        task=first.task,
        dataset=first.dataset,
        protocol=first.protocol,
        title=_dataset_title(record, first, catalog),
        protocol_title=protocol_title,
        headline=headline,
        columns=columns,
        rows=tuple(rows),
        n_images=max((cell.counts.planned for cell in cells), default=0),
        alarms=block_alarms(record, rows),
        remarks=block_remarks(record, cells, rows),
        footnotes=tuple(footnotes.texts),
        remedies=_remedies(cells, catalog),
        best_means=emphasis.means if chosen.best else "",
    )


def _facts_of(record: RunRecord, cell: CellRecord) -> DatasetRecord:
    return record.datasets.get(cell.dataset) or DatasetRecord()


def _dataset_title(record: RunRecord, cell: CellRecord, catalog: Catalog | None) -> str:
    known = catalog.datasets.get(cell.dataset) if catalog else None
    return _facts_of(record, cell).title or (known.title if known else cell.dataset)


def _protocol_title(record: RunRecord, cell: CellRecord, catalog: Catalog | None) -> str:
    if recorded := _facts_of(record, cell).protocol_title:
        return recorded
    known = catalog.datasets.get(cell.dataset) if catalog else None
    protocol = known.protocols.get(cell.protocol) if known else None
    return protocol.title if protocol else ""


def _score_facts(cells: Sequence[CellRecord]) -> dict[str, ScoreRecord]:
    """Facts of every score of the block, in the order of the first cell that has it."""
    facts: dict[str, ScoreRecord] = {}
    for cell in cells:
        for key, score in cell.scores.items():
            facts.setdefault(key, score)
    return facts


def _columns(facts: dict[str, ScoreRecord], printed: Sequence[Printed], headline: str) -> tuple[Column, ...]:
    """Our scores, the one that ranks first, each followed by its published column where a number exists."""
    by_score = dict(reversed([(p.score, p) for p in reversed(printed)]))
    found = {score_key(score, facts): p for score, p in by_score.items()}
    any_shown = any(score.headline for score in facts.values())
    columns: list[Column] = []
    for key in sorted(facts, key=lambda k: k != headline):
        score = facts[key]
        shown = score.headline or key == headline or not any_shown
        columns.append(Column(key, score.title, "score", score.unit, score.percent, score.decimals,
                              score.higher_is_better, shown))  # fmt: skip
        if key in found:
            columns.append(Column(f"published:{key}", score.title, "published", score.unit, score.percent,
                                  score.decimals, score.higher_is_better, shown))  # fmt: skip
    missing = [p for name, p in by_score.items() if score_key(name, facts) is None]
    return (*columns, *(_published_only(p, not facts and i < 4) for i, p in enumerate(missing)))


def _published_only(p: Printed, shown: bool) -> Column:
    """A column for a printed score that no row of the run has."""
    decimals = 1 if p.percent else 3
    return Column(f"published:{p.score}", p.head, "published", p.unit, p.percent, decimals, p.higher_is_better, shown)


def _row(
    cell: CellRecord,
    columns: Sequence[Column],
    printed: Sequence[Printed],
    facts: dict[str, ScoreRecord],
    footnotes: Footnotes,
) -> TableRow:
    measured = cell.status in _MEASURED
    ours = [c.key for c in columns if c.kind == "score" and c.key in cell.scores]
    cells = {key: _score_cell(cell.scores[key], cell) for key in ours}
    known = {column.key for column in columns}
    for number in printed:
        key = f"published:{score_key(number.score, facts) or number.score}"
        note = f"{number.source}: {number.note}" if number.note and number.confidence == "conflicting" else ""
        if key in cells and cells[key].value != number.value:
            footnotes.add(f"{cell.title}: also printed as {number.value:g} ({number.source}).")
        elif key in known and key not in cells:
            cells[key] = TableCell(number.value, confidence=number.confidence, source=number.source,
                              notes=(footnotes.add(note),) if note else ())  # fmt: skip
    counts = cell.counts
    return TableRow(
        model=cell.model,
        title=cell.title,
        group=_group(cell),
        status=cell.status,
        cells=cells,
        trained_on=cell.trained_on,
        in_domain=cell.in_domain,
        params_m=cell.params_m,
        images_per_s=cell.timing.images_per_s if cell.timing.images else math.nan,
        licence=cell.licence,
        weights_bytes=cell.weights_bytes,
        n_planned=counts.planned if measured else 0,
        n_scored=counts.ok + counts.prediction_errors,
        n_excluded=counts.input_errors,
        n_misses=counts.prediction_errors,
        notes=tuple(footnotes.add(text) for text in row_notes(cell)) if measured else (),
    )


def _group(cell: CellRecord) -> RowGroup:
    if cell.status not in _MEASURED:
        return "unavailable"
    return "floor" if cell.kind == "floor" else "diagnostic" if cell.kind == "diagnostic" else "network"


def _score_cell(score: ScoreRecord, cell: CellRecord) -> TableCell:
    reason = "" if math.isfinite(score.value) else "undefined on these images"
    if reason and all_failed(cell):
        causes = first_causes([cell], "input") or first_causes([cell], "prediction")
        reason = f"every image failed: {causes}"
    return TableCell(score.value, score.low, score.high, score.level, score.n_groups, reason=reason)


def _ordered(cells: Sequence[CellRecord], facts: ScoreRecord | None, headline: str) -> list[CellRecord]:
    """Networks by the headline score, then floors, diagnostics and rows that could not be measured."""
    sign = -1.0 if facts is None or facts.higher_is_better else 1.0

    def order(cell: CellRecord) -> tuple[int, float]:
        value = cell.scores[headline].value if headline in cell.scores else math.nan
        return _ORDER[_group(cell)], sign * value if math.isfinite(value) else math.inf

    return sorted(cells, key=order)


def _ranked(rows: Sequence[TableRow], headline: str) -> list[TableRow]:
    """Complete networks that have the headline score, numbered in order; equal scores share a rank."""
    ranked: list[TableRow] = []
    scores: list[float] = []
    for row in rows:
        cell = row.cells.get(headline)
        if row.group == "network" and not row.is_incomplete and cell is not None and math.isfinite(cell.value):
            scores.append(cell.value)
            ranked.append(replace(row, rank=scores.index(cell.value) + 1))
        else:
            ranked.append(row)
    return ranked


def _emphasised(row: TableRow, chosen: Chosen) -> TableRow:
    cells = {
        key: replace(cell, best=(row.model, key) in chosen.best, second=(row.model, key) in chosen.second)
        for key, cell in row.cells.items()
    }
    return replace(row, cells=cells)


def _remedies(cells: Sequence[CellRecord], catalog: Catalog | None) -> tuple[Remedy, ...]:
    """What to do about rows that could not be measured, each advice once."""
    groups: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in cells:
        if cell.status not in _MEASURED and (how := _how(cell, catalog)):
            groups.setdefault((cell.status, how), []).append(cell)
    return tuple(
        Remedy(tuple(c.title for c in of), tuple(c.model for c in of), status, how, fetch_command(of[0], catalog))
        for (status, how), of in groups.items()
    )


def fetch_command(cell: CellRecord, catalog: Catalog | None) -> str:
    """What fetches the weights of a cell, or tells how; NAME stands for the model."""
    entry = catalog.of_row(cell.model) if catalog is not None and cell.status == "weights missing" else None
    if entry is None or entry.variant.weights is None:
        return ""
    get = entry.variant.weights.get
    if get.hub is None and get.url is None:
        return "sapiens-bench weights show NAME"
    return f"sapiens-bench weights get NAME --accept-licence {shlex.quote(entry.card.licence.name)}"


def _how(cell: CellRecord, catalog: Catalog | None) -> str:
    """The card's own advice for missing weights: the record's names folders of the machine it was made on."""
    entry = catalog.of_row(cell.model) if catalog is not None and cell.status == "weights missing" else None
    if entry is not None and entry.variant.weights is not None:
        return " ".join(entry.variant.weights.get.how.split())
    return " ".join(cell.how.split())
