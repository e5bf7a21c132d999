"""The level of each thing changed that costs most, and pictures of it: the reference beside the condition.

Shown are files of the runs: the data set opened again for pictures and truth, and the predictions that were kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.decide.sides import Side
from sapiens_bench.errors import SapiensBenchError
from sapiens_bench.publish import rasters
from sapiens_bench.publish.gallery import Layers
from sapiens_bench.publish.layers import map_layers, pose_layers
from sapiens_bench.publish.place import Place
from sapiens_bench.publish.ranking import Ranking, map_ranking
from sapiens_bench.report.page import Case, Layer
from sapiens_bench.report.study_page import Pair
from sapiens_bench.store.record import read_run
from sapiens_bench.study.effects import Effect, Profile
from sapiens_bench.study.figure import series_of
from sapiens_bench.tasks.pose.types import PosePrediction

NOTHING_KEPT = (
    "The runs kept no predictions that could be drawn: pictures and truth alone. The same `study` command with "
    "--save-maps keeps those of dense tasks."
)


class _Posed(NamedTuple):
    title: str
    predictions: Mapping[str, PosePrediction]


class Loss(NamedTuple):
    """A level and a model."""

    profile: Profile
    effect: Effect


def worst_level(profile: Profile, series: str) -> Effect | None:
    """The level of one thing changed that costs the model most; None where none costs it anything."""
    sign = 1 if profile.info.higher_is_better else -1
    costly = [e for e in profile.effects if e.trial.series == series and sign * e.found.difference < 0]
    return min(costly, key=lambda e: sign * e.found.difference, default=None)


def worst_levels(found: Sequence[Profile]) -> dict[str, Loss | None]:
    """Of each thing changed the level and the model that lose most."""
    result: dict[str, Loss | None] = {}
    for series in series_of(found):
        losses = [Loss(p, e) for p in found if (e := worst_level(p, series)) is not None]
        result[series] = max(losses, key=lambda loss: abs(loss.effect.found.difference), default=None)
    return result


@dataclass
class Shown:
    """Pictures of one data set and protocol under one condition."""

    root: Path  # the run folder
    side: Side
    where: tuple[str, str]  # data set and protocol
    catalog: Catalog
    data_root: Path | None = None
    with_pictures: bool = False
    notes: list[str] = field(default_factory=list)  # why something cannot be shown

    @cached_property
    def place(self) -> Place:
        """The data set and the models."""
        record = read_run(self.root)
        members = [m for m in self.side.members if m.place == self.where]
        cells = {c.model: c for c in record.cells if (c.dataset, c.protocol) == self.where}
        chosen = [cells[m.model] for m in members]
        return Place(self.root, record, self.catalog, chosen, members, self.data_root, self.with_pictures, self.notes)

    @cached_property
    def ranking(self) -> Ranking:
        """A score of each image alone under each model, from the rows: no truth is read for it."""
        return map_ranking(self.place)

    @cached_property
    def _layers(self) -> Layers:
        """What is laid over a picture; layers are numbered as the models are."""
        place = self.place
        if place.task.name != "pose":
            return map_layers(place)
        return pose_layers(place, [_Posed(m.title, place.stored(m.model)) for m in place.members])

    def case(self, key: str, model: str, under: str, id_: str) -> Case | None:
        """One picture with what the models made of it; None where it cannot be read."""
        sample = self.place.sample(key)
        if sample is None or not sample.input.image_HW3.size:
            return None
        made, models = self._layers(key, sample), [m.model for m in self.place.members]
        height, width = sample.input.image_HW3.shape[:2]
        return Case(
            id=id_, key=f"{under} · {key}", width=width, height=height,
            picture=rasters.photograph(sample.input.image_HW3), layers=tuple(made),
            values=tuple(self._values(key)), first=_first(made, models.index(model)),
        )  # fmt: skip

    def _values(self, key: str) -> Sequence[tuple[str, str]]:
        ranking = self.ranking
        at = list(ranking.keys).index(key) if key in ranking.keys else -1
        titles = {m.model: m.title for m in self.place.members}
        told = {model: float(values[at]) for model, values in ranking.values.items()} if at >= 0 else {}
        return [(titles[model], ranking.shown(value)) for model, value in told.items() if math.isfinite(value)]


def _first(layers: Sequence[Layer], position: int) -> tuple[str, str]:
    """The model's points over the whole picture; a map, or the truth, over one half of it."""
    own = next((layer for layer in layers if layer.name == f"m{position}"), None)
    if own is not None:
        return (own.name, own.name) if not own.uri else (own.name, "")
    return ("truth", "") if any(layer.name == "truth" for layer in layers) else ("", "")


def telling_keys(before: Mapping[str, Any], after: Mapping[str, Any], *, higher_is_better: bool) -> list[str]:
    """The picture whose score suffers most, and the one in the middle.

    Args:
        before: score of each picture under the reference, after: under the condition; NaN where undefined.
    """
    sign = 1 if higher_is_better else -1
    losses = {key: sign * float(before[key] - after[key]) for key in before if key in after}
    order = sorted((key for key, loss in losses.items() if math.isfinite(loss)), key=lambda key: -losses[key])
    return list(dict.fromkeys([*order[:1], *order[len(order) // 2 : len(order) // 2 + 1]]))


def _kind(number: int, lost: float) -> str:
    """What a picture is shown for; a set can lose where no picture does, as AP ranks the answers of all of them."""
    return "In the middle" if number else "Loses most" if lost > 0 else "No picture loses by itself"


def pairs(before: Shown, after: Shown, loss: Loss, prefix: str) -> tuple[list[Pair], list[str]]:
    """The telling pictures of a condition, and why there are none.

    Args:
        prefix: letters, digits and "-": of the ids.
    """
    model, trial = loss.profile.model, loss.effect.trial
    try:
        a, b = before.ranking, after.ranking
    except SapiensBenchError as error:
        return [], [f"Pictures cannot be shown: {error}"]
    if not (before.place.may_show and after.place.may_show):
        licence = before.place.licence
        return [], [f"Pictures are not embedded, since the data set's licence is {licence!r}; `report STUDY --format "
                    "html --with-pictures` embeds them where you may show them."]  # fmt: skip
    scores = [dict(zip(r.keys, r.values.get(model, np.full(len(r.keys), np.nan)))) for r in (a, b)]
    found = []
    for number, key in enumerate(telling_keys(scores[0], scores[1], higher_is_better=a.higher_is_better)):
        said = [(f"{trial.series} {trial.level}".replace("_", " "), after, "b"), ("reference", before, "a")]
        cases = [shown.case(key, model, under, f"{prefix}-{number}{letter}") for under, shown, letter in reversed(said)]
        if cases[0] is not None and cases[1] is not None:
            values = " to ".join(r.shown(float(s[key])) for r, s in zip((a, b), scores))
            lost = (-1, 1)[a.higher_is_better] * float(scores[0][key] - scores[1][key])
            found.append(Pair(f"{_kind(number, lost)}: {loss.profile.title}, {a.title}, {values}", cases[0], cases[1]))
    if not found:
        return [], list(dict.fromkeys([*before.notes, *after.notes]))
    has_own = any(layer.name not in ("", "truth") and (layer.people or layer.uri) for pair in found
                  for case in (pair.before, pair.after) for layer in case.layers)  # fmt: skip
    return found, [] if has_own else [NOTHING_KEPT]
