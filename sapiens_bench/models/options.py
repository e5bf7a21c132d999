"""The options of every wrapper and detector of this package, without the libraries that run them.

The plan reads options before any network library is loaded, so they stand here and not beside the networks. A wrapper
outside the package carries its class itself, as attribute ``Options``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import AliasChoices, Field

from sapiens_bench.cards.options import NoOptions, Options
from sapiens_bench.tasks.depth.types import DepthKind


class StoredPosesOptions(Options):
    """Of results made elsewhere."""

    annotations: str = ""
    """COCO-format file whose images give the ids of file names; only for data sets that have no ids of their own."""
    keypoint_scores: Literal["final", "stored"] = "final"
    """``final``: the stored score of an instance stands; ``stored``: the protocol's score rule makes it of the box
    score and the keypoints' scores (their third values)."""
    nms: bool = False
    """Apply the protocol's suppression of similar instances once more. Results are final, as a rule."""


class StoredDepthOptions(Options):
    """Of depth maps made elsewhere."""

    depth_kind: DepthKind = Field(
        default="affine_invariant_depth", validation_alias=AliasChoices("depth_kind", "kind")
    )  # ``kind`` is the name of earlier versions
    """What the stored numbers mean."""


# key of WRAPPERS -> its class, or one class per task where they differ
OPTIONS: dict[str, type[Options] | Mapping[str, type[Options]]] = {
    "predictions": {"pose": StoredPosesOptions, "seg": NoOptions, "depth": StoredDepthOptions, "normal": NoOptions},
}
