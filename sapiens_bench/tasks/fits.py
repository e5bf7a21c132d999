"""What is asked of every map that a model answers with, before its numbers are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault

SLACK = 0.05  # by which a network's last layer may leave 0..1; beyond, the numbers are no shares (0..255, logits)


def unfit(values: Any, like: NDArray[Any], name: str, be: str = "is") -> SampleFault | None:
    """A fault where a prediction is no floating-point array of the truth's shape.

    Args:
        name: of the map, for the message; ``be`` its verb.
    """
    if not isinstance(values, np.ndarray) or values.shape != like.shape:
        shape = getattr(values, "shape", type(values).__name__)
        return SampleFault("pred.shape", f"{name} {shape}, expected {like.shape}", "prediction")
    if not np.issubdtype(values.dtype, np.floating):
        return SampleFault("pred.shape", f"{name} {be} {values.dtype}, not floating point", "prediction")
    return None


def beyond_shares(name: str, values: NDArray[Any]) -> SampleFault | None:
    """A fault where values are no shares of 1."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low >= -SLACK and high <= 1 + SLACK:
        return None
    return SampleFault("pred.range", f"{name} from {low:.4g} to {high:.4g}; wanted are shares, 0 to 1", "prediction")
