"""The whole path on rendered people, down to committed digits: any change that moves a score shows here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import sapiens_bench

MODELS = {
    "pose": "noisy-oracle",
    "seg": "noisy-oracle-seg",
    "depth": "noisy-oracle-depth",
    "normal": "noisy-oracle-normal",
}


@pytest.mark.slow
@pytest.mark.parametrize("task", MODELS)
def test_the_noisy_oracle_scores_what_it_always_scored(task: str, repository: Path, tmp_path: Path) -> None:
    """Refresh after an intended change: delete the task's entry, run once, read the difference, commit it."""
    path = repository / "results" / "golden" / "synthetic_tiny.json"
    golden = json.loads(path.read_text()) if path.exists() else {}
    run = sapiens_bench.evaluate(
        task=task, models=(MODELS[task],), datasets=("synthetic-humans",), split="tiny", out=tmp_path, n_boot=200
    )
    (cell,) = run.cells
    found = {
        name: [score.value, score.low, score.high]
        for name, score in cell.scores.items()
        if score.headline or name == cell.headline
    }
    if task not in golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(golden | {task: found}, indent=1, sort_keys=True) + "\n")
        pytest.fail(f"{path} had no scores for {task!r}; they are written now: look at them and commit.")
    assert set(found) == set(golden[task])
    for name, wanted in golden[task].items():
        for ours, theirs in zip(found[name], wanted, strict=True):
            assert math.isclose(ours, theirs, abs_tol=1e-6) or (math.isnan(ours) and math.isnan(theirs)), name
