"""Outputs of methods with an environment of their own, scored by card alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from sapiens_bench.api import evaluate
from sapiens_bench.errors import WeightsMissing
from sapiens_bench.store.record import RunRecord


def write_card(folder: Path, task: str, space: str, files: list[str]) -> Path:
    variants = [
        {
            "id": Path(file).stem,
            "title": file,
            "weights": {"file": file, "format": "predictions", "sha256": None, "get": {"how": "made elsewhere"}},
        }
        for file in files
    ]
    card = {"schema": "model/1", "id": "elsewhere", "title": "Elsewhere", "task": task, "licence": {"name": "none"},
            "wrapper": "predictions", "space": space, "trained_on": "unknown", "variants": variants}  # fmt: skip
    folder.mkdir()
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return folder


def go(tmp_path: Path, task: str, dataset: str, data_root: Path, models: str = "elsewhere") -> RunRecord:
    fields: dict[str, Any] = {"weights_root": tmp_path / "made", "cards": (tmp_path / "cards",), "n_boot": 0}
    return evaluate(task=task, models=(models,), datasets=(dataset,), data_root=data_root, device="cpu",
                    out=tmp_path / "out", **fields)  # fmt: skip


def test_a_folder_of_label_maps_is_a_model(tmp_path: Path) -> None:
    rng, data = np.random.default_rng(0), tmp_path / "data"
    for folder in (data / "images", data / "labels", *(tmp_path / "made" / m / "humans-2k" for m in ("good", "bad"))):
        folder.mkdir(parents=True)
    for i in range(2):
        labels = rng.integers(0, 28, (40, 30), np.uint8)
        cv2.imwrite(str(data / "images" / f"{i}.png"), rng.integers(0, 256, (40, 30, 3), np.uint8))
        cv2.imwrite(str(data / "labels" / f"{i}.png"), labels)
        np.save(tmp_path / "made" / "good" / "humans-2k" / f"{i}.npy", labels)
        cv2.imwrite(str(tmp_path / "made" / "bad" / "humans-2k" / f"{i}.png"), (labels + 1) % 28)
    write_card(tmp_path / "cards", "seg", "body28", ["good", "bad", "absent"])
    good, bad, absent = go(tmp_path, "seg", "humans-2k", data).cells
    assert good.scores[good.headline].value == 1
    assert bad.scores[bad.headline].value == 0
    assert (absent.status, "made elsewhere" in absent.how) == ("weights missing", True)
    assert len(good.weights_sha256) == 64
    assert good.weights_sha256 != bad.weights_sha256


def test_a_results_file_is_a_model(tmp_path: Path, shared: Path) -> None:
    truth = json.loads((shared / "data/coco/annotations/person_keypoints_val2017.json").read_text())
    people = [p for p in truth["annotations"] if p["num_keypoints"]]
    results = [
        {"image_id": p["image_id"], "category_id": 1, "score": 1.0,
         "keypoints": [v for x, y, _ in np.reshape(p["keypoints"], (-1, 3)).tolist() for v in (x, y, 1.0)]}
        for p in people
    ]  # fmt: skip
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "results.json").write_text(json.dumps(results))
    write_card(tmp_path / "cards", "pose", "coco17", ["results.json"])
    (cell,) = go(tmp_path, "pose", "coco-val2017", shared / "data" / "coco").cells
    assert (cell.counts.ok, cell.counts.planned) == (4, 4), cell.errors
    assert cell.scores["oks/AP"].value == pytest.approx(1)


def test_when_nothing_was_made_the_card_says_what_to_do(tmp_path: Path, shared: Path) -> None:
    write_card(tmp_path / "cards", "pose", "coco17", ["results.json"])
    (tmp_path / "made").mkdir()
    with pytest.raises(WeightsMissing, match="made elsewhere"):
        go(tmp_path, "pose", "coco-val2017", shared / "data" / "coco")
