"""Plots of places whose predictions are maps: classes, angles, and how scores spread over images."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.publish.place import Place
from sapiens_bench.report import figures
from sapiens_bench.report.figures import Curve, Figure
from sapiens_bench.report.numbers import UNDEFINED
from sapiens_bench.report.page import Group
from sapiens_bench.report.sheet import Sheet
from sapiens_bench.store.record import CellRecord
from sapiens_bench.tasks.normal.median import BIN_DEG

_CLASS = re.compile(r"seg/iou/(.+)")
_ANGLES = "normal/histogram"
_DEGREES = np.arange(0.0, 91.0, 1.5)


def groups(place: Place, prefix: str) -> list[Group]:
    """One group, where the task has classes or angles."""
    drawn: list[Figure] = []
    sheets: list[Sheet] = []
    if classes := _classes(place.cells):
        drawn.append(_class_figure(place.cells, classes, prefix))
        sheets.append(_class_sheet(place.cells, classes))
    if curves := _angle_curves(place):
        drawn.append(
            figures.lines(
                f"{prefix}-angles", "Angles between predicted and true normals", "angle below, degrees",
                "% of the scored pixels", curves, "Pixels of all images together; higher is better.",
            )
        )  # fmt: skip
    if not drawn:
        return []
    return [Group(f"{prefix}-details", "Classes" if classes else "Angles", tuple(drawn), tuple(sheets))]


def _classes(cells: Sequence[CellRecord]) -> list[str]:
    """Names of the classes that any model has a score of."""
    found: dict[str, None] = {}
    for cell in cells:
        for key, score in cell.scores.items():
            match = _CLASS.fullmatch(key)
            if match is not None and np.isfinite(score.value):
                found[match[1]] = None
    return list(found)


def _values(cell: CellRecord, classes: Sequence[str]) -> list[float]:
    scores = (cell.scores.get(f"seg/iou/{name}") for name in classes)
    return [float("nan") if score is None else 100 * score.value for score in scores]


def _class_figure(cells: Sequence[CellRecord], classes: Sequence[str], prefix: str) -> Figure:
    series = [(cell.title, _values(cell, classes)) for cell in cells]
    names = [name.replace("_", " ") for name in classes]
    return figures.dots(f"{prefix}-classes", "IoU by class", "IoU, %", names, series, "Pixels of all images together.")


def _class_sheet(cells: Sequence[CellRecord], classes: Sequence[str]) -> Sheet:
    columns = [_values(cell, classes) for cell in cells]
    rows = tuple((name, *(f"{v[i]:.1f}" if np.isfinite(v[i]) else UNDEFINED for v in columns))
                 for i, name in enumerate(classes))  # fmt: skip
    return Sheet("Every class (IoU, %)", ("Class", *(cell.title for cell in cells)), rows)


def _angle_curves(place: Place) -> list[Curve]:
    """Share of pixels below each angle, from the histograms in the rows."""
    curves = []
    for i, member in enumerate(place.members):
        if _ANGLES not in member.rows.column_names:
            return []
        total = _summed(place, i)
        share = np.concatenate([[0.0], np.cumsum(total)]) / max(1, total.sum())
        at = np.rint(_DEGREES / BIN_DEG).astype(np.int64)
        curves.append(Curve(member.title, _DEGREES, 100 * share[at], i))
    return curves


def _summed(place: Place, position: int) -> NDArray[np.int64]:
    rows = place.members[position].rows
    total = np.zeros(round(180 / BIN_DEG), np.int64)
    for key, values in zip(rows["key"].to_pylist(), rows[_ANGLES]):
        if key not in place.excluded and values.is_valid:
            total += values.values.to_numpy(zero_copy_only=False)
    return total
