"""From the persons that were read to those that are scored: visibilities, counts, areas, and labels at fault.

A label at fault costs its image (for every model, and said in the table); what is odd but harmless becomes a note.

Axes: I images, P persons (all images), K keypoints of the file's set.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.adapters.coco.categories import Scored
from sapiens_bench.adapters.coco.faults import Faults
from sapiens_bench.adapters.coco.options import BOX_SHARE, CocoOptions
from sapiens_bench.adapters.coco.people import CocoPeople, Images, id_array
from sapiens_bench.adapters.coco.persons import UNKNOWN, Persons

_FAR_PX = 1e5  # of a picture whose size is not known
_SIDES = 2  # how many of its sides beyond the picture a coordinate may lie
_FILLS = 4.0  # a person cannot fill more than its box; generous, since boxes are rounded and drawn by hand
_AT_ONCE = 4096  # persons
_FEW_POINTS = 8  # say nothing about the unit of a file
_TINY, _LARGE = 0.01, 1.5  # shares of the box that an area rarely leaves


def finished(
    images: Images, scored: Scored, persons: Persons, options: CocoOptions, faults: Faults, notes: list[str]
) -> CocoPeople:
    """The checked arrays with their row faults and notes; faults of the file go into ``faults``."""
    layout, points = persons.layout, persons.keypoints_PK3
    _check_visibility(persons, faults)
    _check_pixels(points, faults)
    area, is_of_box, area_notes = _areas(persons, options, faults)
    is_labelled_PK = points[..., 2] > 0
    n_labelled_P = is_labelled_PK[:, : layout.n_body].sum(axis=1)
    count_P = np.where(persons.count_P == UNKNOWN, n_labelled_P, persons.count_P)
    is_uncounted = ~persons.is_crowd_P & (count_P == 0) & is_labelled_PK.any(axis=1)
    people = CocoPeople(
        image_ids=tuple(images.ids),
        file_names=tuple(images.names),
        sizes_I2=np.array(images.sizes, np.int64).reshape(-1, 2),
        first_I1=persons.first_I1,
        ids_P=id_array(persons.ids),
        keypoints_PK3=points,
        boxes_xywh_P4=persons.boxes_xywh_P4,
        area_P=area,
        is_crowd_P=persons.is_crowd_P,
        is_ignored_P=is_uncounted & layout.counts_all,
        n_keypoints_P=count_P,
        category_ids=scored.ids,
        head_size_px_P=persons.head_size_px_P if options.head_box else None,
        regions_I=tuple(images.regions) if options.ignore_regions else None,
        category_P=persons.category_P if len(scored.ids) > 1 else None,
        categories=scored.declared,
        row_faults={},
        order_K=scored.order_K,
        area_is_of_box=is_of_box,
        is_renumbered=images.is_renumbered,
        notes=(*scored.notes, *notes, *area_notes, *_count_notes(persons, n_labelled_P, is_uncounted)),
    )
    return _with_faults(_with_nobody_told(people), n_labelled_P, options)


def _with_nobody_told(people: CocoPeople) -> CocoPeople:
    """The people with a note where none of them is scored: the scores are then undefined, and nothing else says why."""
    has_points = (people.n_keypoints_P > 0) | (people.keypoints_PK3[..., 2] > 0).any(axis=1)
    is_scored = ~people.is_crowd_P & ~people.is_ignored_P & has_points
    if is_scored.any():
        return people
    n, n_crowds = len(is_scored), int(people.is_crowd_P.sum())
    told = (
        f"Nobody of the file is scored, so AP is undefined: of its {n} people {n_crowds} are crowds (iscrowd), and "
        f"{n - n_crowds} have no labelled point that counts. Is it the file with the keypoints?"
    )
    return replace(people, notes=(told, *people.notes))


def _check_visibility(persons: Persons, faults: Faults) -> None:
    start = 0
    for name, n_points in persons.layout.fields:
        legal = persons.layout.is_visibility(name, persons.keypoints_PK3[:, start : start + n_points, 2])
        for p in np.flatnonzero(~legal).tolist():
            rule = persons.layout.visibility_rule(name)
            faults.add("label.visibility", f"{persons.position_P[p]}: '{name}' has a visibility outside {rule}")
        start += n_points


def _check_pixels(points_PK3: NDArray[np.float64], faults: Faults) -> None:
    """Shares of the picture in the place of pixels, as other formats have them, would be a score of 0 for everybody."""
    is_labelled = points_PK3[..., 2] > 0
    n_labelled, places = int(np.count_nonzero(is_labelled)), points_PK3[..., :2]
    counts = is_labelled[..., None]  # without a copy: whole-body files are large
    low, high = places.min(where=counts, initial=0.0), places.max(where=counts, initial=0.0)
    if n_labelled >= _FEW_POINTS and low >= 0 and high <= 1 and bool((places != np.rint(places))[is_labelled].any()):
        faults.add(
            "label.keypoints",
            f"all {n_labelled} labelled points lie within 0..1: COCO files hold pixels. Multiply x by the width of "
            "the picture and y by its height",
        )


def _areas(persons: Persons, options: CocoOptions, faults: Faults) -> tuple[NDArray[np.float64], bool, list[str]]:
    """Area of each person, px², by the rule that the options name; whether it is made of the box; notes."""
    boxes, area = persons.boxes_xywh_P4, persons.area_P
    is_missing = np.isnan(area)
    rule = options.area or ("0.53 x box" if len(area) and is_missing.all() else "file")
    if rule != "file":
        why = "" if options.area else ": the annotation file has none"
        note = f"Areas are {BOX_SHARE} x the box (as crowdposetools and xtcocotools take them){why}."
        return boxes[:, 2] * boxes[:, 3] * BOX_SHARE, True, [note]
    for p in np.flatnonzero(is_missing).tolist():
        faults.add("label.area", f"{persons.position_P[p]}: no area; OKS has no scale without it")
    counts = ~persons.is_crowd_P & (persons.count_P != 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = area / (boxes[:, 2] * boxes[:, 3])
    is_odd = counts & np.isfinite(share) & (area > 0) & ((share < _TINY) | (share > _LARGE))
    n_odd = int(np.count_nonzero(is_odd))
    odd = f"People whose area does not fit their box: {n_odd}; OKS is too strict or too lax there."
    return area, False, [odd] if n_odd else []


def _count_notes(persons: Persons, n_labelled_P: NDArray[np.int64], is_uncounted: NDArray[np.bool_]) -> list[str]:
    layout, notes = persons.layout, []
    if persons.n_without_points:
        notes.append(f"People without any '{layout.fields[0][0]}': {persons.n_without_points}; ignored.")
    n_uncounted = int(np.count_nonzero(is_uncounted))
    if n_uncounted and layout.counts_all:
        notes.append(f"People of {layout.count} 0 with labelled points: {n_uncounted}; ignored, as in pycocotools.")
    elif n_uncounted:
        notes.append(
            f"People of {layout.count} 0 with labelled points: {n_uncounted}; they count for the labelled parts, and "
            "no ground-truth box is made of them (as in MMPose)."
        )
    if layout.counts_all and layout.counts_exactly:
        known = (persons.count_P != UNKNOWN) & (persons.count_P > 0) & ~persons.is_crowd_P
        n_wrong = int(np.count_nonzero(known & (persons.count_P != n_labelled_P)))
        if n_wrong:
            notes.append(
                f"People of whom {layout.count} is not the number of labelled points: {n_wrong}; it only decides "
                "whether somebody counts, as in pycocotools."
            )
    return notes


def _with_faults(people: CocoPeople, n_labelled_P: NDArray[np.int64], options: CocoOptions) -> CocoPeople:
    """The people with the first faulty label of each image.

    Crowds and people who are never scored are not held against the image. Boxes matter only where they drive a model or
    give the area.
    """
    image_P = people.image_P
    is_labelled_P = (people.keypoints_PK3[..., 2] > 0).any(axis=1)
    is_scored = ~people.is_crowd_P & ~people.is_ignored_P & ((people.n_keypoints_P > 0) | is_labelled_P)
    low_P2, high_P2 = _limits(people, image_P)
    x, y, width, height = people.boxes_xywh_P4.T
    box_low, box_high = people.boxes_xywh_P4[:, :2], people.boxes_xywh_P4[:, :2] + people.boxes_xywh_P4[:, 2:]
    far_box = ((box_low < low_P2) | (box_high > high_P2)).any(axis=1)
    has_extent = (width > 0) & (height > 0)
    box = "box {x:g}, {y:g}, {w:g}, {h:g}"
    checks: list[tuple[str, NDArray[np.bool_], str]] = [
        (
            "label.num_keypoints",
            (people.n_keypoints_P > 0) & (n_labelled_P == 0),
            "{claimed} keypoints are counted, but none is labelled",
        ),
        ("label.keypoints", _far_points(people, low_P2, high_P2), "a labelled point lies far outside the picture"),
    ]
    if options.boxes != "none" or options.area == "0.53 x box":
        checks.append(("label.bbox", ~has_extent, "box of width {w:g}, height {h:g}"))
        checks.append(("label.bbox", np.asarray(far_box), f"{box} reaches far outside the picture"))
    if options.boxes != "none":
        empty = _clipped_empty(people, image_P, box_low, box_high)
        checks.append(("label.bbox", empty, f"nothing of the {box} lies within the picture"))
    too_large = has_extent & (people.area_P > _FILLS * (width + 2) * (height + 2))
    checks.append(("label.bbox", np.asarray(people.area_P <= 0), "area {area:g}; 'area: 0.53 x box' makes areas"))
    checks.append(("label.area", np.asarray(too_large), "area {area:g} on a box of {w:g} x {h:g}"))
    for code, is_bad, text in checks:
        for p in np.flatnonzero(is_bad & is_scored).tolist():
            facts = {"x": x[p], "y": y[p], "w": width[p], "h": height[p], "area": people.area_P[p]}
            detail = f"annotation {people.ids_P[p]}: {text.format(claimed=people.n_keypoints_P[p], **facts)}"
            people.row_faults.setdefault(int(image_P[p]), (code, detail))
    return people


def _limits(people: CocoPeople, image_P: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest coordinate that a label may have, px [P, 2] each."""
    size = people.sizes_I2[image_P].astype(np.float64)
    beyond = np.where(size > 0, _SIDES * size, _FAR_PX)
    return -beyond, size + beyond


def _far_points(people: CocoPeople, low_P2: NDArray[np.float64], high_P2: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a labelled point lies beyond the limits, bool [P]; a part of the persons at a time, to save memory."""
    far = np.zeros(len(low_P2), bool)
    for start in range(0, len(far), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        points = people.keypoints_PK3[part]
        beyond = ((points[..., :2] < low_P2[part, None]) | (points[..., :2] > high_P2[part, None])).any(axis=2)
        far[part] = (beyond & (points[..., 2] > 0)).any(axis=1)
    return far


def _clipped_empty(
    people: CocoPeople, image_P: NDArray[np.int64], low_P2: NDArray[np.float64], high_P2: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Boxes that ``boxes.ground_truth`` would leave without extent."""
    size = people.sizes_I2[image_P].astype(np.float64)
    last = np.where(size > 0, size - 1, np.inf)
    return np.asarray((np.clip(high_P2, 0, last) <= np.clip(low_P2, 0, last)).any(axis=1))
