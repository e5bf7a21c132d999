"""One comparison, and the helpers that make one."""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    @property
    def passed(self) -> bool:
        """Within the tolerance; NaN never is."""
        return self.difference <= self.tolerance


def compare(item: str, ours: ArrayLike, theirs: ArrayLike, tolerance: float, note: str = "") -> Check:
    """Largest absolute difference of two arrays; NaN must stand in the same places."""
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


def relative(item: str, ours: float, theirs: float, tolerance: float) -> Check:
    """Difference of two numbers relative to the expected one."""
    scale = abs(theirs) or 1.0
    return Check(item, abs(ours - theirs) / scale, tolerance, "relative")


def failed(item: str, error: Exception | str) -> Check:
    """An item that could not be compared at all."""
    return Check(item, math.inf, 0.0, str(error).splitlines()[0][:200])


def share_different(item: str, ours: Any, theirs: Any, tolerance: float, note: str = "") -> Check:
    """Share of elements that differ."""
    a, b = np.asarray(ours), np.asarray(theirs)
    if a.shape != b.shape:
        return Check(item, math.inf, tolerance, f"shape {a.shape}, expected {b.shape}")
    return Check(item, float((a != b).mean()) if a.size else 0.0, tolerance, note or "share that differs")
