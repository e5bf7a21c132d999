"""Annotation files: damaged, doubled, misnumbered, with labels that make no sense and paths that lead elsewhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from fault_suite.hostile.pictures import SIZE, encoded, outcomes, run_on, scene
from fault_suite.hostile.place import Found, Place, Wanted

Change = Callable[[dict[str, Any]], object]
_CARD = """\
schema: dataset/1
id: {name}
title: Hostile annotations
licence: {{name: CC0-1.0}}
get: It is made by a test.
adapter: coco_keypoints
exif: ignore
protocols:
  gt: {{task: pose, title: Given boxes, space: coco17, default: true,
    options: {{annotations: annotations/{file}, images: pictures, boxes: gt}}}}
"""


def document(n: int = 3) -> dict[str, Any]:
    """A sound file: n times the sound picture with one person on it."""
    images = [{"id": i, "width": SIZE[0], "height": SIZE[1], "file_name": "ok.jpg"} for i in range(1, n + 1)]
    points = [v for k in range(17) for v in (22.0 + 3 * (k % 6), 20.0 + 4 * (k // 6), 2)]
    people = [
        {"id": 10 + i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 900.0, "bbox": [20.0, 15.0, 30.0, 40.0],
         "num_keypoints": 17, "keypoints": list(points)}
        for i in range(1, n + 1)
    ]  # fmt: skip
    names = {"id": 1, "name": "person", "keypoints": [f"k{k}" for k in range(17)], "skeleton": []}
    return {"images": images, "annotations": people, "categories": [names]}


def _put(*path: Any, value: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        target: Any = content
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def _person(**fields: Any) -> Change:
    return lambda content: content["annotations"][0].update(fields)


def _drop_area(content: dict[str, Any]) -> None:
    del content["annotations"][0]["area"]


def _again(what: str, **fields: Any) -> Change:
    return lambda content: content[what].append({**content[what][0], **fields})


CHANGES: dict[str, tuple[Wanted, Change]] = {
    "ok": ("ok", lambda content: None),
    "none": ("reject_dataset", _put("annotations", value=[])),
    "no_images": ("reject_dataset", _put("images", value=[])),
    "dup_image_id": ("reject_dataset", _again("images", file_name="l.jpg")),
    "dup_ann_id": ("reject_dataset", _again("annotations")),
    "id_zero": ("reject_dataset", _person(id=0)),
    "string_id": ("reject_dataset", _put("images", 0, "id", value="1")),
    "bool_id": ("reject_dataset", _put("images", 0, "id", value=True)),
    "orphan": ("reject_dataset", _person(image_id=999)),
    "unknown_category": ("reject_dataset", _person(category_id=7)),
    "no_area": ("reject_dataset", _drop_area),
    "kpt_short": ("reject_dataset", lambda c: c["annotations"][0].update(keypoints=[1.0, 1.0, 2] * 16)),
    "kpt_not_triple": ("reject_dataset", _person(keypoints=[1.0, 2.0])),
    "kpt_nan": ("reject_dataset", _put("annotations", 0, "keypoints", 0, value=float("nan"))),
    "vis_3": ("reject_dataset", _put("annotations", 0, "keypoints", 2, value=3)),
    "num_keypoints_lie": ("row_error", _person(keypoints=[0, 0, 0] * 17)),
    "bbox_zero": ("row_error", _person(bbox=[20.0, 15.0, 0.0, 0.0])),
    "area_zero": ("row_error", _person(area=0.0)),
    "bbox_negative": ("row_error", _person(bbox=[20.0, 15.0, -5.0, 20.0])),
    "bbox_outside": ("row_error", _person(bbox=[5000.0, 5000.0, 20.0, 20.0])),
    "bbox_over_edge": ("ok", _person(bbox=[70.0, 40.0, 60.0, 60.0])),
    "bbox_inf": ("reject_dataset", _person(bbox=[0.0, 0.0, float("inf"), 5.0])),
    "size_mismatch": ("row_error", lambda c: c["images"][0].update(width=999, height=999)),
    "path_number": ("reject_dataset", _put("images", 0, "file_name", value=7)),
    "html_category": ("escape", _put("categories", 0, "name", value="<script>alert(1)</script>")),
}


def _paths(place: Place) -> dict[str, str]:
    outside = f"{place.outside.name}/secret.jpg"
    return {
        "parent": f"../../{outside}", "absolute": str(place.outside / "secret.jpg"),
        "dotdot_inside": "../pictures/ok.jpg",
        "nul": "a\0b.jpg", "url": "http://127.0.0.1:9/x.jpg", "file_url": f"file://{place.outside}/secret.jpg",
        "windows": "..\\..\\secret.jpg", "drive": "C:\\secret.jpg", "empty": "", "dev": "/dev/zero",
        "long": "a" * 5000 + ".jpg",
    }  # fmt: skip


def _texts() -> dict[str, tuple[Wanted, bytes]]:
    sound = json.dumps(document())
    return {
        "empty_file": ("reject_dataset", b""),
        "truncated": ("reject_dataset", sound.encode()[:300]),
        "bom": ("ok", b"\xef\xbb\xbf" + sound.encode()),
        "latin1": ("reject_dataset", sound.replace('"person"', '"pers\xf6n"').encode("latin-1")),
        "list_top": ("reject_dataset", b"[]"),
        "deep": ("reject_dataset", b"[" * 100_000 + b"]" * 100_000),
        "huge_int": ("reject_dataset", sound.replace('"id": 11', '"id": ' + "9" * 5000).encode()),
        "dup_key": ("reject_dataset", sound[:-1].encode() + b', "images": []}'),
    }


def make(place: Place) -> None:
    """Write them, and a card for each."""
    (place.root / "annotations").mkdir()
    pictures = place.root / "pictures"
    if not pictures.exists():
        pictures.mkdir()
        (pictures / "ok.jpg").write_bytes(encoded(scene(), "JPEG"))
    (place.root / "annotation_cards").mkdir()
    for name, (wanted, change) in CHANGES.items():
        content = copy.deepcopy(document())
        change(content)
        _write(place, name, wanted, json.dumps(content).encode())
    for name, path in _paths(place).items():
        content = document()
        content["images"][0]["file_name"] = path
        _write(place, f"path_{name}", "reject_dataset", json.dumps(content).encode())
    for name, (wanted, data) in _texts().items():
        _write(place, name, wanted, data)


def _write(place: Place, name: str, wanted: Wanted, data: bytes) -> None:
    place.add(f"ann_{name}", "annotation", wanted)
    (place.root / "annotations" / f"{name}.json").write_bytes(data)
    card = _CARD.format(name=_id(f"ann_{name}"), file=f"{name}.json")
    (place.root / "annotation_cards" / f"{name}.yaml").write_text(card)


def _id(case: str) -> str:
    return case.replace("_", "-")


def judge(place: Place) -> dict[str, Found]:
    """Run a network on each."""
    found = {}
    for case in place.of("annotation"):
        call = run_on(place, _id(case.id), place.root / "annotation_cards")
        out = place.root / "runs" / _id(case.id)
        if call.code == 2 and not (out / "run.json").exists():
            found[case.id] = Found("reject_dataset", f"{case.id.removeprefix('ann_')}.json" in call.err, call.err)
            continue
        rows = outcomes(out)
        bad = [row for row in rows if row.got != "ok"]
        got = "ok" if not bad else "row_error" if len(bad) == 1 else f"{len(bad)} rows with errors"
        if case.wanted == "escape":
            page = place.call("report", out, "--format", "html").said
            got = "escape" if not bad and "<script>alert" not in page else got
        found[case.id] = Found(got, all(row.names_file for row in rows), call.said)
    return found
