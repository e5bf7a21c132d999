"""Faults of a pose prediction, found before any metric sees it. No fault may raise a score.

An instance at fault (NaN, infinity, absurd coordinates, a score that is no number) is not merely left out: had it been
a false positive, leaving it out would raise the precision. It becomes a certain false positive: far outside every
image, of the one area (96² px²) that belongs to the medium and to the large range.

Source: specs of this project, reliability 2.3. pycocotools counts NaN coordinates as a perfect match.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.tasks.pose.overlap import iou
from sapiens_bench.tasks.pose.types import PosePrediction, ResultScores, empty_prediction
from sapiens_bench.types import ModelInput

COORDINATE_LIMIT_PX = 5e4  # beyond it a detection's area could leave the range "all", where it would no longer count
_FAR_PX, _APART_PX, _SIDE_PX = -1e5, 1e3, 96.0
NO_CATEGORY = -1  # of an instance that no box asked for
_TOP_SCORE = 1e6  # stands for a score that is no number: no model's score is higher


def check_prediction(
    prediction: Any, n_keypoints: int, area_index: NDArray[np.int64], x: ModelInput
) -> tuple[PosePrediction, SampleFault | None]:
    """A prediction that is safe to measure, and the first fault found.

    Args:
        area_index: keypoints whose extent gives a detection's area.

    ``pred.shape`` wrong type, shape or dtype: nobody is detected. ``pred.extra`` more instances than boxes: the first
    ones stay. ``pred.duplicate`` the same instance again for the same box: the first stays. ``pred.missing`` fewer
    instances than boxes. ``pred.nonfinite``, ``pred.range``, ``pred.score``: that instance is a false positive.
    Results made elsewhere were asked for by no box: none of them is extra, repeated or missing.
    """
    detail = _shape_fault(prediction, n_keypoints)
    if detail:
        return empty_prediction(n_keypoints), _fault("pred.shape", detail)
    scores, not_a_score = _numbers(prediction)
    keypoints = np.asarray(prediction.keypoints_NK2_px)
    boxes = np.asarray(prediction.boxes_xyxy_px_N4)
    nonfinite = ~(np.isfinite(keypoints).all(axis=(1, 2)) & np.isfinite(boxes).all(axis=1))
    with np.errstate(invalid="ignore"):
        absurd = (np.abs(keypoints) > COORDINATE_LIMIT_PX).any(axis=(1, 2)) & ~nonfinite
    category = _categories(prediction, x)
    candidates = PosePrediction(keypoints, scores[1], scores[0], boxes, prediction.results, category)
    is_repeated, is_extra = np.zeros(len(keypoints), bool), np.zeros(len(keypoints), bool)
    n_missing = 0
    if prediction.results is None:
        is_repeated = _repeated(candidates, x)
        is_extra[np.flatnonzero(~is_repeated)[len(x.boxes_xyxy_px) :]] = True
        n_missing = len(x.boxes_xyxy_px) - int(np.count_nonzero(~is_repeated))
    fault = (
        _first("pred.nonfinite", nonfinite, "coordinates are NaN or infinite")
        or _first("pred.range", absurd, f"coordinates are beyond {COORDINATE_LIMIT_PX:g} px")
        or _first("pred.score", not_a_score, "the score is not a finite number")
        or _first("pred.duplicate", is_repeated, "the same instance was given before for the same box")
        or _first("pred.extra", is_extra, f"there are only {len(x.boxes_xyxy_px)} boxes")
        or (_fault("pred.missing", f"{n_missing} of {len(x.boxes_xyxy_px)} boxes have none") if n_missing > 0 else None)
    )
    if fault is None:
        return candidates, None
    safe = _as_false_positives(candidates, nonfinite | absurd | not_a_score, area_index)
    return safe.take(np.flatnonzero(~is_repeated & ~is_extra)), fault


def _shape_fault(prediction: Any, n_keypoints: int) -> str:
    """What is wrong with type, shapes or dtypes; empty when nothing is."""
    if not isinstance(prediction, PosePrediction):
        return f"expected PosePrediction, found {type(prediction).__name__}"
    fields = {
        "keypoints_NK2_px": (None, n_keypoints, 2),
        "keypoint_scores_NK": (None, n_keypoints),
        "instance_scores_N": (None,),
        "boxes_xyxy_px_N4": (None, 4),
    }
    n: int | None = None
    for name, wanted in fields.items():
        array = getattr(prediction, name)
        if not isinstance(array, np.ndarray):
            return f"{name} is {type(array).__name__}, expected an array"
        if array.ndim != len(wanted) or any(w is not None and w != s for w, s in zip(wanted, array.shape, strict=True)):
            return f"{name} has shape {array.shape}, expected {('N', *wanted[1:])}".replace("'", "")
        if n is not None and len(array) != n:
            return f"{name} has {len(array)} instances, the fields before it {n}"
        if array.dtype.kind != "f" and name in ("keypoints_NK2_px", "boxes_xyxy_px_N4"):
            return f"{name} has dtype {array.dtype}, expected float32"
        n = len(array)
    return ""


def _categories(prediction: PosePrediction, x: ModelInput) -> NDArray[np.int64] | None:
    """Category of every instance where several are scored: its own, else that of the box it was made in."""
    if x.box_categories is None or prediction.category_N is not None:
        return None if x.box_categories is None else prediction.category_N
    n = len(prediction.instance_scores_N)
    if n == len(x.boxes_xyxy_px):
        return x.box_categories
    if not len(x.boxes_xyxy_px):
        return np.full(n, NO_CATEGORY, np.int64)
    nearest = iou(prediction.boxes_xyxy_px_N4, x.boxes_xyxy_px).argmax(axis=1)
    return np.asarray(x.box_categories[nearest], np.int64)


def _numbers(prediction: PosePrediction) -> tuple[tuple[NDArray[Any], NDArray[Any]], NDArray[np.bool_]]:
    """Instance and keypoint scores as floats, and which instances have one that is no finite number."""
    result, bad = [], np.zeros(len(prediction.instance_scores_N), bool)
    for array in (prediction.instance_scores_N, prediction.keypoint_scores_NK):
        if array.dtype.kind == "f":
            numbers = array
        elif array.dtype.kind in "iu":
            numbers = array.astype(np.float64)
        else:
            numbers = np.full(array.shape, np.nan, np.float32)
        bad |= ~np.isfinite(numbers).all(axis=tuple(range(1, numbers.ndim)))
        result.append(numbers)
    for part in (prediction.results.parts if prediction.results is not None else {}).values():
        bad |= ~np.isfinite(part)
    if prediction.results is not None and prediction.results.area_N is not None:
        bad |= ~np.isfinite(prediction.results.area_N)
    return (result[0], result[1]), bad


def _repeated(prediction: PosePrediction, x: ModelInput) -> NDArray[np.bool_]:
    """Instances equal in every number to an earlier one of the same box, where the box has more than were asked for.

    The last ones go first: two people may truly share a box, and what was given for them must stay.
    """
    repeated = np.zeros(len(prediction.instance_scores_N), bool)
    boxes = [box.tobytes() for box in prediction.boxes_xyxy_px_N4.astype(np.float32)]
    given = Counter(box.tobytes() for box in x.boxes_xyxy_px.astype(np.float32))
    excess = {box: n - max(1, given[box]) for box, n in Counter(boxes).items()}
    fields = (prediction.keypoints_NK2_px, prediction.keypoint_scores_NK, prediction.instance_scores_N)
    keys = [box + b"".join(field[i].tobytes() for field in fields) for i, box in enumerate(boxes)]
    left = Counter(keys)
    for i in reversed(range(len(keys))):
        left[keys[i]] -= 1  # how often the same instance was given before this one
        if left[keys[i]] > 0 and excess[boxes[i]] > 0:
            repeated[i] = True
            excess[boxes[i]] -= 1
    return repeated


def _as_false_positives(
    prediction: PosePrediction, is_bad: NDArray[np.bool_], area_index: NDArray[np.int64]
) -> PosePrediction:
    """The prediction with the bad instances moved where they match nobody and suppress nobody."""
    keypoints, keypoint_scores, instance_scores, boxes = (
        _copy(array)
        for array in (
            prediction.keypoints_NK2_px,
            prediction.keypoint_scores_NK,
            prediction.instance_scores_N,
            prediction.boxes_xyxy_px_N4,
        )
    )
    parts = {} if prediction.results is None else {n: part.copy() for n, part in prediction.results.parts.items()}
    for position, i in enumerate(np.flatnonzero(is_bad)):
        corner = np.array([_FAR_PX - position * _APART_PX, _FAR_PX])
        keypoints[i] = corner
        keypoints[i, area_index[-1]] = corner + _SIDE_PX
        boxes[i] = [*corner, *(corner + _SIDE_PX)]
        is_part_bad = any(not np.isfinite(part[i]) for part in parts.values())
        if is_part_bad or not (np.isfinite(keypoint_scores[i]).all() and np.isfinite(instance_scores[i])):
            keypoint_scores[i] = 1.0
            instance_scores[i] = _TOP_SCORE
            for part in parts.values():
                part[i] = _TOP_SCORE
    results = _with(prediction.results, parts, is_bad)
    return PosePrediction(keypoints, keypoint_scores, instance_scores, boxes, results, prediction.category_N)


def _with(
    results: ResultScores | None, parts: dict[str, NDArray[np.float64]], is_bad: NDArray[np.bool_]
) -> ResultScores | None:
    """The results' own numbers, those of bad instances replaced as well."""
    if results is None:
        return None
    area = None if results.area_N is None else np.where(is_bad, _SIDE_PX**2, results.area_N)
    return replace(results, parts=parts, area_N=area)


def _copy(array: NDArray[Any]) -> NDArray[Any]:
    """A copy in a dtype that can hold the far coordinates and the top score."""
    return array.astype(np.float32 if array.dtype == np.float16 else array.dtype)


def _first(code: str, is_bad: NDArray[np.bool_], what: str) -> SampleFault | None:
    bad = np.flatnonzero(is_bad)
    if len(bad) == 0:
        return None
    more = f" ({len(bad)} of {len(is_bad)} instances)" if len(bad) > 1 else ""
    return _fault(code, f"instance {bad[0]}: {what}{more}")


def _fault(code: str, detail: str) -> SampleFault:
    return SampleFault(code, detail, side="prediction")
