"""A run in the forms that other programs read: which there are, and the folder or file that each becomes."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide.sides import read_side
from sapiens_bench.errors import UsageError
from sapiens_bench.publish.place import Place
from sapiens_bench.report.escape import csv_cell, one_line
from sapiens_bench.report.numbers import plain
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord

MEASURED = ("done", "incomplete")
HUB_TASKS = {"pose": "keypoint-detection", "seg": "image-segmentation", "depth": "depth-estimation"}  # others: "other"


@dataclass(frozen=True)
class Source:
    """The run, and which of its models are meant."""

    root: Path
    record: RunRecord
    catalog: Catalog
    models: Sequence[str] = ()  # all when empty
    data_root: Path | None = None
    with_pictures: bool = False

    def __post_init__(self) -> None:
        known = {cell.model for cell in self.record.cells if cell.status in MEASURED}
        if not known:
            raise UsageError(f"{self.root} holds no measured model: there is nothing to export.")
        if absent := [name for name in self.models if name not in known]:
            raise UsageError(f"{self.root} has no measured model {absent[0]!r}. It has: {', '.join(sorted(known))}.")

    def cells(self) -> list[CellRecord]:
        """The measured ones that are meant, in the order of the record."""
        chosen = (cell for cell in self.record.cells if cell.status in MEASURED)
        return [cell for cell in chosen if not self.models or cell.model in self.models]

    def places(self) -> Iterator[Place]:
        """Each data set under its protocol, with rows, truth and predictions.

        Raises:
            StoreError: rows cannot be read.
        """
        members = {(*m.place, m.model): m for m in read_side(self.root).members}
        by_place: dict[tuple[str, str], list[CellRecord]] = {}
        for cell in self.cells():
            by_place.setdefault((cell.dataset, cell.protocol), []).append(cell)
        for place, cells in by_place.items():
            yield Place(
                self.root, self.record, self.catalog, cells, [members[(*place, cell.model)] for cell in cells],
                self.data_root, self.with_pictures,
            )  # fmt: skip


@dataclass
class Exported:
    """Files by name below the folder that is asked for, and what should be known about them."""

    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def timm_csv(source: Source) -> str:
    """One line per model and data set, best first, in the manner of timm's ``results/*.csv``.

    Shares are per cent with three digits, as there; the score that ranks has its interval beside it. Columns: model,
    the scores of the short table, param_count (M), images_per_s, n_images, data set, protocol, status.
    """
    cells = source.cells()
    keys = list(dict.fromkeys(key for cell in cells for key in cell.scores if _is_shown(cell, key)))
    heads: list[str] = []
    for key in keys:
        name = key.partition("/")[2].replace("/", "_")
        heads += [name, f"{name}_low", f"{name}_high"] if any(c.headline == key for c in cells) else [name]
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["model", *heads, "param_count", "images_per_s", "n_images", "dataset", "protocol", "status"])
    for cell in sorted(cells, key=_rank):
        values: list[str] = []
        for key in keys:
            score = cell.scores.get(key)
            ends = any(c.headline == key for c in cells)
            of_score = (score.value, score.low, score.high) if score is not None else (math.nan,) * 3
            values += [_number(value, score) for value in of_score[: 3 if ends else 1]]
        speed = cell.timing.images_per_s if cell.timing.images else math.nan
        rest = [plain(cell.params_m, 2), plain(speed, 2), str(cell.counts.ok + cell.counts.prediction_errors)]
        names = [cell.dataset, cell.protocol, cell.status]
        writer.writerow([_text(cell.model), *values, *rest, *map(_text, names)])
    return stream.getvalue()


def _is_shown(cell: CellRecord, key: str) -> bool:
    return cell.scores[key].headline or key == cell.headline


def _rank(cell: CellRecord) -> tuple[str, str, float]:
    score = cell.scores.get(cell.headline)
    if score is None or not math.isfinite(score.value):
        return cell.dataset, cell.protocol, math.inf
    return cell.dataset, cell.protocol, -score.value if score.higher_is_better else score.value


def _number(value: float, score: ScoreRecord | None) -> str:
    if score is None or not math.isfinite(value):
        return ""
    return f"{100 * value:.3f}" if score.percent else f"{value:.6g}"


def _text(text: str) -> str:
    return csv_cell(one_line(text))


def hub_yaml(source: Source) -> tuple[str, list[str]]:
    """The ``model-index`` of a Hugging Face model card, one entry per model, and notes on what is left out.

    A card holds one model: ``--models`` chooses it. Shares are per cent, as tables show them; ``args`` of a metric hold
    its interval. Incomplete models are left out. Source: the hub's model-card metadata, key ``model-index``;
    ``huggingface_hub.repocard_data.model_index_to_eval_results`` reads it.
    """
    import yaml

    by_model: dict[str, list[CellRecord]] = {}
    notes: list[str] = []
    for cell in source.cells():
        if cell.status == "done":
            by_model.setdefault(cell.model, []).append(cell)
        else:
            notes.append(f"{cell.model} on {cell.dataset} is incomplete and left out.")
    index = [
        {"name": one_line(cells[0].title), "results": [_hub_result(source.record, cell) for cell in cells]}
        for cells in by_model.values()
    ]
    return yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True), notes


def _hub_result(record: RunRecord, cell: CellRecord) -> dict[str, Any]:
    about, asked = record.datasets.get(cell.dataset), record.request
    dataset: dict[str, Any] = {"type": cell.dataset, "name": one_line(about.title if about else "") or cell.dataset}
    dataset["config"] = cell.protocol
    if split := asked.get("split"):
        dataset["split"] = str(split)
    if about is not None and about.manifest_sha256:
        dataset["revision"] = about.manifest_sha256
    if limit := asked.get("limit"):
        dataset["args"] = {"limit": limit}
    harness = {"harness": f"sapiens-bench {record.version}".strip()}  # no command: it may name folders of its author
    return {
        "task": {"type": HUB_TASKS.get(cell.task, "other"), "name": cell.task},
        "dataset": dataset,
        "metrics": [
            _hub_metric(key, cell.scores[key], harness if i == 0 else {})
            for i, key in enumerate(
                k for k in cell.scores if _is_shown(cell, k) and math.isfinite(cell.scores[k].value)
            )
        ],
    }


def _hub_metric(key: str, score: ScoreRecord, more: dict[str, str]) -> dict[str, Any]:
    scale, unit = (100.0, "%") if score.percent else (1.0, score.unit)
    found: dict[str, Any] = {
        "type": key, "value": round(score.value * scale, 6), "name": one_line(f"{score.title} {unit}".strip()),
    }  # fmt: skip
    args: dict[str, Any] = dict(more)
    if math.isfinite(score.low) and math.isfinite(score.high):
        args |= {
            "low": round(score.low * scale, 6), "high": round(score.high * scale, 6), "level": score.level,
            "groups": score.n_groups,
        }  # fmt: skip
    return found | ({"args": args} if args else {})
