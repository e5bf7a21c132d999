"""Did a change break anything? Each score of each model of BASE is judged in its tier; one failure closes the gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sapiens_bench.decide import pairs, wording
from sapiens_bench.decide.joints import JointChange, joint_changes
from sapiens_bench.decide.pairs import Difference, Pair
from sapiens_bench.decide.sides import Side
from sapiens_bench.decide.spec import GateSpec, ScoreRule, Tier, in_score_units
from sapiens_bench.decide.speed import SpeedChange
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import UsageError
from sapiens_bench.stats.multiple import draws_for
from sapiens_bench.stats.paired import PairedDifference, holm

Verdict = Literal["pass", "fail"]
EVERY = "*"  # in a specification: the score that ranks, whatever it is called


@dataclass(frozen=True, slots=True)
class Judged:
    """One score of one model. Sizes are in the unit of the score."""

    difference: Difference
    tier: Tier
    threshold: float  # the effect that matters, the margin, or the tolerance
    p: float  # one-sided: could a candidate that is no worse look as bad? NaN in the exact tier
    p_holm: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gate says."""

    base: Side
    cand: Side
    spec: GateSpec
    rows: tuple[Judged, ...]
    remarks: tuple[str, ...]
    joints: tuple[JointChange, ...] = ()  # of pose models
    speed: tuple[SpeedChange, ...] = ()  # where files were given to judge it by
    n_draws: int = 0  # that were made; of ``spec`` or more
    unread: str = ""  # images that BASE scored and CAND could not read

    @property
    def incomplete(self) -> str:
        """What is missing on either side; an incomplete gate decides nothing."""
        return "; ".join(text for text in (self.base.incomplete, self.cand.incomplete, self.unread) if text)

    @property
    def failed(self) -> tuple[Judged, ...]:
        return tuple(row for row in self.rows if row.verdict == "fail")

    @property
    def moved(self) -> tuple[JointChange, ...]:
        """Joints that close the gate."""
        return tuple(joint for joint in self.joints if joint.is_failed)

    @property
    def slower(self) -> tuple[SpeedChange, ...]:
        """Benchmarks and counts that close the gate."""
        return tuple(change for change in self.speed if change.is_failed)

    @property
    def is_closed(self) -> bool:
        return bool(self.failed or self.moved or self.slower)

    @property
    def verdict(self) -> str:
        """``pass``, ``fail`` or ``incomplete``."""
        return "incomplete" if self.incomplete else "fail" if self.is_closed else "pass"


def gate(base: Side, cand: Side, spec: GateSpec, speed: tuple[SpeedChange, ...] = ()) -> Outcome:
    """Judge CAND against BASE on the rows they share.

    Args:
        speed: what ``speed.judge_speed`` found, where there are files to judge it by.

    Raises:
        UsageError: a model of BASE was not measured in CAND, the two cannot be compared (names what differs), or not a
            single score is defined.
        UnknownName: no such score.
    """
    excluded = pairs.left_out((*base.members, *cand.members))
    base = base.chosen(spec.models)
    found: list[tuple[Difference, ScoreRule]] = []
    made_pairs = _pairs(base, cand)
    n_tests = sum(len(_rules(spec, pair.a.headline)) for pair in made_pairs)
    # One-sided p is half the two-sided one; with too few draws no loss, however large, would close the gate.
    weights = Draws(draws_for(n_tests, spec.draws, 2 * (1 - spec.level)), spec.seed)
    for pair in made_pairs:
        rules = _rules(spec, pair.a.headline)
        task = pairs.task_of(pair.a)
        made = pairs.differences(pair, task, list(rules), weights, excluded[pair.a.place], spec.level)
        found += [(d, rules[d.key]) for d in made]
    one_sided = {str(i): _worse_p(d) for i, (d, rule) in enumerate(found) if rule.tier == "accuracy"}
    adjusted = holm(one_sided)
    rows = tuple(
        _judged(d, rule, spec.level, one_sided.get(str(i), math.nan), adjusted.get(str(i), math.nan))
        for i, (d, rule) in enumerate(found)
    )
    if rows and not any(math.isfinite(v) for d, _ in found for v in (d.found.a, d.found.b)):
        raise UsageError(f"Not one score is defined in {base.path} or {cand.path}: nothing can be judged.")
    in_base = {(*m.place, m.model) for m in base.members}
    joints, unchecked = joint_changes(made_pairs, excluded, spec.joints, spec.level)
    new = [m for m in cand.members if (*m.place, m.model) not in in_base and not spec.models]
    remarks = (*unchecked, *(f"{m.title} on {m.dataset} is not in BASE: not judged." for m in new))
    return Outcome(base, cand, spec, rows, remarks, tuple(joints), speed, weights.n_draws, _unread(made_pairs))


def _unread(made: Sequence[Pair]) -> str:
    """Images leave every score when their picture is at fault. Where BASE had no such fault, CAND's code or machine
    has, and the images that are left may be the easy ones."""
    told = []
    for pair in made:
        of_base, of_cand = (pairs.left_out([m])[m.place] for m in (pair.a, pair.b))
        if new := sorted(of_cand - of_base):
            told.append(f"{len(new)} images of {pair.a.dataset} for {pair.a.model} (the first is {new[0]})")
    return f"CAND could not read what BASE scored: {', '.join(told)}" if told else ""


