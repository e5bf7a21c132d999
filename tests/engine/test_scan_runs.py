"""Scan data sets through the engine: prepared on first use, scored by the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest

import sapiens_bench
from sapiens_bench.errors import DataMissing

STANDIN = {"thuman2": "thuman_layout_standin", "hi4d": "hi4d_layout_standin"}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", STANDIN)
@pytest.mark.parametrize("task", ["depth", "normal"])
def test_the_oracle_is_perfect_on_rendered_scans(dataset: str, task: str, shared: Path, tmp_path: Path) -> None:
    run = sapiens_bench.evaluate(
        task=task, datasets=(dataset,), models=(f"oracle-{task}",), data_root=shared / "data" / STANDIN[dataset],
        out=tmp_path, n_boot=0,
    )  # fmt: skip
    (cell,) = run.cells
    assert cell.counts.ok == cell.counts.planned > 0
    assert cell.scores[cell.headline].value == pytest.approx(0.0, abs=1e-6)


def test_a_default_without_its_files_falls_back_under_another_name(shared: Path, tmp_path: Path) -> None:
    root = shared / "data" / STANDIN["hi4d"]
    request = {"task": "depth", "datasets": ("hi4d",), "models": ("oracle-depth",), "data_root": root, "n_boot": 0}
    run = sapiens_bench.evaluate(**request, out=tmp_path / "a")
    assert [cell.protocol for cell in run.cells] == ["depth-any"]
    assert any("depth-any" in note and "there is pair00" in note for note in run.notes)
    with pytest.raises(DataMissing, match="pairs 28, 32, 37"):  # what is asked for by name is not replaced
        sapiens_bench.evaluate(**request, protocol="depth-all", out=tmp_path / "b")
