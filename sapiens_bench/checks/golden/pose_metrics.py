"""Our scoring against a folder of official inputs and outputs (``golden/sapiens-v1/eval`` layout)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import DataMissing
from sapiens_bench.tasks.pose.official import OfficialScores, evaluate_predictions, evaluate_results
from sapiens_bench.tasks.pose.oks import variances
from sapiens_bench.tasks.pose.scoring import PoseScoring, mutual_oks, suppress

TOLERANCE = 1e-9
_STATISTICS = {
    **{"AP": "AP", "AP .5": "AP50", "AP .75": "AP75", "AP (M)": "APM", "AP (L)": "APL"},
    **{"AR": "AR", "AR .5": "AR50", "AR .75": "AR75", "AR (M)": "ARM", "AR (L)": "ARL"},
}
_PARTS = {
    "keypoints_body": "body",
    "keypoints_foot": "foot",
    "keypoints_face": "face",
    "keypoints_lefthand": "left_hand",
    "keypoints_righthand": "right_hand",
    "keypoints_wholebody": "whole",
    "keypoints_wholebody_goliath": "whole",
}
_OFFICIAL = PoseScoring(drop_zero_score=True)
SETS = ("coco17", "wholebody133", "goliath308")
_SETS = {"coco17": "coco17", "wholebody133": "coco-wholebody133", "goliath308": "goliath308"}  # -> id of the space
_VARIANTS: dict[str, tuple[PoseScoring, bool]] = {  # name -> scoring, use_area
    "default": (_OFFICIAL, True),
    "nms_none": (PoseScoring(nms_oks=None, drop_zero_score=True), True),
    "soft_nms": (PoseScoring(nms="soft", drop_zero_score=True), True),
    "score_bbox": (PoseScoring(score="instance", drop_zero_score=True), True),
    "score_keypoint": (PoseScoring(score="keypoints", drop_zero_score=True), True),
    "score_bbox_rle": (PoseScoring(score="box_plus_keypoints", drop_zero_score=True), True),
    "no_area": (_OFFICIAL, False),
}


class GoldenItem(NamedTuple):
    """One number of the official code beside ours."""

    name: str  # "coco17/default/AP .5"
    expected: float
    actual: float

    @property
    def difference(self) -> float:
        """Absolute; 0 where both are undefined (pycocotools prints -1), infinity where one is."""
        undefined = (self.expected == -1 or math.isnan(self.expected), math.isnan(self.actual))
        if any(undefined):
            return 0.0 if all(undefined) else math.inf
        return abs(self.actual - self.expected)

    @property
    def is_equal(self) -> bool:
        """Within the tolerance."""
        return self.difference <= TOLERANCE


def evaluation_items(
    folder: Path, spaces: Mapping[str, SpaceCard], sets: Sequence[str] = tuple(_SETS)
) -> Iterator[GoldenItem]:
    """Every pose number of ``folder/expected.json`` with ours, recomputed from the inputs beside it.

    Args:
        sets: of ``expected.json`` that are wanted.
        spaces: keypoint sets by id; ``coco17``, ``coco-wholebody133``, ``goliath308`` as far as the folder has them.

    Raises:
        DataMissing: a file is not there.
    """
    expected = _read(folder / "expected.json")
    for set_name, space_id in _SETS.items():
        if set_name not in expected or set_name not in sets:
            continue
        wanted, space = expected[set_name], spaces[space_id]
        truth, predictions = _read(folder / f"{set_name}_gt.json"), _read(folder / f"{set_name}_pred.json")
        for variant, (scoring, use_area) in _VARIANTS.items():
            if variant not in wanted:
                continue
            scores = evaluate_predictions(truth, predictions, space, scoring, use_area=use_area)
            yield from _numbers(f"{set_name}/{variant}", wanted[variant], scores.parts["whole"])
            if variant == "default":
                yield from _default_items(set_name, wanted, scores)
        yield from _result_items(folder, set_name, wanted, truth, space)


def _default_items(set_name: str, wanted: Mapping[str, Any], scores: OfficialScores) -> Iterator[GoldenItem]:
    if "n_results" in wanted:
        yield GoldenItem(f"{set_name}/n_results", wanted["n_results"], scores.n_results)
    for part, numbers in wanted.get("parts", {}).items():
        yield from _numbers(f"{set_name}/{part}", numbers, scores.parts[_PARTS[part]])


def _result_items(
    folder: Path, set_name: str, wanted: Mapping[str, Any], truth: Mapping[str, Any], space: SpaceCard
) -> Iterator[GoldenItem]:
    """Results files scored by both COCO codes: only one of them drops detections without a positive score."""
    for code, drop in (("pycocotools", False), ("xtcocotools", True)):
        name = f"{code}_on_official_results"
        if name in wanted:
            results = _read(folder / f"{set_name}_official_results.json")
            scores = evaluate_results(truth, results, space, PoseScoring(drop_zero_score=drop))
            yield from _numbers(f"{set_name}/{name}", wanted[name], scores.parts["whole"])


def nms_items(path: Path) -> Iterator[GoldenItem]:
    """OKS-NMS cases: the order in which instances stay, and the similarity rows."""
    content = _read(path)
    variances_K = variances(np.asarray(content["sigmas"], np.float64))
    for number, case in enumerate(content["cases"]):
        people = case["instances"]
        keypoints = np.array([p["keypoints"] for p in people], np.float64)
        areas = np.array([p["area"] for p in people], np.float64)
        scores = np.array([p["score"] for p in people], np.float64)
        keep = suppress(PoseScoring(nms_oks=case["threshold"]), keypoints[..., :2], scores, areas, variances_K)
        if "keep" in case:
            yield GoldenItem(f"oks_nms/{number}/keep", 1.0, float(keep.tolist() == list(case["keep"])))
        row = mutual_oks(keypoints[..., :2], areas, variances_K)[0]
        for i, value in enumerate(case.get("oks_of_0_vs_all", ())):
            yield GoldenItem(f"oks_nms/{number}/oks_of_0/{i}", value, float(row[i]))


def _numbers(name: str, wanted: Mapping[str, float], actual: Mapping[str, float]) -> Iterator[GoldenItem]:
    for key, ours in _STATISTICS.items():
        if key in wanted:
            yield GoldenItem(f"{name}/{key}", wanted[key], actual[ours])


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataMissing(f"{path} not found. Give the folder that holds expected.json and its inputs.") from None
