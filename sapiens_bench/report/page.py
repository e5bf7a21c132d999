"""The page of runs as plain data, and its writing: one HTML file with everything in it.

The only script that may run is the page's own, named by its hash in the Content-Security-Policy; nothing is requested
from anywhere. Every text is escaped by the templates.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sapiens_bench.report import html
from sapiens_bench.report.figures import Figure
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.report.table import ReportTable


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """Row's model minus column's model."""

    text: str  # "" on the diagonal
    hint: str = ""
    verdict: str = ""  # better, worse, or "" where noise explains it


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every model against every other one in one score."""

    title: str
    names: tuple[str, ...]
    cells: tuple[tuple[MatrixCell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One person's points and bones, px of the picture."""

    bones: tuple[tuple[float, float, float, float], ...]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Something that can be laid over a picture."""

    name: str  # unique within its case; letters, digits and "-"
    title: str
    uri: str = ""  # a data: address of a picture as large as the case's
    people: tuple[Skeleton, ...] = ()
    series: int = 0  # colour of the points


@dataclass(frozen=True, slots=True)
class Case:
    """One image with what models made of it."""

    id: str  # letters, digits and "-": the target of links
    key: str
    width: int
    height: int
    picture: str  # a data: address; "" where it may not be shown
    layers: tuple[Layer, ...]
    values: tuple[tuple[str, str], ...]  # (model, score of this image)
    first: tuple[str, str] = ("", "")  # layers shown left and right of the slider


@dataclass(frozen=True, slots=True)
class Pick:
    """A case chosen for a model."""

    case: str
    layer: str
    text: str


@dataclass(frozen=True, slots=True)
class Picks:
    """The worst, median and best cases of one model."""

    model: str
    worst: tuple[Pick, ...]
    median: tuple[Pick, ...]
    best: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Cases of one data set."""

    score: str  # what orders the images
    cases: tuple[Case, ...]
    picks: tuple[Picks, ...]
    licence: str
    notes: tuple[str, ...] = ()
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()  # (name of a class, its colour)


@dataclass(frozen=True, slots=True)
class Group:
    """Plots and tables under one heading."""

    id: str
    title: str
    figures: tuple[Figure, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    notes: tuple[str, ...] = ()
    matrix: Matrix | None = None
    gallery: Gallery | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One data set and protocol of one run; groups in reading order."""

    id: str
    table: ReportTable  # of this block alone
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a page shows."""

    title: str
    heading: str
    incomplete: str  # "" or what is missing
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    provenance: tuple[Sheet, ...]
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunLink:
    """Where the numbers of a leaderboard come from."""

    name: str
    address: str  # of its page, relative
    models: str
    facts: str


@dataclass(frozen=True, slots=True)
class SiteBoard:
    """One table of a leaderboard."""

    table: ReportTable
    runs: tuple[RunLink, ...]


def render(page: Page) -> str:
    """The page as text (UTF-8)."""
    return written(
        "page.html",
        kind="report",
        title=page.title,
        heading=page.heading,
        page=page,
        parts=[_part(part) for part in page.parts],
        notes=page.notes,
        facts=page.facts,
    )


def render_site(boards: Sequence[SiteBoard], left_out: Mapping[str, str]) -> str:
    """The first page of a leaderboard.

    Args:
        left_out: runs that are in no table, with the reason.
    """
    return written(
        "site.html",
        kind="leaderboard",
        title="sapiens-bench: leaderboard",
        heading="Leaderboard",
        boards=[{"views": [html.block_view(b) for b in board.table.blocks], "runs": board.runs} for board in boards],
        left_out=left_out,
        notes=tuple(dict.fromkeys(text for board in boards for text in board.table.legend)),
        facts={},
    )


def written(template: str, more_style: str = "", **values: Any) -> str:
    """A template with the page's style, and with its script as the only one that may run."""
    script = html.template("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return html.page(
        template,
        script=html.safe(script),
        script_policy=html.safe(f"; script-src 'sha256-{digest}'"),
        more_style=html.safe(html.template("page.css") + more_style),
        **values,
    )


def _part(part: Part) -> dict[str, Any]:
    return {"part": part, "views": [html.block_view(block) for block in part.table.blocks]}
