"""The loop for results made elsewhere gives the rows that the loop for networks gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine import measure, results
from sapiens_bench.engine.build import build_model
from sapiens_bench.engine.cell import CellJob
from sapiens_bench.engine.line import run_cell
from sapiens_bench.engine.plan import Plan, resolve
from sapiens_bench.engine.request import Request
from sapiens_bench.engine.threads import division


def are_equal(a: pa.Table, b: pa.Table) -> bool:
    """Schema, footer and every value; what is undefined in both is equal."""
    return bool(a.schema.equals(b.schema, check_metadata=True)) and repr(a.to_pydict()) == repr(b.to_pydict())


@pytest.fixture
def plan(random_poses: ModuleType, tmp_path: Path) -> Plan:
    """Random results, some of them malformed, and a label at fault."""
    rng = np.random.default_rng(3)
    truth = random_poses.truth(rng, 20)
    found = random_poses.results(rng, truth, boxes=True, ties=True)
    found[0]["keypoints"] = found[0]["keypoints"][:-1]
    found[1]["keypoints"][0] = float("nan")
    next(p for p in truth["annotations"] if p["num_keypoints"] and not p["iscrowd"])["area"] = 1e9
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "mine.json").write_text(json.dumps(found))
    request = Request(
        task="pose", models=(f"predictions:{tmp_path / 'mine.json'}",), datasets=(f"truth:{tmp_path / 'truth.json'}",),
        boxes="none", shard_size=8, out=tmp_path / "run",
    )  # fmt: skip
    return resolve(request, Catalog.load())


def rows(plan: Plan, out: Path, loop: Any) -> dict[str, Any]:
    spec, data = plan.cells[0], plan.data[0].open
    job = CellJob(spec.cell, out, 4, division(), "cpu", save_preds=True)
    adapter: Any = data.adapter
    model = build_model(spec.model, "cpu", task=data.task, adapter=adapter)
    missing, _ = job.missing_shards(adapter, data.task)
    loop(job, adapter.without_pictures(), model, data.task, lambda event: None, missing)
    return {str(path.relative_to(out)): pq.read_table(path) for path in sorted(out.rglob("*.parquet"))}


def test_rows_and_kept_predictions_are_the_same(plan: Plan, tmp_path: Path) -> None:
    ours, theirs = rows(plan, tmp_path / "a", results.run_results), rows(plan, tmp_path / "b", run_cell)
    assert list(ours) == list(theirs)
    assert len(ours) == 6
    for name, table in ours.items():
        assert are_equal(table, theirs[name]), name
    codes = {
        code
        for table in ours.values()
        if "error_code" in table.column_names
        for code in table["error_code"].to_pylist()
    }
    assert codes >= {"pred.shape", "pred.nonfinite", "label.area", ""}


def test_an_image_that_breaks_a_metric_costs_itself_alone(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = rows(plan, tmp_path / "a", results.run_results)
    calls: list[int] = []

    def broken(*args: Any) -> Exception:
        calls.append(1)
        return ValueError("not together")

    monkeypatch.setattr(measure, "measure_together", broken)
    with pytest.warns(RuntimeWarning, match="together, ValueError: not together"):
        alone = rows(plan, tmp_path / "b", results.run_results)
    assert calls
    assert all(are_equal(table, alone[name]) for name, table in together.items())


def test_a_shard_is_measured_in_one_go(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = measure.measure_together

    def counted(task: Any, targets: Any, predictions: Any) -> Any:
        found = original(task, targets, predictions)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(measure, "measure_together", counted)
    rows(plan, tmp_path / "a", results.run_results)
    assert sum(sizes) == 19  # one label is at fault
    assert len(sizes) == 3


def test_neither_a_network_library_nor_a_picture_is_opened(plan: Plan, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['sapiens-bench', *sys.argv[1:]]\n"
        "from sapiens_bench.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('code', end.code)\n"
        "print('loaded', 'torch' in sys.modules, 'PIL.Image' in sys.modules)\n"
    )
    command = ["score", "--truth", "truth.json", "mine.json", "--out", "other", "--max-errors", "1", "--n-boot", "0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert "code 0" in done.stdout or "code None" in done.stdout, done.stderr
    assert "loaded False" in done.stdout
