"""What each condition does to each model: paired differences to the reference over the same pictures and draws.

Rows of a picture are joined by its key over all conditions; a picture whose file or label is at fault anywhere leaves
every score. Holm's correction is over the conditions of one model on one data set. Axes: B draws, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.decide import pairs
from sapiens_bench.decide.agreement import require_agreement
from sapiens_bench.decide.sides import Member, Side
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.bootstrap import draw_scores, left_out_scores, point_scores
from sapiens_bench.stats.draws import OF_DIFFERENCES
from sapiens_bench.stats.ends import ends
from sapiens_bench.stats.paired import PairedDifference, change_of, holm
from sapiens_bench.study.design import Trial
from sapiens_bench.study.sight import UNSEEN, is_unseen
from sapiens_bench.types import ScoreInfo, Task

if TYPE_CHECKING:
    import pyarrow as pa

LEVEL = 0.95
Doubles = NDArray[np.float64]
# Fields of cell.json in which the conditions of a kind of study differ.
FREE: dict[str, tuple[str, ...]] = {
    "corruption": ("condition",),
    "resolution": ("condition",),
    "boxes": ("boxes", "manifest_sha256"),
    "factor": ("protocol", "manifest_sha256", "condition"),  # resolution is a condition
}


@dataclass(frozen=True, slots=True)
class Effect:
    """One condition, one model, one data set."""

    trial: Trial
    found: PairedDifference  # a the reference, b under the condition; p by ``studentised_p``
    p_holm: float
    is_unseen: bool = (
        False  # the model's rows are those of the reference: no interval, no p, and Holm does not count it
    )


@dataclass(frozen=True, slots=True)
class Profile:
    """One model on one data set under every condition."""

    task: str
    dataset: str
    dataset_title: str
    protocol: str
    model: str
    title: str
    key: str  # "<metric>/<score>"
    info: ScoreInfo
    n: int  # pictures
    n_groups: int
    reference: float
    kept: PairedDifference  # ``difference`` is the share of the score that is kept on average; see ``_kept``
    effects: tuple[Effect, ...]

    @property
    def place(self) -> tuple[str, str]:
        """Data set and protocol."""
        return self.dataset, self.protocol

    @property
    def seen(self) -> tuple[Effect, ...]:
        """What reaches the model."""
        return tuple(e for e in self.effects if not e.is_unseen)

    @property
    def worst(self) -> Effect | None:
        """The condition that costs most; None where none costs anything."""
        sign = 1 if self.info.higher_is_better else -1
        costly = [e for e in self.effects if sign * e.found.difference < 0]
        return min(costly, key=lambda e: sign * e.found.difference, default=None)


def profiles(
    kind: str,
    reference: Side,
    trials: Sequence[tuple[Trial, Side]],
    *,
    n_draws: int = OF_DIFFERENCES,
    seed: int = 0,
    score: str = "",
) -> list[Profile]:
    """Every model that was measured under the reference and all conditions, in the order of the reference's run.

    Args:
        score: "<metric>/<score>"; the headline score of each task when empty.

    Raises:
        UsageError: the runs were not made on the same pictures in the same way; or no model is in all.
        UnknownName: no such score.
    """
    sides = [(trial, {(*m.place, m.model): m for m in side.members}) for trial, side in trials]
    everyone = [m for _, found in sides for m in found.values()]
    excluded = pairs.left_out([*reference.members, *everyone])
    weights = Draws(n_draws, seed)
    result = []
    for member in reference.members:
        key = (*member.place, member.model)
        if all(key in found for _, found in sides):
            under = [(trial, found[key]) for trial, found in sides]
            result.append(_profile(kind, member, under, excluded[member.place], weights, score))
    if not result:
        raise UsageError("No model was measured under every condition: there is nothing to compare.")
    return result


def sighted(found: Sequence[Profile]) -> list[Profile]:
    """The models that something reaches.

    Raises:
        UsageError: there is none.
    """
    if not (kept := [profile for profile in found if profile.seen]):
        raise UsageError(f"Nothing to tell of {', '.join(p.model for p in found)}: under every condition {UNSEEN}.")
    return kept


def left_out(reference: Side, trials: Sequence[tuple[Trial, Side]], told: Sequence[Profile] | None = None) -> list[str]:
    """One sentence for each model that was measured under the reference and is not ``told``."""
    found = [(trial, {(*m.place, m.model) for m in side.members}) for trial, side in trials]
    said, shown = [], None if told is None else {(*p.place, p.model) for p in told}
    for member in reference.members:
        lacking = [trial.name for trial, measured in found if (*member.place, member.model) not in measured]
        if lacking:
            said.append(f"{member.title} on {member.dataset} is left out: not measured under {', '.join(lacking[:5])}.")
        elif shown is not None and (*member.place, member.model) not in shown:
            said.append(f"{member.title} on {member.dataset} is left out: under every condition {UNSEEN}.")
    return said


def misses(reference: Side, trials: Sequence[tuple[Trial, Side]]) -> list[str]:
    """One sentence for each model that failed on pictures, which count as misses, with its first cause."""
    found: dict[tuple[str, str], list[str]] = {}
    causes: dict[tuple[str, str], str] = {}
    for name, side in (("the reference", reference), *((trial.name, side) for trial, side in trials)):
        for m in side.members:
            sides = m.rows["error_side"].to_pylist()
            if n := sides.count("prediction"):
                key = (m.title, m.dataset)
                found.setdefault(key, []).append(f"{n} of {len(sides)} under {name}")
                causes.setdefault(key, m.rows["error_code"][sides.index("prediction")].as_py())
    return [
        f"Images on which {title} failed on {dataset} count as misses (first cause: {causes[title, dataset]}): "
        f"{', '.join(told[:5])}{f', and {len(told) - 5} conditions more' if len(told) > 5 else ''}."
        for (title, dataset), told in found.items()
    ]


def _profile(
    kind: str,
    reference: Member,
    under: Sequence[tuple[Trial, Member]],
    excluded: set[str],
    weights: Draws,
    score: str,
) -> Profile:
    for trial, member in under:
        alike = _comparable(kind, reference, member)
        require_agreement(reference, alike, "the reference", trial.name)
    task, key = pairs.task_of(reference), score or reference.headline
    info = pairs.score_info(task, key)
    tables = joined([reference, *(m for _, m in under)], excluded)
    found = scored(tables, task, key, weights)
    unseen = [is_unseen(tables[0], table) for table in tables[1:]]
    return Profile(
        reference.task, reference.dataset, reference.dataset_title, reference.protocol, reference.model,
        reference.title, key, info, tables[0].num_rows, found.n_groups, found.points[0],
        _kept(found, info.higher_is_better), _effects([trial for trial, _ in under], found, unseen),
    )  # fmt: skip


def _comparable(kind: str, reference: Member, member: Member) -> Member:
    """The member as if it had been measured under the reference: what the study changes on purpose is set back.

    Raises:
        UsageError: the condition was put over another data set.
    """
    fields = dict(member.fields)
    condition = fields.get("condition")
    if isinstance(condition, Mapping):
        fields["manifest_sha256"] = condition.get("of_manifest_sha256")
    for name in FREE[kind]:
        if kind == "factor" and name == "protocol":
            fields[name] = _without_factor(fields.get(name), reference.fields.get(name))
        else:
            fields.pop(name, None)
            if name in reference.fields:
                fields[name] = reference.fields[name]
    return replace(member, fields=fields)


def _without_factor(given: object, reference: object) -> object:
    if not (isinstance(given, Mapping) and isinstance(reference, Mapping)):
        return given
    options = {name: value for name, value in given.get("options", {}).items() if name != "factor"}
    of_reference = reference.get("options", {})
    return {**given, "options": options | {n: v for n, v in of_reference.items() if n == "factor"}}


class Scored(NamedTuple):
    """One score of several tables over the same pictures, resampled alike; the reference comes first."""

    points: list[float]
    draws: list[Doubles]  # of each table [B]
    left_out: list[Doubles]  # of each table [G], without each group in turn; none where there are many groups
    n_groups: int

    def change(self, t: int, of: int = 0) -> PairedDifference:
        """Table ``t`` against table ``of``."""
        change_B, without_G = self.changes(t, of)
        return change_of(self.points[of], self.points[t], change_B, LEVEL, self.n_groups, without_G)

    def changes(self, t: int, of: int = 0) -> tuple[Doubles, Doubles | None]:
        """The change in every draw, and without each group."""
        return self.draws[t] - self.draws[of], self.left_out[t] - self.left_out[of] if self.left_out else None


def scored(tables: Sequence[pa.Table], task: Task, key: str, weights: Draws) -> Scored:
    """The score of each table under the same draws, and without each group where that makes the interval."""
    groups = tables[0]["group"].to_pylist()
    n_groups = len(set(groups))
    prefix, _, name = key.partition("/")
    metric = next(m for m in task.metrics if m.name == prefix)
    points, draws, left_out = [], [], []
    for table in tables:
        score_fn = metric.aggregate(table)
        points.append(point_scores(score_fn, table.num_rows, [name])[name])
        draws.append(draw_scores(score_fn, weights(groups), [name])[name])
        without = left_out_scores(score_fn, weights(groups), [name], n_groups, groups)
        left_out += [without[name]] if without else []
    return Scored(points, draws, left_out, n_groups)


def joined(members: Sequence[Member], excluded: set[str]) -> list[pa.Table]:
    """The rows of the pictures that all have and that are scored, in the order of the first."""
    columns = [member.rows["key"].to_pylist() for member in members]
    shared = set(columns[0]).intersection(*columns[1:]) - excluded
    order = [key for key in columns[0] if key in shared]
    tables = []
    for member, keys in zip(members, columns):
        at = {key: i for i, key in enumerate(keys)}
        tables.append(member.rows.take(np.array([at[key] for key in order], np.int64)))
    return tables


def _effects(trials: Sequence[Trial], found: Scored, unseen: Sequence[bool] = ()) -> tuple[Effect, ...]:
    blind = list(unseen) or [False] * len(trials)
    changes = [found.change(t) for t in range(1, len(found.points))]
    changes = [untested(each) if same else each for each, same in zip(changes, blind, strict=True)]
    adjusted = holm({trial.name: each.p_value for trial, each in zip(trials, changes)})
    return tuple(Effect(trial, each, adjusted[trial.name], same) for trial, each, same in zip(trials, changes, blind))


def untested(found: PairedDifference) -> PairedDifference:
    """A change that is zero by construction: it has no interval and no p."""
    nothing = math.nan
    return replace(found, low=nothing, high=nothing, upper=nothing, lower=nothing, p_value=nothing)


def _kept(found: Scored, higher_is_better: bool) -> PairedDifference:
    """Mean over the conditions as a share of the reference; of errors, the reference as a share of the mean.

    1 where nothing is lost. Source: Michaelis et al., Benchmarking Robustness in Object Detection, 2019, equation 2
    (relative performance under corruption).
    """

    def shares(values: Sequence[Doubles]) -> Doubles:
        mean = np.mean(np.stack(values[1:]), axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(mean / values[0] if higher_is_better else values[0] / mean)

    share = float(shares([np.asarray(point) for point in found.points]))
    is_defined = found.n_groups >= 2 and math.isfinite(share)
    without_G = shares(found.left_out) if found.left_out else None
    low, high = ends(shares(found.draws), share, LEVEL, without_G) if is_defined else (math.nan, math.nan)
    value, mean = share if math.isfinite(share) else math.nan, float(np.mean(found.points[1:]))
    nothing = math.nan
    return PairedDifference(found.points[0], mean, value, low, high, nothing, nothing, nothing, LEVEL, found.n_groups)
