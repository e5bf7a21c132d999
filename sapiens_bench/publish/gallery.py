"""Which images to look at: the worst, the median and the best of each model, with what every model made of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sapiens_bench.publish import rasters
from sapiens_bench.publish.place import Place
from sapiens_bench.publish.ranking import Ranking
from sapiens_bench.report.page import Case, Gallery, Layer, Pick, Picks

MOST_CASES = 24
MOST_MODELS = 10  # with layers of their own
Layers = Callable[[str, Any], list[Layer]]  # (sample key, sample) -> layers, the truth first


def chosen(ranking: Ranking, n_models: int) -> dict[str, dict[str, list[int]]]:
    """Model -> worst, median and best -> image numbers; fewer each, the more models there are."""
    n = max(1, min(3, MOST_CASES // (3 * max(1, n_models))))
    found: dict[str, dict[str, list[int]]] = {}
    for model, values in ranking.values.items():
        defined = np.flatnonzero(np.isfinite(values))
        sign = 1.0 if ranking.higher_is_better else -1.0
        order = defined[np.argsort(sign * values[defined], kind="stable")].tolist()
        middle = max(0, (len(order) - n) // 2)
        found[model] = {
            "worst": order[:n], "median": order[middle : middle + n], "best": order[max(0, len(order) - n) :][::-1],
        }  # fmt: skip
    return found


def gallery(place: Place, ranking: Ranking, layers: Layers, prefix: str, notes: Sequence[str] = (),
            legend: Sequence[tuple[str, tuple[int, int, int]]] = ()) -> Gallery:  # fmt: skip
    """The cases of a place. Nothing of a data set's own is embedded unless its licence, or the user, allows it."""
    titles = {member.model: member.title for member in place.members}
    picks = chosen(ranking, len(ranking.values))
    wanted = sorted({i for of_model in picks.values() for kind in of_model.values() for i in kind})
    remarks = list(notes)
    cases: list[Case] = []
    if place.may_show:
        first = _most_telling(place, picks)
        cases = [c for i in wanted if (c := _case(place, ranking, layers, prefix, i, titles, first)) is not None]
    elif wanted:
        remarks.append(
            f"Pictures, truth and maps are not embedded, since the data set's licence is {place.licence!r}; "
            "--with-pictures embeds them where you may show them."
        )
    there = {case.id for case in cases}
    shown = tuple(
        Picks(titles[model], *(_picks(ranking, model, of_model[kind], prefix, there)
                               for kind in ("worst", "median", "best")))
        for model, of_model in picks.items()
    )  # fmt: skip
    if len(place.members) > MOST_MODELS:
        remarks.append(f"Layers are those of the first {MOST_MODELS} models.")
    return Gallery(ranking.title, tuple(cases), shown, place.licence, tuple(remarks), tuple(legend))


def _most_telling(place: Place, picks: Mapping[str, Any]) -> str:
    """The model that a case shows at first: the first network, else the first that is no floor, else any."""
    kinds = {cell.model: cell.kind for cell in place.cells}
    order = {"network": 0, "diagnostic": 1}
    return min(picks, key=lambda model: order.get(kinds[model], 2), default="")


def case_id(prefix: str, position: int) -> str:
    """Id of the case of an image by its number."""
    return f"{prefix}-case-{position}"


def layer_name(position: int, kind: str = "") -> str:
    """Name of the layer of a model by its number among the place's models."""
    return f"m{position}{'-' + kind if kind else ''}"


def _picks(ranking: Ranking, model: str, images: Sequence[int], prefix: str, there: set[str]) -> tuple[Pick, ...]:
    position = list(ranking.values).index(model)
    return tuple(
        Pick(case_id(prefix, i) if case_id(prefix, i) in there else "", layer_name(position),
             f"{ranking.keys[i].rpartition('/')[2]}: {ranking.shown(float(ranking.values[model][i]))}")
        for i in images
    )  # fmt: skip


def _case(
    place: Place,
    ranking: Ranking,
    layers: Layers,
    prefix: str,
    position: int,
    titles: Mapping[str, str],
    first: str,
) -> Case | None:
    key = ranking.keys[position]
    sample = place.sample(key)
    if sample is None or not sample.input.image_HW3.size:
        return None
    made = layers(key, sample)
    names = [layer.name for layer in made]
    right = layer_name(list(ranking.values).index(first))
    values = tuple(
        (titles[model], ranking.shown(float(found[position])))
        for model, found in ranking.values.items()
        if math.isfinite(float(found[position]))
    )
    height, width = sample.input.image_HW3.shape[:2]
    return Case(
        id=case_id(prefix, position),
        key=key,
        width=width,
        height=height,
        picture=rasters.photograph(sample.input.image_HW3),
        layers=tuple(made),
        values=values,
        first=("truth" if "truth" in names else "", right if right in names else next(iter(names), "")),
    )
