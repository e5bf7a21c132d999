"""The three keypoint layouts of the COCO file family: which fields hold the points, in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
    category_lengths: tuple[int, ...]  # accepted lengths of the person category's name list
    fractional: tuple[str, ...] = ()  # fields whose visibility may be any number >= 0
    counts_exactly: bool = True  # num_keypoints counts the points of this layout
    one_per_image: bool = False  # annotation id must equal image id
    groups: dict[str, tuple[int, ...]] | None = None  # what info.goliath_info must agree with

    @property
    def n_keypoints(self) -> int:
        """K of the file."""
        return sum(n for _, n in self.fields)

    def is_visibility(self, field: str, values: list[Any]) -> bool:
        """Whether all visibilities of one field are legal."""
        if field in self.fractional:
            return all(v >= 0 for v in values)
        return all(v in (0, 1, 2) for v in values)

    def visibility_rule(self, field: str) -> str:
        """The rule in words."""
        return "numbers >= 0" if field in self.fractional else "0, 1, 2"

    def check_person(self, entry: dict[str, Any], fault: Callable[[str], None]) -> None:
        """Rules that only this layout has."""
        if self.one_per_image and entry.get("id") != entry.get("image_id"):
            fault("this format holds one person per image: the id must equal image_id")

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


COCO = KeypointFormat("coco", (("keypoints", 17),), n_body=17, category_lengths=(0, 17))
WHOLEBODY = KeypointFormat(
    "wholebody",
    (("keypoints", 17), ("foot_kpts", 6), ("face_kpts", 68), ("lefthand_kpts", 21), ("righthand_kpts", 21)),
    n_body=17,
    category_lengths=(0, 17, 133),
    fractional=("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"),
)


def format_of(annotated_in: SpaceCard | None, name: str, where: str) -> KeypointFormat:
    """The layout of a file whose people are annotated in the given keypoint set.

    Args:
        annotated_in: the file's own keypoint set; None means COCO's 17.
        name: "coco" (any K in ``keypoints``), "wholebody", "goliath", or "" to go by the set's id.
        where: card and protocol, for messages.

    Raises:
        CardError: unknown name, or a layout of another size than the set.
    """
    n = len(annotated_in.names) if annotated_in is not None else 17
    if not name:
        known = {"coco-wholebody133": "wholebody", "goliath308": "goliath"}
        name = known.get(annotated_in.id, "coco") if annotated_in is not None else "coco"
    if name == "coco":
        layout = COCO if n == 17 else KeypointFormat("coco", (("keypoints", n),), n, (0, n))
    elif name == "wholebody":
        layout = WHOLEBODY
    elif name == "goliath":
        layout = _goliath(annotated_in)
    else:
        raise CardError(f"{where}: options.format {name!r} is not one of coco, wholebody, goliath")
    if layout.n_keypoints != n:
        raise CardError(f"{where}: format {layout.name} has {layout.n_keypoints} points, its keypoint set has {n}")
    return layout


def _goliath(space: SpaceCard | None) -> KeypointFormat:
    return KeypointFormat(
        "goliath",
        (("goliath_wholebody_kpts", 308),),
        n_body=308,
        category_lengths=(0, 17, 133, 308, 344),
        fractional=("goliath_wholebody_kpts",),
        counts_exactly=False,  # who counted, and over 344, 308 or 17 points, is not documented
        one_per_image=True,
        groups=dict(space.groups) if space is not None else None,
    )
