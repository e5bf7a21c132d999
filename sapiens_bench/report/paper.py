"""The paper's own tables: printed rows in printed order, what was measured here below each, and the difference.

A difference is formed only where the protocol that was run is the one that the printed table names (a data-set card
says so under ``published``), over all of its images, with its own boxes. Everything else is shown with a mark that says
what is other; a gain that a paper prints is never copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.entries import without_form
from sapiens_bench.cards.schema import PublishedEntry, PublishedTable, PublishedValue
from sapiens_bench.errors import UsageError
from sapiens_bench.report.footnotes import FEWEST_GROUPS, Footnotes, Letters, changed_options, condition_text
from sapiens_bench.report.gains import Cell, GainColumn, PartGains, as_data, part_gains, printed_cells
from sapiens_bench.report.numbers import CONFIDENCE, MARKS, UNDEFINED
from sapiens_bench.report.paper_list import TABLES as TABLES
from sapiens_bench.report.paper_list import TITLES, Part
from sapiens_bench.report.printed_text import also_printed, not_the_question, place_of, readable
from sapiens_bench.report.published import other_boxes
from sapiens_bench.report.sheet import Document, Sheet, said_once
from sapiens_bench.report.tables import Chosen
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord


@dataclass(frozen=True, slots=True)
class Measured:
    """One model of one run, under a protocol that a part of the table asks about."""

    run: str
    cell: CellRecord
    printed_row: str  # "" where the printed table has no such model
    other: str  # why no difference may be formed; "" where one may


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One printed score."""

    key: str  # ours
    printed_key: str
    title: str
    unit: str
    decimals: int
    scale: float  # ours = printed x scale
    higher_is_better: bool

    @property
    def head(self) -> str:
        """Title, unit and direction."""
        return " ".join(p for p in (self.title, self.unit, "↑" if self.higher_is_better else "↓") if p)

    def shown(self, value: float) -> str:
        """A score of ours in the printed unit and with the printed digits."""
        return f"{value / self.scale:.{self.decimals}f}" if math.isfinite(value) else UNDEFINED


# (measured rows of a part, its columns) -> which of them stand out, as (``name_of`` the row, key of the column)
Telling = Callable[[Sequence[Measured], Sequence[ScoreColumn]], Chosen]
STANDS_OUT = (
    "Bold: best measured network of this part, its lead over the runner-up told from noise (paired bootstrap, 95 %, "
    "Holm over the part); underlined: second best, by the same rule."
)


def name_of(m: Measured) -> str:
    """What tells a measured row from every other one."""
    return "/".join((m.run, m.cell.dataset, m.cell.protocol, m.cell.model))


def paper_table(
    name: str, runs: Sequence[tuple[str, RunRecord]], catalog: Catalog, telling: Telling | None = None
) -> Document:
    """The table ``name`` of ``TABLES`` with what the runs measured; their other data sets follow.

    Args:
        runs: (label, record), the label being shown where there are several.
        telling: which numbers stand out; none when it is None.

    Raises:
        UsageError: a run is of another task.
    """
    task, parts = TABLES[name]
    for label, record in runs:
        if record.task != task:
            raise UsageError(f"{label} is a run of {record.task!r}; --table {name} is about {task}.")
    sheets, data, empty = [], [], []
    first = catalog.published[parts[0].entry][1]
    wanted = [
        (part.protocols, *catalog.published[part.entry]) for part in [*parts, *_further_parts(parts, runs, catalog)]
    ]
    for protocols, table, entry in [*wanted, *_unprinted(first, [w[0] for w in wanted], runs)]:
        measured = _measured(protocols, entry, runs, catalog)
        columns = _columns(entry, measured)
        chosen = telling(measured, columns) if telling is not None and measured else Chosen()
        why_not = "" if measured else not_the_question(entry, runs, catalog)
        sheet = _sheet(table, entry, columns, measured, several=len(runs) > 1, chosen=chosen, why_not=why_not)
        won = _gains(entry, columns, measured)
        data.append({**_data(entry, columns, measured, chosen), "gains": as_data(won.found)})
        if sheet.rows:
            sheets += [sheet, *won.sheets(sheet.title)]
        else:
            empty.append(f"{sheet.title}: no number was recovered from the paper, and none was measured.")
    caption = catalog.published[parts[0].entry][0].caption
    facts = {label: record.command or record.started for label, record in runs}
    numbers = {"schema": "paper-table/1", "table": name, "parts": data}
    shown, shared = said_once(sheets)
    others = also_printed({entry.id for *_, entry in wanted}, next(iter(first.metrics)).partition("/")[0], catalog)
    return Document(caption.rstrip("."), shown, facts, (*shared, *empty, *others), numbers)


