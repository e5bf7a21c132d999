"""What a protocol may say about a COCO-format data set. All paths are relative to the data set's root."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sapiens_bench.cards.options import Options
from sapiens_bench.pixels.paths import path_fault

EVERY_CATEGORY = "all"
BOX_SHARE = 0.53  # of a box, that its person fills: crowdposetools cocoeval.py, xtcocotools with use_area=False


def _below_root(value: str) -> str:
    fault = path_fault(value)
    if fault is not None and value != ".":
        raise ValueError(f"{value!r} {fault}")
    return value


HEAD_SHARE = 0.6  # of the diagonal of a head box: the MPII evaluation's head length
Below = Annotated[str, AfterValidator(_below_root)]
Share = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class CocoOptions(Options):
    """Choices of the adapter ``coco_keypoints``."""

    annotations: Below
    """The annotation file."""
    images: Below = "."
    """Folder of the pictures; "." is the root, for names that carry their folder."""
    boxes: str = "gt"
    """What drives a top-down model: gt, jitter:<fraction>[,<seed>], a detector's file[,<score threshold>], or none (for
    results made elsewhere)."""
    annotated_in: str = ""
    """The file's keypoint set, where it is not the protocol's; a map card must lead from one to the other."""
    format: Literal["", "coco", "wholebody", "goliath", "mpii"] = ""
    """Which fields hold the points, where that does not follow from the set. mpii: MPII's own JSON and MATLAB files."""
    field: str = "keypoints"
    """The field of format coco; its count is ``num_<field>`` where there is one, else ``num_keypoints``."""
    head_box: str = ""
    """The field with the box of a person's head (x, y, width, height), which PCKh needs."""
    ignore_regions: bool = False
    """The images list polygons (``ignore_regions_x``, ``ignore_regions_y``) in which the joint AP looks at nothing."""
    category: str | int = ""
    """Name or id of the category that is scored; all: each on its own, and scores are their mean.
    Default: the one named person."""
    names: Literal["check", "ignore"] = "check"
    """Whether the keypoint names of the category decide the order of its points."""
    area: Literal["", "file", "0.53 x box"] = ""
    """A person's area. Default: the file's, and 0.53 x the box where no person has one."""
    exif: Literal["", "ignore", "apply"] = ""
    """Orientation tags of the pictures. Default: as the data-set card says."""
    unlisted: Literal["refuse", "skip"] = "refuse"
    """Annotations of images that the file does not list."""
    crowd_index: tuple[Share, Share] | None = None
    """Only images whose ``crowdIndex`` is at least the first number and below the second."""
    renumber: bool = False
    """Number annotations from 1 on while reading, where one has id 0 (which is refused otherwise)."""
