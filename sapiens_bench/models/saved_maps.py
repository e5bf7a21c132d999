"""Maps that a run kept with ``--save-maps``, scored again without the model.

The numbers come from 8-bit labels or 16-bit depth and normals, so they may differ from the first ones in the last
digits; the row's title says so.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sapiens_bench.errors import DataMissing, PathEscape, SampleFault, UsageError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.pixels.codecs import path_fault, safe_join
from sapiens_bench.tasks.maps import decode_map
from sapiens_bench.types import ModelInput, Prepared


def map_name(key: str) -> str:
    """File of a sample's map below the model's folder: its key, or a hash of it where that is no safe path."""
    name = f"{key}.png"
    return name if path_fault(name) is None else f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.png"


class SavedMaps:
    """Reads the maps of one model; there is no network, so ``forward`` is never called.

    Options: ``maps``, the folder ``RUN/maps/<task>/<data set>/<protocol>/<model>``.

    Raises:
        UsageError: the option is not given.
        DataMissing: the folder is not there.
    """

    def __init__(self, context: ModelContext) -> None:
        maps: str = context.options.maps
        if not maps:
            raise UsageError(
                f"{context.variant.id} needs the option maps=RUN/maps/<task>/<data set>/<protocol>/<model>, "
                f"a folder that `sapiens-bench run --save-maps` wrote."
            )
        self._root, self._task = Path(maps).expanduser(), context.card.task
        self._labels = context.space.names if context.space else ()
        if not self._root.is_dir():
            raise DataMissing(f"{self._root} is not a folder of saved maps.")

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
        return decode_map(data, name, self._task, self._labels)
