"""The scores by themselves, for a training loop: ``update`` with arrays, ``compute``, ``reset``.

Every object keeps the rows that ``sapiens_bench.evaluate`` would have written, one per image, and aggregates them with
the same code: equal predictions give equal scores, to the last bit. NumPy arrays and torch tensors of any device are
taken; torch is not imported here.

>>> from sapiens_bench.metrics import DepthError
>>> metric = DepthError()
>>> metric.update(predicted_BHW, truth_BHW, mask_BHW)
>>> metric.compute()["depth/abs_rel"]

Axes: B images, H, W their size, N people of an image, K keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.engine.cell import status_of
from sapiens_bench.engine.measure import measure_one
from sapiens_bench.engine.scores import Draws, excluded, score, scored_rows
from sapiens_bench.errors import CardError, ShapeError, UsageError
from sapiens_bench.store.record import ScoreRecord
from sapiens_bench.store.rows import Row, rows_table
from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.alike import scored_alike
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, ResultScores
from sapiens_bench.tasks.seg.types import SegPrediction, SegTarget
from sapiens_bench.types import ModelInput, Task

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PCK", "DepthError", "KeypointAP", "NormalAngles", "SegmentationIoU", "TaskMetric"]

_NOT_THE_CALLERS = ("pred.shape", "pred.kind", "pred.label")  # a mistake in the code around a metric, not a bad answer


class TaskMetric:
    """The metrics of a task over images that are given one by one. The classes below know what arrays mean.

    Args:
        task: what is scored, and how.
        only: names of the metrics whose scores ``compute`` gives; empty: all.
    """

    def __init__(self, task: Task, only: Sequence[str] = ()) -> None:
        self.task = task
        self._only = tuple(only) or tuple(metric.name for metric in task.metrics)
        self._rows: list[Row] = []

    @classmethod
    def named(cls, task: str, space: SpaceCard | None = None, **scoring: Any) -> TaskMetric:
        """Those of any task, a plug-in's too; ``scoring`` are the keys of its protocols.

        Raises:
            UnknownName: no such task. CardError: a wrong key, or a set that the task cannot be scored in.
        """
        return TaskMetric(_task(task, space, scoring))

    def add(self, prediction: Any, target: Any, x: ModelInput, group: str = "") -> None:
        """One image in the task's own records; what is wrong with the answer counts as in a run.

        Raises:
            ShapeError: type, shape or labels of the prediction are wrong.
        """
        index = len(self._rows)
        row: Row = {"index": index, "key": x.key, "group": group}  # names: see ``rows``
        checked, fault = self.task.check(prediction, x, target)
        if fault is not None and fault.code in _NOT_THE_CALLERS:
            raise ShapeError(f"image {index}: {fault.detail}")
        if fault is not None and fault.side == "input":
            self._rows.append(row | status_of(fault))
            return
        found = measure_one(self.task, target, checked, fault)
        self._rows.append(row | found.values | status_of(found.fault))

    def compute(self) -> dict[str, float]:
        """Every score, "<metric>/<score>" -> value as in ``run.json``; UsageError where no image was added."""
        return {key: record.value for key, record in self.records().items()}

    def records(self, n_boot: int = 0, seed: int = 0) -> dict[str, ScoreRecord]:
        """Every score with title, unit and direction; with its interval over the groups where ``n_boot`` draws are
        asked for; UsageError where no image was added."""
        if not self._rows:
            raise UsageError(
                f"{type(self).__name__} has seen no image, so it has no score: call update(predictions, targets) first "
                "(reset() forgets all images)."
            )
        rows = self.rows()
        draws = Draws(n_boot, seed) if n_boot else None
        found = score(scored_rows(rows, excluded([rows])), self.task, draws)
        return {key: record for key, record in found.items() if key.partition("/")[0] in self._only}

    def rows(self) -> pa.Table:
        """One row per image: sums and counts (docs/run_folder.md)."""
        keys = [row["key"] or str(row["index"]) for row in self._rows]  # ``merge`` may have changed its place
        return rows_table([{**row, "key": k, "group": row["group"] or k} for row, k in zip(self._rows, keys)])

    @property
    def faults(self) -> list[tuple[int, str, str]]:
        """(image, code, what was wrong) of each image that is excluded or counts with a fault."""
        return [(r["index"], r["error_code"], r["error_detail"]) for r in self._rows if r["status"] == "error"]

    def merge(self, other: TaskMetric) -> None:
        """Add the images of another object of the same task, of another worker for example.

        Raises:
            ShapeError: it is not of the same kind, or scores otherwise.
        """
        if not scored_alike(self.task, other.task):
            raise ShapeError(f"metrics of {other.task.name} cannot be added to those of {self.task.name}: not alike.")
        start = len(self._rows)
        self._rows += [{**row, "index": start + i} for i, row in enumerate(other._rows)]

    def reset(self) -> None:
        """Forget every image."""
        self._rows = []

    def __len__(self) -> int:
        return len(self._rows)

    def _add_batch(self, images: Sequence[tuple[Any, Any, ModelInput]], groups: Sequence[str] | None) -> Self:
        """All images of a batch, or none of it."""
        if groups is not None and len(groups) != len(images):
            raise ShapeError(f"{len(groups)} groups for {len(images)} images.")
        before = len(self._rows)
        try:
            for i, (prediction, target, x) in enumerate(images):
                self.add(prediction, target, x, "" if groups is None else str(groups[i]))
        except BaseException:
            del self._rows[before:]
            raise
        return self


class KeypointAP(TaskMetric):
    """COCO's average precision of keypoints (OKS): the scores of ``run --task pose``.

    Args:
        space: id of a keypoint set (``sapiens-bench list spaces``).
        sigmas: OKS standard deviations [K], for keypoints that are no set of ours; instead of ``space``.
        scoring: keys of a pose protocol (``PoseScoring``).

    Raises:
        UnknownName: no such set. CardError: a wrong key.
    """

    def __init__(self, space: str = "", sigmas: Sequence[float] = (), only: Sequence[str] = (), **scoring: Any) -> None:
        if bool(space) == bool(len(sigmas)):
            raise CardError("KeypointAP needs the id of a keypoint set, or sigmas.")
        super().__init__(_task("pose", _catalog().space(space) if space else _own_set(sigmas), scoring), only)

    def update(
        self,
        predictions: Sequence[Mapping[str, Any]],
        targets: Sequence[Mapping[str, Any]],
        groups: Sequence[str] | None = None,
    ) -> Self:
        """One mapping per image, in pixels of the image, pixel centres at integers.

        Args:
            predictions: ``keypoints`` [N, K, 2], ``scores`` [N], ``keypoint_scores`` [N, K] (default 1), and ``boxes``
                [N, 4] (xyxy) where a box drove each instance: scores are then made and instances suppressed by the
                protocol's rules. Without boxes every instance counts and its score stands.
            targets: ``keypoints`` [N, K, 3] (x, y, visibility: 0 unlabelled) and ``area`` [N] in px²; ``boxes`` [N, 4]
                and ``is_crowd`` [N] where they are known, ``head_size`` [N] for ``pck="head"``.
            groups: independent unit of each image for intervals; default: each its own.

        Raises:
            ShapeError: an array is missing or has another shape.
        """
        _same_length(predictions, targets)
        pairs = [(_people(t), p) for p, t in zip(predictions, targets, strict=True)]
        return self._add_batch([(_instances(p, t), t, _input(_boxes(p, t))) for t, p in pairs], groups)


class PCK(KeypointAP):
    """Share of keypoints within a part of a length of the person: PCKh (``by="head"``), PCK ("box"), tPCK ("torso")."""

    def __init__(
        self, space: str = "", sigmas: Sequence[float] = (), by: str = "torso", threshold: float = 0.2, **scoring: Any
    ) -> None:
        given = {"pck": by, "pck_thresholds": [threshold], **scoring}
        super().__init__(space, sigmas, only=("pck",), **given)


class SegmentationIoU(TaskMetric):
    """Mean IoU and accuracy of labels, and IoU along their boundaries: the scores of ``run --task seg``.

    Args:
        space: id of a label set; or the class names, or their number, where it is no set of ours.
        scoring: keys of a segmentation protocol (``SegScoring``).
    """

    def __init__(self, space: str | Sequence[str] | int, **scoring: Any) -> None:
        super().__init__(_task("seg", _label_set(space), scoring))

    def update(self, labels: Any, truth: Any, groups: Sequence[str] | None = None) -> Self:
        """Class indices.

        Args:
            labels: integers [B, H, W] (or one image, [H, W]); 254: no class.
            truth: likewise; 255: not scored.
        """
        pairs = _batches((labels, truth), 2)
        for _, t in pairs:
            if t.dtype.kind not in "iub" or (t.size and (t.min() < 0 or t.max() > 255)):
                raise ShapeError(f"truth holds {t.dtype}; labels are integers from 0 to 255.")
        images = [(SegPrediction(p), SegTarget(t.astype(np.uint8)), _whole(t.shape)) for p, t in pairs]
        return self._add_batch(images, groups)


class DepthError(TaskMetric):
    """RMSE, AbsRel, delta and edges after alignment: the scores of ``run --task depth``.

    Args:
        kind: what the numbers mean (``DepthKind``), hence the space that the fit is made in.
        scoring: keys of a depth protocol (``alignment``, ``edges``).
    """

    def __init__(self, kind: DepthKind = "affine_invariant_depth", **scoring: Any) -> None:
        super().__init__(_task("depth", None, scoring))
        self.kind: DepthKind = kind

    def update(self, depth: Any, truth: Any, mask: Any = None, groups: Sequence[str] | None = None) -> Self:
        """Maps at the truth's size.

        Args:
            depth: [B, H, W] or [H, W], in the meaning of ``kind``.
            truth: likewise; metres along the optical axis.
            mask: true where it is scored; default: wherever the truth is finite and positive.
        """
        given = (depth, truth) if mask is None else (depth, truth, mask)
        images = []
        for p, t, *m in _batches(given, 2):
            valid = np.isfinite(t) & (t > 0) & (np.asarray(m[0], bool) if m else True)
            target = DepthTarget(np.where(valid, t, np.nan).astype(np.float32), valid)
            images.append((DepthPrediction(p.astype(np.float32, copy=False), self.kind), target, _whole(t.shape)))
        return self._add_batch(images, groups)


class NormalAngles(TaskMetric):
    """Mean and median angle, and shares within 11.25, 22.5 and 30 degrees: the scores of ``run --task normal``."""

    def __init__(self, **scoring: Any) -> None:
        super().__init__(_task("normal", None, scoring))

    def update(self, normals: Any, truth: Any, mask: Any = None, groups: Sequence[str] | None = None) -> Self:
        """Vectors of any positive length; x right, y up, z towards the viewer.

        Args:
            normals: [B, 3, H, W] or [3, H, W].
            truth: likewise, of unit length.
            mask: [B, H, W] or [H, W], true where it is scored; default: where the truth is finite and not zero.
        """
        images = []
        masks = _masks(mask)
        pairs = _batches((normals, truth), 3)
        if masks is not None:
            _same_length(masks, pairs)
        for i, (p, t) in enumerate(pairs):
            if len(t) != 3 or len(p) != 3:
                raise ShapeError(f"normals have shape {p.shape} and {t.shape}; expected [B, 3, H, W].")
            vectors = np.ascontiguousarray(np.moveaxis(t, 0, -1), np.float32)
            valid = np.isfinite(vectors).all(axis=-1) & (vectors != 0).any(axis=-1)
            if masks is not None:
                _same_shape(masks[i].shape, valid.shape)
                valid &= masks[i]
            target = NormalTarget(np.where(valid[..., None], vectors, np.float32(0)), valid)
            answer = NormalPrediction(np.ascontiguousarray(np.moveaxis(p, 0, -1), np.float32))
            images.append((answer, target, _whole(valid.shape)))
        return self._add_batch(images, groups)


@cache
def _catalog() -> Catalog:
    return Catalog.load()


def _task(name: str, space: SpaceCard | None, scoring: Mapping[str, Any]) -> Task:
    kind = task_kind(name)
    return kind.make(read_options(kind.Scoring, scoring, f"metric of {name}"), space)


def _own_set(sigmas: Sequence[float]) -> SpaceCard:
    names = tuple(f"point_{k}" for k in range(len(sigmas)))
    values: dict[str, Any] = {"schema": "space/1", "id": "own", "title": "own", "kind": "keypoints", "source": "own"}
    return SpaceCard(**values, names=names, sigmas=tuple(float(s) for s in sigmas))


def _label_set(space: str | Sequence[str] | int) -> SpaceCard:
    if isinstance(space, str):
        return _catalog().space(space)
    names = tuple(f"class_{i}" for i in range(space)) if isinstance(space, int) else tuple(space)
    values: dict[str, Any] = {"schema": "space/1", "id": "own", "title": "own", "kind": "labels", "source": "own"}
    return SpaceCard(**values, names=names)


def _array(value: Any) -> NDArray[Any]:
    """NumPy's view of an array or tensor."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value  # NumPy has no such type
    return np.asarray(value)


