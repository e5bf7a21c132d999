"""Stored predictions behind the Model protocol: methods that need their own environment are scored from their outputs.

- pose: the weight file is a COCO results JSON (``models/pose_results.py``).
- depth, normal, seg: the weight "file" is a folder with a file for each sample (``models/dense_results.py``).

Options: pose ``annotations`` (file) and ``keypoint_scores`` ("final" or "stored"); of the others: dense_options.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sapiens_bench.errors import UsageError, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_results import DenseResults
from sapiens_bench.models.pose_results import PoseResults
from sapiens_bench.types import ModelInput, Prepared

_POSE_OPTIONS = {"annotations": "", "keypoint_scores": "final"}


class Predictions:
    """Reads what another program predicted; there is no network, so ``forward`` is never called.

    Raises:
        WeightsMissing: the card names no file.
        CheckpointRejected: the results file is malformed, or the folder holds no predictions.
        UsageError: an unknown option for poses.
    """

    def __init__(self, context: ModelContext) -> None:
        if context.weights is None:
            raise WeightsMissing(f"{context.variant.id}: the card names no file or folder with stored predictions.")
        self._results: PoseResults | DenseResults
        if context.card.task == "pose":
            self._results = _pose(context, context.weights)
        else:
            self._results = DenseResults(context.weights, context.card.task, context.options)

    def prepare(self, x: ModelInput) -> Prepared:
        """Only the name, and how many people or pixels are asked for: the pixels were looked at elsewhere."""
        asked = len(x.boxes_xyxy_px) if isinstance(self._results, PoseResults) else x.image_HW3.shape[:2]
        return Prepared({}, (x.key, asked))

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Never called, since ``prepare`` makes no crops."""
        return {}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: tuple[str, Any]) -> Any:
        """The stored prediction; its numbers are checked by the task.

        Raises:
            SampleFault: side ``prediction``; ``pred.missing``, ``pred.shape``, ``pred.unreadable`` and their like.
        """
        return self._results.prediction(*geometry)


def _pose(context: ModelContext, path: Path) -> PoseResults:
    if context.space is None:
        raise UsageError(f"{context.variant.id}: stored poses need `space:` in the model card.")
    options = _checked_options(context)
    annotations = Path(options["annotations"]) if options["annotations"] else None
    return PoseResults(path, len(context.space.names), annotations, options["keypoint_scores"] == "stored")


def _checked_options(context: ModelContext) -> dict[str, str]:
    options = {**_POSE_OPTIONS, **context.options}
    unknown = sorted(set(options) - set(_POSE_OPTIONS))
    if unknown:
        raise UsageError(f"{context.variant.id} has no option {unknown}. Known: {sorted(_POSE_OPTIONS)}.")
    allowed = {"keypoint_scores": ("final", "stored")}
    for name, value in options.items():
        if not isinstance(value, str) or value not in allowed.get(name, (value,)):
            raise UsageError(f"{context.variant.id}: option {name} is {value!r}, expected one of {allowed.get(name)}.")
    return options
