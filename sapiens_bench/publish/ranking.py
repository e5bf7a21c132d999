"""One score of each image under each model: what orders a gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.decide.pairs import score_info
from sapiens_bench.publish.place import Place, image_values
from sapiens_bench.publish.pose_groups import PoseModel, pose_models


@dataclass(frozen=True)
class Ranking:
    """One score of each image under each model."""

    title: str  # what the score is
    keys: Sequence[str]
    values: Mapping[str, NDArray[np.float64]]  # model -> [images]; NaN where undefined
    higher_is_better: bool
    shown: Callable[[float], str]
    scale: float = 1.0  # from the score to what is drawn


def pose_ranking(place: Place, models: Sequence[PoseModel]) -> Ranking:
    """By the mean OKS of an image's people, which says more of one image than its AP."""
    keys = place.keys
    at = {key: i for i, key in enumerate(keys)}
    values = {}
    for model in models:
        values[model.model] = np.full(len(keys), np.nan)
        values[model.model][[at[key] for key in model.keys]] = model.pairing.oks_of_images()
    return Ranking("mean OKS of the people of an image", keys, values, True, lambda v: f"{v:.2f}")


def map_ranking(place: Place) -> Ranking:
    """By the score that ranks the table, over each image alone.

    Raises:
        UnknownName: the task has no such score.
    """
    key = place.task.headline
    info = score_info(place.task, key)
    metric_name, _, score = key.partition("/")
    metric = next(m for m in place.task.metrics if m.name == metric_name)
    values = {m.model: image_values(m, metric, score, place.keys) for m in place.members}
    scale = 100.0 if info.percent else 1.0
    unit = "%" if info.percent else info.unit
    return Ranking(
        f"{info.title} of an image alone{f', {unit}' if unit else ''}", place.keys, values, info.higher_is_better,
        lambda v: f"{v * scale:.{info.decimals}f}", scale,
    )  # fmt: skip


def image_scores(place: Place) -> Mapping[str, NDArray[np.float64]]:
    """Model -> the score of each image; of poses whose predictions or truth are not there, that of the table."""
    models = pose_models(place) if place.task.name == "pose" and place.data is not None else []
    return (pose_ranking(place, models) if models else map_ranking(place)).values