def _further_parts(parts: Sequence[Part], runs: Sequence[tuple[str, RunRecord]], catalog: Catalog) -> list[Part]:
    """Other printed tables that name a protocol of the runs."""
    found: dict[str, Part] = {}
    for _, record in runs:
        for cell in record.cells:
            card = catalog.datasets.get(cell.dataset)
            protocol = card.protocols.get(cell.protocol) if card else None
            for entry in protocol.published if protocol else ():
                if entry in catalog.published and entry not in {part.entry for part in parts}:
                    found.setdefault(entry, Part(entry, f"{cell.dataset}/{cell.protocol}"))
    return list(found.values())


def _unprinted(
    first: PublishedEntry, known: Sequence[str], runs: Sequence[tuple[str, RunRecord]]
) -> list[tuple[str, None, PublishedEntry]]:
    """Data sets of the runs that no printed table has, under the columns of the paper's."""
    found: dict[str, PublishedEntry] = {}
    for _, record in runs:
        for cell in record.cells:
            where = f"{cell.dataset}/{cell.protocol}"
            if _is_measured(cell) and not any(fnmatchcase(where, pattern) for pattern in known):
                metrics = {key: printed for key, printed in first.metrics.items() if key in cell.scores}
                about = {"dataset": cell.dataset, "protocol": cell.protocol, "metrics": metrics, "rows": {}}
                found.setdefault(where, first.model_copy(update={"id": where, **about}))
    return [(where, None, entry) for where, entry in found.items()]


def _is_measured(cell: CellRecord) -> bool:
    return cell.status in ("done", "incomplete") and cell.kind != "diagnostic"


def _measured(
    protocols: str, entry: PublishedEntry, runs: Sequence[tuple[str, RunRecord]], catalog: Catalog
) -> list[Measured]:
    return [
        Measured(label, cell, _printed_row(cell, entry, catalog), _other(record, cell, entry, catalog))
        for label, record in runs
        for cell in record.cells
        if _is_measured(cell) and fnmatchcase(f"{cell.dataset}/{cell.protocol}", protocols)
    ]


def _printed_row(cell: CellRecord, entry: PublishedEntry, catalog: Catalog) -> str:
    known = catalog.of_row(cell.model)
    if known is None or (known.variant.published_in and entry.id not in known.variant.published_in):
        return ""
    return next((name for name in known.variant.published_as if name in entry.rows), "")


def _other(record: RunRecord, cell: CellRecord, entry: PublishedEntry, catalog: Catalog) -> str:
    """What is other than in the printed table."""
    card = catalog.datasets.get(cell.dataset)
    protocol = card.protocols.get(cell.protocol) if card else None
    reasons = []
    if entry.rows and (protocol is None or entry.id not in protocol.published):
        caveat = cell.caveat or (protocol.title if protocol else "not a protocol of this installation")
        reasons.append(f"measured under {cell.dataset}/{cell.protocol}, not the printed protocol: {caveat.rstrip('.')}")
    if form := without_form(cell.model)[1]:
        reasons.append(f"computed in another form (@{form})")
    if limit := record.request.get("limit"):
        reasons.append(f"SUBSET: the first {limit} images (--limit)")
    if split := record.request.get("split"):
        reasons.append(f"SUBSET: split {split!r} (--split)")
    if rule := record.request.get("select"):
        reasons.append(f"SUBSET: images with {rule} (--select)")
    if condition := condition_text(record):
        reasons.append(f"CONDITION: {condition}")
    if boxes := other_boxes(record, protocol):
        reasons.append(f"other person boxes (--boxes {boxes})")
    if options := record.request.get("options"):
        reasons.append("options over the card: " + ", ".join(f"{k}={v}" for k, v in options.items()))
    if changed := changed_options(record, cell.dataset):
        reasons.append(f"options over the protocol: {changed}")
    if keys := record.request.get("scoring"):
        reasons.append("scoring keys over the protocol: " + ", ".join(f"{k}={v}" for k, v in keys.items()))
    if cell.counts.done != cell.counts.planned:
        reasons.append(f"INCOMPLETE: {cell.counts.done} of {cell.counts.planned} images are on disk")
    return "; ".join(reasons)


