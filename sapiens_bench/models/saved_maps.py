"""Maps that a run kept with ``--save-maps``, scored again without the model.

The numbers come from 8-bit labels or 16-bit depth and normals, so they may differ from the first ones in the last
digits; the row's title says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sapiens_bench.errors import DataMissing, PathEscape, SampleFault, UsageError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.pixels.codecs import safe_join
from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.maps import map_name
from sapiens_bench.types import MapCodec, ModelInput, Prepared


class SavedMaps:
    """Reads the maps of one model; there is no network, so ``forward`` is never called.

    Raises:
        UsageError: the task's predictions are no maps.
        DataMissing: the folder is not there.
    """

    def __init__(self, context: ModelContext) -> None:
        codec = task_kind(context.card.task).codec
        if codec is None:
            raise UsageError(f"{context.variant.id}: predictions of {context.card.task} are not kept as maps.")
        self._codec: MapCodec = codec
        self._root = Path(context.options.maps).expanduser()
        self._labels = context.space.names if context.space else ()
        if not self._root.is_dir():
            raise DataMissing(f"{self._root} is not a folder of saved maps (`sapiens-bench run --save-maps`).")

    def prepare(self, x: ModelInput) -> Prepared:
        """Only the name is asked for."""
        return Prepared({}, x.key)

    def forward(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Nothing to compute."""
        return {}

    def finish(self, outputs: dict[str, Any], geometry: str) -> Any:
        """The stored prediction.

        Raises:
            SampleFault: side ``prediction``; ``pred.missing``, ``pred.unreadable``, ``pred.map``.
        """
        name = map_name(geometry)
        try:
            data = safe_join(self._root, name).read_bytes()
        except (OSError, PathEscape) as error:
            raise SampleFault("pred.missing", f"{self._root / name}: {error}", side="prediction") from None
        return self._codec.decode(data, name, self._labels)
