"""Metrics of nothing and of far too much: no people, empty masks, thousands of detections of one picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.stats.bootstrap import draw_weights, intervals
from sapiens_bench.tasks.depth.metrics import DepthEdgeMetric, DepthMetric
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.tasks.normal.metrics import NormalMetric
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.tasks.seg.metrics import BoundaryMetric, SegMetric
from sapiens_bench.tasks.seg.types import IGNORE, SegPrediction, SegTarget
from sapiens_bench.types import Metric

SIZE = (24, 32)


def target(n: int) -> PoseTarget:
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 300, (n, 2))
    return PoseTarget(
        keypoints_NK2_px=corner[:, None] + rng.uniform(0, 80, (n, 17, 2)),
        visible_NK=np.full((n, 17), 2.0),
        area_N=np.full(n, 3000.0),
        is_crowd_N=np.zeros(n, bool),
        boxes_xyxy_px_N4=np.concatenate([corner, corner + 80], axis=1),
        ids_N=np.arange(n),
    )


def prediction(of: PoseTarget, n: int) -> PosePrediction:
    rng = np.random.default_rng(n)
    source = rng.integers(0, max(1, len(of.area_N)), n)
    points = of.keypoints_NK2_px[source] if len(of.area_N) else rng.uniform(0, 300, (n, 17, 2))
    return PosePrediction(
        keypoints_NK2_px=(points + rng.normal(size=points.shape) * 4).astype(np.float32),
        keypoint_scores_NK=rng.random((n, 17)).astype(np.float32),
        instance_scores_N=np.round(rng.random(n), 2).astype(np.float32),
        boxes_xyxy_px_N4=rng.uniform(0, 300, (n, 4)).astype(np.float32),
    )


def test_thousands_of_detections_of_one_picture_change_nothing_for_the_others() -> None:
    metric = OksMetric([0.05] * 17, {}, PoseScoring())
    targets = [target(n) for n in (2, 40, 0, 3)]
    predictions = [prediction(t, n) for t, n in zip(targets, (2, 2500, 4, 0), strict=True)]
    together = metric.measure_many(targets, predictions)
    for row, t, p in zip(together, targets, predictions, strict=True):
        alone = metric.measure(t, p)
        assert row.keys() == alone.keys()
        for name, values in alone.items():
            np.testing.assert_array_equal(row[name], values)
    assert [len(np.asarray(row["scores"])) for row in together] == [2, 20, 4, 0]


def test_a_data_set_without_people_has_no_score_and_no_interval() -> None:
    metric = OksMetric([0.05] * 17, {"upper": range(5)}, PoseScoring())
    targets = [target(0)] * 3
    rows = metric.measure_table(targets, [prediction(targets[0], n) for n in (0, 2, 30)])
    found = intervals(metric.aggregate(rows), draw_weights(["a", "b", "c"], 50, 0), n_groups=3)
    assert all(math.isnan(i.value) and math.isnan(i.low) and math.isnan(i.high) for i in found.values())


Make = Callable[[np.ndarray[Any, Any]], tuple[Any, Any]]


def _normals() -> np.ndarray[Any, Any]:
    found = np.zeros((*SIZE, 3), np.float32)
    found[..., 2] = 1
    return found


def _depth(mask: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    ramp = np.linspace(1, 2, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    ramp[:, SIZE[1] // 2 :] += 1  # an edge
    return DepthTarget(np.where(mask, ramp, np.nan), mask), DepthPrediction(ramp * 2, "affine_invariant_depth")


def _normal(mask: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    return NormalTarget(np.where(mask[..., None], _normals(), np.nan), mask), NormalPrediction(_normals())


def _labels(mask: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    truth = np.where(mask, rng.integers(0, 3, SIZE), IGNORE).astype(np.uint8)
    return SegTarget(truth), SegPrediction(rng.integers(0, 3, SIZE).astype(np.uint8))


@pytest.mark.parametrize(
    ("metric", "make"),
    [
        (DepthMetric(), _depth),
        (DepthEdgeMetric(), _depth),
        (NormalMetric(), _normal),
        (SegMetric(["background", "arm", "leg"]), _labels),
        (BoundaryMetric(3), _labels),
    ],
    ids=["depth", "edges", "normals", "labels", "boundaries"],
)
def test_an_image_without_a_scored_pixel_adds_nothing(metric: Metric, make: Make) -> None:
    """Nor warns: warnings are errors here. A set of such images has no score; beside others it changes none."""
    empty, full = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    full[4:20, 6:30] = True
    nothing, something = (metric.measure(*make(mask)) for mask in (empty, full))

    def table(rows: list[dict[str, Any]]) -> pa.Table:
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        return pa.table({f"{metric.name}/{name}": pa.array(values) for name, values in columns.items()})

    weights = draw_weights(["a", "b"], 30, 0)
    none = metric.aggregate(table([nothing, nothing]))
    assert all(math.isnan(value) for value in none(None).values())
    assert all(math.isnan(i.low) for i in intervals(none, weights, n_groups=2).values())
    alone, beside = metric.aggregate(table([something]))(None), metric.aggregate(table([nothing, something]))(None)
    assert alone == pytest.approx(beside, nan_ok=True, abs=0)
    assert any(math.isfinite(value) for value in alone.values())


def test_one_core_gives_the_rows_of_many(tmp_path: Path) -> None:
    from sapiens_bench.testing import toy

    def rows(out: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted(out.glob("rows/**/*.parquet"))]

    with toy.installed():
        one = toy.go(tmp_path / "one", threads=1, workers=1)
        many = toy.go(tmp_path / "many", threads=4, workers=4)
    assert rows(tmp_path / "one") == rows(tmp_path / "many") != []
    assert one.cells[0].scores == many.cells[0].scores
    assert one.request["scorers"] == 1
