"""Scores over levels inside a page: a plot for each thing that is changed, all on one scale, in the page's colours."""

from __future__ import annotations

from collections.abc import Sequence

from sapiens_bench.decide import wording
from sapiens_bench.report.figures import Figure, canvas, described
from sapiens_bench.report.study_page import Key
from sapiens_bench.study.effects import Profile
from sapiens_bench.study.figure import MARKERS, lines, range_of, series_of, unit_of

_GLYPHS = dict(zip("osD^vP*X", "●■◆▲▼✚★✖"))
_SIZE = (3.1, 2.0)  # inches: letters stay readable where a panel is as wide as a telephone


def panels(found: Sequence[Profile], prefix: str) -> tuple[Figure, ...]:
    """One for each thing that is changed.

    Args:
        found: profiles of one data set and protocol.
        prefix: letters, digits and "-": makes ids of the drawings unique in the page.
    """
    low, high = range_of(found)
    drawn = []
    for number, series in enumerate(series_of(found)):
        with canvas(f"{prefix}-{number}", _SIZE[1], width=_SIZE[0]) as (_, axes, out):
            lines(axes, series, found)
            axes.set_ylim(low, high)
            if len(axes.get_xticks()) > 5:
                axes.tick_params(axis="x", labelrotation=40)
        drawn.append(Figure(series.replace("_", " "), described(out[0], _in_words(series, found))))
    return tuple(drawn)


def keys(found: Sequence[Profile]) -> tuple[Key, ...]:
    """The legend of all panels."""
    return tuple(Key(_GLYPHS[MARKERS[i % len(MARKERS)]], i % 10, p.title) for i, p in enumerate(found))


def _in_words(series: str, found: Sequence[Profile]) -> str:
    told = []
    for p in found:
        levels = [
            f"{wording.shown(e.found.b, p.info)} at {e.trial.level.replace('_', ' ')}"
            for e in p.effects
            if e.trial.series == series
        ]
        told.append(f"{p.title}: {wording.shown(p.reference, p.info)} under the reference, {', '.join(levels)}")
    return f"{series.replace('_', ' ')}, {unit_of(found[0])}. {'; '.join(told)}."
