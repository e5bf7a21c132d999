r"""Table or document -> LaTeX: one environment per data set and protocol, or per sheet; needs booktabs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sapiens_bench.report.escape import latex as safe
from sapiens_bench.report.escape import one_line
from sapiens_bench.report.layout import (
    GROUP_TITLES,
    NUMBER_HEADS,
    heading,
    remedy_lines,
    sections,
    side_columns,
    trained_on,
    with_numbers,
)
from sapiens_bench.report.numbers import MARKS, number
from sapiens_bench.report.sheet import Document, Picture, Sheet
from sapiens_bench.report.table import Block, Column, ReportTable, TableCell, TableRow
from sapiens_bench.report.tabular import TexCell, TexColumn, environment

_NEEDS = r"% needs \usepackage{booktabs}"


def render(table: ReportTable) -> str:
    """Complete environments, to be included in a document with booktabs."""
    lines = [f"% {safe(table.title)}", _NEEDS]
    if table.incomplete:
        lines.append(f"% INCOMPLETE: {safe(table.incomplete)}")
    for block in table.blocks:
        lines += ["", *_block(with_numbers(block), table)]
        lines += [f"% not measured: {safe(line)}" for line in remedy_lines(block)]
    return "\n".join(lines) + "\n"


def render_document(document: Document) -> str:
    """One environment per sheet."""
    grey = any(sheet.faint for sheet in document.sheets)
    lines = [f"% {safe(document.title)}", _NEEDS + (r", \usepackage{xcolor}" if grey else "")]
    lines += [f"% {safe(name)}: {safe(value)}" for name, value in document.facts.items()]
    for number_, sheet in enumerate(document.sheets, start=1):
        titles = {row: safe(title) for row, title in sheet.sections.items()}
        notes = [safe(note) for note in sheet.notes]
        title = sheet.title or document.title
        lines += ["", *environment(_sheet_columns(sheet), safe(title) + ".", f"{title}-{number_}", titles, notes)]
    for picture in document.pictures:
        lines += ["", *_figure(picture)]
    lines += [f"% {safe(note)}" for note in document.notes]
    return "\n".join(lines) + "\n"


def _figure(picture: Picture) -> Iterator[str]:
    r"""A figure of the picture; a comment names a file that \includegraphics cannot."""
    if re.search(r"[\\%{}#$\s\x00-\x1f]", picture.path):
        yield f"% figure: {safe(picture.path)}"
        return
    yield r"\begin{figure}"
    yield r"\centering"
    yield rf"\includegraphics[width=\linewidth]{{\detokenize{{{picture.path}}}}} % needs \usepackage{{graphicx}}"
    yield rf"\caption{{{safe(picture.words)}}}"
    yield r"\end{figure}"


def _sheet_columns(sheet: Sheet) -> list[TexColumn]:
    columns = []
    for j, head in enumerate(sheet.heads):
        cells = []
        for i, row in enumerate(sheet.rows):
            tex = _grey(safe(row[j])) if i in sheet.faint else safe(row[j])
            bold, underlined = (i, j) in sheet.bold, (i, j) in sheet.underlined
            cells.append(TexCell(_emphasised(tex, bold, underlined), one_line(row[j]), bold=bold))
        columns.append(TexColumn(_head_lines(head), tuple(cells), j in sheet.left))
    return columns


def _grey(tex: str) -> str:
    return rf"\textcolor{{gray}}{{{tex}}}" if tex.strip() else tex


def _head_lines(head: str) -> tuple[TexCell, ...]:
    """Words of a head below each other, short ones joined: heads must not make a column of numbers wide."""
    lines: list[str] = []
    for word in re.findall(r"\([^)]*\)|\S+", one_line(head)):
        if lines and len(lines[-1]) + len(word) < 7:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return tuple(TexCell(safe(line), line) for line in lines or [""])


def _block(block: Block, table: ReportTable) -> Iterator[str]:
    titles: dict[int, str] = {}
    position = 0
    for group, members in sections(block):
        if GROUP_TITLES[group]:
            titles[position] = safe(GROUP_TITLES[group])
        position += len(members)
    label = f"{block.task}-{block.dataset}-{block.protocol}"
    return environment(_columns(block), _caption(block, table), label, titles, list(_notes(block, table)))


def _columns(block: Block) -> list[TexColumn]:
    """Models, scores, and the side columns that are numbers; what a model was trained on is told in the notes."""
    names = [
        TexCell(safe(row.title) + _marks(row.notes), one_line(row.title), "00" * len(row.notes)) for row in block.rows
    ]
    columns = [TexColumn(_head_lines("Model"), tuple(names), is_words=True)]
    for column in block.shown():
        cells = tuple(_cell(row.cells.get(column.key), column) for row in block.rows)
        columns.append(TexColumn(_score_head(column), cells))
    for title, texts in side_columns(block):
        if title in NUMBER_HEADS or title == "Status":
            cells = tuple(TexCell(safe(text), text) for text in texts)
            columns.append(TexColumn(_head_lines(title), cells, title == "Status"))
    return columns


def _model(row: TableRow) -> TexCell:
    return TexCell(safe(row.title) + _marks(row.notes), one_line(row.title), "00" * len(row.notes))


def _score_head(column: Column) -> tuple[TexCell, ...]:
    unit = "%" if column.percent else column.unit
    arrow = "↑" if column.higher_is_better else "↓"
    printed = (TexCell(r"\emph{published}", "published"),) if column.kind == "published" else ()
    return (*_head_lines(column.title), *printed, TexCell(safe(f"{unit} {arrow}".strip()), f"{unit} {arrow}"))


def _caption(block: Block, table: ReportTable) -> str:
    incomplete = rf"\textbf{{INCOMPLETE:}} {safe(table.incomplete)}. " if table.incomplete else ""
    bold = f" {safe(block.best_means)}" if block.best_means else ""
    return f"{incomplete}{safe(heading(block))}.{bold}"


def _marks(notes: tuple[int, ...]) -> str:
    return rf"\textsuperscript{{{','.join(str(n) for n in notes)}}}" if notes else ""


def _cell(cell: TableCell | None, column: Column) -> TexCell:
    """``84.0`` with the ends of its interval as small sub- and superscript."""
    if cell is None:
        return TexCell("", "")
    text = number(cell.value, column)
    value = safe(text)
    value = _emphasised(value, cell.best, cell.second)
    if column.kind == "published":
        mark = safe(MARKS.get(cell.confidence, ""))
        marked = rf"\emph{{{value}}}" + (rf"\textsuperscript{{{mark}}}" if mark else "") + _marks(cell.notes)
        return TexCell(marked, text, "0" + "00" * len(cell.notes))
    if not cell.has_interval:
        return TexCell(value, text, bold=cell.best)
    low, high = number(cell.low, column), number(cell.high, column)
    scripts = rf"$_{{\scriptscriptstyle {low}}}^{{\scriptscriptstyle {high}}}$"
    return TexCell(value + scripts, text, max(low, high, key=len), cell.best)


def _emphasised(tex: str, bold: bool, underlined: bool) -> str:
    return rf"\textbf{{{tex}}}" if bold else rf"\underline{{{tex}}}" if underlined else tex


def _notes(block: Block, table: ReportTable) -> Iterator[str]:
    """Alarms, remarks and footnotes, each in a line of its own."""
    yield from (rf"\textbf{{{safe(text)}}}" for text in block.alarms)
    yield from (safe(text) for text in block.remarks)
    yield from (rf"\textsuperscript{{{i}}} {safe(text)}" for i, text in enumerate(block.footnotes, start=1))
    fitted = _trained(block.measured)
    if fitted:
        yield f"Trained on: {safe('; '.join(fitted))}."
    yield from (safe(text) for text in table.legend)


def _trained(rows: Sequence[TableRow]) -> list[str]:
    """``"COCO (A, B)"``: every text once, with the models it is true of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if text := trained_on(row):
            found.setdefault(text, []).append(row.title)
    return [f"{text} ({', '.join(titles)})" for text, titles in found.items()]
