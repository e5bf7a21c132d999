"""Gains over a reference row, computed from the cells of a table; a gain that a paper prints is never copied.

In the main tables the reference of a column is the best printed row of another family; in the ablation it is the first
row. Gains of what was measured here are formed among measured rows alone: a printed number is no reference for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import PublishedEntry
from sapiens_bench.report.numbers import CONFIDENCE, MARKS, UNDEFINED
from sapiens_bench.report.printed_text import place_of
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.store.record import CellRecord, RunRecord

OURS = "Sapiens"  # the family whose gains the papers' tables are about
ABLATION = ("paper-ablation", "sapiens1-t7")  # name of the table, published entry
_CHANCE = "Whether a measured gain may be chance is for `sapiens-bench compare` to say."
_HEADS = {  # of the ablation's printed keys
    "pose_map": "Pose mAP %",
    "seg_miou": "Parts mIoU %",
    "depth_rmse": "Depth RMSE",
    "normal_mean_deg": "Normals mean deg",
}
_WEAKEST = tuple(reversed(MARKS))  # conflicting, derived, single-source, verified


class Cell(NamedTuple):
    """One number of a table, in the printed unit."""

    value: float
    confidence: str = "verified"


@dataclass(frozen=True, slots=True)
class GainColumn:
    """One score of a table."""

    key: str
    head: str
    decimals: int
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class Gain:
    """One row against the reference of one column."""

    row: str
    key: str
    reference: str  # name of the row
    difference: float  # the row's value minus the reference's, in the printed unit
    relative: float  # difference over the reference
    confidence: str  # the weaker one of the two cells

    def shown(self, column: GainColumn, names_reference: bool = True) -> str:
        """``"+8.0 over DWPose-l§"``; errors with their relative change: ``"-0.033 (-22.4 %) over ..."``. The reference
        is left out where it is the same for the whole table."""
        text = f"{self.difference:+.{column.decimals}f}"
        if not column.higher_is_better and math.isfinite(self.relative):
            text += f" ({self.relative:+.1%})".replace("%", " %")
        over = f" over {self.reference}" if names_reference else ""
        return f"{text}{over}{MARKS.get(self.confidence, '')}"


def gains(
    rows: Mapping[str, Mapping[str, Cell]], columns: Sequence[GainColumn], ours: Sequence[str], others: Sequence[str]
) -> list[Gain]:
    """Every defined gain of the rows ``ours`` over the best of ``others``, column by column."""
    found = []
    for column in columns:
        there = [name for name in others if column.key in rows[name]]
        if not there:
            continue
        best = (max if column.higher_is_better else min)(there, key=lambda name: rows[name][column.key].value)
        base = rows[best][column.key]
        for name in ours:
            if name != best and (cell := rows[name].get(column.key)) is not None:
                weaker = min(cell.confidence, base.confidence, key=_WEAKEST.index)
                apart = cell.value - base.value
                relative = apart / base.value if base.value else math.nan
                found.append(Gain(name, column.key, best, apart, relative, weaker))
    return found


def gain_sheet(title: str, found: Sequence[Gain], columns: Sequence[GainColumn], notes: Sequence[str]) -> Sheet:
    """A row for each row that gains, a column for each score."""
    used = [column for column in columns if any(gain.key == column.key for gain in found)]
    several = len({gain.reference for gain in found}) > 1 or not title.endswith(found[0].reference)
    texts = {(gain.row, gain.key): gain.shown(next(c for c in used if c.key == gain.key), several) for gain in found}
    names = list(dict.fromkeys(gain.row for gain in found))
    weak = {gain.confidence for gain in found}
    return Sheet(
        title,
        ("Model", *(column.head for column in used)),
        tuple((name, *(texts.get((name, c.key), UNDEFINED) for c in used)) for name in names),
        (0,),
        (*notes, *(f"{MARKS[name]} {text}." for name, text in CONFIDENCE.items() if name in weak)),
    )


@dataclass(frozen=True, slots=True)
class PartGains:
    """The gains of one part of a table."""

    columns: Sequence[GainColumn]
    printed: Sequence[Gain]
    measured: Mapping[str, Sequence[Gain]]  # by "run/data set/protocol"

    @property
    def found(self) -> list[Gain]:
        """All of them."""
        return [*self.printed, *(gain for found in self.measured.values() for gain in found)]

    def sheets(self, title: str) -> list[Sheet]:
        """One for what is printed, one for each run and protocol that was measured."""
        note = f"Over the best row of the column that is no {OURS}; computed from the cells."
        found = [gain_sheet(f"{title}: gains, printed", self.printed, self.columns, [note])] if self.printed else []
        return found + [
            gain_sheet(f"{title}: gains, measured in {place}", each, self.columns, [note, _CHANCE])
            for place, each in self.measured.items()
            if each
        ]


def part_gains(
    printed: Mapping[str, Mapping[str, Cell]],
    measured: Mapping[str, Mapping[str, Mapping[str, Cell]]],
    columns: Sequence[GainColumn],
) -> PartGains:
    """Gains of the papers' own models over the best other one, among printed and among measured rows apart."""

    def of(rows: Mapping[str, Mapping[str, Cell]]) -> list[Gain]:
        ours = [name for name in rows if name.startswith(OURS)]
        return gains(rows, columns, ours, [name for name in rows if name not in ours])

    return PartGains(columns, of(printed), {place: of(rows) for place, rows in measured.items()})


