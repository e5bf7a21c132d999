"""Weights by group and percentile intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError, UsageError
from sapiens_bench.stats.bootstrap import count_groups, draw_weights, generator, intervals
from sapiens_bench.stats.ends import percentile_ends

GROUPS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=20)


def mean_of(values: NDArray[np.float64]) -> Callable[[NDArray[np.int64] | None], dict[str, float]]:
    """A mean over rows as an aggregate."""

    def score(weights: NDArray[np.int64] | None) -> dict[str, float]:
        w = np.ones(len(values), np.int64) if weights is None else weights
        return {"mean": float(w @ values / w.sum()) if w.sum() else math.nan}

    return score


@settings(deadline=None, max_examples=40)
@given(groups=GROUPS, seed=st.integers(0, 2**31))
def test_rows_of_a_group_share_their_weight_and_as_many_groups_are_drawn_as_there_are(
    groups: list[str], seed: int
) -> None:
    weights = draw_weights(groups, 20, seed)
    assert weights.shape == (20, len(groups))
    assert weights.dtype == np.uint8
    first = {g: groups.index(g) for g in groups}
    np.testing.assert_array_equal(weights, weights[:, [first[g] for g in groups]])
    np.testing.assert_array_equal(weights[:, list(first.values())].sum(axis=1), len(first))


@settings(deadline=None, max_examples=40)
@given(groups=GROUPS, seed=st.integers(0, 2**31), data=st.data())
def test_the_order_of_the_rows_does_not_matter(groups: list[str], seed: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(groups))))
    shuffled = draw_weights([groups[i] for i in order], 10, seed)
    np.testing.assert_array_equal(shuffled, draw_weights(groups, 10, seed)[:, list(order)])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    names = [f"s{i}" for i in range(30)]
    np.testing.assert_array_equal(draw_weights(names, 5, 1), draw_weights(names, 5, 1))
    assert not np.array_equal(draw_weights(names, 5, 1), draw_weights(names, 5, 2))


def test_weights_do_not_depend_on_how_many_groups_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{i // 2}" for i in range(30)]
    whole = draw_weights(names, 50, 3)
    monkeypatch.setattr("sapiens_bench.stats.bootstrap._CHUNK_DRAWS", 45)  # three draws of 15 groups
    np.testing.assert_array_equal(draw_weights(names, 50, 3), whole)


def test_the_stream_is_fixed_across_machines() -> None:
    # SHA-256 of the purpose and seed keys Philox, whose 64-bit words are defined by its paper
    words = generator("bootstrap", 0).bit_generator.random_raw(2).tolist()
    assert words == [343286262803656113, 7331069937481845716]


def test_no_rows_and_negative_draws() -> None:
    assert draw_weights([], 3, 0).shape == (3, 0)
    with pytest.raises(UsageError, match="must not be negative"):
        draw_weights(["a"], -1, 0)


def test_coverage_of_a_known_mean_is_about_the_level() -> None:
    # normal rows, 60 groups: 400 experiments, the share of intervals that hold the true mean; sd of the share is 0.011
    rng = np.random.default_rng(0)
    weights = draw_weights([str(i) for i in range(60)], 400, 0)
    hits = 0
    for _ in range(400):
        interval = intervals(mean_of(rng.normal(3.0, 2.0, 60)), weights)["mean"]
        hits += interval.low <= 3.0 <= interval.high
    assert 0.90 <= hits / 400 <= 0.98


def test_frames_of_one_subject_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=20), 30)  # 20 subjects, 30 equal frames each
    by_subject = intervals(mean_of(values), draw_weights([str(i // 30) for i in range(600)], 500, 0))["mean"]
    by_frame = intervals(mean_of(values), draw_weights([str(i) for i in range(600)], 500, 0))["mean"]
    assert by_subject.high - by_subject.low > 4 * (by_frame.high - by_frame.low)
    assert (by_subject.n_groups, by_frame.n_groups) == (20, 600)


def test_one_group_has_no_interval() -> None:
    interval = intervals(mean_of(np.arange(4.0)), draw_weights(["a"] * 4, 50, 0))["mean"]
    assert (interval.value, interval.n_groups) == (1.5, 1)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_draws_in_which_the_score_is_undefined_are_left_out_up_to_half() -> None:
    assert percentile_ends(np.array([1.0, 1.0, math.nan]), 0.9) == (1.0, 1.0)
    assert all(math.isnan(v) for v in percentile_ends(np.array([1.0, math.nan, math.nan]), 0.9))
    assert all(math.isnan(v) for v in percentile_ends(np.array([]), 0.9))
    with pytest.raises(UsageError, match="between 0 and 1"):
        percentile_ends(np.ones(3), 95)


def test_an_undefined_score_has_no_interval() -> None:
    interval = intervals(lambda w: {"x": math.nan if w is None else 1.0}, draw_weights(["a", "b"], 10, 0))["x"]
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)


class Batched:
    """An aggregate that can do many weightings at once; counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
        assert weights is None, "draws must go through batch"
        return {"n": 2.0, "other": 1.0}

    def batch(self, weights_BN: NDArray[np.int64], keys: list[str] | None = None) -> dict[str, NDArray[np.float64]]:
        self.asked.append(tuple(keys or ()))
        return {"n": weights_BN[:, 0].astype(np.float64)}


def test_a_batch_is_used_where_there_is_one_and_only_the_keys_asked_for() -> None:
    score = Batched()
    weights = draw_weights(["a", "b"], 200, 0)
    found = intervals(score, weights, keys=["n"])
    assert list(found) == ["n"]
    assert score.asked == [("n",)] * 3  # the score itself, without each group, and the draws
    assert found["n"].low < found["n"].value < found["n"].high


def test_groups_are_counted_from_the_weights() -> None:
    assert count_groups(draw_weights(["a", "b", "a", "c"], 100, 0)) == 3
    assert count_groups(np.zeros((5, 0), np.int64)) == 0


def test_weights_must_have_two_axes() -> None:
    with pytest.raises(ShapeError, match=r"expected \[draws, rows\]"):
        intervals(mean_of(np.ones(3)), np.ones(3, np.int64))
