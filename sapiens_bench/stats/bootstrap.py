"""Bootstrap over independent groups: how much would a score move had other people been photographed?

Axes: B draws, N rows. A group (subject, sequence, scan) is drawn as a whole: its rows are not independent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError, UsageError
from sapiens_bench.stats.ends import FEW_GROUPS, ends
from sapiens_bench.stats.sums import DrawCounts
from sapiens_bench.types import Interval

ScoreFn = Callable[[NDArray[np.int64] | None], dict[str, float]]
_CHUNK_DRAWS = 1 << 20  # groups drawn at once


@runtime_checkable
class BatchScores(Protocol):
    """What an aggregate may offer besides a plain call: many weightings at once, only the scores asked for."""

    def batch(self, weights_BN: DrawCounts, keys: Sequence[str] | None = None) -> dict[str, NDArray[np.float64]]: ...


def generator(purpose: str, seed: int) -> np.random.Generator:
    """A stream of its own for each purpose and seed, the same on every machine."""
    digest = hashlib.sha256(f"sapiens-bench/{purpose}/{seed}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def draw_weights(groups: Sequence[str], n_draws: int, seed: int) -> DrawCounts:
    """How often each row is drawn, [n_draws, n_rows], in the smallest unsigned type; rows of one group always together.

    As many groups are drawn, with replacement, as there are. A group's weights depend on the set of names alone, not on
    the order of the rows.

    Raises:
        UsageError: ``n_draws`` is negative.
    """
    if n_draws < 0:
        raise UsageError(f"The number of bootstrap draws must not be negative, found {n_draws}.")
    names, group_N = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n, stream = len(names), generator("bootstrap", seed)
    step = max(1, _CHUNK_DRAWS // max(1, n))
    starts = range(0, n_draws, step)
    chunks = [np.take(_group_counts(stream, min(step, n_draws - s), n), group_N, axis=1) for s in starts]
    return np.concatenate(chunks) if chunks else np.zeros((0, len(group_N)), np.uint8)


def _group_counts(stream: np.random.Generator, n_draws: int, n_groups: int) -> DrawCounts:
    """How often each group is drawn, [n_draws, n_groups]."""
    if n_groups == 0:
        return np.zeros((n_draws, 0), np.uint8)
    drawn = stream.integers(0, n_groups, size=(n_draws, n_groups))
    drawn += np.arange(n_draws)[:, None] * n_groups
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_groups)
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0)))).reshape(n_draws, n_groups)


def draw_scores(score_fn: ScoreFn, weights_BN: DrawCounts, keys: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Each score under each draw, float64 [B]; in one go where the aggregate can."""
    if isinstance(score_fn, BatchScores):
        return score_fn.batch(weights_BN, keys)
    draws = [score_fn(weights.astype(np.int64)) for weights in weights_BN]
    return {key: np.array([d[key] for d in draws], np.float64) for key in keys}


def point_scores(score_fn: ScoreFn, n_rows: int, keys: Sequence[str] | None = None) -> dict[str, float]:
    """The scores of the rows as they are; all when ``keys`` is None, else only those, in that order."""
    if keys is not None and isinstance(score_fn, BatchScores):
        found = score_fn.batch(np.ones((1, n_rows), np.uint8), keys)
        return {key: float(values[0]) for key, values in found.items()}
    scores = score_fn(None)
    return scores if keys is None else {key: scores[key] for key in keys}


def count_groups(weights_BN: DrawCounts) -> int:
    """Number of groups that ``draw_weights`` drew from: rows of one group have the same weight in every draw."""
    if weights_BN.shape[1] == 0:
        return 0
    columns = np.ascontiguousarray(weights_BN.T)
    return len({column.tobytes() for column in columns})


def intervals(
    score_fn: ScoreFn,
    weights: DrawCounts,
    level: float = 0.95,
    keys: Sequence[str] | None = None,
    n_groups: int | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Interval]:
    """Intervals of the scores under weights from ``draw_weights``; by which method, ``stats/ends.py`` says.

    The ends are NaN with fewer than two groups, when the score itself is undefined, or when it is undefined in more
    than half of the draws; draws in which it is undefined are left out otherwise.

    Args:
        keys: scores to give; all when None. Fewer keys take less time.
        n_groups: number of independent groups; counted from ``weights`` when None.
        groups: of each row; told from ``weights`` when None.

    Raises:
        ShapeError: ``weights`` is not [draws, rows].
    """
    if weights.ndim != 2:
        raise ShapeError(f"weights have shape {weights.shape}, expected [draws, rows].")
    point = point_scores(score_fn, weights.shape[1], keys)
    wanted = list(point)
    n = count_groups(weights) if n_groups is None else n_groups
    if n < 2 or len(weights) == 0:
        return {key: Interval(point[key], np.nan, np.nan, level, n) for key in wanted}
    left_out = left_out_scores(score_fn, weights, wanted, n, groups)
    draws = draw_scores(score_fn, weights, wanted)
    result = {}
    for key in wanted:
        low, high = (
            ends(draws[key], point[key], level, left_out.get(key)) if np.isfinite(point[key]) else (np.nan, np.nan)
        )
        result[key] = Interval(point[key], low, high, level, n)
    return result


def left_out_scores(
    score_fn: ScoreFn, weights: DrawCounts, keys: Sequence[str], n_groups: int, groups: Sequence[str] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Each score without each group in turn, [G]; empty where there are too many groups to need it.

    Args:
        groups: of each row; told from ``weights`` when None, where rows of one group have the same.
    """
    if n_groups >= FEW_GROUPS or n_groups < 2:
        return {}
    names: Sequence[Any] = (
        [column.tobytes() for column in np.ascontiguousarray(weights.T)] if groups is None else groups
    )
    group_N = np.unique(np.asarray(names), return_inverse=True)[1]
    if group_N.max(initial=-1) + 1 != n_groups:  # too few draws to tell groups apart
        return {}
    others = (group_N[None] != np.arange(group_N.max() + 1)[:, None]).astype(np.uint8)
    return draw_scores(score_fn, others, keys)
