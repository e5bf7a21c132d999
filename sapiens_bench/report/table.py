"""The table of a run as one object. ``tables.build`` fills it, the writers only format it: no two can disagree."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

ColumnKind = Literal["score", "published"]
RowGroup = Literal["network", "floor", "diagnostic", "unavailable"]


@dataclass(frozen=True, slots=True)
class Column:
    """One score, ours or as printed in a paper."""

    key: str  # "<metric>/<score>"; published columns: "published:<metric>/<score>"
    title: str
    kind: ColumnKind
    unit: str = ""  # "" for a share
    percent: bool = False  # shown x 100
    decimals: int = 3
    higher_is_better: bool = True
    headline: bool = True  # shown in the short table


@dataclass(frozen=True, slots=True)
class TableCell:
    """One number, in the unit of the score (a share is 0..1, whatever is shown)."""

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95
    n_groups: int = 0
    best: bool = False  # shown in bold; which cells are is the affair of the emphasis given to ``tables.build``
    second: bool = False  # underlined, likewise
    confidence: str = ""  # published numbers: verified, single-source, derived, conflicting
    source: str = ""  # published numbers: paper, table and printed row
    reason: str = ""  # why the value is undefined
    notes: tuple[int, ...] = ()  # 1-based indices into Block.footnotes

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One model variant."""

    model: str
    title: str
    group: RowGroup
    status: str
    rank: int | None = None  # among measured networks, by the headline score
    cells: dict[str, TableCell] = field(default_factory=dict)  # by Column.key
    trained_on: str = ""
    in_domain: bool = False
    params_m: float = math.nan
    images_per_s: float = math.nan
    licence: str = ""
    weights_bytes: int | None = None
    n_planned: int = 0
    n_scored: int = 0  # images in the metric, misses included
    n_excluded: int = 0  # images that left the metric because picture or label is at fault
    n_misses: int = 0  # images on which the model failed; counted as misses
    notes: tuple[int, ...] = ()

    @property
    def is_incomplete(self) -> bool:
        """Fewer rows on disk than planned."""
        return self.group != "unavailable" and self.n_scored + self.n_excluded != self.n_planned


@dataclass(frozen=True, slots=True)
class Remedy:
    """How to obtain rows that could not be measured."""

    titles: tuple[str, ...]
    models: tuple[str, ...]
    status: str  # weights missing, data missing, refused
    how: str
    command: str = ""  # the command that helps, with NAME for the model; "" where none does


@dataclass(frozen=True, slots=True)
class Block:
    """One data set under one protocol: the unit inside which numbers may be compared."""

    task: str
    dataset: str
    protocol: str
    title: str
    protocol_title: str
    headline: str  # key of the column that ranks
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    n_images: int = 0
    alarms: tuple[str, ...] = ()  # what forbids a comparison: a subset, intervals that are not to be trusted
    remarks: tuple[str, ...] = ()  # about the whole block: caveats, excluded images, intervals
    footnotes: tuple[str, ...] = ()  # numbered from 1, referred to by rows and cells
    remedies: tuple[Remedy, ...] = ()
    best_means: str = ""  # what a number in bold says; "" where none is

    def shown(self, everything: bool = False) -> tuple[Column, ...]:
        """Columns of the short table, or all of them."""
        return tuple(c for c in self.columns if everything or c.headline)

    @property
    def measured(self) -> tuple[TableRow, ...]:
        return tuple(r for r in self.rows if r.group != "unavailable")


@dataclass(frozen=True, slots=True)
class ReportTable:
    """Everything a report shows."""

    title: str
    task: str
    status: str
    incomplete: str  # "" or what is missing; a heading in every format
    blocks: tuple[Block, ...]
    facts: dict[str, str]  # command, version, date, machine ... in display order
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
