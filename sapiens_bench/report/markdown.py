"""GitHub-flavoured Markdown: the one writer of pipe tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import quote

from sapiens_bench.report import layout
from sapiens_bench.report.escape import markdown as safe
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.report.table import Block, ReportTable


def render(table: ReportTable) -> str:
    """Headings, one pipe table per data set and protocol, notes."""
    lines = [f"# {safe(table.title)}", ""]
    if table.incomplete:
        lines += [f"> **INCOMPLETE**: {safe(table.incomplete)}", ""]
    for block in table.blocks:
        lines += [*_block(block), ""]
    lines += _bullets((*table.legend, *table.notes))
    if table.facts:
        lines += ["", *_facts(table.facts.items())]
    return "\n".join(lines).rstrip() + "\n"


def render_document(document: Document) -> str:
    """Facts on top, one pipe table per sheet."""
    lines = [f"# {safe(document.title)}", ""] if document.title else []
    lines += [*_facts(document.facts.items()), ""] if document.facts else []
    for picture in document.pictures:
        lines += [f"![{safe(picture.words)}]({quote(picture.path)})", ""]
    for sheet in document.sheets:
        lines += [f"## {safe(sheet.title)}", ""] if sheet.title else []
        lines += [piped(sheet), "", *_bullets(sheet.notes), ""]
    lines += _bullets(document.notes)
    return "\n".join(lines).rstrip() + "\n"


def piped(sheet: Sheet) -> str:
    """The pipe table of one sheet, without its title and notes."""
    from tabulate import tabulate

    body: list[list[str]] = []
    for i, row in enumerate(sheet.rows):
        if i in sheet.sections:
            blank = [""] * len(sheet.heads)
            blank[sheet.name_column] = f"*{safe(sheet.sections[i])}*"
            body.append(blank)
        body.append([_cell(cell, (i, j), sheet) for j, cell in enumerate(row)])
    sides = ["left" if j in sheet.left else "right" for j in range(len(sheet.heads))]
    heads = [safe(head) for head in sheet.heads]
    return str(tabulate(body, heads, tablefmt="pipe", colalign=sides if body else None, disable_numparse=True))


def _cell(text: str, place: tuple[int, int], sheet: Sheet) -> str:
    if place in sheet.bold:
        return f"**{safe(text)}**"
    if place[0] in sheet.faint and text.strip():
        return f"*{safe(text)}*"
    return f"<u>{safe(text)}</u>" if place in sheet.underlined else safe(text)


def _block(block: Block) -> Iterator[str]:
    yield f"## {safe(layout.heading(block))}"
    yield ""
    yield piped(layout.score_sheet(block))
    yield ""
    yield from (f"- **{safe(text)}**" for text in block.alarms)
    yield from _bullets([block.best_means] if block.best_means else [])
    yield from _bullets(block.remarks)
    if block.footnotes and (block.alarms or block.remarks):
        yield ""
    yield from (f"{number}. {safe(note)}" for number, note in enumerate(block.footnotes, start=1))
    others = layout.absent_sheet(block)
    if others is not None:
        yield ""
        yield piped(others)
    remedies = layout.remedy_lines(block)
    if remedies:
        yield ""
        yield "To measure the other rows:"
        yield ""
        yield from _bullets(remedies)


def _facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- {safe(name)}: {safe(value)}" for name, value in facts]


def _bullets(texts: Iterable[str]) -> list[str]:
    return [f"- {safe(text)}" for text in texts]