def _columns(entry: PublishedEntry, measured: Sequence[Measured]) -> list[ScoreColumn]:
    """The printed scores of which a number was recovered or measured."""
    columns = []
    for key, printed_key in entry.metrics.items():
        ours = next((m.cell.scores[key] for m in measured if key in m.cell.scores), None)
        if ours is None and all(_number(row.get(printed_key)) is None for row in entry.rows.values()):
            continue
        name = key.partition("/")[2]
        title = ours.title if ours else TITLES.get(name, name.replace("/", " "))
        scale = entry.scale.get(key, 1.0)
        unit = _unit(entry.units.get(printed_key, ""), ours, scale)
        upwards = entry.directions.get(printed_key, "up") != "down"
        columns.append(
            ScoreColumn(key, printed_key, title, unit, _decimals(entry, printed_key, ours, scale), scale, upwards)
        )
    return columns


def _unit(printed: str, ours: ScoreRecord | None, scale: float) -> str:
    """Of the printed numbers, in which measured ones are shown beside them."""
    plain = ours.unit if ours else ""
    if scale == 1.0:
        return plain
    return "%" if scale == 0.01 and "1e-" not in printed else f"×{scale:g} {plain}".rstrip()


def _decimals(entry: PublishedEntry, key: str, ours: ScoreRecord | None, scale: float) -> int:
    """As many digits as the longest printed number of the column has; without one, as many as we print."""
    values = [cell.value for row in entry.rows.values() if (cell := row.get(key)) is not None]
    digits = [len(repr(value).partition(".")[2].rstrip("0")) for value in values if isinstance(value, float)]
    if digits or ours is None:
        return max(digits, default=1)
    return ours.decimals + (2 if ours.percent and scale == 1.0 else 0)


def _sheet(
    table: PublishedTable | None,
    entry: PublishedEntry,
    columns: Sequence[ScoreColumn],
    measured: Sequence[Measured],
    several: bool,
    chosen: Chosen,
    why_not: str,
) -> Sheet:
    footnotes, marks = Footnotes(), Letters()
    lines = list(_rows(entry, columns, measured, several, footnotes, marks))
    rows = [texts for texts, _ in lines]
    used = {c.confidence for row in entry.rows.values() for c in row.values() if c is not None}
    source = place_of(table) if table else ""
    notes = [f"Printed (grey; slanted in Markdown): {source}: {readable(entry.protocol).rstrip('.')}."] if table else []
    if lost := [name for name in entry.rows if not _has_numbers(entry, name)]:
        notes.append(f"Printed there and not recovered: {', '.join(lost)}.")
    notes += [f"{MARKS[name]} {text}." for name, text in CONFIDENCE.items() if name in used]
    notes += [f"({n}) {text}" for n, text in enumerate(footnotes.texts, start=1)]
    notes += [f"{marks(text)} {text}{'; no difference is formed' if table else ''}." for text in marks.texts]
    if any(m.printed_row and not m.other for m in measured):
        notes.append("In parentheses: measured minus printed, under the printed protocol.")
    groups = [s.n_groups for m in measured for s in m.cell.scores.values() if s.n_groups]
    if groups and max(groups) < FEWEST_GROUPS:
        notes.append(f"Intervals over {max(groups)} groups are not to be trusted.")
    if not measured:
        notes.append(f"No row of these runs stands here: {why_not}")
    notes += [STANDS_OUT] if chosen.best else []
    names = [None if m is None else name_of(m) for _, m in lines]
    return Sheet(
        f"{source}: {entry.dataset}" if table else f"{entry.dataset}, {entry.protocol}: not in the paper",
        ("Model", "From", *(column.head for column in columns)),
        tuple(rows),
        (0, 1),
        tuple(notes),
        bold=_places(names, columns, chosen.best),
        underlined=_places(names, columns, chosen.second),
        faint=[i for i, (_, m) in enumerate(lines) if m is None],
    )


def _gains(entry: PublishedEntry, columns: Sequence[ScoreColumn], measured: Sequence[Measured]) -> PartGains:
    """Of the printed rows, and of what one run measured under one protocol."""
    places: dict[str, dict[str, dict[str, Cell]]] = {}
    for m in measured:
        if m.cell.kind == "network" and m.cell.counts.done == m.cell.counts.planned:
            scores = {c.key: m.cell.scores[c.key].value / c.scale for c in columns if c.key in m.cell.scores}
            place = places.setdefault("/".join((m.run, m.cell.dataset, m.cell.protocol)), {})
            place[m.cell.title] = {key: Cell(value) for key, value in scores.items() if math.isfinite(value)}
    plain = [GainColumn(c.key, c.head, c.decimals, c.higher_is_better) for c in columns]
    return part_gains(printed_cells(entry, {c.key: c.printed_key for c in columns}), places, plain)


