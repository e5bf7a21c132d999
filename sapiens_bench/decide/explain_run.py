"""The results and the truth of a run, for ``explain-number``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide import pairs
from sapiens_bench.decide.explain import Candidate, Published, candidate, stored_scores
from sapiens_bench.decide.sides import Member, Side
from sapiens_bench.decide.variants import aggregates, is_declared
from sapiens_bench.engine.choices import DataChoice
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import UsageError
from sapiens_bench.store.predictions import read_predictions
from sapiens_bench.store.record import RunRecord
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.types import ScoreInfo, Task


def only_member(side: Side, model: str | None) -> Member:
    """The model whose number it is.

    Raises:
        UsageError: the run has several, or not the one that is named.
    """
    chosen = side.chosen([model] if model else []).members
    if len(chosen) != 1:
        names = ", ".join(f"{m.model} on {m.dataset}" for m in chosen)
        raise UsageError(f"{side.path} has several models ({names}): name one with --model.")
    return chosen[0]


def infos_of(task: Task) -> dict[str, ScoreInfo]:
    """ "<metric>/<score>" -> facts."""
    return {f"{m.name}/{key}": info for m in task.metrics for key, info in m.scores.items()}


def printed(name: str, headline: str, infos: Mapping[str, ScoreInfo], catalog: Catalog) -> list[Published]:
    """The numbers of a published row, ``"<entry>:<row>"``, that the task has scores for.

    Raises:
        UsageError: no such entry or row, or none of its numbers is a score of the task.
    """
    entry_id, _, row = name.partition(":")
    if entry_id not in catalog.published:
        raise UsageError(f"--published {name!r}: neither numbers nor an entry of `sapiens-bench list published`.")
    _, entry = catalog.published[entry_id]
    if row not in entry.rows:
        raise UsageError(f"--published {name!r}: {entry_id} has the rows {', '.join(entry.rows)}.")
    found = []
    for score, key in entry.metrics.items():
        cell = entry.rows[row].get(key)
        known = [k for k in infos if k == score or k.partition("/")[2] == score]
        if cell is not None and isinstance(cell.value, float) and known:
            scale = entry.scale.get(score, 1.0)
            decimals = len(str(cell.value).partition(".")[2])
            found.append(Published(known[0], cell.value * scale, 0.5 * 10.0**-decimals * scale))
    if not found:
        raise UsageError(f"--published {name!r}: none of its numbers is a score of this run ({headline}, ...).")
    return found


def candidates(
    root: Path, record: RunRecord, member: Member, published: Sequence[Published], catalog: Catalog, *, n_draws: int,
    data_root: Path | None,
) -> tuple[list[Candidate], int]:  # fmt: skip
    """Every way to score, and the number of images.

    Raises:
        UsageError: the poses were not kept. DataMissing: the truth is not on this machine.
    """
    weights = Draws(n_draws, 0)
    excluded = pairs.left_out([member])[member.place]
    if member.task != "pose":
        return stored_scores(member, published, weights, excluded), member.rows.num_rows - len(excluded)
    (metric,) = [m for m in pairs.task_of(member).metrics if isinstance(m, OksMetric)]
    keys = [p.key.removeprefix("oks/") for p in published]
    if any(not p.key.startswith("oks/") for p in published):
        raise UsageError("--published: poses are explained by OKS scores (oks/AP ...).")
    targets, predictions, groups = _poses(root, record, member, excluded, catalog, data_root)
    space = member.fields["space"]
    parts = {name: group.index.tolist() for name, group in metric.groups.items() if name and name != "both_hands"}
    drawn = weights(groups)
    found = [
        candidate(variant.title, scores, drawn, keys, is_declared(variant, metric.scoring))
        for variant, scores in aggregates(metric, space["sigmas"], parts, targets, predictions)
    ]
    return found, len(targets)


def _poses(
    root: Path, record: RunRecord, member: Member, excluded: set[str], catalog: Catalog, data_root: Path | None
) -> tuple[list[Any], list[Any], list[str]]:
    """Truth, stored results and group of each image that is scored."""
    task = pairs.task_of(member)
    assert task.from_columns is not None  # poses are always kept beside the rows
    stored = dict(read_predictions(root / "preds" / member.task / member.dataset / member.protocol / member.model))
    if not stored:
        raise UsageError(f"{root} kept no poses of {member.model}: run again without --no-save-preds.")
    asked = record.request
    where = data_root or (Path(asked["data_root"]) if asked.get("data_root") else None)
    choice = DataChoice(
        task=member.task, names=(member.dataset,), protocol=member.protocol, split=asked.get("split") or "",
        boxes=asked.get("boxes") or "", seed=int(asked.get("seed") or 0), limit=asked.get("limit"),
        max_pixels=int(asked.get("max_pixels") or 100_000_000), options=asked.get("data_options") or {},
        scoring=asked.get("scoring") or {}, root=where,
        pictures=False,
    )  # fmt: skip
    adapter = open_named(catalog.dataset(member.dataset), member.protocol, choice, catalog).open.adapter
    adapter = adapter.without_pictures() if hasattr(adapter, "without_pictures") else adapter
    place = {key: i for i, key in enumerate(adapter.keys)}
    wanted = [
        (key, group)
        for key, group in zip(member.rows["key"].to_pylist(), member.rows["group"].to_pylist())
        if key not in excluded
    ]
    targets = [adapter[place[key]].target for key, _ in wanted]
    predictions = [
        task.from_columns(stored[key]) if key in stored else task.miss(target)
        for (key, _), target in zip(wanted, targets)
    ]
    return targets, predictions, [group for _, group in wanted]
