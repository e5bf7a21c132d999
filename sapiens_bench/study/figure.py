"""Scores over levels: a small panel for each thing that is changed, a line a model with the interval of its change."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any

from sapiens_bench.errors import StorageFull
from sapiens_bench.report.figures import colour, label
from sapiens_bench.report.sheet import Picture
from sapiens_bench.study.effects import Profile

_PANEL = (2.0, 1.55)  # inches
_MOST_COLUMNS = 5
MARKERS = "osD^vP*X"


def draw(found: Sequence[Profile], folder: Path) -> list[Path]:
    """One figure a data set, as PNG and SVG; returns the files written. The same numbers give the same bytes.

    Raises:
        StorageFull: the folder cannot be written.
    """
    written: list[Path] = []
    try:
        for place, members in groupby(found, key=lambda p: p.place):
            stem = folder / _stem(place)
            files = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
            with _style():  # ids in an SVG are salted when it is written
                drawing = _drawing(list(members))
                drawing.savefig(files[0], dpi=110)
                drawing.savefig(files[1], metadata={"Date": None})
            written += files
    except OSError as error:
        raise StorageFull(f"{folder} could not be written: {error.strerror or error}.") from None
    return written


def pictures(found: Sequence[Profile], files: Sequence[Path], out: Path | None) -> tuple[Picture, ...]:
    """The drawn figures for a document.

    Args:
        files: as ``draw`` wrote them.
        out: the document's file; None for one that is printed, whose paths are as they come.
    """
    titles = {_stem(p.place): p.dataset_title for p in found}
    shown = []
    for path in files:
        if path.suffix == ".png" and path.stem in titles:
            seen = path if out is None else Path(os.path.relpath(path.absolute(), out.absolute().parent))
            shown.append(Picture(seen.as_posix(), f"{unit_of(found[0])} over levels, {titles[path.stem]}"))
    return tuple(shown)


def _stem(place: tuple[str, str]) -> str:
    return "figure-" + re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(place))[:100]


def _style() -> AbstractContextManager[None]:
    import matplotlib

    style: Any = {"svg.hashsalt": "sapiens-bench-study", "text.parse_math": False, "font.size": 8.0,
                  "grid.color": "#DDDDDD", "grid.linewidth": 0.6}  # fmt: skip
    return matplotlib.rc_context(style)


def _drawing(found: Sequence[Profile]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = series_of(found)
    columns = min(_MOST_COLUMNS, len(series))
    rows = math.ceil(len(series) / columns)
    size = max(4.0, columns * _PANEL[0]), rows * _PANEL[1] + 0.55 + 0.2 * math.ceil(len(found) / 4)
    drawing = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, each in zip(axes.flat, [*series, *[""] * (rows * columns - len(series))]):
        panel.set_visible(bool(each))
        if each:
            lines(panel, each, found)
            panel.set_title(each.replace("_", " "), fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(True)
            panel.set_axisbelow(True)
    axes.flat[0].set_ylim(*range_of(found))
    drawing.supylabel(unit_of(found[0]), fontsize=8)
    drawing.suptitle(
        label(f"{found[0].dataset_title}: {found[0].n} images; bands: 95 % of the change", 90), fontsize=8.5
    )
    handles, names = axes.flat[0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=min(4, len(found)), frameon=False)
    return drawing


def series_of(found: Sequence[Profile]) -> list[str]:
    """What is changed, in the order of the conditions."""
    return list(dict.fromkeys(e.trial.series for e in found[0].effects))


def unit_of(profile: Profile) -> str:
    """``"AP % (higher is better)"``."""
    info = profile.info
    arrow = "higher is better" if info.higher_is_better else "lower is better"
    return " ".join(part for part in (info.title, "%" if info.percent else info.unit, f"({arrow})") if part)


def range_of(found: Sequence[Profile]) -> tuple[float, float]:
    """What holds every point and band, with a margin; bands of few groups may exceed a score, and end where it does."""
    info = found[0].info
    scale, most = (100.0, 100.0) if info.percent else (1.0, math.inf)
    points = [scale * v for p in found for v in (p.reference, *(e.found.b for e in p.effects)) if math.isfinite(v)]
    bands = [scale * (p.reference + v) for p in found for e in p.effects for v in (e.found.low, e.found.high)]
    least = 0.0 if min(points, default=0.0) >= 0 else -math.inf
    values = [*points, *(min(max(v, least), most) for v in bands if math.isfinite(v))] or [0.0, 1.0]
    margin = 0.05 * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def lines(axes: Any, series: str, found: Sequence[Profile]) -> None:
    """A line a model over the levels of one thing that is changed, with the interval of its change.

    The band of a condition that a model does not see has no width: without it a neighbour's would not be drawn.
    """
    for number, p in enumerate(found):
        effects = [e for e in p.effects if e.trial.series == series]
        scale = 100.0 if p.info.percent else 1.0
        x = range(len(effects) + 1)
        middle = [scale * p.reference, *(scale * e.found.b for e in effects)]
        bands = [(0.0, 0.0), *((0.0, 0.0) if e.is_unseen else (e.found.low, e.found.high) for e in effects)]
        low, high = ([scale * (p.reference + ends[i]) for ends in bands] for i in (0, 1))
        tone = colour(number)
        axes.fill_between(x, low, high, color=tone, alpha=0.15, linewidth=0)
        axes.plot(x, middle, color=tone, linewidth=1.2, marker=MARKERS[number % len(MARKERS)], markersize=3,
                  label=label(p.title))  # fmt: skip
    levels = [label(e.trial.level.replace("_", " "), 16) for e in found[0].effects if e.trial.series == series]
    is_wide = sum(map(len, levels)) > 24  # characters of labels that stand side by side
    tilt = {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": 6.5} if is_wide else {}
    axes.set_xticks(range(len(levels) + 1), ["ref.", *levels], **tilt)
