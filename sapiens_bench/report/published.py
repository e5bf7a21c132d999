"""Printed numbers that may stand beside a cell: only those of its own variant under its own protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sapiens_bench.cards.catalog import Catalog, PublishedRow
from sapiens_bench.cards.schema import EvalProtocol
from sapiens_bench.report.footnotes import changed_options
from sapiens_bench.report.printed_text import place_of, readable
from sapiens_bench.store.record import CellRecord, RunRecord


@dataclass(frozen=True, slots=True)
class Printed:
    """One printed number, in our unit."""

    score: str  # our score key without the metric's name, e.g. "whole/AP"
    head: str  # as printed in the table's head
    value: float
    confidence: str
    source: str  # paper, table with its caption, row with what is printed beside its scores
    unit: str  # "" where the printed unit is a share or a sentence
    percent: bool  # printed as per cent of our share
    higher_is_better: bool
    note: str = ""


def other_boxes(record: RunRecord, protocol: EvalProtocol | None) -> str:
    """The person boxes of the run, where they are not those of its protocol; "" where they are."""
    asked = str(record.request.get("boxes") or "")
    return "" if protocol is not None and asked == protocol.options.get("boxes") else asked


def printed_numbers(record: RunRecord, cell: CellRecord, catalog: Catalog | None) -> list[Printed]:
    """Numbers for a cell, in the order of the protocol's entries; empty where no card allows a comparison."""
    entry = None if catalog is None else catalog.of_row(cell.model)
    if catalog is None or entry is None or cell.dataset not in catalog.datasets:
        return []
    protocol: EvalProtocol | None = catalog.datasets[cell.dataset].protocols.get(cell.protocol)
    changed = any(record.request.get(name) for name in ("scoring", "condition", "select"))
    if protocol is None or other_boxes(record, protocol) or changed or changed_options(record, cell.dataset):
        return []
    rows = catalog.published_rows(entry.variant, protocol)
    return [number for row in rows for number in _numbers(row)]


def _numbers(row: PublishedRow) -> Iterable[Printed]:
    caption = row.table.caption.rstrip(".")
    beside = row.entry.row_attributes.get(row.name, {})
    attributes = "".join(f", {key.replace('_', ' ')} {value}" for key, value in beside.items())
    source = f"{place_of(row.table)} ({caption}), row “{row.name}”{attributes}"
    for score, key in row.entry.metrics.items():
        value = row.entry.rows[row.name].get(key)
        if value is None or not isinstance(value.value, float):
            continue
        scale = row.entry.scale.get(score, 1.0)
        unit = row.entry.units.get(key, "")
        short = unit if unit in ("m", "mm", "px", "deg") else ""
        upwards = row.entry.directions.get(key, "up") != "down"
        yield Printed(
            score,
            key,
            round(value.value * scale, 12),
            value.confidence,
            source,
            short,
            scale == 0.01,
            upwards,
            readable(value.note),
        )


def score_key(score: str, known: Iterable[str]) -> str | None:
    """The run's key of a printed score: itself, or itself behind one metric name."""
    names = list(known)
    if score in names:
        return score
    return next((name for name in names if name.partition("/")[2] == score), None)
