"""Numbers in a depth map that stand for "none" although they look like depths: 65504, 1e10.

Axes: H height, W width, N pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FAR = 5.0  # times the median: no part of a person is that much farther than the person
VERY_FAR = 100.0
MOST_CODES = 3  # distinct numbers; more are depths, of a mask that reaches into the background
# The largest half-precision number, the largest 16-bit count, and what renderers write for "nothing there".
KNOWN = (65504.0, 65535.0, 1e10, float(np.finfo(np.float32).max))


class Holes(NamedTuple):
    """What was found inside a mask."""

    pixels_HW: NDArray[np.bool_] | None  # None when there are none
    counts: dict[float, int]  # stored number -> pixels

    @property
    def text(self) -> str:
        """ "25 pixels of 65504", or ""."""
        largest = sorted(self.counts.items(), key=lambda item: -item[1])
        more = f" and {len(largest) - 3} other numbers" if len(largest) > 3 else ""
        return ", ".join(f"{n} pixels of {value:g}" for value, n in largest[:3]) + more


NO_HOLES = Holes(None, {})


def find_holes(values_HW: NDArray[np.float32], mask_HW: NDArray[np.bool_], *, is_relative: bool = False) -> Holes:
    """Pixels of the mask that hold a code for "none".

    A number is a code when it lies more than 5 times as far as the median of the mask and is one of the usual codes, or
    is one of at most three such numbers and stands in several pixels, or lies 100 times as far. Depths of arbitrary
    scale (``is_relative``) lose the usual codes only. A median that is a code itself is a matter of units.

    Args:
        values_HW: as stored, in any unit; NaN, infinite and not positive where there is none anyway.
    """
    inside = values_HW[mask_HW]
    inside = inside[np.isfinite(inside) & (inside > 0)]
    if not len(inside) or not inside.max() > FAR * (middle := float(np.median(inside))):
        return NO_HOLES
    numbers, counts = np.unique(inside[inside > FAR * middle], return_counts=True)
    is_code = np.isin(numbers, np.array(KNOWN, np.float32))
    if not is_relative:
        is_code |= numbers > VERY_FAR * middle
        is_code |= (counts > 1) & (len(numbers) <= MOST_CODES)
    if not is_code.any():
        return NO_HOLES
    pixels = mask_HW & np.isin(values_HW, numbers[is_code])
    listed = zip(numbers[is_code].tolist(), counts[is_code].tolist())
    return Holes(pixels, {float(value): int(n) for value, n in listed})
