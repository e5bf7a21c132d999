"""1,000 bootstrap draws of 5,000 images, every score of a task, against the goals for time and memory (one thread)."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from sapiens_bench.stats.bootstrap import draw_weights, intervals
from sapiens_bench.tasks.depth.metrics import DepthEdgeMetric, DepthMetric
from sapiens_bench.tasks.normal.metrics import NormalMetric
from sapiens_bench.tasks.seg.metrics import BoundaryMetric, SegMetric
from sapiens_bench.types import Metric

N_IMAGES, N_DRAWS, N_CLASSES = 5_000, 1_000, 28
PEAK_MB = 300
TOPIC = "Bootstrap: 1,000 draws of 5,000 images"


@pytest.fixture(scope="module")
def dense_rows(fake: Callable[[str], ModuleType]) -> ModuleType:
    return fake("dense_rows")


def record_draws(page: Any, what: str, metrics: list[Metric], rows: pa.Table, goal_s: float, peak_mb: Any) -> None:
    """Time, then memory, of all that turns rows into intervals."""

    def everything() -> None:
        weights = draw_weights([str(i) for i in range(rows.num_rows)], N_DRAWS, 0)
        for metric in metrics:
            found = intervals(metric.aggregate(rows), weights, n_groups=rows.num_rows)
            assert all(i.low <= i.value <= i.high for i in found.values())

    page.seconds(TOPIC, what, everything, at_most=goal_s)
    page.add(TOPIC, f"{what}: most memory", peak_mb(everything), "MB", at_most=PEAK_MB)


Make = Callable[[ModuleType], pa.Table]


@pytest.mark.parametrize(
    ("metrics", "make", "goal_s", "name"),
    [
        ([SegMetric([str(c) for c in range(N_CLASSES)])], lambda d: d.seg_rows(N_IMAGES, N_CLASSES), 0.5, "mIoU"),
        ([BoundaryMetric(N_CLASSES)], lambda d: d.seg_rows(N_IMAGES, N_CLASSES), 0.5, "boundary mIoU"),
        ([DepthMetric(), DepthEdgeMetric()], lambda d: d.depth_rows(N_IMAGES), 0.3, "depth and its edges"),
        ([NormalMetric()], lambda d: d.normal_rows(N_IMAGES), 1.0, "normals"),
    ],
    ids=["mIoU", "boundary mIoU", "depth", "normals"],
)
def test_draws_of_dense_scores(
    page: Any,
    dense_rows: ModuleType,
    metrics: list[Metric],
    make: Make,
    goal_s: float,
    name: str,
    peak_mb: Callable[[Callable[[], object]], float],
) -> None:
    record_draws(page, f"{name}, all keys", metrics, make(dense_rows), goal_s, peak_mb)
