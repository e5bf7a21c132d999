"""Stored predictions behind the Model protocol: methods that need their own environment are scored from their outputs.

- pose: the weight file is a COCO results JSON (``models/pose_results.py``).
- depth, normal, seg: the weight "file" is a folder with ``<sample key>.npy`` for each image (seg: or ``.png``).

Options: ``models/options.py``, StoredPosesOptions and StoredDepthOptions.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import (
    CheckpointRejected,
    DataError,
    DataMissing,
    PathEscape,
    SampleFault,
    UsageError,
    WeightsMissing,
)
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.pose_results import PoseResults
from sapiens_bench.pixels.codecs import load_npy, read_labels, safe_join
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.tasks.normal.types import NormalPrediction
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import ModelInput, Prepared


class Predictions:
    """Reads what another program predicted; there is no network, so ``forward`` is never called.

    Raises:
        WeightsMissing: the card names no file.
        CheckpointRejected: the results file is malformed, or the folder is none.
        UsageError: a pose card without ``space``.

    ``notes`` is what must be said under the table.
    """

    needs_pictures: ClassVar[bool] = False  # of poses: the engine then opens none, where the data set allows it

    def __init__(self, context: ModelContext) -> None:
        if context.weights is None:
            raise WeightsMissing(f"{context.variant.id}: the card names no file or folder with stored predictions.")
        self._task, self._path = context.card.task, context.weights
        self._kind: Any = getattr(context.options, "depth_kind", None)
        self.notes: list[str] = []
        self._pose: PoseResults | None = None
        if self._task == "pose":
            if context.space is None:
                raise UsageError(f"{context.variant.id}: stored poses need `space:` in the model card.")
            self._pose = PoseResults(self._path, context.space.names, context.index, context.options)
            self.notes = self._pose.notes
        elif not self._path.is_dir():
            raise CheckpointRejected(f"{self._path} is not a folder of <sample key>.npy files.")

    def prepare(self, x: ModelInput) -> Prepared:
        """Only the name is asked for: the pixels were looked at elsewhere."""
        return Prepared({}, x.key)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Never called, since ``prepare`` makes no crops."""
        return {}

    def finish(self, outputs: dict[str, NDArray[Any]], geometry: str) -> Any:
        """The stored prediction; its numbers are checked by the task.

        Raises:
            SampleFault: side ``prediction``; ``pred.missing``, ``pred.shape``, ``pred.unreadable``.
        """
        if self._pose is not None:
            return self._pose.prediction(geometry)
        array = self._array(geometry)
        if self._task == "depth":
            return DepthPrediction(_as_float(array), self._kind)
        if self._task == "normal":
            return NormalPrediction(_as_float(array))
        return SegPrediction(array)

    def _array(self, key: str) -> NDArray[Any]:
        try:
            path = safe_join(self._path, f"{key}.npy")
            if self._task == "seg" and not path.exists():
                return read_labels(f"{key}.png", root=self._path)
            return load_npy(path)
        except DataMissing:
            raise SampleFault("pred.missing", f"no {key}.npy below {self._path}", side="prediction") from None
        except SampleFault as fault:
            code = "pred.missing" if fault.code == "image.missing" else "pred.unreadable"
            raise SampleFault(code, fault.detail, side="prediction") from None
        except (DataError, PathEscape) as error:
            raise SampleFault("pred.unreadable", str(error), side="prediction") from None


def _as_float(array: NDArray[Any]) -> NDArray[Any]:
    """Real numbers as float32; anything else as it is, for the task's check to refuse."""
    return array.astype(np.float32) if array.dtype.kind in "fiu" else array
