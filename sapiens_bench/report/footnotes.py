"""What must be said beside the numbers: caveats, subsets, exclusions, approximations, unpinned weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sapiens_bench.report.numbers import CONFIDENCE, MARKS
from sapiens_bench.report.table import Block, Row
from sapiens_bench.store.record import CellRecord, DatasetRecord, RunRecord


class Footnotes:
    """Texts numbered from 1 in the order of their first use; equal texts share a number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def row_notes(cell: CellRecord) -> list[str]:
    """Footnotes of one measured row."""
    counts, notes = cell.counts, []
    if counts.done != counts.planned:
        notes.append(f"INCOMPLETE: {counts.done} of {counts.planned} images are on disk.")
    if cell.in_domain:
        notes.append("Trained on the training part of this data set (in-domain): not comparable with zero-shot rows.")
    if cell.approximate:
        notes.append(f"Approximate map between keypoint or label sets: {cell.approximate}.")
    if cell.weights_file and not cell.weights_pinned:
        notes.append("Weights not pinned: the card names no sha256; the hash of the file used is in run.json.")
    notes += [
        f"Coverage {score.value:.2%}: scores are over the pixels with a valid prediction only."
        for key, score in cell.scores.items()
        if key.endswith("coverage") and score.value < 1
    ]
    if counts.prediction_errors:
        codes = ", ".join(sorted({e.code for e in cell.errors if e.side == "prediction"}))
        notes.append(
            f"{counts.prediction_errors} image(s) on which {cell.title} failed count as misses"
            + (f" ({codes})." if codes else ".")
        )
    return notes


def block_remarks(record: RunRecord, cells: Sequence[CellRecord], rows: Sequence[Row]) -> tuple[str, ...]:
    """Remarks about a whole data set and protocol."""
    remarks = [f"Protocol: {caveat}" for caveat in dict.fromkeys(c.caveat for c in cells if c.caveat)]
    facts = record.datasets.get(cells[0].dataset) or DatasetRecord()
    if facts.boxes:
        remarks.append(f"Person boxes: {facts.boxes}")
    if limit := record.request.get("limit"):
        remarks.append(f"SUBSET: only the first {limit} images (--limit); not comparable with full results.")
    if split := record.request.get("split"):
        remarks.append(f"SUBSET: split {split!r} (--split); not comparable with other splits.")
    measured = [row for row in rows if row.group != "unavailable"]
    remarks += _counts(measured, facts)
    remarks += _intervals(rows)
    return tuple(remarks)


def _counts(measured: Sequence[Row], facts: DatasetRecord) -> list[str]:
    """Images in the metric. One that is at fault for any model leaves the metric of all, so the run's count rules."""
    if not measured:
        return []
    if facts.n_excluded is not None and facts.n_scored is not None:
        excluded = facts.n_excluded
        tail = f", {excluded} excluded for every model (picture or label at fault)" if excluded else ""
        return [f"{facts.n_scored} images scored{tail}."]
    pairs = dict.fromkeys((row.n_scored, row.n_excluded) for row in measured)
    if len(pairs) == 1:
        scored, excluded = next(iter(pairs))
        tail = f", {excluded} excluded for every model (picture or label at fault)" if excluded else ""
        return [f"{scored} images scored{tail}."]
    parts = [f"{row.title} {row.n_scored} scored, {row.n_excluded} excluded" for row in measured]
    return [f"Images: {'; '.join(parts)}."]


def _intervals(rows: Sequence[Row]) -> list[str]:
    cells = [c for row in rows for c in row.cells.values() if c.n_groups]
    with_interval = next((c for c in cells if c.has_interval), None)
    if with_interval is not None:
        groups = max(c.n_groups for c in cells)
        return [f"Intervals: {with_interval.level:.0%} percentile bootstrap over {groups} independent groups."]
    if cells and all(c.n_groups < 2 for c in cells) and any(math.isfinite(c.value) for c in cells):
        return ["No intervals: a single independent group cannot be resampled."]
    return []


def legend(blocks: Sequence[Block]) -> tuple[str, ...]:
    """What the marks of the published columns mean, and where those numbers come from."""
    cells = [c for block in blocks for row in block.rows for c in row.cells.values() if c.source]
    if not cells:
        return ()
    tables = dict.fromkeys(cell.source.partition(", row ")[0] for cell in cells)
    lines = [f"Published columns are numbers as printed, never measured here: {'; '.join(tables)}."]
    used = dict.fromkeys(c.confidence for c in cells if c.confidence in CONFIDENCE)
    lines += [f"{MARKS[name]} {CONFIDENCE[name]}." for name in used]
    return tuple(lines)
