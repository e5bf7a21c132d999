"""The parts of a request: what each stage of planning is given, and all that it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from sapiens_bench.errors import UnknownName, UsageError

Engine = Literal["local", "ray"]
ENGINES = ("local", "ray")
DETECTOR = "detector:"  # boxes made by a detector card: detector:<id>[,<score threshold>]


@dataclass(frozen=True)
class DataChoice:
    """Which data sets, under which protocol, read how."""

    task: str
    names: tuple[str, ...]  # empty: every data set of the task that is on this machine
    protocol: str | None  # None: the data set's default for the task
    split: str
    boxes: str
    seed: int
    limit: int | None  # the first n samples only
    max_pixels: int
    options: Mapping[str, Any]  # for the adapters, over those of the protocol
    scoring: Mapping[str, Any]  # keys over those of the protocol
    root: Path | None
    pictures: bool = True  # False: no model looks at them, so they need not be there
    condition: Mapping[str, Any] = field(default_factory=dict)  # what is done to every picture; empty: nothing
    select: str = ""  # which samples: adapters/selection/rule.py; "": all

    @property
    def detector(self) -> str:
        """Name (and threshold) of the detector card that makes the boxes; "" for none."""
        return self.boxes.removeprefix(DETECTOR) if self.boxes.startswith(DETECTOR) else ""


@dataclass(frozen=True)
class ModelChoice:
    """Which models, built how."""

    task: str
    patterns: tuple[str, ...]  # ids, globs, families; "all"
    options: Mapping[str, Any]  # for the wrappers, over those of the card
    weights_root: Path | None
    trust: Mapping[str, str]  # path -> sha256 of files that the user vouches for
    precision: str
    seed: int


@dataclass(frozen=True)
class RunChoice:
    """How cells are computed and kept; none of it can move a score."""

    device: str
    batch_size: int | None  # crops per forward pass; None: by device
    prefetch: int | None  # batches queued on the device ahead of the one that is waited for; None: by device and model
    engine: Engine
    workers: int | None  # local: loader threads; ray: processes. None: by cores, by what the cluster has
    threads: int | None  # cores to be used; None: all that this process may use
    shard_size: int
    n_boot: int
    seed: int  # of the bootstrap
    save_preds: bool
    save_maps: bool
    max_errors: float | None  # share of a cell's samples; None: 1 %
    part: tuple[int, int] | None  # (i, n): only every n-th shard, from the i-th; n = 0: none
    command: str
    gpus_per_worker: float | None = None  # ray: None: one where the cluster has GPUs
    address: str = ""  # ray: of a cluster that runs; "": one of this machine, for this run

    @property
    def loaders(self) -> int | None:
        """Loader threads of a process; None: by cores."""
        return self.workers if self.engine == "local" else None

    def is_mine(self, shard: int) -> bool:
        """Whether the shard of this number (from 0) is of this part."""
        return self.part is None or (self.part[1] > 0 and shard % self.part[1] == self.part[0] - 1)


@dataclass(frozen=True)
class Places:
    """Who does work that makes no rows, too: pictures, feature maps. Fields as those of ``RunChoice``.

    Raises:
        UsageError: an engine that there is not, or what only another one can use.
    """

    engine: Engine = "local"
    workers: int | None = None
    gpus_per_worker: float | None = None
    address: str = ""
    threads: int | None = None
    device: str = "auto"

    @staticmethod
    def of(asked: Any) -> Places:
        """What a request of any command says about it."""
        return Places(**{f.name: getattr(asked, f.name) for f in fields(Places)})

    def __post_init__(self) -> None:
        gpus = self.gpus_per_worker
        if self.engine not in ENGINES:
            raise UnknownName("engine", self.engine, ENGINES)
        if self.engine == "local":
            if self.address or gpus is not None:
                name = "--address" if self.address else "--gpus-per-worker"
                raise UsageError(f"{name} belongs to --engine ray.")
            return
        if gpus is not None and not (0 <= gpus <= 1 or (gpus > 1 and gpus == int(gpus))):
            raise UsageError(f"--gpus-per-worker {gpus:g}: a share of one GPU such as 0.5, or a whole number.")
        if re.fullmatch(r"cuda:\d+", self.device):
            raise UsageError(f"--device {self.device}: with --engine ray the cluster chooses the GPU. Write cuda.")
