"""Which protocol gave that number? The stored results of a run under every plausible protocol, nearest first.

Probability: how likely the published numbers are under each way to score, its scores taken as normal with the error
that the bootstrap over groups gives and the rounding of print, against all other ways, each as likely beforehand. It
says which of these ways fits best; that none of them was used, or that other weights or pictures were, it cannot know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.decide import pairs
from sapiens_bench.decide.sides import Member
from sapiens_bench.errors import UsageError
from sapiens_bench.report.sheet import Document, Sheet
from sapiens_bench.stats.bootstrap import ScoreFn, draw_scores, point_scores
from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.types import ScoreInfo

_SHOWN = 12
_EQUAL = 1e-9


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to score, and what it gives for each number that was published."""

    title: str
    values: tuple[float, ...]
    errors: tuple[float, ...]  # standard error of each over groups
    is_declared: bool  # the protocol of the run itself


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate and how near it is."""

    candidate: Candidate
    distance: float  # root mean square of the differences
    probability: float


@dataclass(frozen=True, slots=True)
class Published:
    """A printed number in the unit of the score, and half a step of its last digit."""

    key: str  # "<metric>/<score>"
    value: float
    rounding: float


def parse_published(text: str, headline: str, infos: Mapping[str, ScoreInfo]) -> list[Published]:
    """``"71.2"`` (the score that ranks) or ``"oks/AP=71.2,oks/AR=74.0"``, in the unit that tables show.

    Raises:
        UsageError: no number, or no such score.
    """
    found = []
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        key = name.strip() or headline
        keys = [known for known in infos if known == key or known.partition("/")[2] == key]
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not keys or not math.isfinite(value):
            raise UsageError(f"--published {part!r}: give NUMBER or SCORE=NUMBER; scores are {', '.join(infos)}.")
        if infos[keys[0]].percent and not 0 <= value <= 100:
            raise UsageError(f"--published {part!r}: {infos[keys[0]].title} is in per cent, from 0 to 100.")
        decimals = len(number.strip().partition(".")[2])
        scale = 0.01 if infos[keys[0]].percent else 1.0
        found.append(Published(keys[0], value * scale, 0.5 * 10.0**-decimals * scale))
    return found


def candidate(
    title: str, scores: ScoreFn, weights: DrawCounts, keys: Sequence[str], is_declared: bool = False
) -> Candidate:
    """Values and errors of some scores of one way to score."""
    values = point_scores(scores, weights.shape[1], keys)
    draws = draw_scores(scores, weights, keys)
    errors = tuple(float(np.nanstd(draws[key])) if np.isfinite(draws[key]).any() else math.nan for key in keys)
    return Candidate(title, tuple(values[key] for key in keys), errors, is_declared)


def stored_scores(
    member: Member, published: Sequence[Published], weights: Callable[[list[str]], DrawCounts], excluded: set[str]
) -> list[Candidate]:
    """Dense tasks: every stored score that could have been meant, those of the same unit and direction.

    Raises:
        UsageError: several numbers were given: a stored score is one.
    """
    if len(published) != 1:
        raise UsageError("--published: one number at a time for depth, normals and segmentation.")
    task = pairs.task_of(member)
    wanted = pairs.score_info(task, published[0].key)
    rows = member.rows.filter([key not in excluded for key in member.rows["key"].to_pylist()])
    found = []
    for metric in task.metrics:
        keys = [
            key
            for key, info in metric.scores.items()
            if (info.unit, info.percent, info.higher_is_better)
            == (wanted.unit, wanted.percent, wanted.higher_is_better)
        ]
        scores = metric.aggregate(rows)
        for key in keys:
            name = f"{metric.name}/{key}"
            made = candidate(f"{name}: {metric.scores[key].title}", scores, weights(rows["group"].to_pylist()), [key])
            is_own = name == published[0].key
            found.append(Candidate(made.title, made.values, made.errors, is_own))
    return found


def rank(candidates: Iterable[Candidate], published: Sequence[Published]) -> list[Ranked]:
    """Nearest first; of equal distance the more probable, then the declared one."""
    known = [c for c in candidates if all(map(math.isfinite, c.values))]
    logs = np.array([_log_likelihood(c, published) for c in known])
    shares: NDArray[np.float64] = np.exp(logs - logs.max(initial=-math.inf)) if len(known) else np.zeros(0)
    ranked = [
        Ranked(
            c, math.sqrt(sum((v - p.value) ** 2 for v, p in zip(c.values, published)) / len(published)), float(share)
        )
        for c, share in zip(known, shares / max(shares.sum(), 1e-300))
    ]
    return sorted(ranked, key=lambda r: (round(r.distance, 12), -r.probability, not r.candidate.is_declared))


def as_near(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Those that cannot be told from the nearest: they give the very same scores."""
    first = ranked[0].candidate.values
    return [r for r in ranked if np.allclose(r.candidate.values, first, rtol=0, atol=_EQUAL)]


