"""``sapiens-bench verify coco``: the stored poses of a run as COCO JSON, scored once more by pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.commands.output import grid, say
from sapiens_bench.errors import DataMissing, StorageFull, UsageError, VerificationFailed
from sapiens_bench.store.record import CellRecord, RunRecord, read_run

if TYPE_CHECKING:
    from sapiens_bench.engine.data_specs import FoundData
    from sapiens_bench.engine.request import Request

STATISTICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
Truth = dict[str, Any]


def execute(folder: Path, *, out: Path | None, cards: Sequence[Path]) -> None:
    """Compare all ten statistics of every measured cell; write the files below ``out`` when it is given.

    Raises:
        UsageError: no pose run, or its predictions were not kept.
        VerificationFailed: a statistic differs.
    """
    record = read_run(folder)
    root = folder.parent if folder.name == "run.json" else folder
    if record.task != "pose":
        raise UsageError(f"{root} is a run of {record.task!r}; COCO files are made of poses.")
    catalog, request = Catalog.load(cards), _request(record)
    truths: dict[tuple[str, str], tuple[FoundData, Truth]] = {}
    lines: list[list[str]] = []
    wrong = 0
    for cell in record.cells:
        if cell.status != "done":
            continue
        key = (cell.dataset, cell.protocol)
        if key not in truths:
            truths[key] = _truth(cell, catalog, request)
        data, truth = truths[key]
        results = _results(root, cell, data)
        theirs = pycocotools_statistics(truth, results, data.spec.space.sigmas if data.spec.space else ())
        away = max(_difference(cell.scores[f"oks/{s}"].value, theirs[s]) for s in STATISTICS)
        wrong += away > 0
        lines.append(
            [cell.title, cell.dataset, f"{cell.scores['oks/AP'].value:.6f}", f"{theirs['AP']:.6f}", f"{away:g}"]
        )
        if out is not None:
            _write(out / cell.dataset / cell.protocol, {"truth": truth, cell.model: results})
    grid(["Model", "Data set", "AP, ours", "AP, pycocotools", "largest difference of ten"], lines, right=(2, 3, 4))
    if out is not None:
        say(f"COCO files: {out}")
    if wrong:
        raise VerificationFailed(f"{wrong} of {len(lines)} cells differ from pycocotools.")
    say(f"All ten statistics of {len(lines)} cell(s) equal pycocotools exactly.", "green")


def _request(record: RunRecord) -> Request:
    """The request of the run, from its record."""
    from sapiens_bench.engine.request import Request

    known = {f.name for f in fields(Request)}
    values: dict[str, Any] = {k: v for k, v in record.request.items() if k in known and v is not None}
    return Request(**values)


def _truth(cell: CellRecord, catalog: Catalog, request: Request) -> tuple[FoundData, Truth]:
    from sapiens_bench.engine.data_specs import open_named
    from sapiens_bench.tasks.pose.export import coco_truth

    data = open_named(catalog.dataset(cell.dataset), cell.protocol, request.data(), catalog)
    targets = [data.open.adapter[i].target for i in range(data.facts.n_samples)]
    names = data.spec.space.names if data.spec.space else ()
    return data, coco_truth(targets, range(1, data.facts.n_samples + 1), names)


def _results(root: Path, cell: CellRecord, data: FoundData) -> list[dict[str, Any]]:
    from sapiens_bench.store.rows import read_predictions
    from sapiens_bench.tasks.pose.export import coco_results

    folder = root / "preds" / cell.task / cell.dataset / cell.protocol / cell.model
    stored = dict(read_predictions(folder)) if folder.is_dir() else {}
    if not stored:
        raise DataMissing(f"{folder} holds no predictions. Run again without --no-save-preds.")
    place = {key: i for i, key in enumerate(data.open.adapter.keys)}
    assert data.open.task.from_columns is not None
    predictions = [data.open.task.from_columns(columns) for columns in stored.values()]
    return coco_results(predictions, [place[key] + 1 for key in stored], data.open.task.metrics[0])  # type: ignore[arg-type]


def pycocotools_statistics(truth: Truth, results: list[dict[str, Any]], sigmas: Sequence[float]) -> dict[str, float]:
    """The ten statistics of pycocotools; undefined ones (-1 there) are NaN."""
    import numpy as np
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {s: math.nan if v == -1 else float(v) for s, v in zip(STATISTICS, evaluation.stats, strict=True)}


def _difference(ours: float, theirs: float) -> float:
    if math.isnan(ours) or math.isnan(theirs):
        return 0.0 if math.isnan(ours) and math.isnan(theirs) else math.inf
    return abs(ours - theirs)


def _write(folder: Path, content: Mapping[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in content.items():
            (folder / f"{name}.json").write_text(json.dumps(data, allow_nan=False), encoding="utf-8")
    except OSError as error:
        raise StorageFull(f"{folder} could not be written: {error.strerror}.") from None
