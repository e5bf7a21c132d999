"""Poses of a run as COCO results files, and samples as FiftyOne reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.errors import DataMissing, UsageError
from sapiens_bench.publish.exports import Exported, Source
from sapiens_bench.publish.place import Place
from sapiens_bench.publish.pose_groups import oks_metric
from sapiens_bench.publish.ranking import image_scores
from sapiens_bench.store.paths import cell_folder
from sapiens_bench.tasks.maps import map_name
from sapiens_bench.tasks.pose.export import coco_results, coco_truth
from sapiens_bench.tasks.pose.types import PosePrediction, empty_prediction

PICTURES = "pictures"


def coco_files(source: Source) -> Exported:
    """A results file for each model, ``<data set>/<protocol>/<model>.json``, and ``images.json`` (key -> image id).

    Detections are those that were scored: after score rule and suppression, so that pycocotools gives the run's AP.
    Ids are those that results of this data set are read by. Where they are of no annotation file, ``truth.json`` lies
    beside the results if the licence allows it (or pictures were asked for).

    Raises:
        UsageError: the run is no pose run, or kept no predictions.
        DataMissing: the data set is not here.
    """
    if source.record.task != "pose":
        raise UsageError(f"COCO results hold poses; {source.root} is a run of {source.record.task!r}.")
    found = Exported()
    for place in source.places():
        _add_place(found, place)
    if not any(name.endswith(".json") and not name.endswith("images.json") for name in found.files):
        raise UsageError(f"{source.root} kept no predictions (--no-save-preds): there is nothing to export.")
    return found


def _add_place(found: Exported, place: Place) -> None:
    metric, data = oks_metric(place), place.data
    if data is None:
        raise DataMissing(" ".join(place.why_not))
    index = getattr(data.adapter, "index", None)
    ids = index.image_ids if index is not None else {key: i + 1 for i, key in enumerate(data.adapter.keys)}
    category = min(index.scored) if index is not None and index.scored else 1
    cell = place.cells[0]
    folder = f"{cell.dataset}/{cell.protocol}"
    found.files[f"{folder}/images.json"] = _json({key: int(ids[key]) for key in place.keys})
    nobody = empty_prediction(len(metric.variances_K))
    for member in place.members:
        stored: Mapping[str, PosePrediction] = place.stored(member.model)
        if not stored:
            found.notes.append(f"{member.model} on {member.dataset}: the run kept no predictions.")
            continue
        have = set(member.rows["key"].to_pylist())
        keys = [key for key in place.keys if key in have]
        predictions = [stored.get(key, nobody) for key in keys]
        results = coco_results(predictions, [int(ids[key]) for key in keys], metric, int(category))
        found.files[f"{folder}/{member.model}.json"] = _json(results)
    if (index is None or not index.has_file) and place.may_show:
        keys = [key for key in place.keys if key in place.truths]
        truth = coco_truth([place.truths[key] for key in keys], [ids[key] for key in keys], place.task.names)
        found.files[f"{folder}/truth.json"] = _json(truth)


def _json(data: Any) -> bytes:
    return json.dumps(data, allow_nan=False).encode() + b"\n"


def fiftyone_files(source: Source) -> Exported:
    """``samples.json``: one FiftyOne sample for each image, with truth, predictions and the score of the image.

    The fields of a sample are as ``fiftyone.Sample.from_dict`` takes them; FiftyOne itself is not needed here. Points
    are shares of the picture's size. Pictures are written beside it where the licence allows it (or ``--with-pictures``
    was given); else ``filepath`` holds the sample's name, and samples without a picture here have no points.

    Raises:
        StoreError: rows or predictions cannot be read.
    """
    found = Exported()
    samples: list[dict[str, Any]] = []
    for place in source.places():
        if place.data is None:
            found.notes += place.why_not
        stored = {m.model: place.stored(m.model) for m in place.members} if place.task.name == "pose" else {}
        scores = image_scores(place)
        for i, key in enumerate(place.keys):
            of_image = {model: float(values[i]) for model, values in scores.items() if np.isfinite(values[i])}
            samples.append(_sample(found, place, key, stored, of_image))
        if not place.may_show:
            found.notes.append(f"Pictures and truth of {place.cells[0].dataset} are left out: its licence is "
                               f"{place.licence!r}. --with-pictures writes them.")  # fmt: skip
    found.files["samples.json"] = _json({"samples": samples})
    return found


def _sample(
    found: Exported,
    place: Place,
    key: str,
    stored: Mapping[str, Mapping[str, PosePrediction]],
    scores: Mapping[str, float],
) -> dict[str, Any]:
    """One sample; its picture goes to the files where it may."""
    sample = place.sample(key)
    size = None if sample is None or not sample.input.image_HW3.size else sample.input.image_HW3.shape[1::-1]
    path = f"{key}.png"
    if size is not None and place.may_show:
        path = f"{PICTURES}/{map_name(key)}"
        found.files[path] = _png(sample.input.image_HW3)
    cell = place.cells[0]
    out: dict[str, Any] = {"filepath": path, "tags": [cell.dataset, cell.protocol], "key": key}
    if size is not None and place.task.name == "pose" and place.may_show:
        truth = sample.target
        shown = truth.visible_NK > 0
        out["ground_truth"] = _people(truth.keypoints_NK2_px, shown, None, size, place.task.names)
    for position, member in enumerate(place.members):
        name = _field(member.model, position)
        if member.model in scores:
            out[f"{name}_score"] = scores[member.model]
        prediction = stored.get(member.model, {}).get(key)
        if prediction is not None and size is not None:
            shown = np.ones(prediction.keypoint_scores_NK.shape, bool)
            out[name] = _people(prediction.keypoints_NK2_px, shown, prediction, size, place.task.names)
        elif (label := _map_label(place, member.model, key)) is not None:
            out[name] = label
    return out


def _field(model: str, position: int) -> str:
    """A field name: letters, digits and "_"."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", model)
    return name if name.isidentifier() else f"model_{position}"


