"""pycocotools itself, also for the parts of a keypoint set."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def statistics(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    sigmas: Sequence[float],
    *,
    image_ids: Sequence[int],
    categories: Sequence[int],
    max_detections: int = 20,
    part: Part | None = None,
) -> dict[str, float]:
    """The ten statistics of pycocotools; undefined ones (-1 there) are NaN.

    Args:
        truth: an annotation document.
        results: COCO results.
        sigmas: of all keypoints.
        image_ids: those that are scored.
        categories: those that are scored; pycocotools takes the mean of several.
        part: of a keypoint set; None for a plain set, which COCOeval then scores by its own rules alone.
    """
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        loaded = _loaded(ground_truth, _with_area_points(results, part))
        if part is not None and part.area_index is not None:
            for annotation, result in zip(loaded.dataset["annotations"], results, strict=True):
                annotation["keypoints"] = result["keypoints"]
        evaluation = _evaluation(ground_truth, loaded, part)
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)[slice(None) if part is None else part.index]
        evaluation.params.imgIds = list(image_ids)
        evaluation.params.catIds = list(categories)
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
        return _summary(evaluation)


class Part:
    """A group of keypoints, scored as the official COCO-WholeBody scripts score theirs (myeval_*.py).

    Args:
        index: its keypoints.
        area_index: keypoints whose extent is a detection's area where results have no box; None: all.
        score: field of a result that ranks it, where it has one.
        drops_unseen: results without a positive keypoint score in the part are passed over.
        by_count: people whose ``num_keypoints`` is 0 are ignored as well.
    """

    def __init__(
        self, index: NDArray[np.int64], area_index: NDArray[np.int64] | None, score: str, *, drops_unseen: bool,
        by_count: bool,
    ) -> None:  # fmt: skip
        self.index, self.area_index, self.score = index, area_index, score
        self.drops_unseen, self.by_count = drops_unseen, by_count

    def of(self, annotation: dict[str, Any]) -> list[float]:
        """x, y, v of the part's points, flat."""
        points = np.asarray(annotation["keypoints"], np.float64).reshape(-1, 3)[self.index]
        flat: list[float] = points.ravel().tolist()
        return flat


def _with_area_points(results: list[dict[str, Any]], part: Part | None) -> list[dict[str, Any]]:
    """Copies of the results (loadRes writes into them), with the points that give their area."""
    if part is None or part.area_index is None:
        return [dict(result) for result in results]
    return [
        {**r, "keypoints": np.asarray(r["keypoints"], np.float64).reshape(-1, 3)[part.area_index].ravel().tolist()}
        for r in results
    ]


def _loaded(truth: Any, results: list[dict[str, Any]]) -> Any:
    """``loadRes``, which cannot read an empty list."""
    from pycocotools.coco import COCO

    if results:
        return truth.loadRes(results)
    nobody = COCO()
    nobody.dataset = {**truth.dataset, "annotations": []}
    nobody.createIndex()
    return nobody


def _evaluation(truth: Any, results: Any, part: Part | None) -> Any:
    from pycocotools.cocoeval import COCOeval

    if part is None:
        return COCOeval(truth, results, "keypoints")
    shown: Part = part

    class PartEvaluation(COCOeval):  # type: ignore[misc]
        """COCOeval that looks at one part of the points."""

        def _prepare(self) -> None:
            super()._prepare()
            for key, people in self._gts.items():
                self._gts[key] = [_person(person, shown) for person in people]
            for key, found in self._dts.items():
                seen = [_detection(one, shown) for one in found]
                self._dts[key] = [one for one in seen if not shown.drops_unseen or max(one["keypoints"][2::3]) > 0]

    return PartEvaluation(truth, results, "keypoints")


def _person(person: dict[str, Any], part: Part) -> dict[str, Any]:
    points = part.of(person)
    is_ignored = bool(person.get("iscrowd")) or not any(v > 0 for v in points[2::3])
    is_ignored |= part.by_count and person["num_keypoints"] == 0
    return {**person, "keypoints": points, "ignore": int(is_ignored)}


def _detection(result: dict[str, Any], part: Part) -> dict[str, Any]:
    return {**result, "keypoints": part.of(result), "score": result.get(part.score, result["score"])}


def _summary(evaluation: Any) -> dict[str, float]:
    """``summarize`` for any number of detections: pycocotools prints its keypoint table for 20 only."""
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(values: Any) -> float:
        defined = values[values > -1]
        return float(np.mean(defined)) if len(defined) else math.nan

    at = {"": slice(None), "50": slice(0, 1), "75": slice(5, 6)}
    found = {f"AP{t}": mean(precision[s, :, :, 0, 0]) for t, s in at.items()}
    found |= {f"AP{a}": mean(precision[:, :, :, i, 0]) for a, i in (("M", 1), ("L", 2))}
    found |= {f"AR{t}": mean(recall[s, :, 0, 0]) for t, s in at.items()}
    found |= {f"AR{a}": mean(recall[:, :, i, 0]) for a, i in (("M", 1), ("L", 2))}
    return {name: found[name] for name in STATISTICS}
