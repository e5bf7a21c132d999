"""Folders of mattes: ``alphas/``, ``trimaps/`` where there are any, ``images/``.

A trimap holds 0 (background), 255 (people) and one value between, the unknown, as those of public matting sets do; or
0, 2 (people) and 1, the unknown. A file without a value above 2 is of the second kind.
"""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense.doubts import LookOver, look_at_matte
from sapiens_bench.adapters.maps.folder import MapFolder, MapFolderOptions
from sapiens_bench.errors import SampleFault
from sapiens_bench.pixels.dense_maps import Limits, read_label_map
from sapiens_bench.pixels.files import shown
from sapiens_bench.tasks.matting.stored import alpha_of
from sapiens_bench.tasks.matting.types import MattingTarget

SLACK = 1e-6  # of arrays of 0..1
COUNTS, CLASSES = 255, 2  # what people are in a trimap: a grey value, or the last of three classes


class MattingFolderOptions(MapFolderOptions):
    """Of ``matting_folder``."""

    alphas: str = ""
    """Folder of the mattes (alphas, alpha, mattes, matte, pha)."""
    trimaps: str = ""
    """Folder of the trimaps (trimaps, trimap)."""
    channel: Literal["grey", "alpha"] = "grey"
    """What of a picture is the matte: its grey values (one channel, or three that are equal), or its alpha channel (of
    an EXR file its A). Arrays are mattes either way."""
    about_files: ClassVar[frozenset[str]] = MapFolderOptions.about_files | {"alphas", "trimaps", "channel"}

    def named(self) -> dict[str, str]:
        """Folder names by role, where they are given."""
        names = {"matting": self.alphas, "trimap": self.trimaps}
        return super().named() | {role: name for role, name in names.items() if name}


class MattingFolder(MapFolder):
    """Mattes in ``alphas/``, pictures in ``images/``; trimaps in ``trimaps/`` are used where a protocol scores their
    unknown region."""

    Options = MattingFolderOptions
    task = "matting"
    beside = ("trimap",)

    def __init__(self, context: DataContext) -> None:
        super().__init__(context)
        is_asked = context.protocol.scoring.get("region") == "unknown"
        self._needs_trimaps = is_asked and self.layout.has_role("trimap")
        if is_asked and not self._needs_trimaps:
            self.notes += ("It has no trimaps: the unknown region is made of the truth, around its soft edge.",)

        over = LookOver(len(self))
        for index in over.indices:
            with suppress(SampleFault):  # its row says so
                look_at_matte(over, self.layout.stems[index], self._alpha(index))
        self.notes += tuple(over.all_notes)

    def target(self, index: int) -> tuple[MattingTarget, tuple[int, int]]:
        """Alpha and what the trimap leaves open.

        Raises:
            SampleFault: side ``input``; ``label.shape``, ``label.mode``, ``label.value``, ``label.missing``.
        """
        alpha = self._alpha(index)
        size = (alpha.shape[0], alpha.shape[1])
        return MattingTarget(alpha, self._unknown(index, size)), size

    def _alpha(self, index: int) -> NDArray[np.float32]:
        path = self.layout.path("matting", index)
        assert path is not None
        alpha = alpha_of(path, None, from_alpha=self._options.channel == "alpha", max_pixels=self._max_pixels)
        low, high = float(alpha.min(initial=0)), float(alpha.max(initial=0))
        if not (low >= -SLACK and high <= 1 + SLACK):
            raise SampleFault("label.value", f"{shown(path)}: alpha from {low:.4g} to {high:.4g}; shares are 0 to 1")
        return np.clip(alpha, 0, 1)

    def _unknown(self, index: int, size_hw: tuple[int, int]) -> NDArray[np.bool_] | None:
        if not self._needs_trimaps:
            return None
        path = self.layout.path("trimap", index)
        if path is None:
            raise SampleFault("label.missing", f"{self.layout.stems[index]} has no trimap, other samples have one")
        stored = read_label_map(path, Limits(size_hw, self._max_pixels))
        people = CLASSES if stored.max(initial=0) <= CLASSES else COUNTS
        unknown: NDArray[np.bool_] = np.asarray((stored != 0) & (stored != people))
        if len(values := np.unique(stored[unknown])) > 1:
            text = f"{len(values)} values beside 0 and 255; a trimap has one, the unknown (or 0, 1 unknown and 2)"
            raise SampleFault("label.value", f"{shown(path)}: {text}")
        return unknown
