"""The segmentation task of one protocol."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.options import Options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import CardError, SampleFault
from sapiens_bench.tasks.boxes import box_around
from sapiens_bench.tasks.seg.codec import LabelCodec
from sapiens_bench.tasks.seg.metrics import BoundaryMetric, SegMetric
from sapiens_bench.tasks.seg.noise import SegNoise, add_noise
from sapiens_bench.tasks.seg.types import IGNORE, NO_CLASS, SegPrediction, SegTarget
from sapiens_bench.types import Floor, ModelInput, Noise, Task, TaskKind


class SegScoring(Options):
    """The ``scoring`` keys of a segmentation protocol."""

    classes: tuple[str, ...] | None = None
    """Names of the classes that are scored; default all."""
    boundary: bool = True
    """Boundary IoU beside the area's."""


def make(scoring: SegScoring, space: SpaceCard | None) -> Task:
    """Segmentation scored in ``space``.

    Raises:
        CardError: no label set, or a class that it does not have.
    """
    if space is None or space.kind != "labels":
        found = "none is named" if space is None else f"{space.id!r} is a set of keypoints"
        raise CardError(f"segmentation is scored in a label set, and {found}. `sapiens-bench list spaces` shows them.")
    scored = _scored(scoring.classes, space)
    metrics: tuple[Any, ...] = (SegMetric(space.names, scored),)
    if scoring.boundary:
        metrics += (BoundaryMetric(len(space.names), scored),)
    return Task(
        kind=SEG,
        metrics=metrics,
        headline="seg/miou",
        check=Check(len(space.names)),
        miss=miss,
        perfect=perfect,
        names=space.names,
        remap=remap,
        person_boxes=person_boxes,
        attributes=attributes,
    )


def attributes(target: SegTarget) -> dict[str, float]:
    """``person_share``: scored pixels that are not background (class 0); ``classes``: how many others there are;
    ``ignored_share``: pixels that are not scored, of all. NaN where there is no pixel to form a share of."""
    counts = np.bincount(target.labels_HW.ravel(), minlength=256)
    total, ignored, background = int(counts.sum()), int(counts[IGNORE]), int(counts[0])
    scored = total - ignored
    return {
        "person_share": (scored - background) / scored if scored else math.nan,
        "classes": float(np.count_nonzero(counts[1:IGNORE])),
        "ignored_share": ignored / total if total else math.nan,
    }


def _scored(names: tuple[str, ...] | None, space: SpaceCard) -> list[int] | None:
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


def person_boxes(target: SegTarget) -> NDArray[np.float64]:
    """One box around every pixel of a person: neither background (0) nor ignored."""
    return box_around((target.labels_HW != 0) & (target.labels_HW != IGNORE))


def remap(prediction: SegPrediction, index: NDArray[np.int64]) -> SegPrediction:
    """Source labels -> target labels; ``index[source]`` is the target label, negative or 255 where there is none.

    Labels outside the source set become 255, which the check refuses.
    """
    table = np.full(256, IGNORE, np.uint8)
    none = (index < 0) | (index == IGNORE)
    table[: len(index)] = np.where(none, NO_CLASS, index)
    table[NO_CLASS] = NO_CLASS
    return SegPrediction(table[prediction.labels_HW])


def all_background(mask_HW: NDArray[np.bool_]) -> SegPrediction:
    """Class 0 everywhere."""
    return SegPrediction(np.zeros(mask_HW.shape, np.uint8))


SEG = TaskKind(
    name="seg",
    title="Body-part segmentation",
    what="which body part or garment every pixel shows (mIoU, mAcc)",
    Scoring=SegScoring,
    make=make,
    codec=LabelCodec(),
    noise=Noise(SegNoise, add_noise),
    floors={"all-background": Floor(all_background)},
)
