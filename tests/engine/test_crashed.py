"""Which shards become misses, and that the others stay missing; ``test_ray_engine`` has both on a cluster."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sapiens_bench.engine.crashed import write_off
from sapiens_bench.engine.jobs import Setting, Todo, job_of
from sapiens_bench.engine.ray_pool import _cause
from sapiens_bench.engine.threads import division
from sapiens_bench.store.fingerprint import check_claim, write_claim
from sapiens_bench.store.rows import read_shard

KILLED = ["host: it was killed or crashed"] * 3


@pytest.mark.parametrize("n_machines", [1, 2, 3])
def test_a_shard_is_no_miss_where_machines_went_away(tmp_path: Path, n_machines: int) -> None:
    gone, crash = "The actor died because its node has died. Node Id: 7", "Worker exit detail: connection error code 2"
    whys = [f"host: {_cause(RuntimeError(text))}" for text in [*[gone] * n_machines, *[crash] * (3 - n_machines)]]
    cell = SimpleNamespace(n_samples=10, shard_size=4, model="net", dataset="set")
    todo: Any = SimpleNamespace(spec=SimpleNamespace(title="Net", cell=cell))
    how: Any = None  # nothing is computed
    text, has_rows = write_off(todo, 2, whys, how, tmp_path)
    assert not has_rows
    assert text.startswith("2 images of Net on set ended 3 workers, with a machine that went away among the causes")
    assert text.endswith("The same command tries them again.")
    assert not list(tmp_path.iterdir())


def only_todo(toy: ModuleType, out: Path, **data: Any) -> tuple[Todo, Any]:
    plan = toy.plan(out, {"n": 8, **data}, shard_size=4)
    (spec,) = plan.cells
    opened = plan.opened(spec)
    job = job_of(spec, out, Setting.of(plan.how, "cpu", division(1)), opened.open.adapter)
    write_claim(check_claim(out / "rows" / spec.cell.folder, spec.fields, spec.cell.shard_size))
    return Todo(spec, opened, job, job.missing_shards(opened.open.adapter, opened.open.task)[0]), plan.how


def test_a_shard_that_ends_the_process_that_notes_its_misses_stays_missing(toy: ModuleType, tmp_path: Path) -> None:
    """Its truth cannot be read: nobody can say what was missed."""
    todo, how = only_todo(toy, tmp_path, kill_at=[5])
    text, has_rows = write_off(todo, 1, KILLED, how, tmp_path)
    assert not has_rows
    assert "ended 3 workers, and one more that was to note it: they are missing" in text
    assert "smaller --batch-size" in text
    assert read_shard(tmp_path / "rows" / todo.spec.cell.folder, 1) is None
    assert [path for path in tmp_path.rglob("*") if path.name.startswith((".tmp-", "shard-", "failed"))] == []


def test_a_shard_whose_truth_can_be_read_has_a_miss_for_each_image(toy: ModuleType, tmp_path: Path) -> None:
    todo, how = only_todo(toy, tmp_path, input_faults=[6])
    text, has_rows = write_off(todo, 1, KILLED, how, tmp_path)
    assert has_rows
    assert "count as misses (worker.crash)" in text
    shard = read_shard(tmp_path / "rows" / todo.spec.cell.folder, 1)
    assert shard is not None
    assert shard[0]["error_code"].to_pylist() == ["worker.crash", "worker.crash", "image.truncated", "worker.crash"]
    assert shard[0]["error_side"].to_pylist() == ["prediction", "prediction", "input", "prediction"]
