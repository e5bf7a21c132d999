"""What must be said beside the numbers: caveats, subsets, exclusions, approximations, unpinned weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sapiens_bench.report.causes import first_causes
from sapiens_bench.report.numbers import CONFIDENCE, MARKS
from sapiens_bench.report.table import Block, TableCell, TableRow
from sapiens_bench.store.causes import ended
from sapiens_bench.store.record import CellRecord, DatasetRecord, RunRecord

FEW_GROUPS = 100  # that of stats/ends.py (tested), which a report does not load
FAR_OFF = 10.0  # AbsRel: millimetres taken for metres have 999, centimetres 99
FEWEST_GROUPS = 10  # below, even Student's intervals cover too little (results/coverage)


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
        notes.append("Trained on pictures of this data set (in-domain): not comparable with zero-shot rows.")
    if cell.approximate:
        notes.append(f"Approximate map between keypoint or label sets: {cell.approximate}.")
    if cell.weights_file and not cell.weights_pinned:
        notes.append("Weights not pinned: the card names no sha256; the hash of the file used is in run.json.")
    notes += [
        f"Coverage {score.value:.2%}: scores are over the pixels with a valid prediction only."
        for key, score in cell.scores.items()
        if key.endswith("coverage") and score.value < 1
    ]
    return [*notes, *_doubts(cell), *_misses(cell)]


def _doubts(cell: CellRecord) -> list[str]:
    """Scores that speak for answers in another form than is read; a floor answers in ours, and may be as bad."""
    if cell.kind != "network":
        return []
    notes = []
    hits = [score.value for key, score in cell.scores.items() if key.startswith("oks/") and key.endswith("AR50")]
    if cell.counts.ok and hits and not any(hits):  # NaN is no 0: then nobody is scored
        notes.append(
            f"Nobody is found by {cell.title}: no answer comes within OKS 0.5 of a person. Are the points pixels of "
            "the whole picture, x before y, and in the order of their set?"
        )
    off = cell.scores.get("depth/abs_rel")
    if off is not None and off.value > FAR_OFF:
        notes.append(
            f"{cell.title} is off by {off.value:.3g} times the depth: are its numbers metres, as they are taken "
            "here? Of stored maps, --option depth_kind=metric_depth --option unit=mm (or cm) says another unit."
        )
    return notes


def _misses(cell: CellRecord) -> list[str]:
    if not cell.counts.prediction_errors:
        return []
    causes = first_causes([cell], "prediction")
    return [
        f"{cell.counts.prediction_errors} of {cell.counts.planned} images on which {cell.title} failed count as misses"
        + (f": {causes}." if causes else ".")
    ]


def condition_text(record: RunRecord) -> str:
    """What was done to every picture or box of a run of a study, and to which degree; "" for nothing."""
    condition = record.request.get("condition") or {}
    return f"every picture under {condition.get('name')} {condition.get('level')} (study)" if condition else ""


def block_alarms(record: RunRecord, rows: Sequence[TableRow]) -> tuple[str, ...]:
    """What forbids a comparison, or an interval to be believed."""
    alarms = []
    if limit := record.request.get("limit"):
        alarms.append(f"SUBSET: only the first {limit} images (--limit); not comparable with full results.")
    if split := record.request.get("split"):
        alarms.append(f"SUBSET: split {split!r} (--split); not comparable with other splits.")
    if rule := record.request.get("select"):
        alarms.append(f"SUBSET: only images with {rule} (--select); not comparable with full results.")
    if condition := condition_text(record):
        alarms.append(f"CONDITION: {condition}; not comparable with the data set as it is.")
    seen = {f"{name}:{split}" if split else name for name in record.datasets}
    alarms += [
        f"{row.title} was trained on the very images that are scored here ({row.trained_on}): its scores tell nothing."
        for row in rows
        if row.in_domain and row.trained_on in seen
    ]
    found = _with_interval(rows)
    groups = max((cell.n_groups for cell in found), default=FEWEST_GROUPS)
    if groups < FEWEST_GROUPS:
        alarms.append(f"A {found[0].level:.0%} interval over {groups} groups is not to be trusted.")
    return tuple(alarms)


def block_remarks(record: RunRecord, cells: Sequence[CellRecord], rows: Sequence[TableRow]) -> tuple[str, ...]:
    """Remarks about a whole data set and protocol."""
    remarks = [f"Protocol: {caveat}" for caveat in dict.fromkeys(c.caveat for c in cells if c.caveat)]
    facts = record.datasets.get(cells[0].dataset) or DatasetRecord()
    if facts.boxes:
        remarks.append(f"Person boxes: {facts.boxes}")
    if options := record.request.get("options"):
        remarks.append(f"Options over the cards: {', '.join(f'{name}={value}' for name, value in options.items())}.")
    if keys := record.request.get("scoring"):
        shown = ", ".join(f"{name}={value}" for name, value in keys.items())
        remarks.append(f"Scoring keys over the protocol: {shown}; not comparable with results under it as it is.")
    remarks += _data_options(record, cells[0].dataset)
    remarks += [f"Note: {ended(note)}" for note in (*facts.notes, *facts.boxes_notes)]
    measured = [row for row in rows if row.group != "unavailable"]
    remarks += _counts(measured, facts)
    if causes := first_causes(cells, "input"):
        remarks.append(f"At fault: {causes}.")
    remarks += [*_intervals(rows), *_seen(cells, facts)]
    return tuple(remarks)


def changed_options(record: RunRecord, dataset: str) -> str:
    """The data options of a run that change the protocol, as text; those that only say how files are stored do not."""
    facts = record.datasets.get(dataset) or DatasetRecord()
    options = (record.request.get("data_options") or {}).items()
    return ", ".join(f"{name}={value}" for name, value in options if name not in facts.about_files)


def _data_options(record: RunRecord, dataset: str) -> list[str]:
    """What was said of the files, and what was changed of the protocol."""
    facts = record.datasets.get(dataset) or DatasetRecord()
    options = record.request.get("data_options") or {}
    said = ", ".join(f"{name}={options[name]}" for name in options if name in facts.about_files)
    remarks = [f"Said of the files: {said}."] if said else []
    if changed := changed_options(record, dataset):
        text = f"Options over the protocol: {changed}; not comparable with results under the protocol as it is."
        remarks.append(text)
    return remarks


def _counts(measured: Sequence[TableRow], facts: DatasetRecord) -> list[str]:
    """Images in the metric. One that is at fault for any model leaves the metric of all, so the run's count rules."""
    if not measured:
        return []
    if facts.n_excluded is not None and facts.n_scored is not None:
        return [_scored(facts.n_scored, facts.n_excluded)]
    pairs = dict.fromkeys((row.n_scored, row.n_excluded) for row in measured)
    if len(pairs) == 1:
        return [_scored(*next(iter(pairs)))]
    parts = [f"{row.title} {row.n_scored} scored, {row.n_excluded} excluded" for row in measured]
    return [f"Images: {'; '.join(parts)}."]