def _same_length(a: Sized, b: Sized) -> None:
    if len(a) != len(b):
        raise ShapeError(f"{len(a)} predictions for {len(b)} truths.")


def _same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a != b:
        raise ShapeError(f"arrays of shape {a} and {b} belong to one image.")


def _batches(given: Sequence[Any], n_axes: int) -> list[tuple[NDArray[Any], ...]]:
    """The arrays image by image; each is [B, ...] or that of one image, of ``n_axes``."""
    arrays = [_array(value) for value in given]
    arrays = [array[None] if array.ndim == n_axes else array for array in arrays]
    for array in arrays:
        if array.ndim != n_axes + 1:
            raise ShapeError(f"an array has shape {array.shape}; expected {n_axes + 1} axes, or {n_axes} of one image.")
        _same_shape(array.shape, arrays[0].shape)
    return list(zip(*arrays, strict=True))


def _masks(mask: Any) -> NDArray[np.bool_] | None:
    found = None if mask is None else _array(mask).astype(bool)
    return found[None] if found is not None and found.ndim == 2 else found


def _whole(shape_hw: Sequence[int]) -> ModelInput:
    """The input that a check is given: a picture nobody looks at, one box around it."""
    height, width = shape_hw[:2]
    return _input(np.array([[0, 0, width, height]], np.float32))


