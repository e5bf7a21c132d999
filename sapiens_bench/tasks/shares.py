"""Predictions that are shares of one: alpha, colours."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault

SLACK = 0.05  # by which a network's last layer may leave 0..1; beyond, the numbers are no shares (0..255, logits)


def beyond_shares(name: str, values: NDArray[Any]) -> SampleFault | None:
    """A fault where values are no shares of 1."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low >= -SLACK and high <= 1 + SLACK:
        return None
    return SampleFault("pred.range", f"{name} from {low:.4g} to {high:.4g}; wanted are shares, 0 to 1", "prediction")
