"""How many images of a cell failed, and what is said when they are too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sapiens_bench.store.record import CellRecord


def failed(cell: CellRecord, *, strictly: bool) -> int:
    """Images that failed. Those without anything to score under the protocol did not, unless all are like that."""
    n_failed = cell.counts.planned - cell.counts.ok
    if strictly or not cell.counts.ok:
        return n_failed
    return n_failed - sum(cause.count or 0 for cause in cell.causes if cause.kind == "label.empty")


def complaint(bad: Sequence[CellRecord]) -> str:
    codes = [", ".join(dict.fromkeys(error.code for error in c.errors)) for c in bad[:5]]
    counts = [f"{c.model} on {c.dataset}: {c.counts.planned - c.counts.ok} of {c.counts.planned}" for c in bad[:5]]
    return f"Too many error rows: {'; '.join(f'{n} ({c})' for n, c in zip(counts, codes, strict=True))}."


def why_nothing(rows: Sequence[CellRecord]) -> Iterator[str]:
    """How many rows cannot be filled for which reason, where it is none that can; one alone says its own."""
    if len(rows) > 1:
        counts = ", ".join(f"{n} {status}" for status, n in Counter(row.status for row in rows).items())
        yield (f"None of {len(rows)} rows can be filled here: {counts}. The reason of one follows; --dry-run has all.")
