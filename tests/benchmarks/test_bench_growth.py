"""How time and memory grow with rows (1k to 100k) and models (1 to 20): the exponent, and the figures at the ends."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.checks.run_folder import check_run
from sapiens_bench.engine.cell import CellJob
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.run import run
from sapiens_bench.engine.threads import Threads
from sapiens_bench.report.tables import build
from sapiens_bench.store.folder import CellClaim, open_run
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord, read_run, write_run
from sapiens_bench.store.rows import commit_shard
from sapiens_bench.testing import toy

TOPIC = "Growth"
ROWS, MODELS = (1_000, 5_000, 25_000, 100_000), (1, 5, 20)
ROWS_A_MODEL = 5_000
FLAT = 0.3  # an exponent below this is called flat


class Grown(NamedTuple):
    """A run folder and the cards it was made with."""

    plan: Plan
    catalog: Catalog


def grown(out: Path, n: int, n_models: int = 1) -> Grown:
    """A run folder with rows of ``n`` images a model, as a run that is killed just before its scores leaves it."""
    catalog = toy.toy_catalog(n=n)
    entry = catalog.model("toy-plain")
    names = [f"m{i}" for i in range(n_models)]
    catalog = replace(catalog, models={
        name: replace(entry, variant=entry.variant.model_copy(update={"id": name, "options": {"bias": i / 100}}))
        for i, name in enumerate(names)
    })  # fmt: skip
    request = Request(task="toy", models=tuple(names), datasets=("toy",), device="cpu", n_boot=100, workers=2,
                      shard_size=512, max_errors=1.0, save_preds=False, out=out)  # fmt: skip
    plan = resolve(request, catalog)
    claims = [CellClaim(cell.cell.folder, cell.fields, cell.cell.shard_size) for cell in plan.cells]
    adapter, task = plan.data[0].open.adapter, plan.data[0].open.task
    values = [
        {"index": i, "key": adapter.keys[i], "group": adapter.groups[i], "status": "ok", "error_code": "",
         "error_detail": "", "error_side": "",
         **{f"grey/{k}": v for k, v in task.metrics[0].measure(i % 7 / 7, i % 5 / 5).items()}} for i in range(n)
    ]  # fmt: skip
    with open_run(plan.out, plan.identity, claims):
        for cell in plan.cells:
            job = CellJob(cell.cell, out, 8, Threads(1, 1, 1, 1), "cpu", save_preds=False)
            for shard in job.missing_shards(adapter, task)[0]:
                meta = {"fingerprint": cell.cell.fingerprint, "item_key": job.item_key(shard, adapter.keys)}
                commit_shard(job.folder, shard.number, [values[i] for i in shard.indices], meta)
    return Grown(plan, catalog)


WORK: dict[str, Callable[[Grown], object]] = {
    "resume": lambda g: run(g.plan),  # first: the rows are there, the scores are not
    "open a complete run": lambda g: run(g.plan),
    "verify": lambda g: check_run(g.plan.out, read_run(g.plan.out), g.catalog),
    "report": lambda g: build(read_run(g.plan.out), g.catalog),
}


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_bytes(function: Callable[[], object]) -> float:
    """The most that Python, numpy and Arrow held at once beyond what was there before."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        function()
        return float(tracemalloc.get_traced_memory()[1] + pool.max_memory())
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def exponent(sizes: Sequence[int], figures: Sequence[float]) -> float:
    """Between the two largest sizes, where constant costs matter least."""
    return math.log(figures[-1] / figures[-2]) / math.log(sizes[-1] / sizes[-2])


def note(page: Any, what: str, sizes: Sequence[int], seconds: Sequence[float], unit: str) -> None:
    beside = ", ".join(f"{n:,} {unit}: {s:.3g} s" for n, s in zip(sizes, seconds, strict=True))
    page.add(TOPIC, f"{what}: exponent", exponent(sizes, seconds), "", at_most=1.05, beside=beside)


def note_memory(page: Any, what: str, sizes: Sequence[int], peaks: Sequence[float], unit: str) -> None:
    found = exponent(sizes, peaks)
    word = "flat" if found < FLAT else f"at most linear, {peaks[-1] / sizes[-1]:,.0f} bytes each at the largest"
    beside = ", ".join(f"{n:,} {unit}: {b / 2**20:.3g} MB" for n, b in zip(sizes, peaks, strict=True))
    page.add(TOPIC, f"{what}: exponent of memory", found, "", at_most=1.05, beside=f"{word}; {beside}")


def measure(page: Any, unit: str, sizes: Sequence[int], make: Callable[[str, int], Grown]) -> None:
    """Time on one set of folders, memory on another, for a run can be resumed once."""
    page.call(lambda: None)
    for told, measured in ((note, timed), (note_memory, peak_bytes)):
        folders = [make(measured.__name__, n) for n in sizes]
        for what, work in WORK.items():
            tries = 1 if what == "resume" else 3
            found = [min(measured(lambda f=f, w=work: w(f)) for _ in range(tries)) for f in folders]  # type: ignore[misc]
            told(page, f"{what}, with {unit}", sizes, found, unit)


def test_growth_with_rows(page: Any, tmp_path: Path) -> None:
    with toy.installed():
        run(grown(tmp_path / "warm", 100).plan)  # libraries are loaded
        measure(page, "rows", ROWS, lambda kind, n: grown(tmp_path / kind / str(n), n))


def test_growth_with_models_of_5000_rows(page: Any, tmp_path: Path) -> None:
    with toy.installed():
        run(grown(tmp_path / "warm", 100).plan)
        measure(page, "models", MODELS, lambda kind, n: grown(tmp_path / kind / str(n), ROWS_A_MODEL, n))


@pytest.mark.parametrize("n_scores", [80])
def test_growth_of_a_table_with_models(page: Any, tmp_path: Path, n_scores: int) -> None:
    """The table of a run whose cells have as many scores as a whole-body run."""
    seconds, peaks = [], []
    with toy.installed():
        catalog = toy.toy_catalog()
        scores = {f"grey/{i}": ScoreRecord(value=0.5, low=0.4, high=0.6, title=f"s{i}") for i in range(n_scores)}
        for n in MODELS:
            cells = [
                CellRecord(task="toy", dataset="toy", protocol="plain", model=f"m{i}", title=f"M{i}", status="done",
                           scores=scores, headline="grey/0") for i in range(n)
            ]  # fmt: skip
            folder = tmp_path / str(n)
            write_run(folder, RunRecord(status="done", task="toy", cells=cells))

            def table(folder: Path = folder) -> None:
                build(read_run(folder), catalog)

            table()
            seconds.append(min(timed(table) for _ in range(3)))
            peaks.append(peak_bytes(table))
        page.call(table)
    note(page, "report, with models of 80 scores each", MODELS, seconds, "models")
    note_memory(page, "report, with models of 80 scores each", MODELS, peaks, "models")
