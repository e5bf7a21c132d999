"""What is declared about any folder of stored maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.options import Options
from sapiens_bench.errors import SampleFault, ShapeError

SHARE_SUFFIXES = (".npy", ".npz", ".exr", ".png", ".jpg", ".jpeg", ".tif", ".tiff")  # of maps of shares of one


class StoredOptions(Options):
    """Common to the tasks whose kind says how maps are stored (``types.StoredMaps``)."""

    suffix: str = ""
    """What the file names carry after the sample's name: ``_pred`` for ``<name>_pred.png``."""
    resize: Literal["", "bilinear"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""

    def resized(self, values: NDArray[np.float32], size_hw: tuple[int, int], path: Path) -> NDArray[np.float32]:
        """``values`` [H, W] or [H, W, 3] at another size.

        Raises:
            SampleFault: ``label.shape``; portrait for landscape, which no resizing makes right.
        """
        if values.shape[:2] == size_hw:
            return values
        from sapiens_bench.pixels.files import shown
        from sapiens_bench.pixels.resize import resize_depth
        from sapiens_bench.pixels.shapes import misfit

        (h, w), (height, width) = values.shape[:2], size_hw
        if (h - w) * (height - width) < 0:
            wanted = (*size_hw, *values.shape[2:])
            raise SampleFault("label.shape", f"{shown(path)}: {misfit(values.shape, wanted)}")
        try:
            found: NDArray[Any] = resize_depth(values, (width, height))
        except ShapeError as error:
            raise SampleFault("label.shape", f"{shown(path)}: {error}") from None
        return found
