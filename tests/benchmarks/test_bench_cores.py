"""Whether the rate of dense tasks grows with the cores: a free network, one core by affinity against two."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

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
        start = time.perf_counter()
        run_cell(job, images, model, data.task, ignore, job.missing_shards(images, data.task)[0])
        times.append(time.perf_counter() - start)
print(*(n / seconds for seconds in times[1:]))
"""


def rates(cores: list[int], task: str) -> list[float]:
    """Images a second of wall clock, round by round."""
    words = [",".join(map(str, cores)), task, FLOORS[task], str(N_IMAGES), str(ROUNDS)]
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize("task", FLOORS)
def test_two_cores_pass_more_dense_images_than_one(page: Any, figures: Callable[..., Any], task: str) -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("one core is all there is")
    page.call(lambda: None)
    one, two = rates(cores[:1], task), rates(cores, task)
    found = figures([b / a for a, b in zip(one, two, strict=True)])._replace(value=max(two) / max(one))
    page.add("What the harness adds", f"{task}, 512 x 384, free network: two cores over one", found, "x", at_least=1.5,
             beside=f"{max(one):.0f} and {max(two):.0f} images a second of wall clock",
             if_missed=f"rounds on one core {min(one):.0f} to {max(one):.0f} /s, on two {min(two):.0f} to "
             f"{max(two):.0f}; what holds Python's lock is done by one core at a time")  # fmt: skip
