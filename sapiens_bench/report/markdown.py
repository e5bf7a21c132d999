"""Table -> GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sapiens_bench.report.escape import markdown as safe
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
from sapiens_bench.report.numbers import cell_text, head
from sapiens_bench.report.table import Block, Column, Row, Table


def render(table: Table) -> str:
    """Headings, one pipe table per data set and protocol, notes."""
    lines = [f"# {safe(table.title)}", ""]
    if table.incomplete:
        lines += [f"> **INCOMPLETE**: {safe(table.incomplete)}", ""]
    for block in table.blocks:
        lines += [*_block(block), ""]
    lines += _bullets((*table.legend, *table.notes))
    if table.facts:
        lines += ["", *(f"- {name}: {safe(value)}" for name, value in table.facts.items())]
    return "\n".join(lines).rstrip() + "\n"


def _block(block: Block) -> Iterator[str]:
    others = absent(block)
    block = with_numbers(block)
    columns, sides = block.shown(), side_columns(block)
    yield f"## {safe(heading(block))}"
    yield ""
    yield _line(["#", "Model", *(safe(head(c)) for c in columns), *(title for title, _ in sides)])
    right = [title in ("Params M", "img/s") for title, _ in sides]
    yield _line(["--:", ":--", *("--:" for _ in columns), *("--:" if r else ":--" for r in right)])
    position = 0
    for group, rows in sections(block):
        if GROUP_TITLES[group]:
            yield _line(["", f"*{safe(GROUP_TITLES[group])}*", *("" for _ in (*columns, *sides))])
        for row in rows:
            extra = [safe(texts[position]) for _, texts in sides]
            yield _line([str(row.rank or ""), safe(row.title) + marks(row), *_cells(row, columns), *extra])
            position += 1
    yield ""
    yield from _bullets(block.remarks)
    yield from (f"{number}. {safe(note)}" for number, note in enumerate(block.footnotes, start=1))
    if others:
        yield ""
        yield _line(ABSENT_HEADS)
        yield _line("--:" if title in ("Size", "Params M") else ":--" for title in ABSENT_HEADS)
        yield from (_line(safe(text) for text in line) for line in others)
    remedies = short_remedies(block)
    if remedies:
        yield ""
        yield "To measure the other rows:"
        yield ""
        yield from (f"- {safe(line)}" for line in remedies)


def _cells(row: Row, columns: tuple[Column, ...]) -> Iterator[str]:
    for column in columns:
        cell = row.cells.get(column.key)
        text = safe(cell_text(cell, column))
        yield f"**{text}**" if cell is not None and cell.best else text


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _bullets(texts: Iterable[str]) -> list[str]:
    return [f"- {safe(text)}" for text in texts]
