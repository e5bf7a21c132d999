"""What a request may change about how a data set is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """Choices of one run; everything else stands in the card's protocol."""

    boxes: str = (
        ""  # pose: "" as the protocol says, "gt", "jitter:<fraction>[,<seed>]", or a detector file below the root
    )
    max_pixels: int = 100_000_000  # larger pictures are refused from their header, before decoding
    split: str = ""  # "" as the protocol says
    seed: int = 0
