"""Poses that another program predicted, found by sample; every one of them counts.

Axes: N instances of one image, K keypoints, R results of the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.point_names import NamesDiffer, order_by_name
from sapiens_bench.errors import CheckpointRejected, DataError, SampleFault
from sapiens_bench.models.image_names import Ambiguous, ImageNames
from sapiens_bench.models.result_files import PARTS, ResultList, read_results
from sapiens_bench.models.stored_options import StoredPosesOptions
from sapiens_bench.pixels import json_parts, strict_json
from sapiens_bench.tasks.pose.categories import NobodyScored, identities, is_person
from sapiens_bench.tasks.pose.types import PART_SCORES, AnnotationIndex, PosePrediction, ResultScores

_FAR_PX = 4e4  # farther coordinates are finite misses all the same, but would push an area out of COCO's widest range
_NUMBERED = re.compile(r"#(-?\d+)$")


class PoseResults:
    """The results of one file or folder.

    With an ``index``, image ids are those of the data set's annotation file, and nothing is guessed from file names.
    Without one (a data set that has no ids) a key leads to an id by its ``#<image id>`` ending, the stem table of the
    option ``annotations``, or the number that its last part is.

    Args:
        path: results; see ``result_files``.
        names: of the model's keypoint set, K of them; an entry of another length is its image's ``pred.shape``.
        index: what the ids refer to.
        options: see ``StoredPosesOptions``.

    ``notes`` says what was left out or assumed.

    Raises:
        CheckpointRejected: not a file of results, or the results of another data set.
    """

    def __init__(
        self, path: Path, names: Sequence[str], index: AnnotationIndex | None, options: StoredPosesOptions
    ) -> None:
        self._path, self._n_keypoints, self._index = path, len(names), index
        self._is_final = options.keypoint_scores == "final"
        self._is_suppressed = options.nms
        found = read_results(path)
        self.notes: list[str] = list(found.notes) if self._is_final or not found.is_per_picture else []
        if options.nms:
            self.notes.append("similar instances of the results were suppressed once more (option nms)")
        self._order_K = self._order(found, names)
        people = self._people(found)
        first = found.entries[0].get("bbox") if found.entries else None
        self._has_areas = isinstance(first, list) and len(first) >= 4  # as pycocotools loadRes decides it
        self._ids = {} if index is not None or not options.annotations else _stem_ids(Path(options.annotations))
        self._by_image = self._grouped(people, found.is_per_picture)
        self._read(people)
        if n_again := self._repeated():
            self.notes.append(f"{n_again} results stand in it more than once; each further one is a false positive")

    def _repeated(self) -> int:
        """Results that repeat an earlier one of their image and category to the last bit."""
        kinds = self._category_R if len(self._category_R) else np.zeros(len(self._scores_R), np.int64)
        each = zip(self._points_RK3, self._scores_R, kinds, strict=True)
        content = [points.tobytes() + score.tobytes() + kind.tobytes() for points, score, kind in each]
        return sum(len(rows) - len({content[row] for row in rows}) for rows in self._by_image.values())

    def _order(self, found: ResultList, names: Sequence[str]) -> NDArray[np.int64] | None:
        if not found.names:
            return None
        try:
            return order_by_name(found.names, names)
        except NamesDiffer as error:
            if error.in_place:
                self.notes.append(f"its points are spelt otherwise: {error}; they are taken in its order")
                return None
            raise CheckpointRejected(
                f"{self._path}: its keypoints are not those of the model's set: {error}."
            ) from None

    def _people(self, found: ResultList) -> list[dict[str, Any]]:
        declared: Mapping[int, str] = {1: "person"} if self._index is None else self._index.categories
        scored = frozenset({1}) if self._index is None else self._index.scored
        try:
            given = [entry.get("category_id") for entry in found.entries]
            counts, notes = is_person(given, declared, scored)
        except NobodyScored as error:
            raise CheckpointRejected(f"{self._path}: {error}.") from None
        kinds = identities(given, declared) if len(scored) > 1 else []
        self._category_R = np.array([k for k, is_one in zip(kinds, counts, strict=False) if is_one], np.int64)
        n_others = len(counts) - sum(counts)
        self.notes += [*notes, *([f"{n_others} results of other categories were left out"] if n_others else [])]
        return [entry for entry, is_one in zip(found.entries, counts, strict=True) if is_one]

    def _grouped(self, people: list[dict[str, Any]], is_per_picture: bool) -> dict[Any, list[int]]:
        """Image id -> places of its results, in file order."""
        ids = [self._image_id(entry.get("image_id"), position) for position, entry in enumerate(people)]
        if self._index is not None:
            ids = self._known_ids(ids, self._index, is_per_picture)
        grouped: dict[Any, list[int]] = {}
        for position, identity in enumerate(ids):
            if identity is not None:
                grouped.setdefault(identity, []).append(position)
        if self._index is not None:
            self._check_cover(ids, grouped, len(self._index.image_ids))
        return grouped

    def _image_id(self, value: Any, position: int) -> Any:
        if type(value) is float and value.is_integer():
            return int(value)
        if type(value) is int or (isinstance(value, str) and self._index is not None):
            return value
        raise CheckpointRejected(
            f"{self._path}: image_id {value!r:.60} of result {position} is not a whole number. Write the id that the "
            "annotation file gives the image."
        )

    def _known_ids(self, ids: list[Any], index: AnnotationIndex, is_per_picture: bool) -> list[int | None]:
        """Ids of the annotation file; what texts mean is ``image_names``'. None: an image that is not in it."""
        try:
            found, how = ImageNames(index).meant(ids)
        except Ambiguous as error:
            raise CheckpointRejected(f"{self._path}: {error}.") from None
        known = set(index.image_ids.values())
        if is_per_picture and len(set(ids)) == 1 and found[0] is None and len(known) == 1:
            return [next(iter(known))] * len(ids)  # one file, one image
        if how and not is_per_picture:
            self.notes.append(f"image_id is text: taken for {how}")
        return found

    def _check_cover(self, ids: list[int | None], grouped: dict[Any, list[int]], n_images: int) -> None:
        n_foreign = sum(i is None for i in ids)
        if ids and n_foreign == len(ids):
            raise CheckpointRejected(
                f"{self._path}: none of its {len(ids)} results belongs to an image of the annotation file. They name "
                "images by the annotation file's ids (per-picture files by the picture's file name)."
            )
        if n_foreign:
            self.notes.append(f"{n_foreign} results of images that are not annotated were left out")
        if len(grouped) < n_images:
            self.notes.append(f"results for {len(grouped)} of {n_images} images; people of the others are misses")

    def _read(self, people: list[dict[str, Any]]) -> None:
        """All numbers of the file, once."""
        n, k = len(people), self._n_keypoints
        self._points_RK3 = np.full((n, k, 3), np.nan)
        self._scores_R = np.array([_number(e.get("score" if self._is_final else _box_score(e))) for e in people])
        self._boxes_R4 = np.full((n, 4), np.nan)
        self._areas_R = np.full(n, np.nan)
        self._bad: dict[int, int] = {}  # result -> how many values it has
        for position, entry in enumerate(people):
            points, n_values = _triples(entry, k)
            if points is None:
                self._bad[position] = n_values
                continue
            self._points_RK3[position] = points if self._order_K is None else points[self._order_K]
            self._boxes_R4[position] = _box(entry, points[:, :2])
            self._areas_R[position] = _area(entry)
        if are_shares(self._points_RK3):
            raise CheckpointRejected(
                f"{self._path}: every coordinate lies within 0..1, a share of the picture. Results hold pixels of the "
                "whole picture: multiply x by its width and y by its height."
            )
        self._parts = {
            part: np.array([_number(e.get(name, e.get("score"))) for e in people])
            for part, name in PART_SCORES.items()
            if self._is_final and any(name in e for e in people)
        }

    def prediction(self, key: str) -> PosePrediction:
        """All instances of one image, in file order; unchecked numbers (the task's check comes next).

        Raises:
            SampleFault: side ``prediction``; ``pred.shape`` for a malformed entry, ``pred.unknown_image``.
        """
        identity = self._identity(key)
        rows = np.array(self._by_image.get(identity, []), np.int64)
        for row in rows.tolist():
            if row in self._bad:
                n, needed = self._bad[row], 3 * self._n_keypoints
                wanted = f"{needed} numbers ({self._n_keypoints} x (x, y, score))"
                has = "values that are no numbers" if n == needed else f"{n} value{'s' * (n != 1)}"
                detail = f"image {identity}: a result has {has}, expected {wanted}"
                raise SampleFault("pred.shape", detail, side="prediction")
        points = self._points_RK3[rows]
        keypoints, boxes = points[..., :2], self._boxes_R4[rows]
        keypoints = np.where(np.isfinite(keypoints), np.clip(keypoints, -_FAR_PX, _FAR_PX), keypoints)
        parts = {part: scores[rows] for part, scores in self._parts.items()}
        return PosePrediction(
            keypoints_NK2_px=keypoints,
            keypoint_scores_NK=points[..., 2],
            instance_scores_N=self._scores_R[rows],
            boxes_xyxy_px_N4=boxes,
            results=ResultScores(self._is_final, self._is_suppressed, parts, self._areas(rows)),
            category_N=self._category_R[rows] if len(self._category_R) else None,
        )

    def _areas(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Areas of the results' own boxes, where the file has them; of the keypoints for an entry without."""
        if not self._has_areas:
            return None
        corners = self._boxes_R4[rows]
        extent = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        return np.where(np.isnan(self._areas_R[rows]), extent, self._areas_R[rows])

    def _identity(self, key: str) -> Any:
        if self._index is not None:
            return self._index.image_ids[key]
        numbered = _NUMBERED.search(key)
        if numbered:
            return int(numbered[1])
        stem = key.rpartition("/")[2]
        if stem in self._ids:
            return self._ids[stem]
        if stem.isascii() and stem.isdigit() and not self._ids:
            return int(stem)
        detail = f"no image id for {key!r}; give the option annotations=<COCO file>"
        raise SampleFault("pred.unknown_image", detail, side="prediction")


def are_shares(points_RK3: NDArray[np.float64]) -> bool:
    """Whether coordinates are shares of the picture's sides: none is above 1, and not all are whole numbers."""
    found = points_RK3[..., :2][np.isfinite(points_RK3[..., :2])]
    return len(found) > 0 and found.min() >= -1 and found.max() <= 1 and bool((found != np.rint(found)).any())


def _triples(entry: Mapping[str, Any], k: int) -> tuple[NDArray[np.float64] | None, int]:
    """x, y, score of every point [K, 3], or None and how many values there are."""
    if len([name for name in PARTS if name in entry]) == 1:
        values = entry.get("keypoints")
    else:
        values = []
        for part in PARTS:
            given = entry.get(part, [])
            values = values + (given if isinstance(given, list) else [None])
    if not isinstance(values, list) or len(values) != 3 * k:
        return None, len(values) if isinstance(values, list) else 1
    array = json_parts.numbers(values, 3 * k)
    if array is None:
        if not all(type(v) in (int, float) for v in values):
            return None, len(values)
        array = np.array([_number(v) for v in values])
    return array.reshape(-1, 3), len(values)


def _box_score(entry: Mapping[str, Any]) -> str:
    return "box_score" if "box_score" in entry else "score"


def _number(value: Any) -> float:
    """The value as float; NaN for what is no number, which the task's check then reports."""
    if type(value) not in (int, float):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _box(entry: Mapping[str, Any], keypoints_K2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the stored box, or of the keypoints where none is stored."""
    for name, is_corners in (("bbox", False), ("corners", True)):
        box = entry.get(name)
        if isinstance(box, list) and len(box) >= 4:
            a, b, c, d = (_number(v) for v in box[:4])
            return np.array([a, b, c, d] if is_corners else [a, b, a + c, b + d])
    return np.concatenate([keypoints_K2.min(axis=0), keypoints_K2.max(axis=0)])


def _area(entry: Mapping[str, Any]) -> float:
    """Width x height of the stored box; NaN where none is stored. Source: pycocotools ``loadRes``."""
    box = entry.get("bbox")
    return _number(box[2]) * _number(box[3]) if isinstance(box, list) and len(box) >= 4 else float("nan")


def _stem_ids(annotations: Path) -> dict[str, int]:
    """File stem -> image id, as the COCO adapter forms its keys."""
    try:
        document = strict_json.parse(strict_json.read_bytes(annotations), annotations)
    except DataError as error:
        raise CheckpointRejected(str(error)) from None
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list):
        raise CheckpointRejected(f"{annotations}: no list of images; option annotations needs a COCO-format file.")
    return {
        str(PurePosixPath(image["file_name"]).with_suffix("")).replace("/", "-"): image["id"]
        for image in images
        if isinstance(image, dict) and isinstance(image.get("file_name"), str) and type(image.get("id")) is int
    }
