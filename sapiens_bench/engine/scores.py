"""From the rows of all cells of one data set to scores with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sapiens_bench.cards.entries import without_form
from sapiens_bench.stats.bootstrap import draw_weights, intervals
from sapiens_bench.stats.paired import paired_differences
from sapiens_bench.stats.power import smallest_seen
from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.store.causes import row_causes
from sapiens_bench.store.record import CellRecord, Counts, ErrorExample, ScoreRecord
from sapiens_bench.store.rows import ATTRIBUTE
from sapiens_bench.types import Interval, Metric, Task

_N_EXAMPLES = 5
_TELLS = frozenset({"key", "error_code", "error_detail"})  # said to people; no score needs them


def scored_columns(metrics: Sequence[Metric], *, tells: bool = False) -> Callable[[str], bool]:
    """Which columns of the rows ``score`` needs; with ``tells``, ``tell`` too. For ``read_rows``."""
    beside = {f"{m.name}/{column}" for m in metrics for column in getattr(m, "unscored", ())}
    left_out = beside if tells else beside | _TELLS
    return lambda name: name not in left_out and not name.startswith(ATTRIBUTE)


def count(rows: pa.Table, planned: int) -> Counts:
    """How many rows are fine, and on which side the others failed."""
    failed = rows["status"].to_numpy(zero_copy_only=False) == "error"
    by_input = failed & (rows["error_side"].to_numpy(zero_copy_only=False) == "input")
    return Counts(
        planned=planned,
        ok=int((~failed).sum()),
        input_errors=int(by_input.sum()),
        prediction_errors=int((failed & ~by_input).sum()),
    )


def examples(rows: pa.Table) -> list[ErrorExample]:
    """The first failed samples, one of each code before a second of any."""
    failed = [
        ErrorExample(key=r["key"], code=r["error_code"], detail=r["error_detail"], side=r["error_side"])
        for r in rows.select(["key", "status", "error_code", "error_detail", "error_side"]).to_pylist()
        if r["status"] == "error"
    ]
    seen: dict[str, int] = {}
    ranked = []
    for position, example in enumerate(failed):
        seen[example.code] = seen.get(example.code, 0) + 1
        ranked.append((seen[example.code], position, example))
    return [example for _, _, example in sorted(ranked, key=lambda r: r[:2])[:_N_EXAMPLES]]


def excluded(tables: Sequence[pa.Table]) -> set[int]:
    """Samples whose picture or label is at fault for any model: they leave the score of every model."""
    found: set[int] = set()
    for rows in tables:
        mask = pc.equal(rows["error_side"], "input")
        found.update(rows.filter(mask)["index"].to_pylist())
    return found


def scored_rows(rows: pa.Table, left_out: set[int]) -> pa.Table:
    """Rows that enter the metrics, in index order."""
    if not left_out:
        return rows
    return rows.filter(pa.array([index not in left_out for index in rows["index"].to_pylist()], type=pa.bool_()))


class Draws:
    """Bootstrap weights of one data set: the same for every model, drawn once for each list of groups."""

    def __init__(self, n_draws: int, seed: int) -> None:
        self.n_draws, self._seed = n_draws, seed
        self._groups: list[str] | None = None
        self._weights: DrawCounts = np.zeros((0, 0), np.uint8)

    def __call__(self, groups: list[str]) -> DrawCounts:
        """How often each row is drawn, [draws, rows]."""
        if groups != self._groups:
            self._groups, self._weights = groups, draw_weights(groups, self.n_draws, self._seed)
        return self._weights


def score(rows: pa.Table, task: Task, weights: Draws | None = None) -> dict[str, ScoreRecord]:
    """Every score of the task over ``rows``: "<metric>/<score>" -> record; with intervals when weights are given."""
    records: dict[str, ScoreRecord] = {}
    for metric in task.metrics:
        found = _intervals(rows, metric, weights)
        for key, info in metric.scores.items():
            interval = found.get(key, Interval(math.nan, math.nan, math.nan))
            records[f"{metric.name}/{key}"] = ScoreRecord(
                value=interval.value,
                low=max(interval.low, info.minimum) if interval.low == interval.low else math.nan,
                high=min(interval.high, info.maximum) if interval.high == interval.high else math.nan,
                level=interval.level,
                n_groups=interval.n_groups,
                title=info.title,
                unit=info.unit,
                percent=info.percent,
                decimals=info.decimals,
                higher_is_better=info.higher_is_better,
                headline=info.headline,
            )
    return records


def tell(record: CellRecord, rows: pa.Table, task: Task) -> None:
    """Write what the rows of one cell say into its record: counts, causes, and scores without intervals."""
    record.counts = count(rows, record.counts.planned)
    record.errors, record.causes = examples(rows), row_causes(rows)
    record.scores = score(scored_rows(rows, excluded([rows])), task)


def score_together(
    tables: Sequence[pa.Table], task: Task, n_boot: int, seed: int
) -> tuple[set[int], list[dict[str, ScoreRecord]]]:
    """Samples that leave the scores of one data set, and the scores of each model, over the same samples and draws.

    Args:
        n_boot: draws of the intervals; 0: none.
    """
    left_out = excluded(tables)
    weights = Draws(n_boot, seed) if n_boot else None
    return left_out, [score(scored_rows(rows, left_out), task, weights) for rows in tables]


def smallest_difference(
    ranked: Sequence[tuple[str, pa.Table, float]], task: Task, weights: Draws, left_out: set[int]
) -> tuple[float, list[str]]:
    """The smallest difference in the headline score that the set would call out between the two best models.

    Args:
        ranked: (model, rows, headline score) of each; NaN scores are passed over.

    Returns:
        the difference in the unit of the score, and the two models; NaN and none where there are no two.
    """
    name, _, key = task.headline.partition("/")
    (metric,) = [m for m in task.metrics if m.name == name]
    sign = -1 if metric.scores[key].higher_is_better else 1
    ordered = sorted((r for r in ranked if math.isfinite(r[2])), key=lambda r: sign * r[2])
    networks: dict[str, tuple[str, pa.Table, float]] = {}  # two forms of one (MODEL@bf16) scatter less than two do
    for each in ordered:
        networks.setdefault(without_form(each[0])[0], each)
    best = list(networks.values())[:2]
    if len(best) < 2:
        return math.nan, []
    tables = [scored_rows(rows, left_out) for _, rows, _ in best]
    if tables[0]["index"] != tables[1]["index"] or not tables[0].num_rows:
        return math.nan, []
    groups = tables[0]["group"].to_pylist()
    a, b = (metric.aggregate(table) for table in tables)
    found = paired_differences(a, b, weights(groups), keys=[key], n_groups=len(set(groups)), groups=groups)[key]
    return smallest_seen(found), [model for model, _, _ in best]


def _intervals(rows: pa.Table, metric: Metric, weights: Draws | None) -> dict[str, Interval]:
    if rows.num_rows == 0:  # nothing was scored: undefined, never zero
        return {}
    score_fn = metric.aggregate(rows)
    if weights is None:
        return {key: Interval(value, math.nan, math.nan) for key, value in score_fn(None).items()}
    groups = rows["group"].to_pylist()
    return intervals(score_fn, weights(groups), n_groups=len(set(groups)), groups=groups)
