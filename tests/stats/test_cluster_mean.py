"""Means over groups: worked by hand, against a t test, and in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sapiens_bench.stats.cluster_mean import above_p, cluster_means


def test_groups_of_one_row_give_the_t_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, (20, 3))
    found = cluster_means(values, np.ones_like(values), [str(i) for i in range(20)])
    expected = stats.ttest_1samp(values, 0.1, alternative="greater")
    np.testing.assert_allclose(found.value, values.mean(axis=0))
    np.testing.assert_allclose(above_p(found, 0.1), expected.pvalue, rtol=1e-9)


def test_sums_over_counts_by_hand() -> None:
    # groups: a = (1 + 3) of 2, b = 8 of 2 -> mean 3; residuals -2 and 2; error sqrt(2 * 8 / 1) / 4 = 1
    found = cluster_means(np.array([[1.0], [3.0], [8.0]]), np.array([[1.0], [1.0], [2.0]]), ["a", "a", "b"])
    assert (found.value[0], found.error[0], found.groups[0]) == (3, 1, 2)


def test_no_scatter_is_certain_and_nothing_counted_is_undefined() -> None:
    ones = np.ones((4, 1))
    same = cluster_means(ones, ones, list("abcd"))
    assert above_p(same, 0.5).tolist() == [0.0]
    assert above_p(same, 1.0).tolist() == [1.0]
    nothing = cluster_means(0 * ones, 0 * ones, list("abcd"))
    assert np.isnan([nothing.value[0], nothing.error[0], above_p(nothing)[0]]).all()
    assert np.isnan(above_p(cluster_means(ones, ones, ["a"] * 4)))[0]


def test_groups_whose_rows_agree_give_no_false_certainty() -> None:
    """40 rows in 8 groups, no effect: rows taken one by one would cry wolf in a third of the cases."""
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=(8, 2000)), 5, axis=0)
    p = above_p(cluster_means(values, np.ones_like(values), [str(i // 5) for i in range(40)]))
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.015)
