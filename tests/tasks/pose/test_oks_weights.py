"""Image weights mean copies of the image; batches mean single calls."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import ShapeError
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring

PLAIN = PoseScoring(nms_oks=None, score="instance")  # scores of one decimal: ties within and between images
SEEDS = st.integers(0, 2**32 - 1)
HANDS = {"left_hand": range(0, 4), "right_hand": range(4, 9)}


def rows_of(poses: ModuleType, seed: int, n_images: int = 12) -> tuple[OksMetric, pa.Table]:
    metric = OksMetric([0.06] * 9, HANDS, PLAIN)
    return metric, metric.measure_table(*poses.suite(seed, n_images, 9))


def assert_same(a: dict[str, float], b: dict[str, float]) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert value == b[key] or (math.isnan(value) and math.isnan(b[key])), f"{key}: {value} and {b[key]}"


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS)
def test_a_weight_equals_physical_copies_of_the_row(poses: ModuleType, seed: int) -> None:
    metric, rows = rows_of(poses, seed)
    weights = np.random.default_rng(seed).integers(0, 5, rows.num_rows)
    copied = rows.take(pa.array(np.repeat(np.arange(rows.num_rows), weights)))
    assert_same(metric.aggregate(rows)(weights), metric.aggregate(copied)(None))


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_a_batch_equals_single_calls(poses: ModuleType, seed: int) -> None:
    metric, rows = rows_of(poses, seed)
    scores = metric.aggregate(rows)
    weights = np.random.default_rng(seed).integers(0, 4, (5, rows.num_rows))
    batch = scores.batch(weights)
    assert list(batch) == list(metric.scores)
    for draw in range(5):
        assert_same({k: float(v[draw]) for k, v in batch.items()}, scores(weights[draw]))
    some = scores.batch(weights, ["hand/APM", "AR"])
    assert list(some) == ["hand/APM", "AR"]
    np.testing.assert_array_equal(some["hand/APM"], batch["hand/APM"])


def test_weights_of_one_and_none_are_the_same(poses: ModuleType) -> None:
    metric, rows = rows_of(poses, 3, 40)
    scores = metric.aggregate(rows)
    assert_same(scores(None), scores(np.ones(40, np.int64)))


def test_all_weights_zero_is_undefined(poses: ModuleType) -> None:
    metric, rows = rows_of(poses, 3)
    assert all(math.isnan(v) for v in metric.aggregate(rows)(np.zeros(12, np.int64)).values())


def test_weights_of_the_wrong_length_are_refused(poses: ModuleType) -> None:
    metric, rows = rows_of(poses, 3)
    with pytest.raises(ShapeError, match=r"expected \[draws, 12\]"):
        metric.aggregate(rows)(np.ones(11, np.int64))


def test_large_sets_are_cut_into_chunks_without_a_change(poses: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    metric, rows = rows_of(poses, 8, 60)
    weights = np.random.default_rng(1).integers(0, 4, (7, 60))
    whole = metric.aggregate(rows).batch(weights)
    monkeypatch.setattr("sapiens_bench.tasks.pose.precision_arrays._CHUNK_VALUES", 1)
    monkeypatch.setattr("sapiens_bench.tasks.pose.matching_arrays._CHUNK_VALUES", 1)
    small = OksMetric([0.06] * 9, HANDS, PLAIN)
    again = small.measure_table(*poses.suite(8, 60, 9))
    assert again.equals(rows)
    for key, values in small.aggregate(again).batch(weights).items():
        np.testing.assert_array_equal(values, whole[key])


def test_facts_exist_for_every_score(poses: ModuleType) -> None:
    metric, rows = rows_of(poses, 3)
    assert set(metric.aggregate(rows)(None)) == set(metric.scores)
    assert [k for k in metric.scores if k.endswith("/AP")] == [
        "left_hand/AP",
        "right_hand/AP",
        "hand/AP",
        "both_hands/AP",
    ]
    assert len({info.title for info in metric.scores.values()}) == len(metric.scores)
    assert all(info.higher_is_better and (info.minimum, info.maximum) == (0, 1) for info in metric.scores.values())
