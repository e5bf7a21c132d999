"""What is read of the rows for scores: all that they need, and nothing that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.engine.measure import measure_together
from sapiens_bench.engine.scores import Draws, score, scored_columns, tell
from sapiens_bench.store.record import CellRecord, Counts
from sapiens_bench.store.rows import commit_shard, read_rows
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import Task

SPACE = SpaceCard(
    schema="space/1", id="k", title="k", kind="keypoints", source="test", names=("a", "b", "c"), sigmas=(0.1,) * 3
)


def pose_rows(task: Task, n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    boxes = np.array([[0.0, 0.0, 60.0, 60.0]])
    points = rng.uniform(5, 50, (n, 1, 3, 2))
    areas = [np.array([a]) for a in (2500.0, 12000.0)] * n  # of both size classes, so that no score is undefined
    targets = [PoseTarget(p, np.ones((1, 3)), a, np.zeros(1, bool), boxes, np.ones(1)) for p, a in zip(points, areas)]
    shifted = (points + rng.normal(0, 3, points.shape)).astype(np.float32)
    found = [PosePrediction(p, np.ones((1, 3), np.float32), rng.random(1).astype(np.float32), boxes.astype(np.float32))
             for p in shifted]  # fmt: skip
    values = measure_together(task, targets, found)
    assert not isinstance(values, Exception)
    ok = {"status": "ok", "error_code": "", "error_detail": "", "error_side": "", "attr/people": 1.0}
    rows = [{"index": i, "key": f"s{i}", "group": f"g{i // 2}", **ok, **v} for i, v in enumerate(values)]
    bad = {"status": "error", "error_code": "image.missing", "error_detail": "gone", "error_side": "input"}
    return [*rows, {"index": n, "key": f"s{n}", "group": "g", **bad}]


def test_scores_intervals_and_causes_are_the_same_from_the_columns_that_they_need(tmp_path: Path) -> None:
    task = task_for(EvalProtocol(task="pose", title="p", default=True), SPACE)
    rows = pose_rows(task, 20)
    commit_shard(tmp_path, 0, rows[:9], {"fingerprint": "f", "item_key": "k"})
    commit_shard(tmp_path, 1, rows[9:], {"fingerprint": "f", "item_key": "k"})
    whole, few = read_rows(tmp_path), read_rows(tmp_path, scored_columns(task.metrics))
    left_out = {"key", "error_code", "error_detail", "attr/people", *(n for n in whole.column_names if "/joint_" in n)}
    assert len(left_out) == 10
    assert set(few.column_names) == set(whole.column_names) - left_out
    drawn = [score(table.slice(0, 20), task, Draws(50, 0)) for table in (whole, few)]
    assert drawn[0] == drawn[1]
    assert drawn[0][task.headline].low < drawn[0][task.headline].value
    cells = [
        CellRecord(
            dataset="d", protocol="p", task="pose", model="m", title="m", status="done", counts=Counts(planned=21)
        )
        for _ in "ab"
    ]
    for cell, table in zip(cells, (whole, read_rows(tmp_path, scored_columns(task.metrics, tells=True))), strict=True):
        tell(cell, table, task)
    assert cells[0] == cells[1]
    assert [error.detail for error in cells[0].errors] == ["gone"]
