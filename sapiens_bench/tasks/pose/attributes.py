"""What makes a picture of people easy or hard, told by its annotations alone."""

from __future__ import annotations

import numpy as np

from sapiens_bench.tasks.pose.overlap import iou
from sapiens_bench.tasks.pose.types import PoseTarget

OCCLUDED, VISIBLE = 1, 2  # COCO's flags of a labelled point


def attributes(target: PoseTarget) -> dict[str, float]:
    """Of the people who are scored: ``people``, how many; ``person_px``, mean square root of their areas;
    ``occluded_share`` of their labelled points, by COCO's flags; ``crowding``, the largest overlap (IoU) of two boxes
    of whom one is scored. NaN where there is nobody.
    """
    scored = np.flatnonzero(target.is_scored_N)
    if not len(scored):
        return {"people": 0.0, "person_px": np.nan, "occluded_share": np.nan, "crowding": np.nan}
    flags = target.visible_NK[scored]
    overlap = np.zeros((1, 0))  # of one person alone: most pictures of most sets
    if len(target.boxes_xyxy_px_N4) > 1:
        overlap = iou(target.boxes_xyxy_px_N4[scored], target.boxes_xyxy_px_N4)
        overlap[np.arange(len(scored)), scored] = 0.0
    return {
        "people": float(len(scored)),
        "person_px": float(np.sqrt(target.area_N[scored]).mean()),
        "occluded_share": float(((flags > 0) & (flags < VISIBLE)).sum() / (flags > 0).sum()),
        "crowding": float(overlap.max(initial=0.0)),
    }
