"""What a plan will take: time, memory, disk and money, on this machine or on N GPUs, before anything is run.

Seconds per image come, first found first, from

1. runs that lie beside the plan's folder and were made on the same kind of device (the same data set if there is one),
2. profiles below ./results/profiles: the device's time per crop, or the host's work per image over its cores, whichever
   is more (both overlap in a run),
3. two operations per parameter and 16 x 16 patch, at the speed of a few cores or of a current GPU.

On a CPU, profiles are of cores that were free. A run among other processes gets no more than its fair share of the
cores: with ``c`` threads beside ``l`` others ready to run, everything takes (c + l) / cores times as long.
Runs are taken as they are: they were made in the same company.

N GPUs work as ``--shard i/N`` does: whole shards, every N-th, each process with every model in its turn.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from sapiens_bench.engine.device import cpu_facts, default_batch_size
from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.samples import budget_bytes
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.threads import division
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.profiling.record import ProfileRecord, ProfileRow, read_profile
from sapiens_bench.store.record import CellRecord, RunRecord, read_run
from sapiens_bench.tasks import task_kind

T = TypeVar("T")
PROFILES = Path("results") / "profiles"
MOST_RUNS = 40  # that are read, newest first
BASE_BYTES = 640 << 20  # of a process that has loaded torch and its libraries
START_S, GPU_START_S = 1.3, 6.0  # of a process until its first model: imports and the plan, and CUDA's own start
CELL_S, GPU_CELL_S, READ_BYTES_S = 0.3, 3.0, 1e9  # of a model beside its images: built, first calls, scores; its file
# Of rows and predictions, measured on synthetic people: a shard's files, and an image in them (a class of it for seg).
FILE_BYTES = {"pose": 14_100, "seg": 4_500, "depth": 20_300, "normal": 4_000}
ROW_BYTES = {"pose": 700, "seg": 25, "depth": 320, "normal": 2_800}
OTHER_BYTES, CELL_BYTES = (10_000, 300), 2_500
# one picture of 768 x 1024
MAP_BYTES = {"seg": 8_000, "depth": 250_000, "normal": 900_000, "matting": 250_000, "albedo": 650_000}


class Pace(NamedTuple):
    """How fast one cell goes."""

    image_s: float
    source: str
    device_bytes: int | None = None  # on a GPU


@dataclass(frozen=True)
class Forecast:
    """What a plan will take."""

    seconds: float
    host_bytes: int  # of the largest process, at its peak
    device_bytes: int | None  # on each GPU; None: not known, or none
    disk_bytes: int
    gpus: int  # 0: this machine as it is asked for
    cost: float | None
    paces: dict[tuple[str, str], Pace]  # (data set, model) -> pace
    caveats: tuple[str, ...]


def forecast(plan: Plan, *, gpus: int = 0, price_per_hour: float | None = None) -> Forecast:
    """Predict; reads records, runs nothing and loads no model.

    Args:
        gpus: 0: the device that the plan asks for; N: so many CUDA devices, each with a process of its own.
        price_per_hour: of one GPU (of the machine, where ``gpus`` is 0).
    """
    on_gpu = gpus > 0 or plan.how.device.startswith("cuda")
    known = Known.beside(plan, on_gpu)
    paces = {(c.cell.dataset, c.cell.model): known.pace(c) for c in plan.cells}
    seconds = known.start_s if plan.cells else 0.0
    for spec in plan.cells:
        image_s = paces[spec.cell.dataset, spec.cell.model].image_s
        images = largest_part(spec.cell.n_samples, spec.cell.shard_size, max(1, gpus))
        seconds += known.cell_s(spec) + images * image_s
    hours = seconds / 3600
    memory = [pace.device_bytes for pace in paces.values() if pace.device_bytes]
    return Forecast(
        seconds=seconds,
        host_bytes=_host_bytes(plan),
        device_bytes=max(memory) if memory else None,
        disk_bytes=sum(_disk_bytes(spec, plan) for spec in plan.cells),
        gpus=gpus,
        cost=None if price_per_hour is None or not plan.cells else max(1, gpus) * hours * price_per_hour,
        paces=paces,
        caveats=_caveats(paces, on_gpu),
    )


@dataclass(frozen=True)
class Known:
    """Records that tell how fast things go on one kind of device."""

    runs: tuple[RunRecord, ...]  # newest first
    profiles: tuple[ProfileRecord, ...]
    batch: int
    cores: int
    crowd: float  # how many times longer a CPU takes among the other processes
    on_gpu: bool

    @classmethod
    def beside(cls, plan: Plan, on_gpu: bool) -> Known:
        """What lies beside the plan's folder and below ./results/profiles, of the device's kind."""
        cores = division(plan.how.threads, plan.how.loaders).cores
        here = cpu_facts().get("model name", "")
        runs = [r for r in _runs(plan.out.parent) if _is_gpu(r) == on_gpu and (on_gpu or r.hardware.cpu == here)]
        profiles = [p for p in _profiles(PROFILES) if str(p.hardware.get("device", "")).startswith("cuda") == on_gpu]
        batch = plan.how.batch_size or default_batch_size("cuda" if on_gpu else "cpu")
        return cls(tuple(runs), tuple(profiles), batch, cores, 1.0 if on_gpu else crowding(cores), on_gpu)

    @property
    def start_s(self) -> float:
        """Seconds of a process before its first model."""
        return START_S * self.crowd + (GPU_START_S if self.on_gpu else 0.0)

    def cell_s(self, spec: CellSpec) -> float:
        """Seconds of a cell beside its images."""
        read = (spec.record.weights_bytes or 0) / READ_BYTES_S
        return CELL_S * self.crowd + read + (GPU_CELL_S if self.on_gpu else 0.0)

    def pace(self, spec: CellSpec) -> Pace:
        """Seconds per image of a cell."""
        return self._of_runs(spec) or self._of_profiles(spec) or self._rough(spec)

    def _of_runs(self, spec: CellSpec) -> Pace | None:
        found: list[tuple[bool, RunRecord, CellRecord]] = [
            (cell.dataset == spec.cell.dataset, run, cell)
            for run in self.runs
            if run.request.get("precision") == spec.model.precision
            for cell in run.cells
            if (cell.model, cell.task) == (spec.cell.model, spec.cell.task) and cell.timing.images
        ]
        if not found:
            return None
        same = [each for each in found if each[0]] or found
        paces = [1 / cell.timing.images_per_s for _, _, cell in same[:3]]  # newest first; the middle of three
        return Pace(median(paces), f"{len(paces)} run(s) beside this one")

    def _of_profiles(self, spec: CellSpec) -> Pace | None:
        rows = [
            (record, row)
            for record in self.profiles
            for row in record.rows
            if row.latency and (row.model, row.precision) == (spec.cell.model, spec.model.precision)
        ]
        if not rows:
            return None
        record, row = max(rows, key=lambda each: (min(each[1].batch, self.batch), each[0].finished))
        assert row.latency is not None
        stages, crops = row.latency.stages, task_kind(spec.cell.task).crops_per_image
        host = crops * (stages.prepare.minimum + stages.finish.minimum)  # the least: a profile may have had company
        if not self.on_gpu:  # one thread of the profile is one core
            threads = int(record.request.get("threads") or self.cores)
            work = crops * row.latency.stages.forward.minimum / row.batch * threads + host
            return Pace(work / self.cores * self.crowd, f"a profile ({_machine(record)})")
        device = crops / row.latency.throughput_per_s
        return Pace(max(device, host / self.cores), f"a profile ({_machine(record)})", self._device_bytes(row))

    def _device_bytes(self, row: ProfileRow) -> int | None:
        if row.memory is None or row.memory.peak_allocated_bytes is None:
            return None
        weights = 0 if row.counts is None else row.counts.weight_bytes * (2 if row.precision == "fp32" else 1) // 2
        crops = (row.memory.peak_allocated_bytes - weights) / row.batch
        return round(weights + self.batch * max(0.0, crops))

    def _rough(self, spec: CellSpec) -> Pace:
        variant, size = spec.model.entry.variant, spec.model.input
        params = (variant.params_m or (spec.record.weights_bytes or 0) / 4e6) * 1e6
        patches = (size.height * size.width if size else 256 * 256) / 256
        work = 2 * params * patches * task_kind(spec.cell.task).crops_per_image
        return Pace((0.02 + work / (3e13 if self.on_gpu else 4e10)) * self.crowd, "its parameters, roughly")


def crowding(cores: int, load: float | None = None) -> float:
    """How many times longer ``cores`` threads take beside ``load`` others ready to run (None: those of now)."""
    if load is None:
        try:
            load = os.getloadavg()[0]
        except OSError:
            return 1.0
    return max(1.0, (cores + load) / (os.cpu_count() or cores))


def largest_part(n_images: int, shard_size: int, parts: int) -> int:
    """Images of the process that has most: the first shard, and every ``parts``-th after it."""
    n_shards = math.ceil(n_images / shard_size)
    mine = range(0, n_shards, parts)
    has_last = bool(mine) and mine[-1] == n_shards - 1
    return len(mine) * shard_size - (n_shards * shard_size - n_images if has_last else 0)


def _host_bytes(plan: Plan) -> int:
    """Base, the largest network with its activations, and the pictures that are held for the next model."""
    weights = max((spec.record.weights_bytes or 0 for spec in plan.cells), default=0)
    pictures = max((spec.cell.n_samples for spec in plan.cells), default=0) * (768 * 1024 * 3)
    several = len({spec.cell.model for spec in plan.cells}) > 1
    return (
        BASE_BYTES
        + 3 * weights
        + (min(budget_bytes(), pictures) if several else min(64, plan.n_images) * 768 * 1024 * 3)
    )


def _disk_bytes(spec: CellSpec, plan: Plan) -> int:
    n, files = spec.cell.n_samples, math.ceil(spec.cell.n_samples / spec.cell.shard_size)
    a_file, a_row = (known.get(spec.cell.task, other) for known, other in zip((FILE_BYTES, ROW_BYTES), OTHER_BYTES))
    classes = len(plan.opened(spec).open.task.names) if spec.cell.task == "seg" else 1
    kept = CELL_BYTES + n * a_row * classes + files * a_file
    return kept + (n * MAP_BYTES.get(spec.cell.task, 0) if plan.how.save_maps else 0)


def _caveats(paces: dict[tuple[str, str], Pace], on_gpu: bool) -> tuple[str, ...]:
    rough = [model for (_, model), pace in paces.items() if pace.source.startswith("its parameters")]
    found = ["Pictures that are still to be rendered or downloaded are not in it; rows on disk are not done again."]
    if rough:
        where = " --device cuda" if on_gpu else ""
        found.append(
            f"{len(rough)} model(s) were never measured ({', '.join(sorted(set(rough))[:3])}): expect a factor of "
            f"several. `sapiens-bench profile --models {sorted(set(rough))[0]}{where}` measures one."
        )
    return tuple(found)


def _runs(folder: Path) -> Iterator[RunRecord]:
    paths = sorted(folder.glob("*/run.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return _readable(read_run, [path.parent for path in paths[:MOST_RUNS]])


def _profiles(folder: Path) -> Iterator[ProfileRecord]:
    return _readable(read_profile, [path.parent for path in sorted(folder.glob("*/profile.json"))])


def _readable(read: Callable[[Path], T], folders: Sequence[Path]) -> Iterator[T]:
    for folder in folders:
        try:
            yield read(folder)
        except SapiensBenchError:  # somebody's damaged record is no reason not to predict
            continue


def _is_gpu(run: RunRecord) -> bool:
    return run.hardware.device.startswith("cuda")


def _machine(record: ProfileRecord) -> str:
    gpus = record.hardware.get("gpus") or []
    return str(gpus[0] if gpus else record.hardware.get("cpu", "?"))
