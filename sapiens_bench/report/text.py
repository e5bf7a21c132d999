"""Table -> text for a terminal (with rich) or for a file or log (without colour, at any width)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING

from sapiens_bench.report import escape
from sapiens_bench.report.layout import (
    ABSENT_HEADS,
    GROUP_TITLES,
    absent,
    heading,
    marks,
    sections,
    short_remedies,
    side_columns,
    with_numbers,
)
from sapiens_bench.report.numbers import cell_text, head, superscript
from sapiens_bench.report.table import Block, Column, Row, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

_WIDE = 150  # narrower terminals show the interval of the score that ranks, and no other
_PLAIN_WIDTH = 4000  # lines of a log are never folded


def render(table: Table) -> str:
    """Plain text without colour or escape codes."""
    from rich.console import Console

    stream = StringIO()
    console = Console(file=stream, width=_PLAIN_WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    show(table, console)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def show(table: Table, console: Console) -> None:
    """Print the table; colours and width are the console's affair."""
    if table.incomplete:
        console.print(_text(f"INCOMPLETE: {table.incomplete}", "bold red"))
        console.print()
    for position, block in enumerate(table.blocks):
        if position:
            console.print()
        if console.is_terminal:  # what scrolls away first is what was not measured
            _show_absent(block, console)
        console.print(_text(heading(block), "bold"))
        console.print(_grid(with_numbers(block), console.width))
        for line in _below(block):
            console.print(line)
        if not console.is_terminal:
            _show_absent(block, console)
    for note in (*table.legend, *table.notes):
        console.print(_text(note, "dim"))


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(escape.terminal(text), style=style)


def _empty_grid() -> Grid:
    from rich import box
    from rich.table import Table as Grid

    return Grid(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1))


def _grid(block: Block, width: int) -> Grid:
    grid, narrow = _empty_grid(), width < _WIDE
    grid.add_column("#", justify="right", no_wrap=True)
    longest = max((len(row.title) + len(marks(row)) for row in block.rows), default=0)
    grid.add_column("Model", min_width=min(longest, 28), overflow="fold")
    columns, sides = block.shown(), side_columns(block)
    for column in columns:
        style = "dim" if column.kind == "published" else ""
        grid.add_column(_text(head(column)), justify="right", no_wrap=True, style=style)
    for title, _ in sides:
        right = title in ("Params M", "img/s")
        grid.add_column(title, justify="right" if right else "left", no_wrap=narrow, overflow="ellipsis")
    position = 0
    for group, rows in sections(block):
        if GROUP_TITLES[group] and position:
            grid.add_section()
        if GROUP_TITLES[group]:
            grid.add_row("", _text(GROUP_TITLES[group], "italic"))
        for row in rows:
            extra = [_text(texts[position]) for _, texts in sides]
            cells = [_cell(row, column, with_interval=not narrow or column.key == block.headline) for column in columns]
            grid.add_row(str(row.rank or ""), _text(row.title + marks(row)), *cells, *extra,
                         style="dim" if group == "unavailable" else "")  # fmt: skip
            position += 1
    return grid


def _cell(row: Row, column: Column, *, with_interval: bool) -> Text:
    cell = row.cells.get(column.key)
    if cell is not None and not with_interval:
        cell = replace(cell, low=math.nan, high=math.nan)
    return _text(cell_text(cell, column), "bold green" if cell is not None and cell.best else "")


def _show_absent(block: Block, console: Console) -> None:
    """Rows without any number, one line each, and what to do about them."""
    lines = absent(block)
    if lines:
        console.print()
        grid = _empty_grid()
        for position, title in enumerate(ABSENT_HEADS):
            last = position == len(ABSENT_HEADS) - 1
            width = 0 if last else max(len(title), *(len(line[position]) for line in lines))
            right = title in ("Size", "Params M")
            grid.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis",
                            min_width=width, style="dim")  # fmt: skip
        for line in lines:
            grid.add_row(*(_text(text) for text in line))
        console.print(grid)
    for text in _remedies(block):
        console.print(text)
    if console.is_terminal and (lines or block.remedies):
        console.print()


def _below(block: Block) -> Iterator[Text]:
    for remark in block.remarks:
        loud = remark.startswith("SUBSET")
        yield _text(remark, "yellow" if loud else "dim")
    for number, footnote in enumerate(block.footnotes, start=1):
        yield _text(f"{superscript((number,))} {footnote}", "dim")


def _remedies(block: Block) -> Iterator[Text]:
    remedies = short_remedies(block)
    if remedies:
        yield _text("To measure the other rows:", "bold")
    for line in remedies:
        yield _text(f"  {line}", "dim")
