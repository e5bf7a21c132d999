"""How cells are computed in a process, and a cell of its plan made ready for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sapiens_bench.engine.cell import CellJob
from sapiens_bench.engine.choices import RunChoice
from sapiens_bench.engine.data_specs import FoundData
from sapiens_bench.engine.device import default_batch_size
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.threads import Threads
from sapiens_bench.store.rows import Shard
from sapiens_bench.types import Adapter, KnowsFiles


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for all cells of a process. None of it can move a score."""

    device: str
    batch_size: int
    prefetch: int | None
    threads: Threads
    save_preds: bool
    save_maps: bool

    @staticmethod
    def of(how: RunChoice, device: str, threads: Threads, batch_size: int | None = None) -> Setting:
        """As a run was asked for, on a device that was found."""
        return Setting(
            device=device,
            batch_size=batch_size or how.batch_size or default_batch_size(device),
            prefetch=how.prefetch,
            threads=threads,
            save_preds=how.save_preds,
            save_maps=how.save_maps,
        )


class Todo(NamedTuple):
    """A cell, and those of its shards that are to be computed."""

    spec: CellSpec
    data: FoundData
    job: CellJob
    missing: list[Shard]

    @property
    def n_done(self) -> int:
        """Images on disk already."""
        return self.spec.cell.n_samples - sum(len(shard.indices) for shard in self.missing)


def job_of(spec: CellSpec, out: Path, setting: Setting, adapter: Adapter) -> CellJob:
    """The cell as the loop wants it.

    Args:
        out: the run folder.
        adapter: the data set as it was opened.
    """
    return CellJob(
        cell=spec.cell,
        out=out,
        batch_size=setting.batch_size,
        threads=setting.threads,
        device=setting.device,
        prefetch=setting.prefetch,
        save_preds=setting.save_preds,
        save_maps=setting.save_maps,
        index_K=None if spec.space_map is None else spec.space_map.index,
        identity=adapter.identity if isinstance(adapter, KnowsFiles) and not only_labels(spec, adapter) else None,
    )


def only_labels(spec: CellSpec, adapter: Adapter) -> bool:
    """Whether only what was read with the annotations counts: no file of a sample is then looked at."""
    return spec.model.is_results and hasattr(adapter, "without_pictures")
