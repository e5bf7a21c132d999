"""Stored predictions behind the Model protocol: methods that need their own environment are scored from their outputs.

- pose: the weight file is a COCO results JSON (``models/pose_results.py``).
- depth, normal, seg: the weight "file" is a folder with a file for each sample (``models/dense_results.py``).

Options: ``StoredPosesOptions`` of models/options.py; ``StoredLabels``, ``StoredDepth`` and ``StoredNormals`` of
models/dense_options.py.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sapiens_bench.errors import UsageError, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.dense_results import DenseResults
from sapiens_bench.models.pose_results import PoseResults
from sapiens_bench.types import ModelInput, Prepared


class Predictions:
    """Reads what another program predicted; there is no network, so ``forward`` is never called.

    Raises:
        WeightsMissing: the card names no file.
        CheckpointRejected: the results file is malformed, or the folder holds no predictions.
        UsageError: a pose card without ``space``.

    ``notes`` is what must be said under the table.
    """

    def __init__(self, context: ModelContext) -> None:
        if context.weights is None:
            raise WeightsMissing(f"{context.variant.id}: the card names no file or folder with stored predictions.")
        self._results: PoseResults | DenseResults
        if context.card.task != "pose":
            maps = self._results = DenseResults(context.weights, context.card.task, context.options)
            if context.space is not None and (doubt := maps.coding_doubt(context.space.names)):
                maps.notes += (doubt,)
            if doubt := maps.zero_doubt():
                maps.notes += (doubt,)
        elif context.space is None:
            raise UsageError(f"{context.variant.id}: stored poses need `space:` in the model card.")
        else:
            self._results = PoseResults(context.weights, context.space.names, context.index, context.options)
        self.notes = self._results.notes
        # Of poses the engine opens no picture and measures a whole shard at once; maps are too large for that.
        self.needs_pictures = context.card.task != "pose"

    def prepare(self, x: ModelInput) -> Prepared:
        """Only the name and the size are asked for: the pixels were looked at elsewhere."""
        size_hw = () if isinstance(self._results, PoseResults) else (x.image_HW3.shape[:2],)
        return Prepared({}, (x.key, *size_hw))

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Never called, since ``prepare`` makes no crops."""
        return {}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: tuple[Any, ...]) -> Any:
        """The stored prediction; its numbers are checked by the task.

        Raises:
            SampleFault: side ``prediction``; ``pred.missing``, ``pred.shape``, ``pred.unreadable`` and their like.
        """
        return self._results.prediction(*geometry)
