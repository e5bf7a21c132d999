"""COCO results files (``image_id, category_id, keypoints, score``) as predictions, one image at a time.

Axes: N instances of one image, K keypoints.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import CheckpointRejected, DataError, SampleFault
from sapiens_bench.pixels import strict_json
from sapiens_bench.tasks.pose.types import PosePrediction, empty_prediction

# Where a results file splits the points, they follow each other in this order (COCO-WholeBody).
PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
_PERSON = 1
_FAR_PX = 4e4  # farther coordinates are finite misses all the same, but would push an area out of COCO's widest range
_NUMBERED = re.compile(r"#(\d+)$")


class PoseResults:
    """The results of one file, found by sample key.

    A key leads to an image id by, in this order: its ``#<image id>`` ending; the stem table of ``annotations``; the
    number that its last part is (``coco-val2017/000000000785`` -> 785).

    Args:
        path: the results, a JSON list.
        n_keypoints: K; an entry of another length is its image's ``pred.shape``.
        annotations: COCO-format file whose ``images`` give the ids of file stems that are no numbers.
        keep_keypoint_scores: use the third values as keypoint scores. By default the stored score is final: keypoint
            scores are 1, and either score rule of a protocol then leaves it as it is.

    Raises:
        CheckpointRejected: not JSON, not a list of results, or empty.
    """

    def __init__(
        self, path: Path, n_keypoints: int, annotations: Path | None = None, keep_keypoint_scores: bool = False
    ) -> None:
        self._n_keypoints, self._keep_scores = n_keypoints, keep_keypoint_scores
        self._by_image: dict[int, list[dict[str, Any]]] = {}
        try:
            entries = strict_json.parse(strict_json.read_bytes(path), path, finite=False)
            self._ids = {} if annotations is None else _stem_ids(annotations)
        except DataError as error:
            raise CheckpointRejected(str(error)) from None
        if not isinstance(entries, list) or not entries:
            raise CheckpointRejected(f"{path}: expected a list of at least one result, as COCO evaluation writes it.")
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict) or type(entry.get("image_id")) is not int:
                raise CheckpointRejected(f"{path}: result {position} is not an object with a whole-number image_id.")
            if entry.get("category_id", _PERSON) == _PERSON:
                names = (*PARTS, "score", "bbox")
                self._by_image.setdefault(entry["image_id"], []).append({n: entry[n] for n in names if n in entry})

    def image_id(self, key: str) -> int:
        """The image id of a sample.

        Raises:
            SampleFault: ``pred.unknown_image``, side ``prediction``.
        """
        numbered = _NUMBERED.search(key)
        if numbered:
            return int(numbered[1])
        stem = key.rpartition("/")[2]
        if stem in self._ids:
            return self._ids[stem]
        if stem.isascii() and stem.isdigit() and not self._ids:
            return int(stem)
        raise _fault("pred.unknown_image", f"no image id for {key!r}; give the option annotations=<COCO file>")

    def prediction(self, key: str, n_boxes: int) -> PosePrediction:
        """All instances of one image, in file order; unchecked numbers (the task's check comes next).

        Raises:
            SampleFault: side ``prediction``; ``pred.missing`` when there is none although there are boxes,
                ``pred.shape`` for a malformed entry.
        """
        identity = self.image_id(key)
        entries = self._by_image.get(identity, [])
        if not entries and n_boxes:
            raise _fault("pred.missing", f"the file holds no result for image {identity}")
        if not entries:
            return empty_prediction(self._n_keypoints)
        points = np.stack([self._points(entry, identity) for entry in entries])
        scores_NK = points[..., 2] if self._keep_scores else np.where(np.isfinite(points[..., 2]), 1.0, np.nan)
        keypoints = points[..., :2]
        keypoints = np.where(np.isfinite(keypoints), np.clip(keypoints, -_FAR_PX, _FAR_PX), keypoints)
        return PosePrediction(
            keypoints_NK2_px=keypoints,
            keypoint_scores_NK=scores_NK,
            instance_scores_N=np.array([_number(entry.get("score")) for entry in entries]),
            boxes_xyxy_px_N4=np.stack([_box(e, k) for e, k in zip(entries, keypoints, strict=True)]),
        )

    def _points(self, entry: dict[str, Any], identity: int) -> NDArray[np.float64]:
        values: list[Any] = []
        for part in PARTS:
            given = entry.get(part, [])
            values += given if isinstance(given, list) else [None]
        if len(values) != 3 * self._n_keypoints or not all(type(v) in (int, float) for v in values):
            wanted = f"{3 * self._n_keypoints} numbers ({self._n_keypoints} x (x, y, score))"
            raise _fault("pred.shape", f"image {identity}: a result has {len(values)} values, expected {wanted}")
        return np.array([_number(v) for v in values]).reshape(-1, 3)


def _fault(code: str, detail: str) -> SampleFault:
    return SampleFault(code, detail, side="prediction")


def _number(value: Any) -> float:
    """The value as float; NaN for what is no number, which the task's check then reports."""
    if type(value) not in (int, float):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _box(entry: dict[str, Any], keypoints_K2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners of the stored box, or of the keypoints where none is stored."""
    box = entry.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        x, y, width, height = map(_number, box)
        return np.array([x, y, x + width, y + height])
    return np.concatenate([keypoints_K2.min(axis=0), keypoints_K2.max(axis=0)])


def _stem_ids(annotations: Path) -> dict[str, int]:
    """File stem -> image id, as the COCO adapter forms its keys."""
    document = strict_json.parse(strict_json.read_bytes(annotations), annotations)
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list):
        raise CheckpointRejected(f"{annotations}: no list of images; option annotations needs a COCO-format file.")
    return {
        str(PurePosixPath(image["file_name"]).with_suffix("")).replace("/", "-"): image["id"]
        for image in images
        if isinstance(image, dict) and isinstance(image.get("file_name"), str) and type(image.get("id")) is int
    }
