r"""Table -> LaTeX: one ``table`` environment per data set and protocol; needs only ``\usepackage{booktabs}``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sapiens_bench.report.escape import latex as safe
from sapiens_bench.report.layout import GROUP_TITLES, heading, sections, short_remedies, side_columns, with_numbers
from sapiens_bench.report.numbers import MARKS, number
from sapiens_bench.report.table import Block, Cell, Column, Row, Table


def render(table: Table) -> str:
    """Complete environments, to be included in a document with booktabs."""
    lines = [f"% {safe(table.title)}", r"% needs \usepackage{booktabs}"]
    if table.incomplete:
        lines.append(f"% INCOMPLETE: {safe(table.incomplete)}")
    for block in table.blocks:
        lines += ["", *_environment(with_numbers(block), table)]
    return "\n".join(lines) + "\n"


def _environment(block: Block, table: Table) -> Iterator[str]:
    columns, sides = block.shown(), side_columns(block)
    # Sentences wrap: a column as wide as its longest sentence would push the table off the page.
    texts = ["r" if title in ("Params M", "img/s") else r"p{0.16\linewidth}" for title, _ in sides]
    width = 1 + len(columns) + len(sides)
    yield r"\begin{table}[t]"
    yield r"\centering"
    yield r"\small"
    yield r"\setlength{\tabcolsep}{4pt}"
    yield rf"\caption{{{_caption(block, table)}}}"
    yield rf"\label{{tab:{_label(block)}}}"
    yield rf"\begin{{tabular}}{{l{'r' * len(columns)}{''.join(texts)}}}"
    yield r"\toprule"
    yield _line(["Model", *(_head(column) for column in columns), *(safe(title) for title, _ in sides)])
    yield r"\midrule"
    position = 0
    for group, rows in sections(block):
        if position:
            yield r"\midrule"
        if GROUP_TITLES[group]:
            yield rf"\multicolumn{{{width}}}{{l}}{{\emph{{{safe(GROUP_TITLES[group])}}}}} \\"
        for row in rows:
            extra = [safe(values[position]) for _, values in sides]
            yield _line([_model(row), *(_cell(row.cells.get(c.key), c) for c in columns), *extra])
            position += 1
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield from _notes(block, table)
    yield r"\end{table}"


def _caption(block: Block, table: Table) -> str:
    incomplete = rf"\textbf{{INCOMPLETE:}} {safe(table.incomplete)}. " if table.incomplete else ""
    best = " Best measured network in bold." if any(c.best for r in block.rows for c in r.cells.values()) else ""
    return f"{incomplete}{safe(heading(block))}.{best}"


def _label(block: Block) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", f"{block.task}-{block.dataset}-{block.protocol}")


def _head(column: Column) -> str:
    unit = r"\%" if column.percent else safe(column.unit)
    arrow = r"$\uparrow$" if column.higher_is_better else r"$\downarrow$"
    printed = r"\emph{published}" if column.kind == "published" else ""
    return " ".join(part for part in (safe(column.title), printed, unit, arrow) if part)


def _model(row: Row) -> str:
    return safe(row.title) + _marks(row.notes)


def _marks(notes: tuple[int, ...]) -> str:
    return rf"\textsuperscript{{{','.join(str(n) for n in notes)}}}" if notes else ""


def _cell(cell: Cell | None, column: Column) -> str:
    """``84.0`` with the ends of its interval as small sub- and superscript."""
    if cell is None:
        return ""
    value = safe(number(cell.value, column))
    if cell.best:
        value = rf"\textbf{{{value}}}"
    if column.kind == "published":
        mark = safe(MARKS.get(cell.confidence, ""))
        return rf"\emph{{{value}}}" + (rf"\textsuperscript{{{mark}}}" if mark else "") + _marks(cell.notes)
    if cell.has_interval:
        low, high = number(cell.low, column), number(cell.high, column)
        value += rf"$_{{\scriptscriptstyle {low}}}^{{\scriptscriptstyle {high}}}$"
    return value


def _notes(block: Block, table: Table) -> Iterator[str]:
    """Remarks and footnotes; how to obtain the missing rows stays in a comment."""
    texts = [safe(text) for text in block.remarks]
    texts += [rf"\textsuperscript{{{i}}} {safe(text)}" for i, text in enumerate(block.footnotes, start=1)]
    texts += [safe(text) for text in table.legend]
    if texts:
        yield r"\par\smallskip"
        yield rf"\parbox{{\linewidth}}{{\footnotesize\raggedright {' '.join(texts)}}}"
    yield from (f"% not measured: {safe(line)}" for line in short_remedies(block))


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
