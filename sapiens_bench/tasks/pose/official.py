"""COCO-format truth and predictions through our scoring, by the rules of the official evaluation codes.

Two layouts of predictions: one entry per detection before score rule and suppression (``id, img_id, keypoints,
keypoint_scores, bbox_score, bbox_scale``), and COCO results lists (``image_id, keypoints, score`` and part lists).
Truth: COCO, COCO-WholeBody (133) or Goliath (308) annotations.

Source: facebookresearch/sapiens pose/mmpose/evaluation/metrics/{coco,coco_wholebody,goliath}_metric.py with
xtcocotools; jin-s13/COCO-WholeBody evaluation/evaluation_wholebody.py. Settled by running both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import repeat
from operator import contains, itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import DatasetRejected
from sapiens_bench.tasks.pose.average_precision import STATISTICS, Elements, PartOutcomes
from sapiens_bench.tasks.pose.flatten import suppressed
from sapiens_bench.tasks.pose.matching import match
from sapiens_bench.tasks.pose.oks import Detections, Group, People, columns_of, keypoint_area, seen, variances
from sapiens_bench.tasks.pose.packing import packed
from sapiens_bench.tasks.pose.scoring import PoseScoring, instance_scores

WHOLE = "whole"
_PART_LISTS = {  # part -> key of its list in WholeBody annotations and results; in keypoint order
    "body": "keypoints",
    "foot": "foot_kpts",
    "face": "face_kpts",
    "left_hand": "lefthand_kpts",
    "right_hand": "righthand_kpts",
}
_PART_SCORES = {
    "foot": "foot_score",
    "face": "face_score",
    "left_hand": "lefthand_score",
    "right_hand": "righthand_score",
    WHOLE: "wholebody_score",
}
_GOLIATH_POINTS = "goliath_wholebody_kpts"
_BLOCK = 512  # results looked up together
_BOX_TO_AREA = 0.53  # xtcocotools without use_area: the share of a person's box that the person fills


class OfficialScores(NamedTuple):
    """The ten statistics per part, and how many detections were scored."""

    parts: dict[str, dict[str, float]]  # "whole", "body", ... -> "AP", ... -> value; NaN where undefined
    n_results: int


def evaluate_predictions(
    truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    space: SpaceCard,
    scoring: PoseScoring,
    *,
    use_area: bool = True,
) -> OfficialScores:
    """Score rule, suppression and COCO statistics of raw detections.

    Args:
        truth: annotation file content.
        predictions: entries ``id, img_id, keypoints [K][2], keypoint_scores [K], bbox_score, bbox_scale [2]``; the
            product of ``bbox_scale`` is the area OKS-NMS uses. Repeated ids of an image: the first entry stays.
        scoring: the official codes are matched with ``drop_zero_score`` on.
        use_area: False takes a person's area from the box.

    Raises:
        DatasetRejected: an annotation or prediction lacks a field or refers to an unknown image.
    """
    layout = _Layout(truth, space)
    people = layout.people(use_area)
    images = layout.images(_field(predictions, "img_id")).tolist()
    keys = list(zip(images, _field(predictions, "id"), strict=True))
    first = dict(zip(reversed(keys), reversed(predictions), strict=True))
    entries = [first[key] for key in sorted(first)]
    n_keypoints = len(space.names)
    keypoints = layout.array(_field(entries, "keypoints"), (n_keypoints, 2), "prediction keypoints")
    keypoint_scores = layout.array(_field(entries, "keypoint_scores"), (n_keypoints,), "keypoint_scores")
    box_scores = layout.array(_field(entries, "bbox_score"), (), "bbox_score")
    scores = instance_scores(scoring, box_scores, keypoint_scores)
    image = np.array([key[0] for key in sorted(first)], np.int64)
    kept = np.arange(len(entries))
    if scoring.nms_oks is not None:
        areas = layout.array(_field(entries, "bbox_scale"), (2,), "bbox_scale").prod(axis=1)
        kept = suppressed(scoring, keypoints, scores, areas, layout.variances_K, image, len(layout.image_ids))
    found = layout.detections(image[kept], keypoints[kept], scores[kept])
    present = seen(keypoint_scores[kept], layout.groups) if scoring.drop_zero_score else None
    parts = _statistics(people, found, len(layout.image_ids), layout.groups, scoring, present)
    return OfficialScores(parts, len(kept))


def evaluate_results(
    truth: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    space: SpaceCard,
    scoring: PoseScoring | None = None,
) -> OfficialScores:
    """COCO statistics of a results list; each part is ranked by its own score where the list has one.

    Raises:
        DatasetRejected: an annotation or result lacks a field or refers to an unknown image.
    """
    scoring = scoring or PoseScoring()
    layout = _Layout(truth, space)
    keypoints, ids, plain_scores = layout.plain_fields(results) or (None, None, None)
    triples = layout.triples(results, "result", keypoints)
    image = layout.images(ids or _field(results, "image_id"))
    people = layout.people(use_area=True)
    parts: dict[str, dict[str, float]] = {}
    for name, group in layout.groups.items():
        key = _PART_SCORES.get(name, "score")
        own = plain_scores or [r[key] if key in r else r.get("score") for r in results]
        scores = layout.array(own, (), "score")
        found = layout.detections(image, triples[..., :2], scores)
        present = seen(triples[..., 2], {name: group}) if scoring.drop_zero_score else None
        parts |= _statistics(people, found, len(layout.image_ids), {name: group}, scoring, present)
    return OfficialScores(parts, len(results))


class _Layout:
    """An annotation file and the keypoint set it is annotated in."""

    def __init__(self, truth: Mapping[str, Any], space: SpaceCard) -> None:
        self._truth, self._space = truth, space
        self.image_ids = sorted({image["id"] for image in truth["images"]})
        self._position = {id_: i for i, id_ in enumerate(self.image_ids)}
        # the official data sets hold sigmas as float32; squared there, too
        self.variances_K = variances(np.asarray(space.sigmas, np.float32))
        listed = truth.get("info", {}).get("goliath_info") or {}
        indices: dict[str, Sequence[int]] = {WHOLE: range(len(space.names))}
        for part in _PART_LISTS:
            index = listed.get(f"{part}_keypoint_ids", space.groups.get(part))
            if index is not None:
                indices[part] = index
        self.groups = {n: Group(np.asarray(i, np.int64), self.variances_K[list(i)]) for n, i in indices.items()}

    def images(self, image_ids: Sequence[Any]) -> NDArray[np.int64]:
        """Positions of images in the order of ids."""
        try:
            return np.fromiter(map(self._position.__getitem__, image_ids), np.int64, len(image_ids))
        except KeyError as unknown:
            fault = f"image {unknown.args[0]!r} is not in the annotation file"
            raise DatasetRejected("predictions", [fault]) from None

    def people(self, use_area: bool) -> People:
        """Annotated people by image, in file order within an image."""
        listed = self._truth["annotations"]
        image = self.images(_field(listed, "image_id"))
        order = np.argsort(image, kind="stable")
        annotations = [listed[i] for i in order.tolist()]
        triples = self.triples(annotations, "annotation")
        boxes = self.array(_field(annotations, "bbox"), (4,), "bbox")
        area = boxes[:, 2] * boxes[:, 3] * _BOX_TO_AREA
        return People(
            image_G=image[order],
            x_GK=np.ascontiguousarray(triples[..., 0]),
            y_GK=np.ascontiguousarray(triples[..., 1]),
            visible_GK=triples[..., 2] > 0,
            area_G=self.array(_field(annotations, "area"), (), "area") if use_area else area,
            is_crowd_G=np.fromiter((bool(a.get("iscrowd", 0)) for a in annotations), bool, len(annotations)),
            boxes_xywh_G4=boxes,
        )

    def plain_fields(self, results: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any], list[Any]] | None:
        """Keypoints, image ids and scores of a set without parts, block by block while the block lies in the cache.

        None where the set has parts or a result is not plain, or lacks one of them: field by field tells which.
        """
        if len(self.groups) > 1 or len(self._space.groups) > 0:
            return None
        found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        try:
            for some in (results[i : i + _BLOCK] for i in range(0, len(results), _BLOCK)):
                if any(any(map(contains, some, repeat(key))) for key in (_GOLIATH_POINTS, _PART_SCORES[WHOLE])):
                    return None
                for values, key in zip(found, ("keypoints", "image_id", "score"), strict=True):
                    values.extend(map(itemgetter(key), some))
        except KeyError:
            return None
        return found

    def _are_plain(self, entries: Sequence[Mapping[str, Any]]) -> bool:
        return len(self._space.groups) == 0 and not any(map(contains, entries, repeat(_GOLIATH_POINTS)))

    def triples(
        self, entries: Sequence[Mapping[str, Any]], what: str, lists: list[Any] | None = None
    ) -> NDArray[np.float64]:
        """x, y and v (or score) of every keypoint [n, K, 3], from one list or from the part lists.

        Args:
            lists: the keypoints, where they have been looked up.
        """
        if lists is None:
            is_plain = self._are_plain(entries)
            lists = _field(entries, "keypoints") if is_plain else [self._values(e) for e in entries]
        return self.array(lists, (len(self._space.names), 3), f"{what} keypoints")

    def _values(self, entry: Mapping[str, Any]) -> list[float]:
        if _GOLIATH_POINTS in entry:
            return list(entry[_GOLIATH_POINTS])
        if len(self._space.groups) > 0 and "foot_kpts" in entry:
            return [v for key in _PART_LISTS.values() for v in entry.get(key, ())]
        return list(_field([entry], "keypoints")[0])

    def detections(
        self, image: NDArray[np.int64], keypoints_DK2: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> Detections:
        """Detections with the area of the body points, or of all points where the set has no body."""
        x, y = (np.ascontiguousarray(keypoints_DK2[..., c]) for c in (0, 1))
        body = self.groups.get("body", self.groups[WHOLE]).index
        return Detections(image, x, y, scores, keypoint_area(columns_of(x, body), columns_of(y, body)))

    @staticmethod
    def array(values: Sequence[Any], shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
        """Values as float64 [n, *shape]; refused when they do not fit or are not finite."""
        try:
            found = packed(values, math.prod(shape)) if shape else packed([values], len(values))
            array = (np.asarray(values, np.float64) if found is None else found).reshape(len(values), *shape)
        except (TypeError, ValueError, OverflowError) as error:
            fault = f"{what}: expected numbers of shape {('n', *shape)} ({error})".replace("'", "")
            raise DatasetRejected("COCO-format input", [fault]) from None
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = math.isfinite(array.sum()) or bool(np.isfinite(array).all())  # a finite sum has finite terms
        if not is_finite:
            raise DatasetRejected("COCO-format input", [f"{what}: not finite"])
        return array


def _field(entries: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """One field of every entry; refused where an entry lacks it."""
    try:
        return list(map(itemgetter(key), entries))
    except KeyError:
        missing = sum(key not in entry for entry in entries)
        raise DatasetRejected("COCO-format input", [f"{missing} of {len(entries)} entries lack {key!r}"]) from None


def _statistics(
    people: People,
    detections: Detections,
    n_images: int,
    groups: Mapping[str, Group],
    scoring: PoseScoring,
    present: Mapping[str, NDArray[np.bool_]] | None,
) -> dict[str, dict[str, float]]:
    """Part -> statistic -> value."""
    matches = match(people, detections, n_images, groups, scoring.max_detections, present)
    elements = Elements.sort(detections.scores_D[matches.kept], detections.image_D[matches.kept])
    once = np.ones((1, n_images), np.int64)
    result = {}
    for name in groups:
        part = PartOutcomes(elements, matches.outcomes[name][elements.order_E], matches.n_people[name])
        result[name] = {key: float(v[0]) for key, v in part.statistics(once, tuple(STATISTICS)).items()}
    return result