def printed_cells(entry: PublishedEntry, keys: Mapping[str, str]) -> dict[str, dict[str, Cell]]:
    """Printed name -> key -> cell, of the numbers that were recovered; ``keys``: key -> printed key."""
    return {
        name: {
            key: Cell(cell.value, cell.confidence)
            for key, k in keys.items()
            if (cell := row.get(k)) is not None and isinstance(cell.value, float)
        }
        for name, row in entry.rows.items()
    }


def ablation_table(catalog: Catalog, runs: Sequence[tuple[str, RunRecord]] = ()) -> Document:
    """The paper's ablation of the data that the encoder was trained on, and those that the runs are, with gains.

    Args:
        runs: (label, record); the first network of each, in the order of its table's rows, is the reference.
    """
    table, entry = catalog.published[ABLATION[1]]
    columns = [
        GainColumn(key, _head(entry, key), _digits(entry, key), entry.directions.get(key, "up") != "down")
        for key in entry.units
    ]
    rows = printed_cells(entry, {c.key: c.key for c in columns})
    first, *others = entry.rows
    found = gains(rows, columns, others, [first])
    by_place = {(gain.row, gain.key): gain for gain in found}
    lines = tuple(
        (name, *(_both(rows[name].get(c.key), by_place.get((name, c.key)), c) for c in columns)) for name in rows
    )
    weak = {cell.confidence for row in rows.values() for cell in row.values()}
    notes = (
        f"Printed: {place_of(table)}: {entry.dataset}.",
        f"In parentheses: gain over {first}, computed from the cells.",
        *(f"{note}." if not note.endswith(".") else note for note in table.notes if not note.startswith("status:")),
        *(f"{MARKS[name]} {text}." for name, text in CONFIDENCE.items() if name in weak),
    )
    sheet = Sheet(place_of(table), ("Encoder", *(c.head for c in columns)), lines, (0,), notes)
    numbers: dict[str, Any] = {
        "schema": "paper-table/1",
        "table": ABLATION[0],
        "reference": first,
        "gains": as_data(found),
    }
    measured = [each for label, record in runs for each in _own_ablations(label, record)]
    numbers["measured"] = [{"title": title, "gains": as_data(won)} for title, won, _ in measured]
    sheets = (sheet, *(gain_sheet(title, won, used, [_CHANCE]) for title, won, used in measured))
    return Document(table.caption.rstrip("."), sheets, {}, (), numbers)


def _own_ablations(label: str, record: RunRecord) -> Iterator[tuple[str, list[Gain], list[GainColumn]]]:
    """Complete networks of one data set and protocol against the first of them, in the scores of the short table."""
    asked = [str(name) for text in record.request.get("models") or () for name in str(text).split(",")]
    places: dict[tuple[str, str], list[CellRecord]] = {}
    for cell in record.cells:
        if cell.kind == "network" and cell.status == "done":
            places.setdefault((cell.dataset, cell.protocol), []).append(cell)
    for place, cells in places.items():
        cells.sort(key=lambda c: asked.index(c.model) if c.model in asked else len(asked))
        shown = {key: score for cell in cells for key, score in cell.scores.items() if score.headline}
        columns = [
            GainColumn(key, f"{s.title} {'%' if s.percent else s.unit}".strip(), s.decimals, s.higher_is_better)
            for key, s in shown.items()
        ]
        rows = {
            cell.title: {
                key: Cell(cell.scores[key].value * (100 if s.percent else 1))
                for key, s in shown.items()
                if key in cell.scores and math.isfinite(cell.scores[key].value)
            }
            for cell in cells
        }
        first, *others = rows
        if others:
            yield f"{label}: {'/'.join(place)}, gains over {first}", gains(rows, columns, others, [first]), columns


def as_data(found: Sequence[Gain]) -> list[dict[str, Any]]:
    """The gains as numbers, in the printed unit."""
    return [
        {
            "row": g.row, "score": g.key, "reference": g.reference, "difference": g.difference,
            "relative": g.relative, "confidence": g.confidence,
        }
        for g in found
    ]  # fmt: skip


def _both(cell: Cell | None, gain: Gain | None, column: GainColumn) -> str:
    if cell is None:
        return UNDEFINED
    text = f"{cell.value:.{column.decimals}f}{MARKS.get(cell.confidence, '')}"
    return text if gain is None else f"{text} ({gain.difference:+.{column.decimals}f})"


def _head(entry: PublishedEntry, key: str) -> str:
    arrow = "↓" if entry.directions.get(key) == "down" else "↑"
    return f"{_HEADS.get(key, key.replace('_', ' '))} {arrow}"


def _digits(entry: PublishedEntry, key: str) -> int:
    values = [cell.value for row in entry.rows.values() if (cell := row.get(key)) is not None]
    return max((len(repr(v).partition(".")[2].rstrip("0")) for v in values if isinstance(v, float)), default=1)
