"""MPII's validation people, written in MPII's own files, as a COCO document.

The people come from the list of crops that MPII methods share, their points and heads from the MATLAB file beside it.

Source: leoxiaobin/deep-high-resolution-net.pytorch lib/dataset/mpii.py (files, 1-based coordinates, centre and scale,
head boxes); open-mmlab/mmpose mmpose/datasets/datasets/body/mpii_dataset.py (image ids).
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected
from sapiens_bench.pixels import strict_json

HEAD_BOX = "head_box"  # field of the document
_N = 16
_SCALE_PX = 200.0  # side of the box of a person of scale 1; methods crop 1.25 x it, their usual padding
_DOWN_PX = 15.0  # times the scale: the box is moved down, since centres sit high


def as_coco(data: bytes, path: Path, space: SpaceCard | None) -> bytes:
    """The document as JSON.

    Args:
        data: the list of people, ``{image, center, scale}`` each.
        path: its file; the MATLAB file is looked for beside it.
        space: the keypoint set that the points are in.

    Raises:
        DataMissing: the MATLAB file is not there.
        DatasetRejected: one of the files is not what MPII's are.
        CardError: the set has another number of points.
    """
    if space is None or len(space.names) != _N:
        raise CardError(f"{path}: format mpii has {_N} points, its keypoint set has another number")
    people = strict_json.parse(data, path)
    truth_path = _truth_path(path)
    points, is_visible, heads = _truth(truth_path)
    if not isinstance(people, list) or len(people) != len(points):
        found = f"{len(people)} people" if isinstance(people, list) else f"a {type(people).__name__}"
        raise DatasetRejected(str(path), [f"label.format: {found}; {truth_path.name} has {len(points)}"])
    ids: dict[str, int] = {}
    annotations = []
    for i, person in enumerate(people):
        name, centre, scale = _person(person, f"[{i}]", path)
        stem = name.rpartition(".")[0]
        image = ids.setdefault(name, int(stem) if stem.isdigit() else len(ids) + 1)
        side = _SCALE_PX * scale
        corner = np.array([centre[0], centre[1] + _DOWN_PX * scale]) - 1 - side / 2
        labelled = is_visible[i]
        points_3 = np.column_stack([np.where(labelled[:, None], points[i] - 1, 0), np.where(labelled, 2, 0)])
        annotations.append(
            {
                "id": i + 1,
                "image_id": image,
                "category_id": 1,
                "bbox": [*corner.tolist(), side, side],
                "keypoints": points_3.ravel().tolist(),
                HEAD_BOX: [*(heads[i, 0] - 1).tolist(), *(heads[i, 1] - heads[i, 0]).tolist()],
            }
        )
    document = {
        "images": [{"id": number, "file_name": name} for name, number in ids.items()],
        "categories": [{"id": 1, "name": "person", "keypoints": list(space.names)}],
        "annotations": annotations,
    }
    return json.dumps(document).encode()


def _truth_path(path: Path) -> Path:
    """``gt_valid.mat`` beside ``valid.json``, ``mpii_gt_val.mat`` beside ``mpii_val.json``."""
    names = [f"gt_{path.stem}.mat", f"{path.stem.replace('mpii_', 'mpii_gt_', 1)}.mat"]
    for name in names:
        if path.with_name(name).exists():
            return path.with_name(name)
    raise DataMissing(f"Beside {path} there is no {' and no '.join(names)}, which holds the people's points and heads.")


def _truth(path: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Points [P, 16, 2] and corners of head boxes [P, 2, 2], 1-based px; whether a point is labelled [P, 16]."""
    from scipy.io import loadmat

    shapes = {"pos_gt_src": (_N, 2), "jnt_missing": (_N,), "headboxes_src": (2, 2)}
    try:
        found = loadmat(io.BytesIO(strict_json.read_bytes(path)), variable_names=list(shapes))
        arrays = {name: np.moveaxis(np.asarray(found[name], np.float64), -1, 0) for name in shapes}
    except DataMissing:
        raise
    except Exception as error:  # a parser of a foreign format may fail in any way
        raise DatasetRejected(str(path), [f"label.format: {type(error).__name__}: {error}"]) from None
    for name, shape in shapes.items():
        if arrays[name].shape[1:] != shape or len(arrays[name]) != len(arrays["pos_gt_src"]):
            raise DatasetRejected(str(path), [f"label.format: {name} has shape {found[name].shape}"])
    is_visible = (arrays["jnt_missing"] == 0) & np.isfinite(arrays["pos_gt_src"]).all(axis=2)
    return arrays["pos_gt_src"], is_visible, arrays["headboxes_src"]


def _person(person: Any, place: str, path: Path) -> tuple[str, NDArray[np.float64], float]:
    """Picture, centre (1-based px) and scale of one entry."""
    try:
        name, scale = str(person["image"]), float(person["scale"])
        centre = np.array([float(v) for v in person["center"]])
    except (KeyError, TypeError, ValueError):
        name, scale, centre = "", -1.0, np.zeros(2)
    if not name or centre.shape != (2,) or not np.isfinite(centre).all() or not 0 < scale < 1e3:
        raise DatasetRejected(str(path), [f"label.format: {place} is no {{image, center: [x, y], scale}}"])
    return name, centre, scale
