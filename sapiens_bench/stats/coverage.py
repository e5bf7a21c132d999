"""How often does a 95 % interval hold the truth? Samples of a known population of real rows, resampled as ours are.

A population is the rows of a run, in groups; its score with every group equally frequent is the truth. A sample is G
groups drawn from it, and is treated as a data set: bootstrap over its groups, intervals by several methods.

Axes: P groups of the population, N rows, B draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.bootstrap import BatchScores, generator
from sapiens_bench.stats.ends import Ends, bca_ends, expanded_level, percentile_ends, studentised_ends, t_ends

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]
METHODS = ("percentile", "t", "expanded", "BCa", "studentised")
_MANY = 1000  # copies of every group that stand for infinitely many


@dataclass(frozen=True, slots=True)
class Population:
    """One score over rows in groups."""

    title: str
    score: BatchScores
    key: str
    group_N: Counts  # group of each row, 0 to P - 1
    # sum and count of each row, where the score is their quotient: lets the studentised interval know its error
    ratio: tuple[Doubles, Doubles] | None = None

    @property
    def n_groups(self) -> int:
        return int(self.group_N.max()) + 1

    @property
    def truth(self) -> float:
        return float(self.of(np.full((1, self.n_groups), _MANY))[0])

    def of(self, counts_BP: Counts) -> Doubles:
        """The score when each group is there so often, [B]."""
        weights = counts_BP[:, self.group_N].astype(np.min_scalar_type(int(counts_BP.max(initial=0))))
        return self.score.batch(weights, [self.key])[self.key]

    def errors(self, counts_BP: Counts) -> Doubles:
        """Linearised standard errors of a quotient, [B]."""
        assert self.ratio is not None
        s_P, c_P = (np.bincount(self.group_N, values, self.n_groups) for values in self.ratio)
        counts = counts_BP.astype(np.float64)
        sums, below, squares, mixed, others = (counts @ np.stack([s_P, c_P, s_P**2, s_P * c_P, c_P**2], axis=1)).T
        ratio, n = sums / below, counts.sum(axis=1)
        squared = np.maximum(squares - 2 * ratio * mixed + ratio**2 * others, 0.0)
        return np.asarray(np.sqrt(n / np.maximum(n - 1, 1) * squared) / below)


@dataclass(slots=True)
class Tally:
    """Outcomes of one method."""

    n: int = 0
    covered: int = 0
    too_low: int = 0  # the whole interval lies below the truth
    undefined: int = 0
    widths: list[float] = field(default_factory=list)

    def add(self, ends: Ends, truth: float) -> None:
        self.n += 1
        low, high = ends
        if not (np.isfinite(low) and np.isfinite(high)):
            self.undefined += 1
            return
        self.covered += low <= truth <= high
        self.too_low += high < truth
        self.widths.append(high - low)

    @property
    def share(self) -> float:
        """Share of defined intervals that hold the truth."""
        return self.covered / max(1, self.n - self.undefined)


def simulate(
    population: Population, n_groups: int, n_samples: int, n_draws: int, seed: int, level: float = 0.95
) -> dict[str, Tally]:
    """Tally of each method over ``n_samples`` data sets of ``n_groups`` groups."""
    truth = population.truth
    tallies = {name: Tally() for name in METHODS if name != "studentised" or population.ratio is not None}
    for counts_P in samples(population, n_groups, n_samples, seed):
        stream = generator(f"coverage/{n_groups}", int(counts_P @ np.arange(1, len(counts_P) + 1)) + seed)
        drawn_BP = stream.multinomial(n_groups, counts_P / n_groups, size=n_draws)
        draws, value = population.of(drawn_BP), float(population.of(counts_P[None])[0])
        left_out = _left_out(population, counts_P)
        ends = {
            "percentile": percentile_ends(draws, level),
            "t": t_ends(left_out, value, level),
            "expanded": percentile_ends(draws, expanded_level(level, n_groups)),
            "BCa": bca_ends(draws, value, left_out, level),
        }
        if population.ratio is not None:
            errors = population.errors(drawn_BP)
            own = float(population.errors(counts_P[None])[0])
            ends["studentised"] = studentised_ends(draws, errors, value, own, level)
        for name, pair in ends.items():
            tallies[name].add(pair, truth)
    return tallies


def samples(population: Population, n_groups: int, n_samples: int, seed: int) -> Iterator[Counts]:
    """How often each group of the population is in each data set."""
    stream = generator(f"coverage/{population.title}", seed)
    p = population.n_groups
    for _ in range(n_samples):
        yield stream.multinomial(n_groups, np.full(p, 1 / p))


def _left_out(population: Population, counts_P: Counts) -> Doubles:
    """The score without one group of each kind, repeated as often as the kind is there."""
    present = np.flatnonzero(counts_P)
    without = counts_P[None] - np.eye(len(counts_P), dtype=np.int64)[present]
    return np.repeat(population.of(without), counts_P[present])


def unequal_groups(order_N: Counts, seed: int, largest: int = 5) -> Counts:
    """Group of each row: neighbours in ``order_N`` (sort by difficulty) together, 1 to ``largest`` rows each."""
    stream = generator("coverage/groups", seed)
    group_N = np.zeros(len(order_N), np.int64)
    start = group = 0
    while start < len(order_N):
        size = int(stream.integers(1, largest + 1))
        group_N[order_N[start : start + size]] = group
        start, group = start + size, group + 1
    return group_N
