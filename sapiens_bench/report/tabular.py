r"""Columns of LaTeX text -> an environment that fits the page of a two-column paper; needs only booktabs.

Widths are estimated from character counts at the metrics of Computer Modern, on the safe side. A table that has no
room in one column of the page spans both (``table*``); one that has no room there either is set smaller, and at last
cut into panels that stand below each other, each with the names of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLUMN_PT = 237.0  # \columnwidth of the common two-column classes (CVPR: 237 pt, IEEEtran: 252 pt)
PAGE_PT = 496.0  # their \textwidth
SMALLEST_WORDS_PT = 60.0  # a column of words may be folded down to this
_SCRIPT = 0.72  # digits of an interval, at \scriptscriptstyle, against those of the text
_BOLD = 1.15  # bold against upright
_GAP_PT = 8.0  # twice \tabcolsep
_SIZES = ((r"\small", 1.0), (r"\footnotesize", 0.92), (r"\scriptsize", 0.87))  # small letters are relatively wide


@dataclass(frozen=True, slots=True)
class TexCell:
    """Finished LaTeX, and the characters that it shows in the size of the table and as scripts."""

    tex: str
    text: str
    script: str = ""
    bold: bool = False

    @property
    def width_pt(self) -> float:
        r"""Estimate at \small."""
        text, script = sum(map(_advance_pt, self.text)), sum(map(_advance_pt, self.script))
        return (_BOLD if self.bold else 1.0) * text + _SCRIPT * script


def _advance_pt(c: str) -> float:
    """Width of a character of Computer Modern at 9 pt, a little more than it is."""
    if c.isupper() or c in "mwMW%@&":
        return 7.2
    if c in " .,:;'|!()[]ijlft-":
        return 3.7
    return 4.8 if c.isdigit() else 5.0 if c.isascii() else 7.0


@dataclass(frozen=True, slots=True)
class TexColumn:
    """One column: head in lines, one cell per row."""

    head: tuple[TexCell, ...]
    cells: tuple[TexCell, ...]
    is_words: bool = False

    @property
    def width_pt(self) -> float:
        """Without the gap to the next column."""
        return max((cell.width_pt for cell in (*self.head, *self.cells)), default=0.0)


@dataclass(frozen=True, slots=True)
class Panel:
    """Columns that stand in one tabular, the first of them naming the rows; widths of folded columns in pt."""

    columns: tuple[TexColumn, ...]
    folded: dict[int, float]


@dataclass(frozen=True, slots=True)
class Setting:
    """How a table is set."""

    environment: str  # "table" or "table*"
    size: str
    panels: tuple[Panel, ...]


def setting(columns: Sequence[TexColumn]) -> Setting:
    """The largest size and the fewest panels in which the columns fit."""
    for environment, room in (("table", COLUMN_PT), ("table*", PAGE_PT)):
        for size, factor in _SIZES[: 1 if environment == "table" else None]:
            panel = _panel(columns, room, factor)
            if panel is not None:
                return Setting(environment, size, (panel,))
    size, factor = _SIZES[1]
    return Setting("table*", size, tuple(_panels(columns, PAGE_PT, factor)))


def _panel(columns: Sequence[TexColumn], room: float, factor: float) -> Panel | None:
    """All columns side by side, words folded as far as needed; None where there is no room."""
    widths = [factor * column.width_pt for column in columns]
    free = room - _GAP_PT * len(columns)
    words = [i for i, column in enumerate(columns) if column.is_words and widths[i] > SMALLEST_WORDS_PT]
    too_much = sum(widths) - free
    if too_much > sum(widths[i] - SMALLEST_WORDS_PT for i in words):
        return None
    folded: dict[int, float] = {}
    for i in sorted(words, key=lambda i: -widths[i]):
        if too_much > 0:
            cut = min(too_much, widths[i] - SMALLEST_WORDS_PT)
            folded[i], too_much = widths[i] - cut, too_much - cut
    return Panel(tuple(columns), folded)


def _panels(columns: Sequence[TexColumn], room: float, factor: float) -> Iterator[Panel]:
    """As many columns as fit beside the names, again and again."""
    name, rest = columns[0], list(columns[1:])
    while rest:
        n = next((n for n in range(len(rest), 1, -1) if _panel([name, *rest[:n]], room, factor) is not None), 1)
        chosen = [name, *rest[:n]]
        yield _panel(chosen, room, factor) or Panel(tuple(chosen), {})
        rest = rest[n:]


def environment(
    columns: Sequence[TexColumn], caption: str, label: str, sections: dict[int, str], notes: Sequence[str]
) -> Iterator[str]:
    """The lines of a table with caption, panels and one paragraph per note; everything is LaTeX already."""
    how = setting(columns)
    if how.environment == "table*":
        yield "% table*: the table spans both columns of a two-column page"
    yield rf"\begin{{{how.environment}}}[t]"
    yield r"\centering"
    yield how.size
    yield r"\setlength{\tabcolsep}{4pt}"
    yield rf"\caption{{{caption}}}"
    yield rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', label)}}}"
    yield r"\par\smallskip"
    for position, panel in enumerate(how.panels):
        if position:
            yield r"\par\medskip"
        yield from _tabular(panel, sections)
    if notes:
        yield r"\par\smallskip"
        yield r"\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield from (rf"{note}\par" for note in notes)
        yield r"\end{minipage}"
    yield rf"\end{{{how.environment}}}"


def _tabular(panel: Panel, sections: dict[int, str]) -> Iterator[str]:
    columns = panel.columns
    kinds = [
        rf"p{{{panel.folded[i]:.0f}pt}}" if i in panel.folded else "l" if column.is_words else "r"
        for i, column in enumerate(columns)
    ]
    yield rf"\begin{{tabular}}{{{''.join(kinds)}}}"
    yield r"\toprule"
    yield _line([_head(column) for column in columns])
    yield r"\midrule"
    for i in range(len(columns[0].cells)):
        if i in sections:
            if i:
                yield r"\midrule"
            yield rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{sections[i]}}}}} \tabularnewline"
        cells = [column.cells[i].tex for column in columns]
        yield _line([rf"\raggedright {tex}" if j in panel.folded else tex for j, tex in enumerate(cells)])
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _head(column: TexColumn) -> str:
    lines = [cell.tex for cell in column.head]
    side = "l" if column.is_words else "r"
    return lines[0] if len(lines) == 1 else rf"\shortstack[{side}]{{" + r" \\ ".join(lines) + "}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \tabularnewline"
