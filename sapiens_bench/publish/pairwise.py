"""Every model of a place against every other one: each model is drawn once, whatever the number of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.decide.agreement import require_agreement
from sapiens_bench.decide.pairs import left_out, score_info, task_of
from sapiens_bench.decide.sides import Member
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.bootstrap import ScoreFn, draw_scores, point_scores
from sapiens_bench.stats.paired import PairedDifference, holm, paired_differences
from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.types import ScoreInfo, Task


class Remembered:
    """An aggregate that is drawn once per score, however often it is compared."""

    def __init__(self, score_fn: ScoreFn, n_rows: int) -> None:
        self._score_fn, self._n_rows = score_fn, n_rows
        self._found: dict[tuple[str, int], NDArray[np.float64]] = {}

    def __call__(self, weights: NDArray[np.int64] | None = None) -> dict[str, float]:
        """See ``stats.bootstrap.ScoreFn``."""
        return self._score_fn(weights)

    def batch(self, weights_BN: DrawCounts, keys: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]:
        """See ``stats.bootstrap.BatchScores``; weights of as many draws are always the same ones here."""
        wanted = list(point_scores(self._score_fn, self._n_rows) if keys is None else keys)
        new = [key for key in wanted if (key, len(weights_BN)) not in self._found]
        if new:
            drawn = draw_scores(self._score_fn, weights_BN, new)
            self._found |= {(key, len(weights_BN)): drawn[key] for key in new}
        return {key: self._found[key, len(weights_BN)] for key in wanted}


@dataclass
class Contest:
    """Models that were scored on the same samples of one place, ready to be compared.

    Args:
        members: of one task, data set and protocol, none of them incomplete.
        excluded: sample keys that leave the score of every model.
    """

    members: Sequence[Member]
    excluded: set[str]
    weights: Draws
    task: Task = field(init=False)
    _aggregates: dict[tuple[int, str], Remembered] = field(init=False, default_factory=dict)
    _rows: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        first = self.members[0]
        for other in self.members[1:]:
            require_agreement(first, other, first.title, other.title)
        self.task = task_of(first)
        common = set.intersection(*(set(m.rows["key"].to_pylist()) for m in self.members)) - self.excluded
        self._rows = [_of_keys(member, common) for member in self.members]
        for other, rows in zip(self.members[1:], self._rows[1:]):
            for name in ("key", "group"):
                if rows[name] != self._rows[0][name]:
                    raise UsageError(
                        f"{first.title} and {other.title} on {first.dataset} list their samples in another order or in "
                        f"other groups (column {name}): they were made by different versions of the data set."
                    )

    @property
    def n_samples(self) -> int:
        """Samples that all have and that are scored."""
        return int(self._rows[0].num_rows)

    def info(self, key: str) -> ScoreInfo:
        """Facts of a score, "<metric>/<score>"."""
        return score_info(self.task, key)

    def difference(self, a: int, b: int, key: str) -> PairedDifference | None:
        """Score of member ``b`` minus that of ``a``; None where nothing is scored."""
        if not self.n_samples:
            return None
        name = key.partition("/")[2]
        groups = self._rows[0]["group"].to_pylist()
        scores = [self._aggregate(i, key) for i in (a, b)]
        weights, n = self.weights(groups), len(set(groups))
        return paired_differences(scores[0], scores[1], weights, keys=[name], n_groups=n, groups=groups)[name]

    def draw(self, wanted: Mapping[int, Iterable[str]]) -> None:
        """Draw the scores of members by number together, which takes less time than one after the other."""
        if not self.n_samples:
            return
        weights = self.weights(self._rows[0]["group"].to_pylist())
        for member, keys in wanted.items():
            by_metric: dict[str, dict[str, str]] = {}
            for key in keys:
                metric, _, name = key.partition("/")
                by_metric.setdefault(metric, {})[name] = key
            for names in by_metric.values():
                self._aggregate(member, next(iter(names.values()))).batch(weights, list(names))

    def _aggregate(self, member: int, key: str) -> Remembered:
        metric = next(m for m in self.task.metrics if m.name == key.partition("/")[0])
        if (member, metric.name) not in self._aggregates:
            rows = self._rows[member]
            self._aggregates[member, metric.name] = Remembered(metric.aggregate(rows), rows.num_rows)
        return self._aggregates[member, metric.name]


def _of_keys(member: Member, wanted: set[str]) -> Any:
    """Rows of the wanted samples in the order of the data set, which is the same for all."""
    keys = member.rows["key"].to_pylist()
    return member.rows.take([i for i, key in enumerate(keys) if key in wanted])


def contest(members: Sequence[Member], weights: Draws, everyone: Sequence[Member] = ()) -> Contest | None:
    """The complete members of one place; None where there is nobody to compare.

    Args:
        everyone: all members of the place, whose input faults leave samples out for all; the members when empty.

    Raises:
        UsageError: they were scored on other data or in another way; names the differing field.
    """
    complete = [member for member in members if not member.missing]
    if len(complete) < 2:
        return None
    return Contest(complete, left_out(everyone or members).get(members[0].place, set()), weights)


def adjusted(differences: Iterable[PairedDifference | None]) -> list[float]:
    """Holm's p value of each, NaN where there is none."""
    given = list(differences)
    found = holm({str(i): float("nan") if d is None else d.p_value for i, d in enumerate(given)})
    return [found[str(i)] for i in range(len(given))]
