"""The three keypoint layouts of the COCO file family: which fields hold the points, in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import CardError

_PART_OF_GROUP = {
    "body": "body_keypoint_ids",
    "foot": "foot_keypoint_ids",
    "face": "face_keypoint_ids",
    "left_hand": "left_hand_keypoint_ids",
    "right_hand": "right_hand_keypoint_ids",
}


@dataclass(frozen=True)
class KeypointFormat:
    """One layout. Points are read from ``fields`` in order and put one after the other."""

    name: str
    fields: tuple[tuple[str, int], ...]  # (field, number of points)
    n_body: int  # leading points that num_keypoints counts
    n_listed: int  # fewest names that the category lists, if it lists any
    count: str = "num_keypoints"  # field that says how many points are labelled
    fractional: tuple[str, ...] = ()  # fields whose visibility may be any number >= 0
    counts_all: bool = True  # whoever has no point by the file's count is not scored, as pycocotools does
    counts_exactly: bool = True  # who counted, and over which points, is known
    one_per_image: bool = False  # annotation id must equal image id
    groups: dict[str, tuple[int, ...]] | None = None  # what info.goliath_info must agree with

    @property
    def n_keypoints(self) -> int:
        """K of the file."""
        return sum(n for _, n in self.fields)

    def is_visibility(self, field: str, values_PK: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether all visibilities of one field are legal, person by person."""
        legal = values_PK >= 0
        if field not in self.fractional:
            legal &= (values_PK == 0) | (values_PK == 1) | (values_PK == 2)
        return np.asarray(legal.all(axis=1))

    def visibility_rule(self, field: str) -> str:
        """The rule in words."""
        return "numbers >= 0" if field in self.fractional else "0, 1, 2"

    def check_person(self, entry: dict[str, Any], fault: Callable[[str], None]) -> None:
        """Rules that only this layout has."""
        if self.one_per_image and entry.get("id") != entry.get("image_id"):
            fault("this format holds one person per image: the id must equal image_id")

    def lists_names(self, n_names: int) -> bool:
        """Whether a category's list of this length names the points of this layout, in their order."""
        return self.counts_exactly or n_names == self.n_keypoints

    def check_header(self, document: dict[str, Any], fault: Callable[[str], None]) -> None:
        """``info.goliath_info``, where present, must name the same groups as the space card."""
        info = document.get("info")
        declared = info.get("goliath_info") if isinstance(info, dict) else None
        if self.groups is None or not isinstance(declared, dict):
            return
        for group, key in _PART_OF_GROUP.items():
            ids = declared.get(key)
            if (
                ids is not None
                and group in self.groups
                and sorted(map(str, ids)) != sorted(map(str, self.groups[group]))
            ):
                fault(f"info.goliath_info.{key} differs from group '{group}' of the space card")


COCO = KeypointFormat("coco", (("keypoints", 17),), n_body=17, n_listed=17)
WHOLEBODY = KeypointFormat(
    "wholebody",
    (("keypoints", 17), ("foot_kpts", 6), ("face_kpts", 68), ("lefthand_kpts", 21), ("righthand_kpts", 21)),
    n_body=17,
    n_listed=17,
    fractional=("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"),
    counts_all=False,  # the official script counts the visible points of each part
)


def format_of(annotated_in: SpaceCard | None, name: str, field: str, where: str) -> KeypointFormat:
    """The layout of a file whose people are annotated in the given keypoint set.

    Args:
        annotated_in: the file's own keypoint set; None means COCO's 17.
        name: "coco" and "mpii" (any K in one field), "wholebody", "goliath", or "" to go by the set's id.
        field: the field of format coco.
        where: card and protocol, for messages.

    Raises:
        CardError: a layout of another size than the set.
    """
    n = len(annotated_in.names) if annotated_in is not None else 17
    if not name:
        known = {"coco-wholebody133": "wholebody", "goliath308": "goliath"}
        name = known.get(annotated_in.id, "coco") if annotated_in is not None else "coco"
    if name in ("coco", "mpii"):
        count = "num_keypoints" if field == "keypoints" else f"num_{field}"
        layout = KeypointFormat("coco", ((field, n),), n_body=n, n_listed=n, count=count)
    elif name == "wholebody":
        layout = WHOLEBODY
    else:
        layout = _goliath(annotated_in)
    if layout.n_keypoints != n:
        raise CardError(f"{where}: format {layout.name} has {layout.n_keypoints} points, its keypoint set has {n}")
    return layout


def _goliath(space: SpaceCard | None) -> KeypointFormat:
    return KeypointFormat(
        "goliath",
        (("goliath_wholebody_kpts", 308),),
        n_body=308,
        n_listed=0,
        fractional=("goliath_wholebody_kpts",),
        counts_all=False,
        counts_exactly=False,  # who counted, and over 344, 308 or 17 points, is not documented
        one_per_image=True,
        groups=dict(space.groups) if space is not None else None,
    )
