"""How often does a family of comparisons cry wolf? Two models that differ in no score, on samples of real rows.

That nothing differs is made so: the population holds every group twice, the second time with the two models' rows
exchanged. Axes: P groups, N rows, B draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.stats.bootstrap import BatchScores, generator
from sapiens_bench.stats.ends import bootstrap_p, t_p
from sapiens_bench.stats.paired import holm

if TYPE_CHECKING:
    import pyarrow as pa

FAMILIES = ("percentile", "t")  # p of which intervals


@dataclass(frozen=True, slots=True)
class PairPopulation:
    """Rows of two models on the same pictures, and the scores that are asked about together."""

    title: str
    aggregate: Callable[[Any], BatchScores]
    rows: tuple[pa.Table, pa.Table]
    keys: Sequence[str]
    group_N: NDArray[np.int64]


def alarms(
    pair: PairPopulation, n_groups: int, n_samples: int, n_draws: int, seed: int, level: float = 0.95
) -> dict[str, float]:
    """Method -> share of samples in which any score of the family is called different after Holm."""
    import pyarrow as pa

    a, b = pair.rows
    kept = [name for name in a.column_names if name in b.column_names]
    scores = [pair.aggregate(pa.concat_tables([x.select(kept), y.select(kept)])) for x, y in ((a, b), (b, a))]
    p = int(pair.group_N.max()) + 1
    group_2N = np.concatenate([pair.group_N, pair.group_N + p])
    stream = generator(f"alarms/{pair.title}/{n_groups}", seed)
    found = dict.fromkeys(FAMILIES, 0)
    for _ in range(n_samples):
        counts = stream.multinomial(n_groups, np.full(2 * p, 0.5 / p))
        present = np.flatnonzero(counts)
        without = counts[None] - np.eye(2 * p, dtype=np.int64)[present]
        drawn = stream.multinomial(n_groups, counts / n_groups, size=n_draws)
        drawn = np.concatenate([counts[None], without, drawn])
        weights = drawn[:, group_2N].astype(np.min_scalar_type(int(drawn.max())))
        first, second = (score.batch(weights, pair.keys) for score in scores)
        change = {key: second[key] - first[key] for key in pair.keys}
        k = 1 + len(present)
        plain = {key: bootstrap_p(draws[k:]) for key, draws in change.items()}
        left_out = {key: np.repeat(draws[1:k], counts[present]) for key, draws in change.items()}
        student = {key: t_p(left_out[key], float(change[key][0])) for key in pair.keys}
        for name, values in (("percentile", plain), ("t", student)):
            found[name] += min(holm(values).values()) <= 1 - level
    return {name: count / n_samples for name, count in found.items()}