def _scored(n_scored: int, n_excluded: int) -> str:
    tail = f", {n_excluded} excluded for every model (picture or label at fault)" if n_excluded else ""
    return f"{n_scored} {'image' if n_scored == 1 else 'images'} scored{tail}."


def _with_interval(rows: Sequence[TableRow]) -> list[TableCell]:
    return [c for row in rows for c in row.cells.values() if c.n_groups and c.has_interval and math.isfinite(c.value)]


def _intervals(rows: Sequence[TableRow]) -> list[str]:
    found = _with_interval(rows)
    if found:
        least, groups = min(c.n_groups for c in found), max(c.n_groups for c in found)
        few = "Student's t with the jackknife's error"
        if groups < FEW_GROUPS:
            return [
                f"Intervals: {found[0].level:.0%}, {few}, over {groups} independent groups, fewer than {FEW_GROUPS}."
            ]
        rest = f"; below {FEW_GROUPS}, {few}" if least < FEW_GROUPS else ""
        return [f"Intervals: {found[0].level:.0%}, percentile bootstrap, over {groups} independent groups{rest}."]
    cells = [c for row in rows for c in row.cells.values() if c.n_groups]
    if cells and all(c.n_groups < 2 for c in cells) and any(math.isfinite(c.value) for c in cells):
        return ["No intervals: a single independent group cannot be resampled."]
    return []


def _seen(cells: Sequence[CellRecord], facts: DatasetRecord) -> list[str]:
    """The smallest difference that the set would call out."""
    named = {cell.model: cell for cell in cells if cell.model in facts.sees_between}
    if not math.isfinite(facts.sees) or len(named) < 2:
        return []
    score = next(iter(named.values())).scores[next(iter(named.values())).headline]
    size = facts.sees * (100 if score.percent else 1)
    digits = max(score.decimals, min(score.decimals + 3, math.ceil(-math.log10(size)))) if size > 0 else score.decimals
    unit = " ".join(part for part in (score.title, score.unit) if part)
    titles = " and ".join(cell.title for cell in named.values())
    return [
        f"This set sees >= {size:.{digits}f} {unit} between {titles} (a true difference called out in 80 % of cases)."
    ]


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


@dataclass
class Letters:
    """Letters for what is other about a measured row, in the order of their first use."""

    texts: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> str:
        if not text:
            return ""
        if text not in self.texts:
            self.texts.append(text)
        return f"({chr(ord('a') + self.texts.index(text) % 26)})"
