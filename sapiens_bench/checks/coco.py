"""The pose scores of a run once more, by pycocotools, from the original files wherever there are any."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sapiens_bench.adapters.coco.keypoints import CocoKeypoints
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks import coco_files
from sapiens_bench.checks.coco_evaluation import STATISTICS, Part, statistics
from sapiens_bench.checks.coco_files import Files
from sapiens_bench.engine import scores
from sapiens_bench.engine.again import request_of
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.errors import CheckpointRejected, DataMissing, StorageFull, UsageError
from sapiens_bench.models.image_names import Ambiguous
from sapiens_bench.models.result_files import read_results
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.store.record import CellRecord, RunRecord
from sapiens_bench.store.rows import read_rows
from sapiens_bench.tasks.pose.export import coco_results, coco_truth
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.types import PART_SCORES


@dataclass(frozen=True)
class CellCheck:
    """What pycocotools says of one cell."""

    cell: CellRecord
    theirs: dict[str, float]  # score key ("AP", "face/AP") -> value
    remarks: tuple[str, ...]  # how the files were mended for pycocotools; empty: both are the originals

    def ours(self, key: str) -> float:
        """Our value of a score."""
        return self.cell.scores[f"oks/{key}"].value

    @property
    def difference(self) -> float:
        """The largest of all statistics."""
        return max(_difference(self.ours(key), value) for key, value in self.theirs.items())


def check_run(root: Path, record: RunRecord, catalog: Catalog, out: Path | None = None) -> Iterator[CellCheck]:
    """Check every measured cell of a run.

    Args:
        root: the run folder.
        out: files that were scored are kept below it, when given.

    Raises:
        UsageError: no pose run.
        DataMissing: the data set is not there, or a network's poses were not kept.
        StorageFull: ``out`` cannot be written.
    """
    if record.task != "pose":
        raise UsageError(f"{root} is a run of {record.task!r}; COCO files are made of poses.")
    plan = resolve(request_of(record), catalog)
    truths: dict[tuple[str, str], _Truth] = {}
    for cell in record.cells:
        if cell.status != "done":
            continue
        key = (cell.dataset, cell.protocol)
        if key not in truths:
            truths[key] = _Truth(root, record, cell, plan)
            _keep(out, cell, "truth", truths[key].files.content)
        results, is_final = _results(root, cell, truths[key], plan)
        _keep(out, cell, cell.model, results.content)
        yield CellCheck(cell, _theirs(truths[key], results, is_final), (*truths[key].files.remarks, *results.remarks))


class _Truth:
    """The data set of some cells."""

    def __init__(self, root: Path, record: RunRecord, cell: CellRecord, plan: Plan) -> None:
        found = next(d for d in plan.data if (d.spec.id, d.spec.protocol_name) == (cell.dataset, cell.protocol))
        adapter: Any = found.open.adapter
        self.adapter, self.task, self.space = adapter, found.open.task, found.spec.space
        done = [c for c in record.cells if (c.dataset, c.protocol, c.status) == (cell.dataset, cell.protocol, "done")]
        rows = [read_rows(root / "rows" / c.task / c.dataset / c.protocol / c.model) for c in done]
        left_out = scores.excluded(rows)
        self.used = [i for i in range(found.facts.n_samples) if i not in left_out]
        self.data: CocoKeypoints | None = (
            adapter if isinstance(adapter, CocoKeypoints) and adapter.is_original else None
        )
        self.categories = [1] if self.data is None else sorted(self.data.index.scored)
        self.files = self._made() if self.data is None else coco_files.read_truth(self.data)

    def _made(self) -> Files:
        targets = [self.adapter[i].target for i in self.used]
        names = self.space.names if self.space else ()
        made = coco_truth(targets, [i + 1 for i in self.used], names)
        return Files(made, is_original=False, remarks=["annotation file: made of the data set's labels"])

    def image_id(self, index: int) -> int:
        """Id of a sample's image."""
        return index + 1 if self.data is None else self.data.image_id(index)

    @property
    def metric(self) -> OksMetric:
        """Of the protocol."""
        metric = self.task.metrics[0]
        assert isinstance(metric, OksMetric)
        return metric


