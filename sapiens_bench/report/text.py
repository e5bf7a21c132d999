"""Plain text: the one writer of aligned columns, for run tables, cost tables and lists, in a terminal or a file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from sapiens_bench.report import layout
from sapiens_bench.report.escape import one_line, terminal
from sapiens_bench.report.numbers import superscript
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.report.table import Block, ReportTable

_WIDE = 150  # narrower terminals show the interval of the score that ranks, and no other
_AROUND_HEAD = 2  # by which tabulate makes a column wider than its head, where no cell does
_GAP = 2  # spaces between columns
_LEAST = 10  # characters that a shortened column keeps
_STYLES = {"bold": "1", "second": "4", "faint": "2", "best": "1;32", "alarm": "33", "loud": "1;31"}


@dataclass(frozen=True, slots=True)
class Screen:
    """A terminal. Files and pipes have no screen: no colour, and lines as long as they need to be."""

    width: int
    colour: bool = False


def render(table: ReportTable, screen: Screen | None = None) -> str:
    """The table of a run."""
    return "\n".join(line.rstrip() for line in _table(table, screen)) + "\n"


def render_document(document: Document, screen: Screen | None = None) -> str:
    """Sheets, one below the other, then facts and notes."""
    lines: list[str] = []
    for sheet in document.sheets:
        lines += [_paint(one_line(sheet.title), "bold", screen)] if sheet.title else []
        lines += [aligned(sheet, screen), *(f"  {one_line(note)}" for note in sheet.notes), ""]
    facts = {one_line(name): one_line(value) for name, value in document.facts.items()}
    width = max((len(name) for name in facts), default=0) + 1
    lines += [f"{name + ':':<{width}} {value}" for name, value in facts.items()]
    lines += [_paint(one_line(note), "faint", screen) for note in document.notes]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def aligned(sheet: Sheet, screen: Screen | None = None, *, fold: bool = False) -> str:
    """The columns of one sheet, without its title and notes.

    Args:
        sheet: its texts may hold anything: control characters and direction marks are left out here.
        screen: where lines must not be longer than the screen is wide; only columns of words give way.
        fold: words that have no room go on in the next line; else they are cut short with an ellipsis.
    """
    from tabulate import tabulate

    rows = [[one_line(cell) for cell in row] for row in sheet.rows]
    heads = [one_line(head) for head in sheet.heads]
    if screen is not None:
        rows = _fitted(sheet, heads, rows, screen.width, fold)
        rows = [[_paint(cell, _style(sheet, i, j), screen) for j, cell in enumerate(row)] for i, row in enumerate(rows)]
    body: list[list[str]] = []
    for i, row in enumerate(rows):
        if i in sheet.sections:
            blank = [""] * len(heads)
            blank[sheet.name_column] = _paint(f"{one_line(sheet.sections[i])}:", "faint", screen)
            body.append(blank)
        body.append(row)
    sides = ["left" if j in sheet.left else "right" for j in range(len(heads))]
    text = tabulate(body, heads, tablefmt="simple", colalign=sides if body else None, disable_numparse=True)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _style(sheet: Sheet, row: int, column: int) -> str:
    if (row, column) in sheet.bold:
        return "best"
    return "second" if (row, column) in sheet.underlined else "faint" if row in sheet.faint else ""


def _fitted(sheet: Sheet, heads: list[str], rows: list[list[str]], width: int, fold: bool) -> list[list[str]]:
    """Cells shortened or folded until a line has at most ``width`` characters, the widest column of words first."""
    widths = [max(len(head) + _AROUND_HEAD, *(len(row[j]) for row in rows), 0) for j, head in enumerate(heads)]
    words = [j for j in sheet.left if j != sheet.name_column]
    least = {j: max(len(heads[j]) + _AROUND_HEAD, _LEAST) for j in words}
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        wide = [j for j in words if widths[j] > least[j]]
        if not wide:
            break
        widths[max(wide, key=lambda j: widths[j])] -= 1
    return [[_cell(cell, widths[j], fold) if j in words else cell for j, cell in enumerate(row)] for row in rows]


def _cell(text: str, width: int, fold: bool) -> str:
    if len(text) <= width:
        return text
    return "\n".join(textwrap.wrap(text, width)) if fold else text[: width - 1] + "…"


def _paint(text: str, style: str, screen: Screen | None) -> str:
    """Line by line, since a colour that is open at a line's end would run into the next column."""
    if not style or screen is None or not screen.colour:
        return text
    return "\n".join(f"\x1b[{_STYLES[style]}m{line}\x1b[0m" if line else line for line in text.split("\n"))


def _table(table: ReportTable, screen: Screen | None) -> Iterator[str]:
    if table.incomplete:
        yield _paint(f"INCOMPLETE: {terminal(table.incomplete)}", "loud", screen)
        yield ""
    for position, block in enumerate(table.blocks):
        if position:
            yield ""
        if screen is not None:  # what scrolls away first is what was not measured
            yield from _absent(block, screen)
        yield from _block(block, screen)
        if screen is None:
            yield from _absent(block, screen)
    yield from (_paint(terminal(note), "faint", screen) for note in (*table.legend, *table.notes))


def _block(block: Block, screen: Screen | None) -> Iterator[str]:
    narrow = screen is not None and screen.width < _WIDE
    yield _paint(one_line(layout.heading(block)), "bold", screen)
    yield aligned(layout.score_sheet(block, intervals="headline" if narrow else "all"), screen)
    yield ""
    yield from (_paint(one_line(text), "alarm", screen) for text in block.alarms)
    yield from (_paint(one_line(text), "faint", screen) for text in block.remarks)
    for number, note in enumerate(block.footnotes, start=1):
        yield _paint(f"{superscript((number,))} {one_line(note)}", "faint", screen)


def _absent(block: Block, screen: Screen | None) -> Iterator[str]:
    """Rows without any number, one line each, and what to do about them."""
    sheet = layout.absent_sheet(block)
    if sheet is not None:
        if screen is None:
            yield ""
        yield aligned(sheet, screen)
    remedies = layout.remedy_lines(block)
    if remedies:
        yield _paint("To measure the other rows:", "bold", screen)
        yield from (_paint(f"  {one_line(line)}", "faint", screen) for line in remedies)
    if screen is not None and (sheet is not None or remedies):
        yield ""
