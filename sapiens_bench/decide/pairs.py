"""Two models on the same samples: rows joined by sample key, every score's difference by one paired bootstrap."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.decide.agreement import require_agreement
from sapiens_bench.decide.sides import Member
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import StoreError, UnknownName, UsageError
from sapiens_bench.stats.paired import PairedDifference, paired_differences, swap_p
from sapiens_bench.tasks import task_for
from sapiens_bench.types import Metric, ScoreInfo, Task

if TYPE_CHECKING:
    import pyarrow as pa

# Metrics whose scores are sums over images, or means of images': exchanging two models is an exact test of those.
_PERMUTED = ("depth", "normal", "pck")
_NONE = math.nan
_UNDEFINED = PairedDifference(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, level=0.95, n_groups=0)


@dataclass(frozen=True, slots=True)
class Pair:
    """A and B, and what to call them."""

    a: Member
    b: Member
    name_a: str
    name_b: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of a pair; ``found.difference`` is B - A in the unit of the score."""

    pair: Pair
    key: str  # "<metric>/<score>"
    info: ScoreInfo
    found: PairedDifference
    n: int  # samples that both have and that are scored
    part: str = ""  # of the data set (slices.py); "" is all of it


def left_out(members: Iterable[Member]) -> dict[tuple[str, str], set[str]]:
    """Place -> keys of samples whose picture or label is at fault for any model: they leave every score."""
    found: dict[tuple[str, str], set[str]] = {}
    for member in members:
        sides, keys = member.rows["error_side"].to_pylist(), member.rows["key"].to_pylist()
        found.setdefault(member.place, set()).update(k for k, side in zip(keys, sides) if side == "input")
    return found


def task_of(member: Member) -> Task:
    """The task that scored these rows, made again from what cell.json says.

    Raises:
        StoreError: it says too little.
    """
    try:
        protocol, space = member.fields["protocol"], member.fields["space"]
        made = EvalProtocol(task=member.task, title=member.protocol, scoring=protocol["scoring"])
        card = None
        if space is not None:
            facts = {k: v for k, v in space.items() if k != "schema_"}
            card = SpaceCard.model_validate_json(
                json.dumps({"schema": "space/1", "title": space["id"], "source": "", **facts})
            )
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{member.model} on {member.dataset}: cell.json does not say how it was scored ({error})."
        ) from None
    return task_for(made, card, f"protocol {member.protocol}")


def score_info(task: Task, key: str) -> ScoreInfo:
    """Facts of a score.

    Raises:
        UnknownName: the task has no such score.
    """
    infos = {f"{metric.name}/{name}": info for metric in task.metrics for name, info in metric.scores.items()}
    if key not in infos:
        raise UnknownName("score", key, infos, f"Task {task.name} as this protocol scores it does not have it.")
    return infos[key]


def differences(
    pair: Pair, task: Task, keys: Sequence[str], weights: Draws, excluded: set[str], level: float = 0.95
) -> list[Difference]:
    """The differences of some scores of one pair.

    Args:
        weights: of the bootstrap; one object for all pairs, so that all see the same draws.
        excluded: keys of samples that are not scored.

    Raises:
        UsageError: the two cannot be compared; or a column is missing.
        UnknownName: no such score.
    """
    require_agreement(pair.a, pair.b, pair.name_a, pair.name_b)
    infos = {key: score_info(task, key) for key in keys}
    rows_a, rows_b = joined(pair, excluded)
    found: dict[str, PairedDifference] = {}
    if rows_a.num_rows:
        for metric in task.metrics:
            prefix = f"{metric.name}/"
            own = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
            if own:
                of_metric = _paired(pair, metric, (rows_a, rows_b), own, weights, level)
                found |= {prefix + key: value for key, value in of_metric.items()}
    return [Difference(pair, key, infos[key], found.get(key, _UNDEFINED), rows_a.num_rows) for key in keys]


def joined(pair: Pair, excluded: set[str]) -> tuple[pa.Table, pa.Table]:
    """The rows of the samples that both have and that are scored, in the same order.

    Raises:
        UsageError: a sample belongs to another group in the other run.
    """
    keys_a, keys_b = pair.a.rows["key"].to_pylist(), pair.b.rows["key"].to_pylist()
    place_b = {key: i for i, key in enumerate(keys_b)}
    shared = [(i, place_b[key]) for i, key in enumerate(keys_a) if key in place_b and key not in excluded]
    at = np.array(shared, np.int64).reshape(-1, 2)
    rows_a, rows_b = pair.a.rows.take(at[:, 0]), pair.b.rows.take(at[:, 1])
    groups = zip(rows_a["key"].to_pylist(), rows_a["group"].to_pylist(), rows_b["group"].to_pylist())
    for key, group_a, group_b in groups:
        if group_a != group_b:
            raise UsageError(
                f"Sample {key!r} belongs to group {group_a!r} in {pair.name_a} and to {group_b!r} in {pair.name_b}: "
                "the runs were made by different versions of the data set. Run one of them again."
            )
    return rows_a, rows_b


def _paired(
    pair: Pair, metric: Metric, rows: tuple[pa.Table, pa.Table], keys: Sequence[str], weights: Draws, level: float
) -> Mapping[str, PairedDifference]:
    groups = rows[0]["group"].to_pylist()
    scores: list[Any] = []
    for member, name, table in zip((pair.a, pair.b), (pair.name_a, pair.name_b), rows):
        try:
            scores.append(metric.aggregate(table))
        except KeyError as error:
            raise UsageError(
                f"The rows of {member.model} in {name} lack a column of metric {metric.name!r} ({error.args[0]}): "
                "another version wrote them. Run the same command again, with another --out."
            ) from None
    found = paired_differences(scores[0], scores[1], weights(groups), level, keys, len(set(groups)), groups)
    if metric.name not in _PERMUTED or len(set(groups)) < 2:
        return found
    p = swap_p(metric.aggregate(_interleaved(*rows)), groups, keys, n_draws=max(1000, weights.n_draws))
    return {key: replace(d, p_value=p[key]) if math.isfinite(d.p_value) else d for key, d in found.items()}


def is_permuted(key: str) -> bool:
    """Whether the p of a score comes from exchanging the two models group by group."""
    return key.partition("/")[0] in _PERMUTED


def _interleaved(a: pa.Table, b: pa.Table) -> pa.Table:
    """Row 2i is image i of the first, row 2i + 1 of the second; columns that both have."""
    import pyarrow as pa

    kept = [name for name in a.column_names if name in b.column_names]
    both = pa.concat_tables([a.select(kept), b.select(kept)], promote_options="permissive")
    return both.take(np.arange(2 * a.num_rows).reshape(2, -1).T.ravel())
