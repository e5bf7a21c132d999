"""How good the boxes are that a top-down model is run on: overlap with people, recall, and average precision.

Only people that are scored count (``truth``); a box on a crowd, or on somebody without labelled points, is neither
right nor wrong. Axes: N boxes and G people of one image, T thresholds, D boxes of all images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]
THRESHOLDS_T = np.linspace(0.5, 0.95, 10)
MAX_BOXES = 100  # per image, best first, as in COCO's box evaluation
_RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class ImageBoxes:
    """One image. All boxes are [n, 4], x1 y1 x2 y2, in one frame."""

    boxes_N4: Boxes
    scores_N: NDArray[np.floating]
    truth_G4: Boxes
    is_ignored_G: NDArray[np.bool_]  # people that are not scored
    is_crowd_G: NDArray[np.bool_]  # regions: a box inside one overlaps it fully


@dataclass(frozen=True, slots=True)
class BoxQuality:
    """Shares, NaN without people; ``mean_iou`` is that of the best box for each person."""

    n_boxes: int
    n_people: int
    mean_iou: float
    recall50: float  # share of people with a box of their own, best scores first, at IoU 0.5
    ap: float  # mean over IoU 0.50 to 0.95


def overlaps(boxes_N4: Boxes, truth_G4: Boxes, is_crowd_G: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Intersection over union [N, G]; over the box alone where the truth is a crowd region."""
    a, b = boxes_N4.astype(np.float64)[:, None], truth_G4.astype(np.float64)[None]
    side = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.clip(side, 0, None), axis=-1)
    area_a, area_b = np.prod(a[..., 2:] - a[..., :2], axis=-1), np.prod(b[..., 2:] - b[..., :2], axis=-1)
    union = area_a + area_b - shared
    if is_crowd_G is not None:
        union = np.where(is_crowd_G, area_a, union)
    result: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def box_quality(images: Sequence[ImageBoxes]) -> BoxQuality:
    """Over all images.

    Source: pycocotools ``COCOeval`` with iouType "bbox": matching, ignored truth and 101-point interpolation.
    """
    n_people = sum(int((~image.is_ignored_G).sum()) for image in images)
    best = [iou.max(axis=0, initial=0.0) for iou in map(_scored_overlaps, images)]
    outcomes = [_outcomes(image) for image in images]
    scores_D = np.concatenate([scores for scores, _, _ in outcomes]) if outcomes else np.zeros(0)
    hit_DT = np.concatenate([hit for _, hit, _ in outcomes]) if outcomes else np.zeros((0, len(THRESHOLDS_T)), bool)
    out_DT = np.concatenate([out for _, _, out in outcomes]) if outcomes else hit_DT
    order = np.argsort(-scores_D, kind="stable")
    undefined = math.nan if n_people == 0 else 0.0
    curves = [_average_precision(hit_DT[order, t], out_DT[order, t], n_people) for t in range(len(THRESHOLDS_T))]
    return BoxQuality(
        n_boxes=sum(len(image.boxes_N4) for image in images),
        n_people=n_people,
        mean_iou=float(np.concatenate(best).sum() / n_people) if n_people else undefined,
        recall50=float(hit_DT[:, 0].sum() / n_people) if n_people else undefined,
        ap=float(np.mean(curves)) if n_people else undefined,
    )


def _scored_overlaps(image: ImageBoxes) -> NDArray[np.float64]:
    return overlaps(image.boxes_N4, image.truth_G4[~image.is_ignored_G])


def _outcomes(image: ImageBoxes) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Scores of an image's boxes, best first; per threshold: matched a person, or left out for an ignored one."""
    order = np.argsort(-image.scores_N.astype(np.float64), kind="stable")[:MAX_BOXES]
    iou_NG = overlaps(image.boxes_N4[order], image.truth_G4, image.is_crowd_G)
    n, g = iou_NG.shape
    hit, out = np.zeros((n, len(THRESHOLDS_T)), bool), np.zeros((n, len(THRESHOLDS_T)), bool)
    is_free_TG = np.ones((len(THRESHOLDS_T), g), bool)
    for i in np.flatnonzero(iou_NG.max(axis=1, initial=0.0) >= THRESHOLDS_T[0]):
        fits_TG = is_free_TG & (iou_NG[i] >= THRESHOLDS_T[:, None])
        for is_wanted_G, outcome in ((~image.is_ignored_G, hit), (image.is_ignored_G, out)):
            candidates = fits_TG & is_wanted_G
            found_T = candidates.any(axis=1) & ~hit[i] & ~out[i]
            # of equal overlaps the last one, as the reference's >= keeps it
            match_T = g - 1 - np.argmax(np.where(candidates, iou_NG[i], -1.0)[:, ::-1], axis=1)
            outcome[i] |= found_T
            taken = found_T & ~image.is_crowd_G[match_T]
            is_free_TG[taken, match_T[taken]] = False
    return image.scores_N[order].astype(np.float64), hit, out


def _average_precision(hit_D: NDArray[np.bool_], is_out_D: NDArray[np.bool_], n_people: int) -> float:
    """Interpolated precision at 101 recalls; the boxes come best first."""
    if n_people == 0:
        return math.nan
    hit = hit_D[~is_out_D]
    true, false = np.cumsum(hit), np.cumsum(~hit)
    recall, precision = true / n_people, true / np.maximum(true + false, 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, _RECALLS, side="left")
    return (
        float(np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0.0).mean())
        if len(hit)
        else 0.0
    )
