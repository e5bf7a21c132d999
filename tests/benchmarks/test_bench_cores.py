"""Whether the rate of dense tasks grows with the cores: a free network, one core by affinity against two."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

N_IMAGES, ROUNDS = 192, 3
FLOORS = {"depth": "floor-median-depth", "normal": "floor-flat-normal", "seg": "floor-background"}
# In a process of its own, for threads are told from the cores when the libraries are loaded, as for a user.
CODE = """
import os, sys, tempfile, time
os.sched_setaffinity(0, set(map(int, sys.argv[1].split(","))))
from pathlib import Path
from sapiens_bench.engine import threads
threads.prepare_process()
found = threads.division()
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.cell import CellJob
from sapiens_bench.engine.events import ignore
from sapiens_bench.engine.line import run_cell
from sapiens_bench.engine.plan import resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.types import Cell, Sample

class Repeated:
    def __init__(self, adapter, n):
        self.adapter, self.manifest_sha256 = adapter, adapter.manifest_sha256
        self.keys = self.groups = [f"{i:05d}" for i in range(n)]
    def __len__(self):
        return len(self.keys)
    def __getitem__(self, index):
        found = self.adapter[index % len(self.adapter)]
        return Sample(index, self.keys[index], self.groups[index], found.input, found.target)

task, floor, n, rounds = sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
request = Request(task=task, models=(floor,), datasets=("synthetic-humans",), split="tiny", limit=3)
plan = resolve(request, Catalog.load())
data = plan.data[0].open
data.adapter.materialise(range(3), 1, lambda done, total: None)
images, model = Repeated(data.adapter, n), build_model(plan.cells[0].model, "cpu", task=data.task)
cell, times = Cell(task, "d", "p", "m", n, 64, "f"), []
with tempfile.TemporaryDirectory() as folder:
    for i in range(rounds + 1):
        job = CellJob(cell, Path(folder) / str(i), 8, found, "cpu", save_preds=False)
        start, cpu = time.perf_counter(), time.process_time()
        run_cell(job, images, model, data.task, ignore, job.missing_shards(images, data.task)[0])
        times.append((time.perf_counter() - start, time.process_time() - cpu))
for wall, cpu in times[1:]:
    print(n / wall, cpu / wall, cpu / n)
"""


class Rate(NamedTuple):
    """Images a second of wall clock, cores at work on average, and CPU seconds an image."""

    images: float
    cores: float
    cpu_s: float


def rates(cores: list[int], task: str) -> list[Rate]:
    """Round by round."""
    words = [",".join(map(str, cores)), task, FLOORS[task], str(N_IMAGES), str(ROUNDS)]
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [Rate(*map(float, line.split())) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize("task", FLOORS)
def test_two_cores_pass_more_dense_images_than_one(page: Any, figures: Callable[..., Any], task: str) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("one core is all there is")
    page.call(lambda: None)
    one, two = rates(cores[:1], task), rates(cores, task)
    best, better = max(one), max(two)
    found = figures([b.images / a.images for a, b in zip(one, two, strict=True)])
    why = (
        f"on two cores {better.cores:.2f} were at work on average (on one {best.cores:.2f}), and an image took "
        f"{better.cpu_s * 1000:.3g} CPU ms (on one {best.cpu_s * 1000:.3g})"
    )
    page.add(
        "What the harness adds",
        f"{task}, 512 x 384, free network: two cores over one",
        found._replace(value=better.images / best.images),
        "x",
        at_least=1.5,
        beside=f"{best.images:.0f} and {better.images:.0f} images a second of wall clock",
        if_missed=why,
    )
