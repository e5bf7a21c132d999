"""1,000 bootstrap draws of 5,000 images, every score of a task, against the goals for time and memory (one thread).

``extra_info``: seconds (fastest round), the goal, and the peak of what was allocated during the draws.
"""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Callable
from pathlib import Path
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


@pytest.fixture(scope="module")
def dense_rows(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("dense_rows", repository / "tests" / "fakes" / "dense_rows.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def record_draws(benchmark: Any, metrics: list[Metric], rows: pa.Table, goal_s: float) -> None:
    """Time, then memory, of all that turns rows into intervals."""

    def everything() -> None:
        weights = draw_weights([str(i) for i in range(rows.num_rows)], N_DRAWS, 0)
        for metric in metrics:
            found = intervals(metric.aggregate(rows), weights, n_groups=rows.num_rows)
            assert all(i.low <= i.value <= i.high for i in found.values())

    benchmark.pedantic(everything, rounds=3, warmup_rounds=1)
    tracemalloc.start()
    everything()
    peak_mb = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert peak_mb < PEAK_MB
    fastest = benchmark.stats.stats.min
    benchmark.extra_info |= {"seconds": fastest, "goal_s": goal_s, "is_met": fastest <= goal_s, "peak_mb": peak_mb}


Make = Callable[[ModuleType], pa.Table]


@pytest.mark.parametrize(
    ("metrics", "make", "goal_s"),
    [
        ([SegMetric([str(c) for c in range(N_CLASSES)])], lambda d: d.seg_rows(N_IMAGES, N_CLASSES), 0.5),
        ([BoundaryMetric(N_CLASSES)], lambda d: d.seg_rows(N_IMAGES, N_CLASSES), 0.5),
        ([DepthMetric(), DepthEdgeMetric()], lambda d: d.depth_rows(N_IMAGES), 0.3),
        ([NormalMetric()], lambda d: d.normal_rows(N_IMAGES), 1.0),
    ],
    ids=["mIoU", "boundary mIoU", "depth", "normals"],
)
def test_draws_of_dense_scores(
    benchmark: Any, dense_rows: ModuleType, metrics: list[Metric], make: Make, goal_s: float
) -> None:
    record_draws(benchmark, metrics, make(dense_rows), goal_s)
