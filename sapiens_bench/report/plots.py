"""Scatter plots of score against cost and scaling curves, as PNG and SVG. Drawn without a display.

Colours: Okabe and Ito's palette, told apart with every common kind of colour blindness; every family has a marker
shape of its own too. Models are labelled where they stand, not in a legend.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sapiens_bench.errors import StorageFull
from sapiens_bench.report.escape import one_line
from sapiens_bench.report.pareto import Cost, Group, Point, PowerLaw, band, error_of, frontier_of, scaling

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = "osD^vP*X"
_SIZE = (7.2, 4.8)  # inches
_PLACES = ((8, 7), (8, -13), (-8, 7), (-8, -13), (0, 12), (0, -18), (10, -3), (-10, -3), (8, 20), (8, -26))  # points


def draw(groups: Sequence[Group], folder: Path) -> list[Path]:
    """Every plot of every group below ``folder``; returns the files written.

    Raises:
        StorageFull: the folder cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a box in a title is no news to the user
        for group in groups:
            kind = "printed" if group.is_published else "measured"
            stem = _file_name(f"{group.task}-{group.dataset}-{group.protocol}-{kind}")
            for cost in group.costs:
                if sum(cost.key in point.costs for point in group.points) > 1:
                    written += _save(_scatter(group, cost), folder / f"{stem}-{cost.key}")
            if laws := scaling(group):
                written += _save(_scaling(group, laws), folder / f"{stem}-scaling")
    except OSError as error:
        raise StorageFull(f"{folder} could not be written: {error.strerror or error}.") from None
    return written


