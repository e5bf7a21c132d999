"""Which columns a table shows and what its text columns say; shared by the writers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal

from sapiens_bench.report.numbers import cell_text, head, plain, size, superscript
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.report.table import Block, Column, RowGroup, TableCell, TableRow

GROUP_TITLES: dict[RowGroup, str] = {
    "network": "",
    "floor": "Floors",
    "diagnostic": "Diagnostics (see the ground truth)",
    "unavailable": "Not measured here",
}
ABSENT_HEADS = ("Not measured here", "Status", "Size", "Licence", "Params M", "Trained on")
NUMBER_HEADS = ("Size", "Params M", "img/s")  # side columns that hold numbers


def sections(block: Block) -> Iterator[tuple[RowGroup, list[TableRow]]]:
    """Rows by group, in table order."""
    for group, rows in groupby(block.rows, key=lambda row: row.group):
        yield group, list(rows)


def with_numbers(block: Block) -> Block:
    """The block without rows that hold no number at all; those have a list of their own, ``absent``."""
    return replace(block, rows=tuple(row for row in block.rows if row.cells or row.group != "unavailable"))


def score_sheet(block: Block, intervals: Literal["all", "headline"] = "all") -> Sheet:
    """Ranks, models, the scores of the short table and what stands beside them; rows without numbers are left out."""
    block = with_numbers(block)
    columns, sides = block.shown(), side_columns(block)
    rows: list[tuple[str, ...]] = []
    bold: set[tuple[int, int]] = set()
    underlined: set[tuple[int, int]] = set()
    titles: dict[int, str] = {}
    for group, members in sections(block):
        if GROUP_TITLES[group]:
            titles[len(rows)] = GROUP_TITLES[group]
        for row in members:
            cells = [row.cells.get(column.key) for column in columns]
            bold |= {(len(rows), 2 + j) for j, cell in enumerate(cells) if cell is not None and cell.best}
            underlined |= {(len(rows), 2 + j) for j, cell in enumerate(cells) if cell is not None and cell.second}
            texts = [
                _text(cell, column, intervals == "all" or column.key == block.headline)
                for cell, column in zip(cells, columns)
            ]
            extra = [side[len(rows)] for _, side in sides]
            rows.append((str(row.rank or ""), row.title + marks(row), *texts, *extra))
    words = [2 + len(columns) + j for j, (title, _) in enumerate(sides) if title not in NUMBER_HEADS]
    faint = [i for i, row in enumerate(block.rows) if row.group == "unavailable"]
    heads = ("#", "Model", *(head(column) for column in columns), *(title for title, _ in sides))
    return Sheet("", heads, tuple(rows), (1, *words), sections=titles, bold=bold, underlined=underlined, faint=faint)


def _text(cell: TableCell | None, column: Column, with_interval: bool) -> str:
    if cell is not None and not with_interval:
        cell = replace(cell, low=math.nan, high=math.nan)
    return cell_text(cell, column)


def absent_sheet(block: Block) -> Sheet | None:
    """Rows that could not be measured and have no printed number either; None where there are none."""
    rows = absent(block)
    if not rows:
        return None
    left = [j for j, title in enumerate(ABSENT_HEADS) if title not in NUMBER_HEADS]
    return Sheet("", ABSENT_HEADS, tuple(rows), left, faint=range(len(rows)))


def absent(block: Block) -> list[tuple[str, ...]]:
    """One line of texts, in the order of ``ABSENT_HEADS``, per row that holds neither a score nor a printed number."""
    return [
        (row.title, row.status, size(row.weights_bytes), row.licence, plain(row.params_m), trained_on(row))
        for row in block.rows
        if row.group == "unavailable" and not row.cells
    ]


def heading(block: Block) -> str:
    """``"COCO val2017 · gt-box (Ground-truth boxes) · 5000 images"``."""
    protocol = f"{block.protocol} ({block.protocol_title})" if block.protocol_title else block.protocol
    images = f"{block.n_images} images" if block.n_images else ""
    return " · ".join(part for part in (block.title, protocol, images) if part)


def side_columns(block: Block) -> list[tuple[str, list[str]]]:
    """(head, one text per row) of the columns right of the scores; columns without content are left out."""
    rows: Sequence[TableRow] = block.rows
    candidates = [
        ("Params M", [plain(row.params_m) for row in rows]),
        ("img/s", [plain(row.images_per_s) for row in rows]),
        ("Trained on", [trained_on(row) for row in rows]),
        ("Status", [status(row) for row in rows]),
    ]
    if all(row.status == "done" for row in rows):
        candidates.pop()
    return [(title, texts) for title, texts in candidates if any(texts)]


def trained_on(row: TableRow) -> str:
    """What the weights were fitted on, the in-domain mark included."""
    return f"{row.trained_on}{' (in-domain)' if row.in_domain else ''}"


def status(row: TableRow) -> str:
    """Empty for a complete row."""
    if row.group == "unavailable":
        return ", ".join(part for part in (row.status, size(row.weights_bytes), row.licence) if part)
    if row.is_incomplete:
        return f"INCOMPLETE {row.n_scored + row.n_excluded}/{row.n_planned}"
    return "" if row.status == "done" else row.status


def marks(row: TableRow) -> str:
    """Footnote marks behind the model's name."""
    return superscript(row.notes)


def remedies_in_full(block: Block) -> list[tuple[str, str]]:
    """(models, advice), one for each kind of advice."""
    return [(", ".join(remedy.titles), remedy.how) for remedy in block.remedies]


def remedy_lines(block: Block) -> list[str]:
    """One line per kind of advice: the command that fetches weights, once for all models it works for."""
    names: dict[tuple[str, str], list[str]] = {}
    for remedy in block.remedies:
        known = remedy.models if remedy.command else remedy.titles
        names.setdefault((remedy.command, "" if remedy.command else remedy.how), []).extend(known)
    return [
        f"`{command}` for {', '.join(known)}" if command else f"{', '.join(known)}: {how}"
        for (command, how), known in names.items()
    ]