def _people(
    points_NK2: NDArray[Any],
    shown_NK: NDArray[np.bool_],
    prediction: PosePrediction | None,
    size: Sequence[int],
    names: Sequence[str],
) -> dict[str, Any]:
    """Keypoints of FiftyOne: shares of the size, from the picture's outer edge; absent points are null."""
    people = []
    for n, points in enumerate(points_NK2.astype(np.float64)):
        share = (points + 0.5) / np.asarray(size, np.float64)
        listed = [[float(x), float(y)] if ok and np.isfinite((x, y)).all() else [None, None]
                  for (x, y), ok in zip(share, shown_NK[n])]  # fmt: skip
        person: dict[str, Any] = {"_cls": "Keypoint", "label": "person", "points": listed}
        if prediction is not None:
            person["confidence"] = [float(v) for v in prediction.keypoint_scores_NK[n]]
            person["instance_score"] = float(prediction.instance_scores_N[n])
        people.append(person)
    return {"_cls": "Keypoints", "keypoints": people, "names": list(names)}


def _map_label(place: Place, model: str, key: str) -> dict[str, Any] | None:
    """The kept map of a dense prediction, by the path of its file in the run folder."""
    cell = place.cells[0]
    kind = {"seg": ("Segmentation", "mask_path"), "depth": ("Heatmap", "map_path")}.get(place.task.name)
    path = cell_folder(place.root, "maps", cell.task, cell.dataset, cell.protocol, model) / map_name(key)
    return None if kind is None or not path.is_file() else {"_cls": kind[0], kind[1]: str(path.resolve())}


def _png(image_HW3: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    sink = BytesIO()
    Image.fromarray(np.ascontiguousarray(image_HW3)).save(sink, "PNG")
    return sink.getvalue()
