"""Options of predictions that another program stored, for every task."""

from __future__ import annotations

from typing import Literal

from sapiens_bench.cards.options import Options
from sapiens_bench.errors import CardError
from sapiens_bench.models.dense_options import DENSE_PREDICTIONS
from sapiens_bench.types import TaskKind


class StoredPosesOptions(Options):
    annotations: str = ""
    """COCO-format file whose images give the ids of file names; only for data sets that have no ids of their own."""
    keypoint_scores: Literal["final", "stored"] = "final"
    """``final``: the stored score of an instance stands; ``stored``: the protocol's score rule makes it of the box
    score and the keypoints' scores (their third values)."""
    nms: bool = False
    """Apply the protocol's suppression of similar instances once more. Results are final, as a rule."""


def predictions_options(kind: TaskKind) -> type[Options]:
    """What is declared about predictions that another program stored."""
    known: dict[str, type[Options]] = {"pose": StoredPosesOptions, **DENSE_PREDICTIONS}
    if kind.name in known:
        return known[kind.name]
    if kind.stored is None:
        raise CardError(f"Task {kind.name!r} does not say how its predictions are stored (TaskKind.stored).")
    found: type[Options] = kind.stored.Options
    return found
