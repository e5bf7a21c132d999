"""How time and memory grow with rows (1k to 100k) and models (1 to 20): the exponent, and the figures at the ends."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sapiens_bench.checks.run_folder import check_run
from sapiens_bench.engine.cell import CellJob
from sapiens_bench.engine.plan import Plan
from sapiens_bench.engine.run import run
from sapiens_bench.engine.threads import Threads
from sapiens_bench.report.tables import build
from sapiens_bench.store.folder import CellClaim, open_run
from sapiens_bench.store.record import CellRecord, RunRecord, ScoreRecord, read_run, write_run
from sapiens_bench.store.rows import commit_shard
from sapiens_bench.testing import toy

TOPIC = "Growth"
SIZES = (1_000, 5_000, 25_000, 100_000)


def filled(out: Path, n: int) -> tuple[Plan, dict[str, int]]:
    """A run folder with rows of ``n`` images, as a run that is killed just before its scores leaves it."""
    data = {"n": n}
    plan = toy.plan(out, data, shard_size=512, n_boot=100, save_preds=False)
    cell = plan.cells[0]
    with open_run(plan.out, plan.identity, [CellClaim(cell.cell.folder, cell.fields, cell.cell.shard_size)]):
        adapter, task = plan.data[0].open.adapter, plan.data[0].open.task
        job = CellJob(cell.cell, out, 8, Threads(1, 1, 1, 1), "cpu", save_preds=False)
        for shard in job.missing_shards(adapter, task)[0]:
            rows = [
                {"index": i, "key": adapter.keys[i], "group": adapter.groups[i], "status": "ok", "error_code": "",
                 "error_detail": "", "error_side": "", **{f"grey/{k}": v for k, v in
                 task.metrics[0].measure(i % 7 / 7, i % 5 / 5).items()}}
                for i in shard.indices
            ]  # fmt: skip
            key = job.item_key(shard, adapter.keys)
            commit_shard(job.folder, shard.number, rows, {"fingerprint": cell.cell.fingerprint, "item_key": key})
    return plan, data


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Between the two largest sizes, where constant costs matter least."""
    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def note(page: Any, what: str, sizes: tuple[int, ...], seconds: list[float], unit: str) -> None:
    beside = ", ".join(f"{n:,} {unit}: {s:.3g} s" for n, s in zip(sizes, seconds, strict=True))
    page.add(TOPIC, f"{what}: exponent", exponent(sizes, seconds), "", at_most=1.05, beside=beside)


def test_growth_with_rows(page: Any, tmp_path: Path) -> None:
    with toy.installed():
        folders = {n: filled(tmp_path / str(n), n) for n in SIZES}
        page.call(lambda: toy.toy_catalog())
        seconds: dict[str, list[float]] = {"resume": [], "open a complete run": [], "verify": [], "report": []}
        for plan, data in folders.values():
            catalog = toy.toy_catalog(**data)
            seconds["resume"].append(timed(lambda p=plan: run(p)))  # type: ignore[misc]
            seconds["open a complete run"].append(timed(lambda p=plan: run(p)))  # type: ignore[misc]
            seconds["verify"].append(timed(lambda p=plan, c=catalog: check_run(p.out, read_run(p.out), c)))  # type: ignore[misc]
            seconds["report"].append(min(timed(lambda p=plan, c=catalog: build(read_run(p.out), c)) for _ in range(3)))  # type: ignore[misc]
        for what, times in seconds.items():
            note(page, f"{what}, with rows", SIZES, times, "rows")
        plan, data = folders[SIZES[-1]]
        tracemalloc.start()
        check_run(plan.out, read_run(plan.out), toy.toy_catalog(**data))
        peak = tracemalloc.get_traced_memory()[1] / SIZES[-1]
        tracemalloc.stop()
        page.add(TOPIC, "verify: memory beside Arrow's, linear in rows", peak, "bytes a row")


@pytest.mark.parametrize("n_scores", [80])
def test_growth_with_models(page: Any, tmp_path: Path, n_scores: int) -> None:
    """The table of a run whose cells have as many scores as a whole-body run."""
    sizes, seconds = (1, 5, 20), []
    with toy.installed():
        catalog = toy.toy_catalog()
        scores = {f"grey/{i}": ScoreRecord(value=0.5, low=0.4, high=0.6, title=f"s{i}") for i in range(n_scores)}
        for n in sizes:
            cells = [
                CellRecord(task="toy", dataset="toy", protocol="plain", model=f"m{i}", title=f"M{i}", status="done",
                           scores=scores, headline="grey/0") for i in range(n)
            ]  # fmt: skip
            folder = tmp_path / str(n)
            write_run(folder, RunRecord(status="done", task="toy", cells=cells))
            build(read_run(folder), catalog)
            seconds.append(min(timed(lambda f=folder: build(read_run(f), catalog)) for _ in range(3)))  # type: ignore[misc]
        page.call(lambda: build(read_run(folder), catalog))
    note(page, "report, with models of 80 scores each", sizes, seconds, "models")