def _places(
    names: Sequence[str | None], columns: Sequence[ScoreColumn], chosen: Set[tuple[str, str]]
) -> set[tuple[int, int]]:
    return {(i, 2 + j) for i, name in enumerate(names) for j, c in enumerate(columns) if (name, c.key) in chosen}


def _rows(
    entry: PublishedEntry,
    columns: Sequence[ScoreColumn],
    measured: Sequence[Measured],
    several: bool,
    footnotes: Footnotes,
    marks: Letters,
) -> Iterator[tuple[tuple[str, ...], Measured | None]]:
    """Printed rows, each followed by what was measured of it; then measured models that the paper does not have."""
    for name, values in entry.rows.items():
        ours = [m for m in measured if m.printed_row == name]
        if ours or _has_numbers(entry, name):
            yield (name, "printed", *(_printed(values.get(c.printed_key), c, name, footnotes) for c in columns)), None
        for m in ours:
            yield ("", _from(m, several, marks), *(_score(m, c, values.get(c.printed_key)) for c in columns)), m
    for m in measured:
        if not m.printed_row:
            yield (m.cell.title, _from(m, several, marks), *(_score(m, c, None) for c in columns)), m


def _number(value: PublishedValue | None) -> float | None:
    """What is printed, where it is a number and was recovered."""
    return value.value if value is not None and isinstance(value.value, float) else None


def _has_numbers(entry: PublishedEntry, name: str) -> bool:
    return any(_number(value) is not None for value in entry.rows[name].values())


def _from(m: Measured, several: bool, marks: Letters) -> str:
    return " ".join(p for p in ("measured", m.run if several else "", marks(m.other)) if p)


def _printed(value: PublishedValue | None, column: ScoreColumn, name: str, footnotes: Footnotes) -> str:
    number = _number(value)
    if value is None or number is None:
        return UNDEFINED
    text = f"{number:.{column.decimals}f}{MARKS.get(value.confidence, '')}"
    if value.confidence == "conflicting" and value.note:
        text += f"({footnotes.add(f'{name}, {column.title}: {readable(value.note)}')})"
    return text


def _score(m: Measured, column: ScoreColumn, printed: PublishedValue | None) -> str:
    score = m.cell.scores.get(column.key)
    if score is None:
        return ""
    text = column.shown(score.value)
    if math.isfinite(score.low) and math.isfinite(score.high):
        text += f" [{column.shown(score.low)}, {column.shown(score.high)}]"
    difference = _difference(m, score, column, printed)
    return text if difference is None else f"{text} ({difference:+.{column.decimals}f})"


def _difference(m: Measured, score: ScoreRecord, column: ScoreColumn, printed: PublishedValue | None) -> float | None:
    """Measured minus printed, in the printed unit; None where none may be formed."""
    reference = _number(printed)
    if m.other or reference is None or not math.isfinite(score.value):
        return None
    return score.value / column.scale - reference


def _data(
    entry: PublishedEntry, columns: Sequence[ScoreColumn], measured: Sequence[Measured], chosen: Chosen
) -> dict[str, Any]:
    """The part as numbers, in the printed units."""
    printed = {name: {c.key: _plain(values.get(c.printed_key)) for c in columns} for name, values in entry.rows.items()}
    rows = []
    for m in measured:
        values = entry.rows.get(m.printed_row, {})
        scores = {}
        for c in columns:
            if (score := m.cell.scores.get(c.key)) is not None:
                scores[c.key] = {
                    "value": score.value / c.scale, "low": score.low / c.scale, "high": score.high / c.scale,
                    "difference": _difference(m, score, c, values.get(c.printed_key)),
                    "best": (name_of(m), c.key) in chosen.best, "second": (name_of(m), c.key) in chosen.second,
                }  # fmt: skip
        rows.append({
            "run": m.run, "model": m.cell.model, "title": m.cell.title, "dataset": m.cell.dataset,
            "protocol": m.cell.protocol, "printed_row": m.printed_row, "other": m.other, "scores": scores,
        })  # fmt: skip
    return {"entry": entry.id, "dataset": entry.dataset, "printed": printed, "measured": rows}


def _plain(value: PublishedValue | None) -> dict[str, Any] | None:
    return None if value is None else {"value": value.value, "confidence": value.confidence, "note": value.note}
