"""What is compared with what, and in which scores."""

from __future__ import annotations

import re
from itertools import combinations

from sapiens_bench.decide.pairs import Pair
from sapiens_bench.decide.sides import Member, Side
from sapiens_bench.errors import UsageError
from sapiens_bench.types import Task

# Metric -> its scores of one part each, by name.
_PARTS = {"oks": re.compile(r"oks/[^/]+/AP"), "seg": re.compile(r"seg/iou/.+")}


def across_runs(a: Side, b: Side) -> tuple[list[Pair], list[str]]:
    """The same models in two runs, and remarks on those that only one has.

    Where no model is in both and each has a single one on a data set, those two are compared.

    Raises:
        UsageError: nothing is in both.
    """
    name_a, name_b = labels(a, b)
    in_b = {(*m.place, m.model): m for m in b.members}
    pairs = [Pair(m, in_b[(*m.place, m.model)], name_a, name_b) for m in a.members if (*m.place, m.model) in in_b]
    if not pairs:
        pairs = [Pair(m, n, name_a, name_b) for m in a.members for n in b.members if _are_alone(m, n, a, b)]
    if not pairs:
        raise UsageError(
            f"No model was measured on the same data set and protocol in both. {a.path}: {_listed(a)}. "
            f"{b.path}: {_listed(b)}."
        )
    used = {id(m) for pair in pairs for m in (pair.a, pair.b)}
    alone = [(m, side) for side in (a, b) for m in side.members if id(m) not in used]
    return pairs, [f"{m.title} on {m.dataset} is in {side.path} only." for m, side in alone]


def within_run(side: Side) -> list[Pair]:
    """Every pair of models on each data set of one run, in the order of the run.

    Raises:
        UsageError: there is only one model.
    """
    pairs = [Pair(a, b, a.title, b.title) for a, b in combinations(side.members, 2) if a.place == b.place]
    if not pairs:
        raise UsageError(f"{side.path} has one measured model ({_listed(side)}): give a second run to compare it with.")
    return pairs


def labels(a: Side, b: Side) -> tuple[str, str]:
    """Short names of two sides that tell them apart."""
    names = a.path.name, b.path.name
    return names if names[0] != names[1] else (str(a.path), str(b.path)) if a.path != b.path else ("A", "B")


def part_scores(task: Task) -> list[str]:
    """Keys of the scores of single parts or classes.

    Raises:
        UsageError: the task's metrics have no parts.
    """
    keys = [f"{metric.name}/{name}" for metric in task.metrics for name in metric.scores]
    found = [key for key in keys if (rule := _PARTS.get(key.partition("/")[0])) and rule.fullmatch(key)]
    if not found:
        raise UsageError(f"--by part: {task.name} as this protocol scores it has no parts.")
    return found


def _are_alone(m: Member, n: Member, a: Side, b: Side) -> bool:
    counts = [sum(other.place == m.place for other in side.members) for side in (a, b)]
    return m.place == n.place and counts == [1, 1]


def _listed(side: Side) -> str:
    return ", ".join(f"{m.model} on {m.dataset}/{m.protocol}" for m in side.members)
