"""Small versions of results/coverage: the truth of a mean is known without any population."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from sapiens_bench.stats.coverage import Population, simulate, unequal_groups
from sapiens_bench.stats.false_alarms import PairPopulation, alarms
from sapiens_bench.stats.multiple import adjusted, benjamini_hochberg
from sapiens_bench.stats.sums import DrawCounts


class Mean:
    """Mean of a column over rows."""

    def __init__(self, values_N: NDArray[np.float64]) -> None:
        self.values = values_N

    def batch(self, weights_BN: DrawCounts, keys: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        weights = weights_BN.astype(np.float64)
        return {key: weights @ self.values / weights.sum(axis=1) for key in keys or ("mean",)}


def skewed(n: int = 90) -> Population:
    values = np.sort(np.random.default_rng(0).exponential(size=n))
    return Population("skewed", Mean(values), "mean", unequal_groups(np.arange(n), 0), (values, np.ones(n)))


def test_groups_are_unequal_and_hold_neighbours() -> None:
    group_N = unequal_groups(np.argsort([3, 1, 2, 0, 5, 4, 9, 7]), seed=0)
    sizes = np.bincount(group_N)
    assert sizes.sum() == 8
    assert sizes.min() >= 1
    assert sizes.max() <= 5
    assert len(set(sizes.tolist())) > 1


def test_the_linearised_error_is_that_of_many_samples() -> None:
    population = skewed()
    rng = np.random.default_rng(0)
    p = population.n_groups
    counts = rng.multinomial(200, np.full(p, 1 / p), size=2000)
    assert population.of(counts).std() == pytest.approx(population.errors(counts).mean(), rel=0.05)


def test_twelve_groups_are_too_few_for_percentiles_and_the_remedies_help() -> None:
    found = simulate(skewed(), n_groups=12, n_samples=400, n_draws=200, seed=0)
    shares = {name: tally.share for name, tally in found.items()}
    assert shares["percentile"] < 0.92
    assert shares["percentile"] < shares["expanded"]
    assert shares["percentile"] < shares["t"]
    assert shares["studentised"] > shares["percentile"]
    assert found["expanded"].undefined == 0
    assert np.mean(found["expanded"].widths) > np.mean(found["percentile"].widths)


def test_two_hundred_groups_are_enough_for_all() -> None:
    found = simulate(skewed(), n_groups=200, n_samples=300, n_draws=200, seed=0)
    assert all(0.91 <= tally.share <= 0.985 for tally in found.values())


def test_a_family_without_differences_is_seldom_called_different() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=60)
    rows = [pa.table({"x": base + rng.normal(0, 0.3, 60)}) for _ in range(2)]
    pair = PairPopulation(
        "noise", lambda table: Mean(table["x"].to_numpy()), (rows[0], rows[1]), ("one", "two"),
        unequal_groups(np.arange(60), 0),
    )  # fmt: skip
    found = alarms(pair, n_groups=12, n_samples=300, n_draws=200, seed=0)
    assert found["t"] <= 0.06
    assert found["t"] < found["percentile"]


def test_the_false_discovery_rate_by_hand() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5, "e": float("nan")}
    found = benjamini_hochberg(p)
    assert found["a"] == pytest.approx(0.04)
    assert found["b"] == pytest.approx(0.04 * 4 / 3)
    assert found["c"] == pytest.approx(0.04 * 4 / 3)  # never above that of a larger p
    assert found["d"] == pytest.approx(0.5)
    assert np.isnan(found["e"])
    assert adjusted(p, "bh") == pytest.approx(found, nan_ok=True)
    assert adjusted(p, "holm")["a"] == pytest.approx(0.04)
