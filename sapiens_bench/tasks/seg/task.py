"""The segmentation task of one protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, SampleFault
from sapiens_bench.tasks.seg.metrics import BoundaryMetric, SegMetric
from sapiens_bench.tasks.seg.types import IGNORE, NO_CLASS, SegPrediction, SegTarget
from sapiens_bench.types import ModelInput, Task

SCORING = {"classes", "boundary"}


def make_task(protocol: EvalProtocol, space: SpaceCard | None) -> Task:
    """Segmentation scored in ``space``.

    ``protocol.scoring``: ``classes`` (names that are scored; default all), ``boundary`` (boundary IoU; default true).

    Raises:
        CardError: no label set, or an unknown key or class.
    """
    if space is None or space.kind != "labels":
        raise CardError("a segmentation protocol needs a label space")
    unknown = set(protocol.scoring) - SCORING
    if unknown:
        raise CardError(f"unknown scoring key {sorted(unknown)[0]!r}; known: {sorted(SCORING)}")
    scored = _scored(protocol.scoring.get("classes"), space)
    metrics: tuple[Any, ...] = (SegMetric(space.names, scored),)
    if protocol.scoring.get("boundary", True):
        metrics += (BoundaryMetric(len(space.names), scored),)
    return Task(
        name="seg",
        metrics=metrics,
        headline="seg/miou",
        check=Check(len(space.names)),
        miss=miss,
        perfect=perfect,
        remap=remap,
    )


def _scored(names: list[str] | None, space: SpaceCard) -> list[int] | None:
    if names is None:
        return None
    missing = [n for n in names if n not in space.names]
    if missing:
        raise CardError(f"class {missing[0]!r} is not in the label set {space.id!r}")
    return [space.names.index(n) for n in names]


class Check:
    """Refuses what would score wrongly: another shape, labels out of range, labels that are not integers.

    Integers of any width, and booleans, become uint8 once they are known to be in range.
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def __call__(self, prediction: Any, x: ModelInput, target: SegTarget) -> tuple[SegPrediction, SampleFault | None]:
        if not bool((target.labels_HW != IGNORE).any()):
            return miss(target), SampleFault("label.empty", "every pixel of the label is ignored", "input")
        fault = self.fault(prediction, target)
        if fault is not None:
            return miss(target), fault
        labels = prediction.labels_HW
        return (prediction if labels.dtype == np.uint8 else SegPrediction(labels.astype(np.uint8))), None

    def fault(self, prediction: Any, target: SegTarget) -> SampleFault | None:
        """The first fault of a prediction, or None."""
        labels = getattr(prediction, "labels_HW", None)
        if not isinstance(labels, np.ndarray) or labels.shape != target.labels_HW.shape:
            shape = getattr(labels, "shape", type(prediction).__name__)
            return SampleFault("pred.shape", f"labels {shape}, expected {target.labels_HW.shape}", "prediction")
        if labels.dtype.kind not in "iub":
            return SampleFault("pred.label", f"labels are {labels.dtype}, not integers", "prediction")
        wrong = (labels < 0) | ((labels >= self.n_classes) & (labels != NO_CLASS))
        if wrong.any():
            first = int(labels[wrong][0])
            return SampleFault("pred.label", f"label {first}; valid are 0..{self.n_classes - 1}", "prediction")
        return None


def miss(target: SegTarget) -> SegPrediction:
    """No class anywhere: every valid pixel is a false negative of its true class."""
    return SegPrediction(np.full(target.labels_HW.shape, NO_CLASS, np.uint8))


def perfect(target: SegTarget) -> SegPrediction:
    """The truth; ignored pixels, which never count, become background."""
    return SegPrediction(np.where(target.labels_HW == IGNORE, 0, target.labels_HW).astype(np.uint8))


def remap(prediction: SegPrediction, index: NDArray[np.int64]) -> SegPrediction:
    """Source labels -> target labels; ``index[source]`` is the target label, negative or 255 where there is none.

    Labels outside the source set become 255, which the check refuses.
    """
    table = np.full(256, IGNORE, np.uint8)
    none = (index < 0) | (index == IGNORE)
    table[: len(index)] = np.where(none, NO_CLASS, index)
    table[NO_CLASS] = NO_CLASS
    return SegPrediction(table[prediction.labels_HW])
