"""Plots as SVG that takes the colours of the page it stands in, light or dark. Drawn by matplotlib, without a display.

Points may be links to a case of the page's gallery. The same numbers give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.report.escape import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

# Okabe and Ito's palette, told apart with every common kind of colour blindness; black follows the page's ink.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6d31", "#7a5195", "#5f6a72", "#b5179e")
_INK, _SOFT, _LINE = "#1b1f24", "#5b6470", "#e3e6ea"
_THEME = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line", **{c: f"--s{i}" for i, c in enumerate(SERIES)}}
_WIDTH, _FONT = 4.7, 9.0  # inches, points: letters stay readable on a screen 390 pixels wide
_CASE = "case:"  # scheme of links to a case; becomes "#case-..."


@dataclass(frozen=True, slots=True)
class Figure:
    """A finished plot."""

    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval."""

    name: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    series: int = 0
    is_faint: bool = False  # a floor or diagnostic


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of one model."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    series: int
    links: tuple[tuple[float, float, str], ...] = ()  # (x, y, case id) of points that lead to a picture


def colour(series: int) -> str:
    """The colour of a series by number, as matplotlib takes it."""
    return SERIES[series % len(SERIES)]


@contextmanager
def canvas(
    key: str, height: float, rows: int = 1, columns: int = 1, width: float = _WIDTH
) -> Iterator[tuple[Any, Any, list[str]]]:
    """(figure, axes, a list that gets the SVG at the end); ``key`` makes its ids its own. Sizes are in inches."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawing

    style: Any = {
        "svg.hashsalt": key, "svg.fonttype": "none", "text.parse_math": False, "font.size": _FONT, "text.color": _INK,
        "axes.labelcolor": _SOFT, "axes.edgecolor": _SOFT, "xtick.color": _SOFT, "ytick.color": _SOFT,
        "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "grid.color": _LINE,
        "grid.linewidth": 0.8, "legend.frameon": False, "legend.fontsize": 8.0, "axes.titlesize": _FONT,
        "font.family": "sans-serif",
    }  # fmt: skip
    with matplotlib.rc_context(style):
        drawing = Drawing(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(drawing)
        axes = drawing.subplots(rows, columns)
        for each in np.atleast_1d(axes).ravel():
            each.grid(True, axis="both")
            each.set_axisbelow(True)
        out: list[str] = []
        yield drawing, axes, out
        sink = StringIO()
        drawing.savefig(
            sink, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
        out.append(themed(sink.getvalue(), key))


def themed(svg: str, key: str) -> str:
    """The drawing alone, its colours those of the page, its ids no one else's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None
    for plain, name in _THEME.items():
        rest = rest.replace(plain, f"var({name})")
    # matplotlib writes text as it is escaped by its own writer; ids are made of letters, digits and "_"
    rest = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', rest)
    rest = re.sub(r"url\(#", f"url(#{key}-", rest)
    rest = re.sub(r'xlink:href="#', f'href="#{key}-', rest)
    rest = re.sub(rf'xlink:href="{_CASE}([a-z0-9-]+)"', r'href="#\1"', rest)
    rest = re.sub(r"font: [^;\"]*?([\d.]+)px [^;\"]*", r"font-size: \1px", rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    return f'<svg viewBox="{box[1]}" role="img" xmlns="http://www.w3.org/2000/svg">{rest.strip()}'


def described(svg: str, text: str) -> str:
    """A drawing that ``canvas`` made, with words for whoever cannot see it."""
    return svg.replace(' role="img"', f' role="img" aria-label="{escape(one_line(text))}"', 1)


def label(text: str, most: int = 28) -> str:
    """A name as a label: one line, nothing invisible, shortened."""
    clean = one_line(text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def forest(key: str, title: str, unit: str, groups: Mapping[str, Sequence[Estimate]], caption: str = "") -> Figure:
    """Values with intervals, one line each; groups below each other (``""`` has no title)."""
    lines = [(group, estimate) for group, members in groups.items() for estimate in members]
    height = 0.75 + 0.23 * (len(lines) + sum(bool(group) for group in groups))
    with canvas(key, height) as (_, axes, out):
        y, ticks, names = 0.0, [], []
        for group, members in groups.items():
            if group:
                ticks.append(y)
                names.append(label(group, 34))
                y -= 1
            for e in members:
                tone = _SOFT if e.is_faint else colour(e.series)
                if np.isfinite(e.low) and np.isfinite(e.high):
                    axes.plot([e.low, e.high], [y, y], color=tone, linewidth=4, alpha=0.35, solid_capstyle="round")
                if np.isfinite(e.value):
                    axes.plot([e.value], [y], "o", color=tone, markersize=5)
                ticks.append(y)
                names.append(label(e.name))
                y -= 1
        axes.set_yticks(ticks, names)
        axes.set_ylim(y + 0.4, 0.6)
        axes.grid(False, axis="y")
        axes.set_xlabel(label(unit, 60))
        _free_x(axes, [v for _, e in lines for v in (e.value, e.low, e.high)])
    return Figure(title, out[0], caption)


def _free_x(axes: Any, values: Sequence[float]) -> None:
    """All-equal values get some room, undefined ones an empty frame."""
    finite = [v for v in values if np.isfinite(v)]
    if not finite:
        axes.set_xlim(0, 1)
    elif max(finite) - min(finite) < 1e-12:
        axes.set_xlim(finite[0] - 0.5 * (abs(finite[0]) or 1), finite[0] + 0.5 * (abs(finite[0]) or 1))


def dots(
    key: str,
    title: str,
    unit: str,
    names: Sequence[str],
    series: Sequence[tuple[str, Sequence[float]]],
    caption: str = "",
) -> Figure:
    """One line per name, one point per series: classes or joints against models."""
    height = 0.95 + 0.19 * len(names) + 0.16 * ((len(series) + 1) // 2)
    with canvas(key, height) as (drawing, axes, out):
        places = np.arange(len(names))
        for i, (name, values) in enumerate(series):
            axes.plot(np.asarray(values, float), places, "o", color=colour(i), markersize=4.5, alpha=0.85,
                      label=label(name))  # fmt: skip
        axes.set_yticks(places, [label(n, 24) for n in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(label(unit, 60))
        _free_x(axes, [v for _, values in series for v in values])
        _legend(drawing, len(series))
    return Figure(title, out[0], caption)


def lines(
    key: str, title: str, x_label: str, y_label: str, curves: Sequence[Curve], caption: str = "", diagonal: bool = False
) -> Figure:
    """One line per model; points that are links stand on it."""
    with canvas(key, 3.3 + 0.16 * ((len(curves) + 1) // 2)) as (drawing, axes, out):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=0.8, linestyle="--")
        for curve in curves:
            marker = "o" if diagonal or len(curve.x) < 3 else ""
            axes.plot(curve.x, curve.y, color=colour(curve.series), linewidth=1.6, marker=marker, markersize=3.5,
                      label=label(curve.name))  # fmt: skip
            if curve.links:
                x, y, cases = zip(*curve.links)
                points = axes.scatter(x, y, s=26, color=colour(curve.series), zorder=3)
                points.set_urls([_CASE + case for case in cases])
        axes.set_xlabel(label(x_label, 60))
        axes.set_ylabel(label(y_label, 48))
        _legend(drawing, len(curves))
    return Figure(title, out[0], caption)


def stacked(
    key: str, title: str, unit: str, names: Sequence[str], parts: Mapping[str, Sequence[float]], caption: str = ""
) -> Figure:
    """Bars that add up, one per model; a part below zero is left out of the drawing (the table has it)."""
    height = 1.15 + 0.3 * len(names) + 0.16 * ((len(parts) + 1) // 2)
    with canvas(key, height) as (drawing, axes, out):
        start = np.zeros(len(names))
        for i, (part, values) in enumerate(parts.items()):
            width = np.nan_to_num(np.maximum(np.asarray(values, float), 0.0))
            tone = _SOFT if i == 0 else colour(i - 1)
            axes.barh(np.arange(len(names)), width, left=start, height=0.62, color=tone, label=label(part),
                      alpha=0.35 if i == 0 else 0.95)  # fmt: skip
            start += width
        axes.set_yticks(np.arange(len(names)), [label(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, max(100.0 if unit == "%" else 1.0, float(start.max(initial=0))))
        axes.grid(False, axis="y")
        axes.set_xlabel(label(unit, 60))
        _legend(drawing, len(parts))
    return Figure(title, out[0], caption)


def scatter(key: str, title: str, x_label: str, y_label: str, points: Sequence[tuple[float, Estimate]],
            caption: str = "") -> Figure:  # fmt: skip
    """Score against cost on a logarithmic axis, each point with its interval."""
    with canvas(key, 3.3 + 0.16 * ((len(points) + 1) // 2)) as (drawing, axes, out):
        for x, e in points:
            reach = [[e.value - e.low], [e.high - e.value]] if np.isfinite(e.low) and np.isfinite(e.high) else None
            axes.errorbar(x, e.value, yerr=reach, fmt="o", color=colour(e.series), markersize=6, capsize=3,
                          linewidth=1.2, label=label(e.name))  # fmt: skip
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, [x for x, _ in points])
        axes.set_xlabel(label(x_label, 60))
        axes.set_ylabel(label(y_label, 48))
        _legend(drawing, len(points))
    return Figure(title, out[0], caption)


def _plain_ticks(axis: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    first, last = min(values) / 1.5, max(values) * 1.5
    powers = range(int(np.floor(np.log10(first))), int(np.ceil(np.log10(last))) + 1)
    steps = (1, 2, 5) if last / first < 300 else (1,)
    ticks = [step * 10.0**p for p in powers for step in steps if first <= step * 10.0**p <= last]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.axes.set_xlim(first, last)


def _legend(drawing: Any, n: int) -> None:
    if n > 1:
        drawing.legend(loc="outside lower left", ncols=2 if n > 1 else 1, handlelength=1.2, columnspacing=1.2)
