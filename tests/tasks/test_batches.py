"""Laws that every dense aggregate keeps to the last bit: weights are copies, batches are single calls."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.depth.metrics import DepthEdgeMetric, DepthMetric
from sapiens_bench.tasks.normal.metrics import NormalMetric
from sapiens_bench.tasks.seg.metrics import BoundaryMetric, SegMetric
from sapiens_bench.types import Metric

NAMES = [f"class {i}" for i in range(7)]
METRICS: dict[str, tuple[Metric, str]] = {
    "seg": (SegMetric(NAMES), "seg"),
    "some classes": (SegMetric(NAMES, [0, 2, 5]), "seg"),
    "boundary": (BoundaryMetric(7), "seg"),
    "depth": (DepthMetric(), "depth"),
    "depth by median": (DepthMetric("median"), "depth"),
    "edges": (DepthEdgeMetric(), "depth"),
    "normal": (NormalMetric(), "normal"),
}


def rows_of(dense_rows: ModuleType, kind: str, n: int, seed: int) -> pa.Table:
    make: dict[str, Callable[..., pa.Table]] = {
        "seg": lambda: dense_rows.seg_rows(n, len(NAMES), seed),
        "depth": lambda: dense_rows.depth_rows(n, seed),
        "normal": lambda: dense_rows.normal_rows(n, seed),
    }
    return make[kind]()


def same(a: dict[str, float], b: dict[str, float]) -> bool:
    return list(a) == list(b) and np.array_equal(list(a.values()), list(b.values()), equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_a_weight_equals_copies_of_the_row_and_order_does_not_matter(
    dense_rows: ModuleType, name: str, seed: int
) -> None:
    metric, kind = METRICS[name]
    rows, rng = rows_of(dense_rows, kind, 6, seed), np.random.default_rng(seed)
    weights = rng.integers(0, 4, 6).astype(np.uint8)
    copies = rows.take(pa.array(rng.permutation(np.repeat(np.arange(6), weights))))
    if copies.num_rows:
        assert same(metric.aggregate(rows)(weights), metric.aggregate(copies)(None))


@pytest.mark.parametrize("name", METRICS)
def test_a_batch_equals_single_calls_and_holds_the_keys_asked_for(dense_rows: ModuleType, name: str) -> None:
    metric, kind = METRICS[name]
    scores = metric.aggregate(rows_of(dense_rows, kind, 9, 1))
    weights = np.random.default_rng(1).integers(0, 4, (5, 9)).astype(np.uint8)
    weights[2] = 0
    batch = scores.batch(weights)
    assert list(batch) == list(metric.scores)
    for draw in range(5):
        assert same({k: float(v[draw]) for k, v in batch.items()}, scores(weights[draw].astype(np.int64)))
    assert all(np.isnan(values[2]) for values in batch.values())  # nothing was drawn: undefined, never zero
    for key in metric.scores:
        alone = scores.batch(weights, [key])
        assert list(alone) == [key]
        np.testing.assert_array_equal(alone[key], batch[key])


def test_shards_of_a_column_are_put_end_to_end_and_a_short_list_is_refused(dense_rows: ModuleType) -> None:
    metric, rows = BoundaryMetric(7), rows_of(dense_rows, "seg", 9, 1)
    assert same(metric.aggregate(pa.concat_tables([rows[:4], rows[4:]]))(None), metric.aggregate(rows)(None))
    with pytest.raises(ShapeError, match="expected 8 in each"):
        BoundaryMetric(8).aggregate(rows)
