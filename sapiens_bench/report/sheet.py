"""Small tables of finished text, for costs: one shape, three renderings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from sapiens_bench.report.escape import csv_cell, one_line
from sapiens_bench.report.escape import markdown as safe


@dataclass(frozen=True, slots=True)
class Sheet:
    """A titled table. Columns after the first ``n_left`` are numbers, set flush right."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_left: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.heads) for row in self.rows), self.title


def markdown(sheets: Iterable[Sheet], title: str = "", facts: Sequence[str] = ()) -> str:
    """GitHub-flavoured Markdown."""
    lines = [f"# {safe(title)}", ""] if title else []
    lines += [*(f"- {safe(fact)}" for fact in facts), ""] if facts else []
    for sheet in sheets:
        lines += [f"## {safe(sheet.title)}", ""]
        lines.append(f"| {' | '.join(safe(head) for head in sheet.heads)} |")
        lines.append(f"| {' | '.join(':--' if i < sheet.n_left else '--:' for i in range(len(sheet.heads)))} |")
        lines += [f"| {' | '.join(safe(cell) for cell in row)} |" for row in sheet.rows]
        lines += ["", *(f"- {safe(note)}" for note in sheet.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def text(sheets: Iterable[Sheet]) -> str:
    """Aligned columns without colour, for a terminal or a log."""
    lines: list[str] = []
    for sheet in sheets:
        table = [tuple(one_line(cell) for cell in row) for row in (sheet.heads, *sheet.rows)]
        widths = [max(len(row[i]) for row in table) for i in range(len(sheet.heads))]
        lines.append(sheet.title)
        for number, row in enumerate(table):
            cells = [
                cell.ljust(w) if i < sheet.n_left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))
            ]
            lines.append("  ".join(cells).rstrip())
            if number == 0:
                lines.append("  ".join("-" * w for w in widths))
        lines += [f"  {one_line(note)}" for note in sheet.notes]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def comma_separated(sheets: Iterable[Sheet]) -> str:
    """CSV: the title of its table in the first column; each table has its own head line."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for sheet in sheets:
        writer.writerow(["table", *sheet.heads])
        writer.writerows([csv_cell(sheet.title), *(csv_cell(cell) for cell in row)] for row in sheet.rows)
    return stream.getvalue()
