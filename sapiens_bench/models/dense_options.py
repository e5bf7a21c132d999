"""The options of stored depth, normals and labels: what the numbers in the files mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from sapiens_bench.cards.options import Options
from sapiens_bench.pixels.coded_normals import Encoding
from sapiens_bench.tasks.depth.types import DepthKind

Sign = Literal[-1, 1]


class _Stored(Options):
    suffix: str = ""
    """What the file names carry after the sample's name: ``_pred`` for ``<name>_pred.npy``."""


class StoredLabels(_Stored):
    """Of ``predictions`` for seg."""

    resize: Literal["", "nearest"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""
    encoding: Literal["index", "mask"] = "index"
    """mask: everything but 0 is the person of a set of two; 0 and 255, for example."""


class StoredDepth(_Stored):
    """Of ``predictions`` for depth."""

    depth_kind: DepthKind = Field(
        default="affine_invariant_depth", validation_alias=AliasChoices("depth_kind", "kind")
    )  # ``kind`` is the name of earlier versions
    """What the numbers mean, hence in which space they are fitted to the truth."""
    unit: Literal["m", "cm", "mm"] = "m"
    """Unit of metric depth."""
    count: Annotated[float, Field(gt=0)] = 1.0
    """Units per count of 16-bit pictures."""
    resize: Literal["", "bilinear", "nearest"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""


class StoredNormals(_Stored):
    """Of ``predictions`` for normal."""

    axis_sign: tuple[Sign, Sign, Sign] = (1, 1, 1)
    """Signs that bring the stored axes to x right, y up, z towards the viewer; [1, -1, -1] for OpenCV's axes."""
    order: Literal["xyz", "zyx"] = "xyz"
    """Order of the stored channels."""
    encoding: Encoding = "auto"
    """colour: (n + 1) / 2 of the full range; vector: components as they are; auto: whole numbers are colours."""
    layout: Literal["hwc", "chw"] = "hwc"
    """chw: arrays are (3, H, W)."""
    resize: Literal["", "bilinear", "nearest"] = ""
    """How maps of another size become the picture's; they must cover all of it. Unset: another size is an error."""


DENSE_PREDICTIONS: dict[str, type[Options]] = {"seg": StoredLabels, "depth": StoredDepth, "normal": StoredNormals}
