"""Why images failed, for the progress lines, the terminal and every report format: the wording of store/causes.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sapiens_bench.store.causes import cell_causes, sentence
from sapiens_bench.store.record import Cause, CellRecord

_DETAIL = 200  # characters; the full text is in the rows, and `sapiens-bench errors` lists it


def first_causes(cells: Sequence[CellRecord], side: Literal["input", "prediction"]) -> str:
    """The first case of each kind, its count and what to do: sentences without the last full stop, "" where none.

    An image at fault is at fault for every model, so over several cells the largest count is told.
    """
    found: dict[str, Cause] = {}
    for cause in (cause for cell in cells for cause in cell_causes(cell) if cause.side == side):
        known = found.setdefault(cause.kind, cause)
        if known is not cause and (cause.count or 0) > (known.count or 0):
            found[cause.kind] = known.model_copy(update={"count": cause.count})
    return " ".join(sentence(_short(cause)) for cause in found.values()).removesuffix(".")


def _short(cause: Cause) -> Cause:
    detail = " ".join(cause.detail.split())
    return cause.model_copy(update={"detail": detail if len(detail) <= _DETAIL else detail[: _DETAIL - 1] + "…"})
