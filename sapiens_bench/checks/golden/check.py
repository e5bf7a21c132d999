"""One comparison, and the helpers that make one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Check:
    """One item of a fixture beside ours."""

    item: str  # "models/pose17/heatmap"
    difference: float  # largest absolute difference; infinity when shapes or NaN positions differ
    tolerance: float
    note: str = ""
    skipped: bool = False  # nothing to compare with: ``note`` says what is not there

    @property
    def passed(self) -> bool:
        """Compared, and within the tolerance; NaN never is."""
        return not self.skipped and self.difference <= self.tolerance

    @property
    def failed(self) -> bool:
        """Compared, and not within the tolerance."""
        return not self.skipped and not self.passed


@dataclass(frozen=True, slots=True)
class Absent:
    """In the place of an array that a fixture does not hold, and of all that would be computed from it."""

    name: str


class Fixture(dict[str, Any]):
    """Arrays (or JSON members) by name; what is not there is ``Absent``."""

    def __missing__(self, name: str) -> Absent:
        return Absent(name)


def load(path: Path) -> Fixture:
    """All arrays of an npz file (no pickles)."""
    with np.load(path, allow_pickle=False) as data:
        return Fixture({name: data[name] for name in data.files})


def given(compute: Callable[..., Any], *parts: Any) -> Any:
    """``compute(*parts)``, or what is absent of the parts."""
    return next((part for part in parts if isinstance(part, Absent)), None) or compute(*parts)


def skipped(item: str, absent: Absent) -> Check:
    """An item of which something is not there."""
    return Check(item, math.nan, 0.0, f"needs {absent.name}, which the fixture does not hold", skipped=True)


def compare(item: str, ours: ArrayLike | Absent, theirs: ArrayLike | Absent, tolerance: float, note: str = "") -> Check:
    """Largest absolute difference of two arrays; NaN must stand in the same places."""
    if isinstance(ours, Absent) or isinstance(theirs, Absent):
        return skipped(item, theirs if isinstance(theirs, Absent) else ours)  # type: ignore[arg-type]
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.shape != b.shape:
        return Check(item, math.inf, tolerance, f"shape {a.shape}, expected {b.shape}")
    if a.size == 0:
        return Check(item, 0.0, tolerance, note)
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return Check(item, math.inf, tolerance, "NaN in other places")
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | np.isnan(a), 0.0, np.abs(a - b))
    return Check(item, float(difference.max()), tolerance, note)


def relative(item: str, ours: float | Absent, theirs: float | Absent, tolerance: float) -> Check:
    """Difference of two numbers relative to the expected one."""
    if isinstance(ours, Absent) or isinstance(theirs, Absent):
        return skipped(item, theirs if isinstance(theirs, Absent) else ours)  # type: ignore[arg-type]
    scale = abs(theirs) or 1.0
    return Check(item, abs(ours - theirs) / scale, tolerance, "relative")


def failed(item: str, error: Exception | str) -> Check:
    """An item that could not be compared at all."""
    return Check(item, math.inf, 0.0, str(error).splitlines()[0][:200])


def share_different(item: str, ours: Any, theirs: Any, tolerance: float, note: str = "") -> Check:
    """Share of elements that differ."""
    if isinstance(ours, Absent) or isinstance(theirs, Absent):
        return skipped(item, theirs if isinstance(theirs, Absent) else ours)
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.shape != b.shape:
        return Check(item, math.inf, tolerance, f"shape {a.shape}, expected {b.shape}")
    return Check(item, float((a != b).mean()) if a.size else 0.0, tolerance, note or "share that differs")
