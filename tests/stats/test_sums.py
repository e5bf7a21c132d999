"""Weighted sums that do not depend on order, and what aggregates make of them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import ShapeError
from sapiens_bench.stats.bootstrap import intervals, point_scores
from sapiens_bench.stats.sums import Aggregate, means_of_defined, tree_sum, weighted_means, weighted_sums

FINITE = st.floats(-1e200, 1e200, allow_subnormal=True)


@settings(deadline=None, max_examples=80)
@given(values=st.lists(FINITE, min_size=1, max_size=40), data=st.data())
def test_sums_are_the_exact_sums_rounded(values: list[float], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 255), min_size=len(values), max_size=len(values)))
    found = weighted_sums(np.array([weights], np.uint8), np.array(values)[:, None])[0, 0]
    exact = sum((Fraction(v) * w for v, w in zip(values, weights, strict=True)), Fraction(0))
    assert abs(Fraction(float(found)) - exact) <= abs(exact) * Fraction(1, 2**52)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_sums_do_not_depend_on_the_order_of_rows_or_on_neighbouring_columns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.gamma(1, 1, (300, 3)) ** 8, rng.integers(0, 5, (7, 300)).astype(np.uint8)
    order = rng.permutation(300)
    whole = weighted_sums(weights, values)
    np.testing.assert_array_equal(weighted_sums(weights[:, order], values[order]), whole)
    np.testing.assert_array_equal(weighted_sums(weights, values[:, 1:2]), whole[:, 1:2])
    np.testing.assert_array_equal(weighted_sums(weights[2:3], values), whole[2:3])


def test_an_outlier_that_is_not_drawn_leaves_no_trace() -> None:
    # 1e20 + 1e-20 would swallow the small value; where the large one has weight 0 the small one must come out whole
    values = np.array([[1e20], [1e-20]])
    assert weighted_sums(np.array([[0, 4]], np.uint8), values)[0, 0] == 4e-20


def test_small_integer_weights_do_not_overflow() -> None:
    values = np.full((10, 1), 2**31)
    assert weighted_sums(np.full((1, 10), 200, np.uint8), values)[0, 0] == 2000 * 2**31


def test_weights_are_cut_into_chunks_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(50, 2)), rng.integers(0, 4, (9, 50))
    whole = weighted_sums(weights, values)
    monkeypatch.setattr("sapiens_bench.stats.sums._CHUNK_VALUES", 100)
    np.testing.assert_array_equal(weighted_sums(weights, values), whole)


def test_a_value_that_is_not_finite_counts_where_it_is_drawn() -> None:
    values = np.array([[1.0, math.inf], [math.nan, 2.0]])
    found = weighted_sums(np.array([[1, 0], [0, 1], [1, 1]], np.uint8), values)
    np.testing.assert_array_equal(found, [[1.0, math.inf], [math.nan, 2.0], [math.nan, math.inf]])


def test_nothing_gives_zeros() -> None:
    assert weighted_sums(np.zeros((2, 0), np.uint8), np.zeros((0, 3))).tolist() == [[0.0] * 3] * 2
    assert weighted_sums(np.ones((2, 4), np.uint8), np.zeros((4, 0))).shape == (2, 0)


def test_means_are_over_rows_that_have_the_value() -> None:
    # second column: only rows 0 and 2 are defined. Draw 1 has weights 2, 5, 1: (2 * 4 + 1 * 1) / 3
    values = np.array([[1.0, 4.0], [2.0, math.nan], [3.0, 1.0]])
    found = weighted_means(np.array([[1, 1, 1], [2, 5, 1], [0, 1, 0]], np.uint8), values)
    np.testing.assert_array_equal(found[0], [2.0, 2.5])
    np.testing.assert_array_equal(found[1], [15 / 8, 3.0])
    assert found[2, 0] == 2.0
    assert math.isnan(found[2, 1])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_means_of_defined_values_equal_numpys_row_by_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((12, 29)) < 0.1, math.nan, rng.random((12, 29)))
    values[3], weights = math.nan, rng.random(29)
    for b, (plain, weighted) in enumerate(
        zip(means_of_defined(values), means_of_defined(values, weights), strict=True)
    ):
        row = values[b]
        is_defined = np.isfinite(row)
        if b == 3:
            assert math.isnan(plain)
            assert math.isnan(weighted)
        else:
            assert plain == row[is_defined].mean()
            assert weighted == (row * weights)[is_defined].sum() / weights[is_defined].sum()


def test_a_sum_of_stretches_equals_numpys_sum_of_everything() -> None:
    values = np.random.default_rng(0).random(400_000) ** 5
    for n in (0, 1, 9, 16_384, 16_385, 32_771, 100_003, 399_999):
        assert tree_sum(n, lambda start, stop: values[start:stop].sum()) == values[:n].sum()


def test_an_aggregate_computes_only_the_keys_asked_for() -> None:
    asked: list[tuple[str, ...]] = []

    def batch(weights: np.ndarray, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
        asked.append(keys)
        return {key: weights.sum(axis=1) * 1.0 for key in keys}

    scores = Aggregate(("a", "b"), 3, batch)
    assert scores() == {"a": 3.0, "b": 3.0}
    assert list(intervals(scores, np.ones((5, 3), np.uint8), keys=["b"], n_groups=3)) == ["b"]
    assert point_scores(scores, 3, ["b"]) == {"b": 3.0}
    assert asked == [("a", "b"), ("b",), ("b",), ("b",)]
    with pytest.raises(ShapeError, match=r"expected \[draws, 3\]"):
        scores.batch(np.ones((1, 2), np.uint8))
