"""Folders of albedo: ``albedos/``, ``masks/`` where there are any, ``images/``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.maps.folder import MapFolder, MapFolderOptions
from sapiens_bench.errors import SampleFault, UsageError
from sapiens_bench.pixels.dense_maps import Limits, read_mask_map
from sapiens_bench.pixels.files import shown
from sapiens_bench.pixels.stored_shares import read_shares
from sapiens_bench.tasks.albedo.stored import MEMBERS
from sapiens_bench.tasks.albedo.types import AlbedoTarget, ColourSpace, in_space

SLACK = 1e-6  # of arrays of 0..1


class AlbedoFolderOptions(MapFolderOptions):
    """Of ``albedo_folder``."""

    albedos: str = ""
    """Folder of the albedo maps (albedos, albedo)."""
    masks: str = ""
    """Folder of the person masks (masks, mask); without any every pixel is scored."""
    colour_space: ColourSpace | None = None
    """Of the stored numbers: srgb as pictures are shown, or linear. It has to be said: no file tells it."""
    about_files: ClassVar[frozenset[str]] = MapFolderOptions.about_files | {"albedos", "masks", "colour_space"}

    def named(self) -> dict[str, str]:
        """Folder names by role, where they are given."""
        names = {"albedo": self.albedos, "mask": self.masks}
        return super().named() | {role: name for role, name in names.items() if name}


class AlbedoFolder(MapFolder):
    """Albedo in ``albedos/``, pictures in ``images/``; where there is ``masks/``, people alone are scored.

    Raises:
        UsageError: nobody said in which colour space the maps are.
    """

    Options = AlbedoFolderOptions
    task = "albedo"
    beside = ("mask",)

    def __init__(self, context: DataContext) -> None:
        if not context.options.colour_space:
            raise UsageError(
                f"data set {context.card.id}: no file tells in which colour space an albedo map is. Say it: "
                "--data-option colour_space=srgb (as pictures are shown) or colour_space=linear."
            )
        super().__init__(context)

    def target(self, index: int) -> tuple[AlbedoTarget, tuple[int, int]]:
        """Linear albedo; scored where the mask is, and the map is finite and not wholly transparent.

        Raises:
            SampleFault: side ``input``; ``label.shape``, ``label.mode``, ``label.value``.
        """
        path = self.layout.path("albedo", index)
        assert path is not None
        _, albedo, alpha = read_shares(path, 3, MEMBERS, None, self._max_pixels)
        size = (albedo.shape[0], albedo.shape[1])
        mask: NDArray[np.bool_] = np.asarray(np.isfinite(albedo).all(axis=-1))
        if alpha is not None:  # what a renderer or a cut-out left empty has no colour
            mask &= alpha > 0
        if self.layout.has_role("mask"):
            found = self.layout.path("mask", index)
            if found is None:
                raise SampleFault("label.missing", f"{self.layout.stems[index]} has no mask, other samples have one")
            mask &= read_mask_map(found, Limits(size, self._max_pixels))
        scored = albedo[mask]
        low, high = float(scored.min(initial=0)), float(scored.max(initial=0))
        if not (low >= -SLACK and high <= 1 + SLACK):
            raise SampleFault("label.value", f"{shown(path)}: colours from {low:.4g} to {high:.4g}; shares are 0 to 1")
        linear = in_space(np.where(mask[..., None], albedo, 0), self._options.colour_space, "linear")
        return AlbedoTarget(linear.astype(np.float32), mask), size
