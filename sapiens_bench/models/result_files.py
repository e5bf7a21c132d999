"""Files in which other programs write poses, as one list of entries.

- COCO results: a list of ``{image_id, category_id, keypoints, score}``, COCO-WholeBody's with part lists and scores.
- An annotation file: its ``annotations`` as results, keypoints by the names of its category.
- Either packed by gzip; results also as JSON lines, one a line.
- Results whose points are lists of their own, ``[[x, y, score], ...]``: taken one after the other.
- What programs write for one picture, alone or as a folder of files named after their pictures: Sapiens' and MMPose's
  demos ``{"meta_info": ..., "instance_info": [...]}``; MMPose's inferencer and OpenPifPaf a list of instances without
  an ``image_id`` (``x.jpg.predictions.json``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sapiens_bench.errors import CheckpointRejected, DataError
from sapiens_bench.pixels import json_parts, strict_json

# Where a results file splits the points, they follow each other in this order (COCO-WholeBody).
PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
WANTED = (
    "Wanted is a list of {image_id, category_id, keypoints, score}, as COCO evaluation writes it; a file with "
    "'instance_info' for one picture; or a folder of such files, named after their pictures."
)

_LINES = (".jsonl", ".ndjson")  # one result a line
_OPENPOSE = (
    "this is OpenPose's own format, whose points are other ones in another order and whose people have no score. Write "
    "COCO results from it: the points of the data set by their names, and as score the mean of the confidences."
)


@dataclass(frozen=True, slots=True)
class ResultList:
    """The entries of a file or folder."""

    entries: list[dict[str, Any]]
    names: tuple[str, ...] = ()  # of the keypoints, where the file says
    is_per_picture: bool = False  # entries come from a demo: image_id is the stem of a file, coordinates are pairs
    notes: list[str] = field(default_factory=list)


def read_results(path: Path) -> ResultList:
    """The entries of a results file, or of a folder of per-picture files.

    Raises:
        CheckpointRejected: none of the layouts above, or empty.
    """
    if path.is_dir():
        return _folder(path)
    content = _content(path)
    if (instances := _instances(content)) is not None:
        return _of_picture(content, instances, path)
    names: tuple[str, ...] = ()
    if isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        names, content = _category_names(content.get("categories")), content["annotations"]
    if not isinstance(content, list) or not content:
        _refuse_openpose(content, path)
        found = "an empty list" if content == [] else _shown_keys(content)
        raise CheckpointRejected(f"{path}: expected results, found {found}. {WANTED}")
    for position, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise CheckpointRejected(f"{path}: result {position} is not an object. {WANTED}")
    if all("score" not in entry for entry in content):
        raise CheckpointRejected(f"{path}: the results have no 'score', by which COCO evaluation ranks them. {WANTED}")
    n_nested = sum(_flatten(entry) for entry in content)
    said = f"the points of {n_nested} results are lists of their own, [x, y, score]: taken one after the other"
    return ResultList(content, names, notes=[said] if n_nested else [])


def points_of(path: Path) -> tuple[int, tuple[str, ...]]:
    """How many keypoints most instances have in a results file or folder, and their names where it says.

    An instance with fewer or more is a fault of its own, whether it comes first or last.

    Raises:
        CheckpointRejected: see ``read_results``; or no instance has keypoints.
    """
    found = read_results(path)
    counts: Counter[int] = Counter()
    for entry in found.entries:
        lists = [entry[part] for part in PARTS if isinstance(entry.get(part), list)]
        counts[sum(len(values) for values in lists)] += 1
    whole = [(n, n_values) for n_values, n in counts.items() if n_values and n_values % 3 == 0]
    if whole:
        most = max(n for n, _ in whole)
        return next(n_values for n, n_values in whole if n == most) // 3, found.names
    has = next((f"; the first has {_shape(e['keypoints'])}" for e in found.entries if e.get("keypoints")), "")
    raise CheckpointRejected(f"{path}: no result has 'keypoints' with x, y, score of points{has}. {WANTED}")


def _shown_keys(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    keys = ", ".join(repr(str(key))[:30] for key in list(content)[:4])
    return f"an object with the keys {keys}{', ...' if len(content) > 4 else ''}"


def _shape(value: Any) -> str:
    """What stands in the place of a list of numbers, for a message."""
    if not isinstance(value, list) or not value:
        return f"{value!r:.40}"
    inner = value[0]
    if isinstance(inner, list):
        return f"{len(value)} lists, the first of {len(inner)}"
    return f"{len(value)} {'objects' if isinstance(inner, dict) else 'values'}"


def _flatten(entry: dict[str, Any]) -> bool:
    """Put lists of points, [[x, y, score], ...] with any number of lists of one around them, one after the other."""
    is_nested = False
    for part in PARTS:
        points = entry.get(part)
        while isinstance(points, list) and len(points) == 1 and isinstance(points[0], list):
            points = points[0]
        if isinstance(points, list) and points and all(isinstance(p, list) and len(p) == 3 for p in points):
            points = [value for point in points for value in point]
        if points is entry.get(part) or not isinstance(points, list):
            continue
        if not any(isinstance(value, list) for value in points):
            entry[part], is_nested = points, True
    return is_nested


def _content(path: Path) -> Any:
    try:
        data = strict_json.read_bytes(path)
        if path.suffix.lower() in _LINES and not data.lstrip().startswith(b"["):
            data = b"[" + b"\n,".join(data.rstrip().split(b"\n")) + b"]"  # line numbers of messages stay right
        try:
            return json_parts.read(data)
        except json_parts.Doubtful:  # NaN, say, which costs one image only
            return strict_json.parse(data, path, finite=False)
    except DataError as error:
        raise CheckpointRejected(strict_json.in_one_line(error, "Write the results again.")) from None


def _refuse_openpose(content: Any, path: Path) -> None:
    people = content.get("people") if isinstance(content, Mapping) else None
    if isinstance(people, list) and all(isinstance(one, dict) and "pose_keypoints_2d" in one for one in people):
        raise CheckpointRejected(f"{path}: {_OPENPOSE}")


def _category_names(categories: Any) -> tuple[str, ...]:
    if not isinstance(categories, list):
        return ()
    listed = [c["keypoints"] for c in categories if isinstance(c, dict) and isinstance(c.get("keypoints"), list)]
    same = listed and all(names == listed[0] for names in listed)
    return tuple(str(name) for name in listed[0]) if same else ()


def _folder(path: Path) -> ResultList:
    files = sorted(file for file in path.glob("*.json") if not file.name.startswith("."))
    if not files:
        all_below = (each for depth in ("*/*.json", "*/*/*.json") for each in sorted(path.glob(depth)))
        below = next((each for each in all_below if each.name not in ("images.json", "truth.json")), None)
        there = "" if below is None else f" There are some further down, as {below}: name the file that is meant."
        raise CheckpointRejected(f"{path} holds no .json file.{there} {WANTED}")
    found: list[ResultList] = []
    for file in files:
        content = _content(file)
        instances = [] if content == [] else _instances(content)
        if instances is None:
            _refuse_openpose(content, file)
            raise CheckpointRejected(f"{file}: no 'instance_info'. {WANTED}")
        found.append(_of_picture(content, instances, file))
    names = {one.names for one in found if one.names}
    if len(names) > 1:
        raise CheckpointRejected(f"{path}: the files name their keypoints differently.")
    entries = [entry for one in found for entry in one.entries]
    notes = list(dict.fromkeys(note for one in found for note in one.notes))
    return ResultList(entries, next(iter(names), ()), is_per_picture=True, notes=notes)


def _instances(content: Any) -> list[Any] | None:
    """The people of one picture, where the file is about one: it then names no image."""
    if isinstance(content, Mapping) and isinstance(content.get("instance_info"), list):
        found: list[Any] = content["instance_info"]
        return found
    is_list = isinstance(content, list) and bool(content) and all(isinstance(one, dict) for one in content)
    is_about_one = is_list and all("keypoints" in one and "image_id" not in one for one in content)
    return list(content) if is_about_one else None


def _of_picture(content: Any, instances: list[Any], path: Path) -> ResultList:
    entries: list[dict[str, Any]] = []
    stem = path.stem.removesuffix(".predictions")
    for position, instance in enumerate(instances):
        if not isinstance(instance, dict) or not isinstance(instance.get("keypoints"), list):
            raise CheckpointRejected(f"{path}: instance {position} has no 'keypoints'.")
        has_score = "keypoint_scores" not in instance and "score" in instance
        entries.append({**instance, "image_id": stem} if has_score else _demo_entry(instance, stem))
        _flatten(entries[-1])
    note = "instances are ranked by their box score (1 without one) x the mean of their keypoint scores"
    notes = [note] if any("corners" in entry for entry in entries) else []
    meta = content.get("meta_info") if isinstance(content, Mapping) else None
    return ResultList(entries, _meta_names(meta), is_per_picture=True, notes=notes)


def _demo_entry(instance: Mapping[str, Any], stem: str) -> dict[str, Any]:
    given, scores = instance["keypoints"], instance.get("keypoint_scores")
    if not isinstance(scores, list) and all(isinstance(point, list) and len(point) == 3 for point in given):
        given, scores = [point[:2] for point in given], [point[2] for point in given]
    points = [value for point in given for value in (point if isinstance(point, list) else [point])]
    scores = scores if isinstance(scores, list) else [1.0] * (len(points) // 2)
    triples: list[Any] = []
    for i, score in enumerate(scores):
        triples += [*points[2 * i : 2 * i + 2], score]
    box_score = _single(instance.get("bbox_score", 1.0))
    known = [s for s in scores if type(s) in (int, float)]
    mean = sum(known) / len(known) if known and len(known) == len(scores) else None
    is_number = type(box_score) in (int, float)
    final = instance.get("score", box_score * mean if is_number and mean is not None else None)
    box = instance.get("bbox")
    box = box[0] if isinstance(box, list) and len(box) == 1 else box
    fits = len(points) == 2 * len(scores)
    return {
        "image_id": stem,
        "keypoints": triples if fits else points,
        "score": final,
        "box_score": box_score,
        "corners": box,
    }


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _meta_names(meta: Any) -> tuple[str, ...]:
    """Keypoint names of MMPose's ``dataset_meta``: ``keypoint_id2name`` {"0": "nose", ...}."""
    named = meta.get("keypoint_id2name") if isinstance(meta, Mapping) else None
    if not isinstance(named, Mapping):
        return ()
    found = [named.get(str(i)) for i in range(len(named))]
    names = tuple(name for name in found if isinstance(name, str))
    return names if len(names) == len(found) else ()
