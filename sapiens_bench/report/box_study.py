"""Accuracy against box quality: the same models under several box sources, side by side.

A top-down model sees only what its boxes show, so its score is a score of model and detector together. Each row is one
model under one source; beside its AP stand the boxes' own numbers against the people that are scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sapiens_bench.errors import UsageError
from sapiens_bench.report.table import Block, Column, ReportTable, TableCell, TableRow
from sapiens_bench.store.record import CellRecord, DatasetRecord, RunRecord, ScoreRecord

_BOXES = (  # key in box_quality, title, shown as per cent, decimals
    ("mean_iou", "Box IoU", False, 3),
    ("recall50", "Box recall@50", True, 1),
    ("ap", "Box AP", True, 1),
)
Member = tuple[CellRecord, DatasetRecord]  # a model under one box source
LEGEND = (
    "Box IoU: mean over the scored people of the best box's overlap. Box recall@50: share of them with a box of their "
    "own at IoU 0.5. Box AP: IoU 0.50 to 0.95. Crowds and people without labelled points count neither way.",
    "Loss: AP below that of the best boxes (highest box IoU) of the same model.",
)


def box_study(records: Sequence[RunRecord]) -> ReportTable:
    """One block per data set and number of images; rows by model, best boxes first.

    Args:
        records: runs of the same models that differ in ``--boxes`` (or in a protocol that names its boxes).

    Raises:
        UsageError: fewer than two box sources, a run without person boxes, or the same model and source twice.
    """
    groups: dict[tuple[str, int], list[Member]] = {}
    for record in records:
        for cell in record.cells:
            about = record.datasets.get(cell.dataset)
            if cell.status in ("done", "incomplete") and about is not None and about.box_quality is not None:
                groups.setdefault((cell.dataset, about.n_images), []).append((cell, about))
    if not groups:
        raise UsageError("A box study needs pose runs on COCO-format data: none of these records box quality.")
    sources = {_source(about) for members in groups.values() for _, about in members}
    if len(sources) < 2:
        raise UsageError(
            f"A box study needs at least two box sources; all runs use {next(iter(sources))!r}. Run the same models "
            "with another --boxes (gt, a file, detector:<id>, jitter:<fraction>)."
        )
    blocks = tuple(_block(dataset, n, members) for (dataset, n), members in groups.items())
    return ReportTable(
        title="sapiens-bench: accuracy against box quality",
        task=records[0].task,
        status="done" if all(record.status == "done" for record in records) else "incomplete",
        incomplete="" if all(record.status == "done" for record in records) else "not every run is complete",
        blocks=blocks,
        facts={"runs": str(len(records)), "version": ", ".join(sorted({record.version for record in records}))},
        legend=LEGEND,
    )


def _source(about: DatasetRecord) -> str:
    return about.boxes_source or about.boxes


def _block(dataset: str, n_images: int, members: Sequence[Member]) -> Block:
    first = members[0][0]
    headline = next((cell.headline for cell, _ in members if cell.headline in cell.scores), first.headline)
    score = next((cell.scores[headline] for cell, _ in members if headline in cell.scores), None)
    if score is None:
        raise UsageError(f"None of the runs on {dataset} has a score {headline!r}.")
    order = {model: position for position, model in enumerate(dict.fromkeys(cell.model for cell, _ in members))}
    ranked = sorted(members, key=lambda m: (order[m[0].model], -_quality(m[1], "mean_iou"), _source(m[1])))
    names = [(cell.model, _source(about), cell.protocol) for cell, about in ranked]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{repeated[0][0]} with boxes {repeated[0][1]!r} is in two of the runs. Give each run once.")
    best: dict[str, float] = {}
    for cell, _ in ranked:
        if headline in cell.scores:
            best.setdefault(cell.model, cell.scores[headline].value)
    protocols = sorted({cell.protocol for cell, _ in members})
    remarks = [f"Protocols differ ({', '.join(protocols)}); compare what they score."] if len(protocols) > 1 else []
    return Block(
        task=first.task,
        dataset=dataset,
        protocol=", ".join(protocols),
        title=members[0][1].title or dataset,
        protocol_title="by box source",
        headline=headline,
        columns=_columns(headline, score),
        rows=tuple(_row(cell, about, headline, best.get(cell.model, math.nan)) for cell, about in ranked),
        n_images=n_images,
        remarks=tuple(remarks),
    )


def _columns(headline: str, score: ScoreRecord) -> tuple[Column, ...]:
    ours = Column(headline, score.title, "score", score.unit, score.percent, score.decimals, score.higher_is_better)
    loss = Column("boxes/loss", "Loss", "score", score.unit, score.percent, score.decimals, higher_is_better=False)
    boxes = [Column(f"boxes/{key}", title, "score", "", percent, decimals) for key, title, percent, decimals in _BOXES]
    return (ours, loss, *boxes, Column("boxes/per_image", "Boxes per image", "score", "", False, 2, False))


def _row(cell: CellRecord, about: DatasetRecord, headline: str, best: float) -> TableRow:
    score = cell.scores.get(headline)
    cells = {f"boxes/{key}": TableCell(_quality(about, key)) for key, *_ in _BOXES}
    cells["boxes/per_image"] = TableCell(_quality(about, "n_boxes") / max(1, about.n_images))
    if score is not None:
        cells[headline] = TableCell(score.value, score.low, score.high, score.level, score.n_groups)
        cells["boxes/loss"] = TableCell(best - score.value)
    counts = cell.counts
    return TableRow(
        model=f"{cell.model}@{_source(about)}",
        title=f"{cell.title}, {_source(about)}",
        group="network" if cell.kind == "network" else "floor" if cell.kind == "floor" else "diagnostic",
        status=cell.status,
        cells=cells,
        trained_on=cell.trained_on,
        in_domain=cell.in_domain,
        licence=cell.licence,
        n_planned=counts.planned,
        n_scored=counts.ok + counts.prediction_errors,
        n_excluded=counts.input_errors,
        n_misses=counts.prediction_errors,
    )


def _quality(about: DatasetRecord, key: str) -> float:
    return float(getattr(about.box_quality, key))