def _input(boxes_N4: NDArray[np.floating]) -> ModelInput:
    boxes = boxes_N4.astype(np.float32)
    return ModelInput("", np.zeros((0, 0, 3), np.uint8), boxes, np.ones(len(boxes), np.float32))


def _of(given: Mapping[str, Any], name: str, default: Callable[[], NDArray[Any]] | None = None) -> NDArray[Any]:
    if name in given:
        return _array(given[name])
    if default is None:
        raise ShapeError(f"{name!r} is missing; there are {', '.join(map(repr, given)) or 'none'}.")
    return default()


def _people(given: Mapping[str, Any]) -> PoseTarget:
    points = _of(given, "keypoints")
    if points.ndim != 3 or points.shape[2] != 3:
        raise ShapeError(f"keypoints of the truth have shape {points.shape}; expected [N, K, 3] (x, y, visibility).")
    n, area = len(points), _of(given, "area").astype(np.float64)
    target = PoseTarget(
        keypoints_NK2_px=points[..., :2].astype(np.float64),
        visible_NK=points[..., 2].astype(np.float32),
        area_N=area,
        is_crowd_N=_of(given, "is_crowd", lambda: np.zeros(n, bool)).astype(bool),
        boxes_xyxy_px_N4=_of(given, "boxes", lambda: np.zeros((n, 4))).astype(np.float64),
        ids_N=np.arange(1, n + 1),
        head_size_px_N=_of(given, "head_size").astype(np.float64) if "head_size" in given else None,
    )
    for field in fields(target):
        value = getattr(target, field.name)
        if isinstance(value, np.ndarray) and len(value) != n:
            raise ShapeError(f"{field.name} of the truth has {len(value)} entries for {n} people.")
    return target


def _boxes(given: Mapping[str, Any], target: PoseTarget) -> NDArray[np.floating]:
    return _of(given, "boxes", lambda: target.boxes_xyxy_px_N4)


def _instances(given: Mapping[str, Any], target: PoseTarget) -> PosePrediction:
    points = _of(given, "keypoints")
    n, k = (len(points), points.shape[1]) if points.ndim == 3 else (0, 0)
    scores = _of(given, "keypoint_scores", lambda: np.ones((n, k), np.float32))
    is_driven = "boxes" in given
    return PosePrediction(
        keypoints_NK2_px=points if points.dtype.kind == "f" else points.astype(np.float64),
        keypoint_scores_NK=scores,
        instance_scores_N=_of(given, "scores"),
        boxes_xyxy_px_N4=_of(given, "boxes").astype(np.float32) if is_driven else np.zeros((n, 4), np.float32),
        results=None if is_driven else ResultScores(),
    )
