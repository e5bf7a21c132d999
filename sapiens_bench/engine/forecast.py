"""What a plan will take: time, memory, disk and money, on this machine or on N GPUs, before anything is run.

Seconds per image come, first found first, from

1. runs that lie beside the plan's folder and were made on the same kind of device (the same data set if there is one),
2. profiles below ./results/profiles: the device's time per crop, or the host's work per image over its cores, whichever
   is more (both overlap in a run),
3. two operations per parameter and 16 x 16 patch, at the speed of a few cores or of a current GPU.

On a CPU, profiles are of cores that were free. How much of its cores a run gets beside other processes is tried for a
moment: the load would count those that give way to it as well (nice). Runs are taken as they are: they were made in the
same company.

An earlier run's throughput behind its first shard says too little where few images came behind it: they were read
while the first shard waited for its first calls. So no cell is taken to be faster than its pictures were read; and a
model that came second there, when the pictures were in memory, reads them here if it comes first.

N GPUs work as ``--shard i/N`` does: whole shards, every N-th, each process with every model in its turn.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

from sapiens_bench.engine.device import cpu_facts, default_batch_size
from sapiens_bench.engine.footprint import host_bytes, picture_pixels
from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.specs import CellSpec
from sapiens_bench.engine.threads import division
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.profiling.record import ProfileRecord, ProfileRow, read_profile
from sapiens_bench.store.record import CellRecord, RunRecord, read_run
from sapiens_bench.tasks import task_kind

T = TypeVar("T")
PROFILES = Path("results") / "profiles"
MOST_RUNS = 40  # that are read, newest first
START_S, GPU_START_S = 2.2, 6.0  # of a process beside its models: imports, plan, tables; and CUDA's own start
RAY_S = 6.0  # a cluster of our own, and workers that import as well
CELL_S, GPU_CELL_S, READ_BYTES_S = 0.3, 3.0, 1e9  # of a model beside its images: built, first calls, scores; its file
TRIED_S = 0.1  # processor time of each core, to see how much of it there is


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
    paces: dict[tuple[str, str], Pace] = {}
    seconds = known.start_s if plan.cells else 0.0
    for spec in plan.cells:
        reads = all(dataset != spec.cell.dataset for dataset, _ in paces)
        paces[spec.cell.dataset, spec.cell.model] = known.pace(spec, reads=reads)
        image_s = paces[spec.cell.dataset, spec.cell.model].image_s
        images = largest_part(spec.cell.n_samples, spec.cell.shard_size, max(1, gpus))
        seconds += known.cell_s(spec) + images * image_s
    hours = seconds / 3600
    memory = [pace.device_bytes for pace in paces.values() if pace.device_bytes]
    return Forecast(
        seconds=seconds,
        host_bytes=host_bytes(plan.cells, {d.spec.id: picture_pixels(d.open.adapter) for d in plan.data}),
        device_bytes=max(memory) if memory else None,
        disk_bytes=plan.disk_bytes,
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
    on_ray: bool

    @classmethod
    def beside(cls, plan: Plan, on_gpu: bool) -> Known:
        """What lies beside the plan's folder and below ./results/profiles, of the device's kind."""
        cores = division(plan.how.threads, plan.how.loaders).cores
        here = cpu_facts().get("model name", "")
        runs = [r for r in _runs(plan.out.parent) if _is_gpu(r) == on_gpu and (on_gpu or r.hardware.cpu == here)]
        profiles = [p for p in _profiles(PROFILES) if str(p.hardware.get("device", "")).startswith("cuda") == on_gpu]
        on_ray = plan.how.engine == "ray"
        batch = plan.how.batch_size or default_batch_size("cuda" if on_gpu else "cpu")
        return cls(tuple(runs), tuple(profiles), batch, cores, 1.0 if on_gpu else crowding(cores), on_gpu, on_ray)

    @property
    def start_s(self) -> float:
        """Seconds of a process before its first model."""
        return (START_S + RAY_S * self.on_ray) * self.crowd + (GPU_START_S if self.on_gpu else 0.0)

    def cell_s(self, spec: CellSpec) -> float:
        """Seconds of a cell beside its images."""
        read = (spec.record.weights_bytes or 0) / READ_BYTES_S
        return CELL_S * self.crowd + read + (GPU_CELL_S if self.on_gpu else 0.0)

    def pace(self, spec: CellSpec, *, reads: bool) -> Pace:
        """Seconds per image of a cell.

        Args:
            reads: whether it is the first of its data set, so that the pictures are not in memory.
        """
        return self._of_runs(spec, reads) or self._of_profiles(spec) or self._rough(spec)

    def _of_runs(self, spec: CellSpec, reads: bool) -> Pace | None:
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
        paces = [seen(run, cell, reads=reads) for _, run, cell in same[:3]]  # newest first; the middle of three
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


def seen(run: RunRecord, cell: CellRecord, *, reads: bool) -> float:
    """Seconds per image of a cell of an earlier run; see the top of this file.

    Args:
        reads: whether its pictures will have to be read.
    """

    def read_s(other: CellRecord) -> float:
        return other.timing.prepare_s / other.timing.images

    pace, own = 1 / cell.timing.images_per_s, read_s(cell)
    here = [c for c in run.cells if c.dataset == cell.dataset and c.timing.images]
    most = max(map(read_s, here)) if reads else own
    cores, loaders = (int(run.request.get(name) or 1) for name in ("cores", "loaders"))
    return max(pace + (most - own) / cores, most / loaders)


def crowding(cores: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """How many times longer ``cores`` threads take than alone on this machine, by trying for a moment."""
    block = bytes(1 << 20)

    def work(_: int) -> float:
        began, mine = clock(), time.thread_time()
        while time.thread_time() - mine < TRIED_S:
            hashlib.sha256(block)  # lets go of the interpreter's lock
        return (clock() - began) / (time.thread_time() - mine)

    with ThreadPoolExecutor(cores) as pool:
        return max(1.0, sum(pool.map(work, range(cores))) / cores)


def largest_part(n_images: int, shard_size: int, parts: int) -> int:
    """Images of the process that has most: the first shard, and every ``parts``-th after it."""
    n_shards = math.ceil(n_images / shard_size)
    mine = range(0, n_shards, parts)
    has_last = bool(mine) and mine[-1] == n_shards - 1
    return len(mine) * shard_size - (n_shards * shard_size - n_images if has_last else 0)


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
