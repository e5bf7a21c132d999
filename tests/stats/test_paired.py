"""Differences of two models on the same images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.stats.bootstrap import ScoreFn, draw_weights
from sapiens_bench.stats.ends import bootstrap_p
from sapiens_bench.stats.paired import holm, paired_differences, swap_p


def mean_of(values: NDArray[np.float64]) -> ScoreFn:
    def score(weights: NDArray[np.int64] | None) -> dict[str, float]:
        w = np.ones(len(values), np.int64) if weights is None else weights
        return {"mean": float(w @ values / w.sum()) if w.sum() else math.nan}

    return score


def joint_mean(a: list[float], b: list[float]) -> ScoreFn:
    return mean_of(np.stack([np.asarray(a, float), np.asarray(b, float)], axis=1).ravel())


def names(n: int) -> list[str]:
    return [f"image {i:03d}" for i in range(n)]


def test_what_is_hard_for_both_cancels() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 10, 200)
    a, b = shared + rng.normal(0, 0.1, 200), shared + 0.2 + rng.normal(0, 0.1, 200)
    found = paired_differences(mean_of(a), mean_of(b), draw_weights(names(200), 1000, 0))["mean"]
    assert found.difference == pytest.approx(np.mean(b - a))
    assert found.low < found.lower < found.difference < found.upper < found.high
    assert found.high - found.low < 0.1  # unpaired it would be about 4
    assert found.p_value == pytest.approx(2 / 1001)
    assert found.n_groups == 200


def test_swapping_the_models_turns_the_sign() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=50), rng.normal(size=50)
    weights = draw_weights(names(50), 500, 0)
    one = paired_differences(mean_of(a), mean_of(b), weights)["mean"]
    two = paired_differences(mean_of(b), mean_of(a), weights)["mean"]
    assert (one.low, one.high, one.p_value) == pytest.approx((-two.high, -two.low, two.p_value))


def test_a_model_does_not_differ_from_itself() -> None:
    values = np.random.default_rng(1).normal(size=50)
    found = paired_differences(mean_of(values), mean_of(values), draw_weights(names(50), 100, 0))["mean"]
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_coverage_of_a_known_difference_is_about_the_level() -> None:
    rng = np.random.default_rng(2)
    weights = draw_weights(names(60), 300, 0)
    hits = 0
    for _ in range(300):
        a = rng.normal(0, 3, 60)
        found = paired_differences(mean_of(a), mean_of(a + rng.normal(0.5, 1, 60)), weights)["mean"]
        hits += found.low <= 0.5 <= found.high
    assert 0.89 <= hits / 300 <= 0.98


def test_one_group_and_undefined_scores_have_no_test() -> None:
    one = paired_differences(mean_of(np.ones(3)), mean_of(np.zeros(3)), draw_weights(["a"] * 3, 50, 0))["mean"]
    assert one.difference == -1.0
    assert all(math.isnan(v) for v in (one.low, one.high, one.upper, one.lower, one.p_value))
    assert math.isnan(bootstrap_p(np.array([math.nan])))


def test_swapping_models_of_three_images_worked_by_hand() -> None:
    # differences 3, 2, 1; |total| of the 8 patterns of signs: 6, 4, 2, 0, 0, 2, 4, 6. Observed 6: 2 of 8.
    assert swap_p(joint_mean([0, 0, 0], [3, 2, 1]), names(3), ["mean"])["mean"] == 2 / 8
    # differences 3, 2, -1: observed 4, and 4 of the 8 patterns are at least that
    assert swap_p(joint_mean([0, 0, 1], [3, 2, 0]), names(3), ["mean"])["mean"] == 4 / 8
    # images of one group are swapped together: groups a (3 + 2) and b (1), so 6, 4, 4, 6
    assert swap_p(joint_mean([0, 0, 0], [3, 2, 1]), ["a", "a", "b"], ["mean"])["mean"] == 2 / 4


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.floats(-5, 5), min_size=1, max_size=20), data=st.data())
def test_swapping_models_does_not_depend_on_row_order_or_direction(values: list[float], data: st.DataObject) -> None:
    groups = [data.draw(st.sampled_from("abcdef")) for _ in values]
    order = data.draw(st.permutations(range(len(values))))
    zeros = [0.0] * len(values)
    p = swap_p(joint_mean(zeros, values), groups, ["mean"])["mean"]
    assert 0 < p <= 1
    moved = joint_mean(zeros, [values[i] for i in order])
    assert swap_p(moved, [groups[i] for i in order], ["mean"])["mean"] == p
    assert swap_p(joint_mean(values, zeros), groups, ["mean"])["mean"] == p


def test_swapping_models_gives_an_undefined_score_no_p() -> None:
    assert math.isnan(swap_p(lambda w: {"x": math.nan}, names(3), ["x"])["x"])


def test_holm_worked_by_hand() -> None:
    # sorted 0.01, 0.02, 0.04 times 3, 2, 1: 0.03, 0.04, 0.04 (never below the one before); NaN is no member
    adjusted = holm({"a": 0.04, "b": 0.01, "c": 0.02, "d": math.nan})
    assert [adjusted[k] for k in "abc"] == pytest.approx([0.04, 0.03, 0.04])
    assert math.isnan(adjusted["d"])
    assert holm({}) == {}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@settings(deadline=None, max_examples=30)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm({str(i): v for i, v in enumerate(p)})
    assert all(adjusted[str(i)] >= v for i, v in enumerate(p))
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[str(i)] for i in ranked] == sorted(adjusted.values())
