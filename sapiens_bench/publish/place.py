"""One data set and protocol of a run with all that can be read of it: rows, truth, predictions, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide.pairs import left_out, task_of
from sapiens_bench.decide.sides import Member
from sapiens_bench.engine.build import OpenData
from sapiens_bench.engine.reopen import reopen, targets
from sapiens_bench.errors import SampleFault, SapiensBenchError
from sapiens_bench.store.paths import cell_folder
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.store.record import CellRecord, RunRecord
from sapiens_bench.store.rows import shard_files
from sapiens_bench.tasks.maps import map_name
from sapiens_bench.types import Metric, Task

_ROWS_AT_ONCE = 256
FREE = ("CC0-1.0",)  # licences under which pictures are shown without being asked for


@dataclass
class Place:
    """A data set under a protocol, and the models that were measured on it, in the order of the table."""

    root: Path  # the run folder
    record: RunRecord
    catalog: Catalog
    cells: Sequence[CellRecord]
    members: Sequence[Member]
    data_root: Path | None = None
    with_pictures: bool = False
    why_not: list[str] = field(default_factory=list)  # why truth or pictures cannot be shown

    @cached_property
    def task(self) -> Task:
        """As the rows were scored."""
        return task_of(self.members[0])

    @cached_property
    def excluded(self) -> set[str]:
        """Keys of samples that leave the score of every model."""
        return left_out(self.members).get(self.members[0].place, set())

    @cached_property
    def keys(self) -> list[str]:
        """Scored samples that any model has a row of, in the order of the data set."""
        index: dict[str, int] = {}
        for member in self.members:
            index.update(zip(member.rows["key"].to_pylist(), member.rows["index"].to_pylist()))
        return [key for key in sorted(index, key=lambda k: index[k]) if key not in self.excluded]

    @cached_property
    def data(self) -> OpenData | None:
        """The data set, opened again; None where it is not here or not the same."""
        try:
            found = reopen(self.record, self.cells[0], self.catalog, self.data_root)
        except SapiensBenchError as error:
            self.why_not.append(f"Truth and pictures cannot be shown: {error}")
            return None
        lacking = [key for key in self.keys if key not in set(found.adapter.keys)]
        if lacking:
            self.why_not.append(
                f"Truth and pictures cannot be shown: sample {lacking[0]!r} is not in the data set here."
            )
            return None
        return found

    @cached_property
    def _index(self) -> dict[str, int]:
        return {} if self.data is None else {key: i for i, key in enumerate(self.data.adapter.keys)}

    @property
    def licence(self) -> str:
        """Name of the data set's licence, as the record has it."""
        known = self.record.datasets.get(self.cells[0].dataset)
        card = self.record.cards.get(self.cells[0].dataset, {}).get("licence")
        told = card.get("name", "") if isinstance(card, dict) else ""
        return str(told or (known.licence if known else "") or "not stated")

    @property
    def may_show(self) -> bool:
        """Whether pictures, truth and maps of the data set may be embedded."""
        return self.with_pictures or self.licence in FREE

    @cached_property
    def truths(self) -> dict[str, Any]:
        """Targets by key; those whose label cannot be read are left out."""
        if self.data is None:
            return {}
        wanted = [self._index[key] for key in self.keys]
        return {self.data.adapter.keys[index]: target for index, target in targets(self.data, wanted)}

    def sample(self, key: str) -> Any:
        """The sample with its picture; None where it cannot be read."""
        if self.data is None:
            return None
        try:
            return self.data.adapter[self._index[key]]
        except SapiensBenchError:
            return None

    def stored(self, model: str) -> dict[str, Any]:
        """Predictions kept beside the rows, by key; empty where the run kept none.

        Raises:
            ShardDamaged: they are not what was committed.
        """
        first = self.cells[0]
        folder = cell_folder(self.root, "preds", first.task, first.dataset, first.protocol, model)
        if self.task.from_columns is None or not shard_files(folder):
            return {}
        return {key: self.task.from_columns(columns) for key, columns in read_predictions(folder)}

    def map(self, model: str, key: str) -> Any:
        """A prediction kept as a map (``--save-maps``); None where there is none, or it cannot be read."""
        first, codec = self.cells[0], self.task.kind.codec
        if codec is None:
            return None
        path = cell_folder(self.root, "maps", first.task, first.dataset, first.protocol, model) / map_name(key)
        try:
            return codec.decode(path.read_bytes(), path.name, self.task.names)
        except (OSError, SampleFault):
            return None


def image_values(member: Member, metric: Metric, score: str, keys: Sequence[str]) -> NDArray[np.float64]:
    """One score of each image alone; NaN where it has no row or the score is undefined."""
    where = {key: i for i, key in enumerate(member.rows["key"].to_pylist())}
    known = [i for i, key in enumerate(keys) if key in where]
    out = np.full(len(keys), np.nan)
    for start in range(0, len(known), _ROWS_AT_ONCE):
        chosen = known[start : start + _ROWS_AT_ONCE]
        rows = member.rows.take([where[keys[i]] for i in chosen])
        scores: Any = metric.aggregate(rows)
        ones = np.eye(len(chosen), dtype=np.int64)
        if hasattr(scores, "batch"):
            out[chosen] = scores.batch(ones.astype(np.uint8), [score])[score]
        else:
            out[chosen] = [scores(line)[score] for line in ones]
    return out
