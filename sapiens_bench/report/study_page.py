"""The page of a study as plain data, and its writing: small multiples, tables, worst levels.

One HTML file with everything in it, under the same policy as the page of runs (``page.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sapiens_bench.report import html
from sapiens_bench.report.figures import Figure
from sapiens_bench.report.page import Case, written
from sapiens_bench.report.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Key:
    """A line of the figure's legend."""

    glyph: str  # the marker of its points
    series: int  # colour
    name: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One picture under the reference and under a condition."""

    title: str
    before: Case
    after: Case


@dataclass(frozen=True, slots=True)
class Worst:
    """The level of one thing changed that costs most."""

    id: str  # letters, digits and "-"
    title: str
    sheet: Sheet  # the worst level of each model
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyPart:
    """One data set and protocol."""

    id: str
    summary: Sheet
    panels: tuple[Figure, ...]  # scores over levels, one for each thing changed
    unit: str  # of the panels
    keys: tuple[Key, ...]
    sensitivity: Sheet | None
    worst: tuple[Worst, ...]
    conditions: tuple[Sheet, ...]  # one a model


@dataclass(frozen=True, slots=True)
class StudyPage:
    """Everything the page of a study shows."""

    heading: str
    incomplete: tuple[str, ...]
    parts: tuple[StudyPart, ...]
    beside: tuple[Sheet, ...]  # how models rank on photographs
    notes: tuple[str, ...]
    facts: dict[str, str] = field(default_factory=dict)


def render(page: StudyPage) -> str:
    """The page as text (UTF-8)."""
    return written(
        "study.html",
        more_style=html.template("study.css"),
        kind="study",
        title=f"sapiens-bench: {page.heading}",
        heading=page.heading,
        page=page,
        notes=page.notes,
        facts=page.facts,
    )
