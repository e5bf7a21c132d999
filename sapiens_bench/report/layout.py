"""Which columns a table shows and what its text columns say; shared by the renderers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from sapiens_bench.report.numbers import plain, size, superscript
from sapiens_bench.report.table import Block, Column, Row, RowGroup

_GET = re.compile(r"sapiens-bench weights get \S+?( --accept-licence [^\s`]+)?(?=[\s`]|$)")

GROUP_TITLES: dict[RowGroup, str] = {
    "network": "",
    "floor": "Floors",
    "diagnostic": "Diagnostics (see the ground truth)",
    "unavailable": "Not measured here",
}


def sections(block: Block) -> Iterator[tuple[RowGroup, list[Row]]]:
    """Rows by group, in table order."""
    for group, rows in groupby(block.rows, key=lambda row: row.group):
        yield group, list(rows)


ABSENT_HEADS = ("Not measured here", "Status", "Size", "Licence", "Params M", "Trained on")


def with_numbers(block: Block) -> Block:
    """The block without rows that hold no number at all; those have a list of their own, ``absent``."""
    return replace(block, rows=tuple(row for row in block.rows if row.cells or row.group != "unavailable"))


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
    rows: Sequence[Row] = block.rows
    candidates = [
        ("Params M", [plain(row.params_m) for row in rows]),
        ("img/s", [plain(row.images_per_s) for row in rows]),
        ("Trained on", [trained_on(row) for row in rows]),
        ("Status", [status(row) for row in rows]),
    ]
    if all(row.status == "done" for row in rows):
        candidates.pop()
    return [(head, texts) for head, texts in candidates if any(texts)]


def trained_on(row: Row) -> str:
    """What the weights were fitted on, the in-domain mark included."""
    mark = "" if not row.in_domain or "in-domain" in row.trained_on else " (in-domain)"
    return f"{row.trained_on}{mark}"


def status(row: Row) -> str:
    """Empty for a complete row."""
    if row.group == "unavailable":
        return ", ".join(part for part in (row.status, size(row.weights_bytes), row.licence) if part)
    if row.is_incomplete:
        return f"INCOMPLETE {row.n_scored + row.n_excluded}/{row.n_planned}"
    return "" if row.status == "done" else row.status


def marks(row: Row) -> str:
    """Footnote marks behind the model's name."""
    return superscript(row.notes)


def numeric(column: Column) -> bool:
    """Scores and printed numbers are set flush right."""
    return column.kind in ("score", "published")


def remedy_lines(block: Block) -> list[tuple[str, str]]:
    """(models, advice), in full."""
    return [(", ".join(remedy.titles), remedy.how) for remedy in block.remedies]


def short_remedies(block: Block) -> list[str]:
    """One line per kind of advice: the command that fetches weights, once for all models it works for."""
    names: dict[str, list[str]] = {}
    for remedy in block.remedies:
        if remedy.status != "weights missing":
            names.setdefault(remedy.how, []).extend(remedy.titles)
            continue
        found = _GET.search(remedy.how)
        command = f"weights get NAME{found.group(1) or ''}" if found else "weights show NAME"
        names.setdefault(f"`sapiens-bench {command}`", []).extend(remedy.models)
    return [
        f"{how} for {', '.join(known)}" if how.startswith("`") else f"{', '.join(known)}: {how}"
        for how, known in names.items()
    ]