def _file_name(text: str) -> str:
    """Names come from a record that may be anybody's: nothing in one leads out of the folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:120]


def _figure() -> tuple[Any, Any]:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "sapiens-bench"  # the same file from the same numbers
    matplotlib.rcParams["text.parse_math"] = False  # a dollar in a model's name is a dollar
    figure = Figure(figsize=_SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Any, stem: Path) -> list[Path]:
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    figure.savefig(files[0], dpi=150)
    figure.savefig(files[1], metadata={"Date": None})
    return files


def _styles(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    families = list(dict.fromkeys(point.family for point in points))
    return {
        name: {"color": _COLOURS[i % len(_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}
        for i, name in enumerate(families)
    }


def _scatter(group: Group, cost: Cost) -> Any:
    """Score over one cost, the frontier as a step line."""
    figure, axes = _figure()
    points = [point for point in group.points if cost.key in point.costs]
    styles, best = _styles(points), frontier_of(group, cost.key)
    for point in points:
        x, on = point.costs[cost.key], point.model in best
        style = styles[point.family]
        if math.isfinite(point.low) and math.isfinite(point.high):
            reach = [[point.score - point.low], [point.high - point.score]]
            axes.errorbar(x, point.score, yerr=reach, color=style["color"], capsize=3, linewidth=1.2, zorder=2)
        face = "white" if group.is_published else style["color"]
        axes.plot(
            x, point.score, linestyle="", markersize=8, zorder=3, marker=style["marker"], markerfacecolor=face,
            markeredgecolor=style["color"], markeredgewidth=1.6, alpha=1.0 if on else 0.75,
        )  # fmt: skip
    line = sorted((p.costs[cost.key], p.score) for p in points if p.model in best)
    if len(line) > 1:
        axes.step(*zip(*line), where="post", color="#777777", linewidth=1.2, linestyle="--", zorder=1)
    axes.set_xscale("log")
    _plain_log_ticks(axes.xaxis, [p.costs[cost.key] for p in points])
    axes.margins(x=0.16, y=0.18)
    axes.set_xlabel(f"{cost.title} ({cost.unit}{'; ' + cost.note if cost.note else ''})")
    _score_label(axes, group)
    axes.set_title(one_line(group.title), fontsize=11, loc="left")
    _label(figure, axes, [(p.costs[cost.key], p.score, p.title, styles[p.family]["color"]) for p in points])
    return figure


def _score_label(axes: Any, group: Group) -> None:
    better = "higher is better" if group.higher_is_better else "lower is better"
    unit = f" ({group.unit})" if group.unit else ""
    axes.set_ylabel(one_line(f"{group.score_title}{unit}, {better}"))


def _scaling(group: Group, laws: Sequence[PowerLaw]) -> Any:
    """Error over parameters, both logarithmic, with the fitted power laws and the intervals of the curves."""
    figure, axes = _figure()
    styles = _styles([law.points[0] for law in laws])
    labels, errors = [], []
    for law in laws:
        style = styles[law.family]
        sizes = np.array([point.costs["params"] for point in law.points])
        curve_x = np.geomspace(sizes[0] * 0.85, sizes[-1] * 1.2, 80)
        curve, low, high = band(law, curve_x)
        axes.fill_between(curve_x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(curve_x, curve, color=style["color"], linewidth=1.4)
        for point, size in zip(law.points, sizes):
            error = error_of(group, point.score)
            if math.isfinite(point.low) and math.isfinite(point.high):
                ends = sorted((error_of(group, point.low), error_of(group, point.high)))
                axes.errorbar(size, error, yerr=[[error - ends[0]], [ends[1] - error]], color=style["color"], capsize=3)
            face = "white" if group.is_published else style["color"]
            axes.plot(size, error, marker=style["marker"], markersize=8, markerfacecolor=face,
                      markeredgecolor=style["color"], markeredgewidth=1.6)  # fmt: skip
            labels.append((size, error, point.title, style["color"]))
            errors.append(error)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_log_ticks(axes.xaxis, [p.costs["params"] for law in laws for p in law.points])
    low_limit, high_limit = min(errors) * 0.85, max(errors) * 1.15
    axes.set_ylim(low_limit, high_limit)  # the band of four points may be far wider than the points
    _plain_log_ticks(axes.yaxis, [low_limit, high_limit])
    axes.set_xlabel("Parameters (M)")
    what = f"100 - {group.score_title}" if group.higher_is_better else group.score_title
    axes.set_ylabel(f"Error: {what}{f' ({group.unit})' if group.unit else ''}, lower is better")
    lines = [one_line(law.family) + f": exponent {law.exponent:.3f} [{law.low:.3f}, {law.high:.3f}]" for law in laws]
    axes.set_title(one_line(group.title) + "\n" + "; ".join(lines), fontsize=10, loc="left")
    _label(figure, axes, labels)
    return figure


def _plain_log_ticks(axis: Any, values: Sequence[float]) -> None:
    """Round numbers written out (0.5, 20, 3000), few enough not to touch."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    room = (max(values) / min(values)) ** 0.16 * 1.1
    first, last = min(values) / room, max(values) * room
    decades = math.log10(max(values) / min(values))
    if decades < 0.5:  # so short that a logarithm hardly bends: evenly spaced numbers
        ticks = [float(tick) for tick in MaxNLocator(5).tick_values(min(values), max(values))]
    else:
        steps = (
            (1, 1.5, 2, 3, 4, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1, 3) if decades < 4 else (1,)
        )
        powers = range(math.floor(math.log10(first)), math.ceil(math.log10(last)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
    limits = axis.axes.get_xlim() if axis.axis_name == "x" else axis.axes.get_ylim()
    axis.set_major_locator(FixedLocator([tick for tick in ticks if first <= tick <= last]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(limits)


def _label(figure: Any, axes: Any, items: Sequence[tuple[float, float, str, str]]) -> None:
    """Names beside their points, each at the first place where it touches no other name and no point."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    taken = [_around(axes.transData.transform((x, y)), 6) for x, y, _, _ in items]
    frame = axes.get_window_extent(renderer)
    for x, y, text, colour in items:
        best: tuple[int, Any, Any] | None = None
        for note in _candidates(axes, x, y, text, colour):
            box = note.get_window_extent(renderer)
            touched = sum(bool(box.overlaps(other)) for other in taken)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            cost = touched + 3 * outside
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, note, box)
            else:
                note.remove()
            if cost == 0:
                break
        assert best is not None
        taken.append(best[2])


def _candidates(axes: Any, x: float, y: float, text: str, colour: str) -> Iterator[Any]:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]  # lines may pass behind a name
    for dx, dy in _PLACES:
        side = "left" if dx > 0 else "right" if dx < 0 else "center"
        yield axes.annotate(
            one_line(text),
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            ha=side,
            fontsize=9,
            color=colour,
            zorder=4,
            path_effects=halo,
        )


def _around(centre: Any, reach: float) -> Any:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)