def _pairs(base: Side, cand: Side) -> list[Pair]:
    there = {(*m.place, m.model): m for m in cand.members}
    lost = [m for m in base.members if (*m.place, m.model) not in there]
    if lost:
        names = ", ".join(f"{m.model} on {m.dataset}/{m.protocol}" for m in lost)
        raise UsageError(f"CAND has no rows of {names}, which BASE has. Run them, or name in the spec whom to judge.")
    return [Pair(m, there[(*m.place, m.model)], "BASE", "CAND") for m in base.members]


def _rules(spec: GateSpec, headline: str) -> dict[str, ScoreRule]:
    given = spec.scores or {EVERY: ScoreRule()}
    return {headline if key == EVERY else key: rule for key, rule in given.items()}


def _loss(d: Difference) -> float:
    """How much worse CAND is, in the unit of the score; negative where it is better."""
    return -d.found.difference if d.info.higher_is_better else d.found.difference


def _loss_ends(d: Difference) -> tuple[float, float]:
    """One-sided ends of the loss, each of the given level."""
    lower, upper = d.found.lower, d.found.upper
    return (-upper, -lower) if d.info.higher_is_better else (lower, upper)


def _worse_p(d: Difference) -> float:
    """One-sided p of "CAND is worse", from the two-sided one."""
    if wording.is_identical(d.found):
        return 1.0
    p: float = d.found.p_value / 2
    return p if _loss(d) > 0 else 1 - p


def _judged(d: Difference, rule: ScoreRule, level: float, p: float, p_holm: float) -> Judged:
    found, info = d.found, d.info
    undefined = [name for name, value in (("BASE", found.a), ("CAND", found.b)) if not math.isfinite(value)]
    if rule.tier == "exact":
        threshold = rule.tolerance
    else:
        size = rule.min_effect if rule.tier == "accuracy" else rule.margin
        threshold = in_score_units(size, info, found.a)
    if len(undefined) == 2 and rule.tier != "non-inferiority":
        return Judged(d, rule.tier, threshold, p, p_holm, "pass", "undefined on both sides")
    if undefined:
        where = f"in {undefined[0]} only" if len(undefined) == 1 else "on both sides: no loss is ruled out"
        return Judged(d, rule.tier, threshold, p, p_holm, "fail", f"undefined {where}")
    if rule.tier == "exact":
        verdict, reason = _exact(found, rule.tolerance)
    elif rule.tier == "accuracy":
        verdict, reason = _accurate(d, threshold, p_holm, level)
    else:
        verdict, reason = _not_inferior(d, threshold)
    return Judged(d, rule.tier, threshold, p, p_holm, verdict, reason)


def _exact(found: PairedDifference, tolerance: float) -> tuple[Verdict, str]:
    if abs(found.difference) <= tolerance:
        return "pass", f"equal within {tolerance:g}"
    return "fail", f"differs by {found.difference:g}, allowed are {tolerance:g}"


def _accurate(d: Difference, effect: float, p_holm: float, level: float) -> tuple[Verdict, str]:
    """Certain and large: the first condition stops noise, the second trifles on large sets."""
    loss, (least, _) = _loss(d), _loss_ends(d)
    matters = loss > effect
    if not matters:
        return "pass", "no loss" if loss <= 0 else f"a loss of {_size(loss, d)}, which is at most {_size(effect, d)}"
    if d.found.n_groups < 2:
        return "fail", f"a loss of {_size(loss, d)}; a single group has no interval, so the loss itself decides"
    if least > 0 and p_holm <= 1 - level:
        return "fail", f"a loss of {_size(loss, d)}, at least {_size(least, d)}; {_size(effect, d)} matter"
    return "pass", f"a loss of {_size(loss, d)} that may be chance (Holm p {wording.p_text(p_holm)})"


def _not_inferior(d: Difference, margin: float) -> tuple[Verdict, str]:
    _, most = _loss_ends(d)
    if not math.isfinite(most):
        return "fail", "no interval, so no loss is ruled out"
    if most < margin or (most <= 0 and margin == 0):
        return "pass", f"a loss of {_size(margin, d)} is ruled out"
    return "fail", f"the loss may be {_size(most, d)}; {_size(margin, d)} must be ruled out"


def _size(value: float, d: Difference) -> str:
    return f"{wording.shown(value, d.info, wording.digits(value, d.info))} {wording.unit(d.info)}"


def describe(rows: Sequence[Judged], joints: Sequence[JointChange] = (), speed: Sequence[SpeedChange] = ()) -> str:
    """One line each."""
    lines = [
        f"  - {r.difference.pair.a.title} on {r.difference.pair.a.dataset}, {r.difference.key}: {r.reason}"
        for r in rows
    ]
    lines += [f"  - {j.pair.a.title} on {j.pair.a.dataset}: {j.words}" for j in joints]
    lines += [f"  - {change.words}" for change in speed]
    return "\n".join(lines)
