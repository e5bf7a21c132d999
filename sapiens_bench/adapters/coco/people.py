"""A checked annotation file as arrays. Axes: I images, P persons (all images), K keypoints of the file's set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Images:
    """The checked images, by ascending id."""

    ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)  # ids of images that an option excludes
    is_renumbered: bool = False  # annotations got numbers of ours, since one has id 0
    regions: list[tuple[NDArray[np.float64], ...]] = field(default_factory=list)  # as in CocoPeople


@dataclass(frozen=True, slots=True)
class CocoPeople:
    """Images by ascending id; persons by image, then in file order."""

    image_ids: tuple[int, ...]  # [I]
    file_names: tuple[str, ...]  # [I]
    sizes_I2: NDArray[np.int64]  # (width, height) as declared; 0 where the file does not say
    first_I1: NDArray[np.int64]  # persons of image i are first_I1[i] : first_I1[i + 1]
    ids_P: NDArray[np.integer]
    keypoints_PK3: NDArray[np.float64]  # x, y, visibility
    boxes_xywh_P4: NDArray[np.float64]
    area_P: NDArray[np.float64]
    is_crowd_P: NDArray[np.bool_]
    is_ignored_P: NDArray[np.bool_]  # never scored, whatever is labelled: by the file's own count they have no point
    n_keypoints_P: NDArray[np.int64]  # as the file says (body points only in COCO-WholeBody); counted where it does not
    category_ids: frozenset[int]  # that are scored; several: each on its own
    categories: Mapping[int, str]  # every category of the file
    row_faults: dict[int, tuple[str, str]]  # image index -> (code, detail) of its first faulty label
    notes: tuple[str, ...]  # what must be said beside every score
    order_K: NDArray[np.int64] | None = None  # place in the file of each point of its set; None: as they stand
    area_is_of_box: bool = False  # areas are the stated share of the boxes
    is_renumbered: bool = False
    head_size_px_P: NDArray[np.float64] | None = None  # None: no head boxes were asked for
    regions_I: tuple[tuple[NDArray[np.float64], ...], ...] | None = None  # polygons [V, 2]; None: not asked for
    category_P: NDArray[np.int64] | None = None  # None: one category is scored

    @property
    def image_P(self) -> NDArray[np.int64]:
        """Index of each person's image."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.first_I1))

    @property
    def is_driven_P(self) -> NDArray[np.bool_]:
        """Persons that a ground-truth box is made of: no crowd, and a keypoint by the file's count.

        Source: MMPose 1.x, ``BaseCocoStyleDataset`` and the COCO evaluation, which ask ``num_keypoints``.
        """
        return ~self.is_crowd_P & (self.n_keypoints_P > 0)


def id_array(ids: list[int]) -> NDArray[np.integer]:
    """Ids of up to 64 bits, signed where they fit."""
    kind = np.uint64 if ids and max(ids) >= 1 << 63 else np.int64
    return np.array(ids, object if kind is np.uint64 and min(ids) < 0 else kind)
