"""Intervals from draws: what each remedy does, by hand, by textbook, and in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sapiens_bench.stats.ends import (
    FEW_GROUPS,
    bca_ends,
    bootstrap_p,
    ends,
    expanded_level,
    p_value,
    percentile_ends,
    studentised_ends,
)


@pytest.mark.parametrize("n", [5, 12, 30, 1000])
def test_the_expanded_tail_reaches_as_far_as_the_t_interval_of_a_mean(n: int) -> None:
    """Percentiles of a mean reach z sqrt((n - 1) / n) standard errors; t of them are wanted."""
    z = -stats.norm.ppf((1 - expanded_level(0.95, n)) / 2)
    assert z * math.sqrt((n - 1) / n) == pytest.approx(stats.t.ppf(0.975, n - 1), rel=1e-6)


def test_few_groups_get_the_t_interval_of_a_mean_and_many_get_percentiles() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(0.3, 1, 12)
    left_out = (data.sum() - data) / 11
    draws = rng.choice(data, (500, 12)).mean(axis=1)
    expected = stats.t.interval(0.95, 11, loc=data.mean(), scale=stats.sem(data))
    assert ends(draws, data.mean(), 0.95, left_out) == pytest.approx(expected)
    assert p_value(draws, data.mean(), left_out) == pytest.approx(stats.ttest_1samp(data, 0).pvalue)
    assert ends(draws, data.mean(), 0.95, None) == percentile_ends(draws, 0.95)
    assert p_value(draws, data.mean(), None) == bootstrap_p(draws)


def test_no_scatter_is_certain_and_an_undefined_one_is_undefined() -> None:
    same = np.ones(5)
    assert ends(same, 1.0, 0.95, same) == (1.0, 1.0)
    assert p_value(same, 1.0, same) == 2 / 6  # as sure as five draws can be
    assert p_value(0 * same, 0.0, 0 * same) == 1
    broken = np.array([1.0, math.nan, 2.0])
    assert math.isnan(p_value(same, 1.0, broken))
    assert all(map(math.isnan, ends(same * math.nan, 1.0, 0.95, same)))


def test_bca_without_bias_and_skew_is_the_percentile_interval() -> None:
    draws = np.linspace(-1, 1, 2001)
    left_out = np.array([-1.0, 0.0, 1.0])
    assert bca_ends(draws, 0.0, left_out, 0.9) == pytest.approx(percentile_ends(draws, 0.9), abs=1e-9)


def test_bca_agrees_with_scipy_on_skewed_data() -> None:
    rng = np.random.default_rng(0)
    data = rng.exponential(size=40)
    draws = rng.choice(data, (20_000, 40)).mean(axis=1)
    left_out = (data.sum() - data) / 39
    theirs = stats.bootstrap((data,), np.mean, n_resamples=20_000, method="BCa", rng=rng).confidence_interval
    assert bca_ends(draws, float(data.mean()), left_out, 0.95) == pytest.approx(tuple(theirs), rel=0.02)


def test_the_studentised_interval_of_a_mean_reaches_to_where_the_skew_is() -> None:
    rng = np.random.default_rng(0)
    data = rng.exponential(size=20)
    picked = rng.choice(data, (5000, 20))
    errors = picked.std(axis=1, ddof=1) / math.sqrt(20)
    low, high = studentised_ends(picked.mean(axis=1), errors, data.mean(), data.std(ddof=1) / math.sqrt(20), 0.95)
    plain = percentile_ends(picked.mean(axis=1), 0.95)
    assert high > plain[1]
    assert high - data.mean() > data.mean() - low


def test_draws_that_are_mostly_undefined_give_no_interval() -> None:
    draws = np.array([1.0, math.nan, math.nan, math.nan])
    assert all(map(math.isnan, bca_ends(draws, 1.0, np.ones(3), 0.95)))
    assert all(map(math.isnan, studentised_ends(draws, np.ones(4), 1.0, 1.0, 0.95)))
    assert all(map(math.isnan, bca_ends(np.ones(4), 1.0, np.array([1.0]), 0.95)))


def test_equal_draws_give_a_point() -> None:
    assert bca_ends(np.ones(10), 1.0, np.ones(5), 0.95) == (1.0, 1.0)


def test_reports_speak_of_the_same_number_of_groups() -> None:
    from sapiens_bench.report import footnotes

    assert footnotes.FEW_GROUPS == FEW_GROUPS