def _theirs(truth: _Truth, results: Files, is_final: bool) -> dict[str, float]:
    """Every statistic of every part, by pycocotools."""
    metric = truth.metric
    theirs: dict[str, float] = {}
    for name, part in _parts(metric, is_final, truth.data is not None and truth.data.layout.counts_all).items():
        found = statistics(
            truth.files.content,
            results.content,
            truth.space.sigmas if truth.space else (),
            image_ids=[truth.image_id(i) for i in truth.used],
            categories=truth.categories,
            max_detections=metric.scoring.max_detections,
            part=part,
        )
        theirs |= {f"{name}/{s}" if name else s: found[s] for s in STATISTICS}
    return theirs


def _parts(metric: OksMetric, is_final: bool, by_count: bool) -> dict[str, Part | None]:
    """Group -> how pycocotools is to look at it; None where it can do so by itself."""
    if len(metric.groups) == 1 and not metric.scoring.drop_zero_score:
        return {"": None}
    is_whole = len(metric.area_index) == len(metric.variances_K)
    drops = metric.scoring.drop_zero_score or (is_final and len(metric.groups) > 1)
    return {
        name: Part(
            group.index,
            None if is_whole else metric.area_index,
            PART_SCORES.get(name or "whole", "score") if is_final else "score",
            drops_unseen=drops,
            by_count=by_count,
        )
        for name, group in metric.groups.items()
    }


def _results(root: Path, cell: CellRecord, truth: _Truth, plan: Plan) -> tuple[Files, bool]:
    """The results of a cell, and whether their scores were final."""
    spec = next((c for c in plan.cells if (c.cell.dataset, c.cell.model) == (cell.dataset, cell.model)), None)
    if spec is None or not spec.model.is_results or truth.data is None:
        return _exported(root, cell, truth, ""), False
    options, space, weights = spec.model.options, spec.model.space, spec.model.weights
    is_final = options.get("keypoint_scores", "final") == "final"
    found = None if weights.path is None else read_results(weights.path)
    as_given = is_final and not options.get("nms") and not cell.counts.prediction_errors
    if not as_given or found is None or found.is_per_picture or space is None:
        return _exported(root, cell, truth, "results: as they were scored, not as the file has them"), is_final
    index_K = None if spec.space_map is None else spec.space_map.index
    try:
        return coco_files.read_results(found, truth.data, space.names, index_K), is_final
    except Ambiguous as error:
        raise CheckpointRejected(f"{weights.path}: {error}.") from None


def _exported(root: Path, cell: CellRecord, truth: _Truth, remark: str) -> Files:
    """Results made of the poses that the run kept."""
    folder = root / "preds" / cell.task / cell.dataset / cell.protocol / cell.model
    stored = dict(read_predictions(folder)) if folder.is_dir() else {}
    if not stored:
        raise DataMissing(f"{folder} holds no predictions. Run again without --no-save-preds.")
    place = {key: i for i, key in enumerate(truth.adapter.keys)}
    used = set(truth.used)
    kept = {place[key]: columns for key, columns in stored.items() if place.get(key) in used}
    from_columns = truth.task.from_columns
    assert from_columns is not None
    predictions = [from_columns(columns) for columns in kept.values()]
    ids = [truth.image_id(i) for i in kept]
    content = coco_results(predictions, ids, truth.metric, truth.categories[0])
    return Files(content, is_original=False, remarks=[remark] if remark else [])


def _keep(out: Path | None, cell: CellRecord, name: str, content: Any) -> None:
    if out is None:
        return
    try:
        coco_files.write(out / cell.dataset / cell.protocol, name, content)
    except OSError as error:
        raise StorageFull(f"{out} could not be written: {error.strerror}.") from None


def _difference(ours: float, theirs: float) -> float:
    if math.isnan(ours) or math.isnan(theirs):
        return 0.0 if math.isnan(ours) and math.isnan(theirs) else math.inf
    return abs(ours - theirs)