def _by_numbers(ranked: Sequence[Ranked]) -> list[list[Ranked]]:
    """Ways that give the very same scores together, nearest first: a line each would fill the table with one number."""
    found: dict[tuple[float, ...], list[Ranked]] = {}
    for r in ranked:
        found.setdefault(tuple(round(value, 9) for value in r.candidate.values), []).append(r)
    return list(found.values())


def _remark(first: Ranked, alike: Sequence[Ranked]) -> str:
    own = "the run's own" if first.candidate.is_declared else ""
    if not alike:
        return own
    among = ", the run's own among them" if any(r.candidate.is_declared for r in alike) else ""
    return f"{own}{', ' if own else ''}{len(alike)} alike{among}"


def _log_likelihood(c: Candidate, published: Sequence[Published]) -> float:
    total = 0.0
    for value, error, given in zip(c.values, c.errors, published):
        # a step of print, taken as uniform, has the error of half a step over the root of three
        spread = math.hypot(error if math.isfinite(error) else 0.0, given.rounding / math.sqrt(3))
        spread = max(spread, 1e-12)
        total += -0.5 * ((given.value - value) / spread) ** 2 - math.log(spread)
    return total


def document(
    member: Member, published: Sequence[Published], infos: Mapping[str, ScoreInfo], ranked: Sequence[Ranked], n: int
) -> Document:
    """The ranking for any format."""
    factors = [100 if infos[p.key].percent else 1 for p in published]
    heads = ("Protocol", *(f"{infos[p.key].title}" for p in published), "Distance", "Probability", "")
    lines = tuple(
        (
            r.candidate.title,
            *(f"{v * f:.2f}" for v, f in zip(r.candidate.values, factors)),
            f"{r.distance * factors[0]:.2f}",
            f"{r.probability:.0%}",
            _remark(r, alike),
        )
        for r, *alike in _by_numbers(ranked)[:_SHOWN]
    )
    said = ", ".join(f"{infos[p.key].title} {p.value * f:g}" for p, f in zip(published, factors))
    twins = as_near(ranked)
    others = f" {len(twins) - 1} other way(s) give the very same numbers here." if len(twins) > 1 else ""
    words = f"Nearest to {said}: {ranked[0].candidate.title} (probability {ranked[0].probability:.0%}).{others}"
    return Document(
        title="sapiens-bench: which protocol gave that number?",
        sheets=(
            Sheet(f"{member.title} · {member.dataset_title} · {n} images", heads, lines, (0, 2 + len(published) + 1)),
        ),
        notes=(
            words,
            f"{len(ranked)} ways to score, nearest first. Probability: against each other, by the "
            "bootstrap over groups; that other weights, boxes or pictures were used, it cannot know.",
        ),
        data={
            "schema": "explain/1",
            "published": {p.key: p.value for p in published},
            "nearest": ranked[0].candidate.title,
            "rows": [
                {
                    "protocol": r.candidate.title,
                    "scores": {p.key: v for p, v in zip(published, r.candidate.values)},
                    "errors": {p.key: e for p, e in zip(published, r.candidate.errors)},
                    "distance": r.distance,
                    "probability": r.probability,
                    "is_declared": r.candidate.is_declared,
                }
                for r in ranked
            ],
        },
    )
