"""Tiny Sapiens networks through a whole run on real photographs: every file format, every task, every refusal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from sapiens_runs import INPUT_HW, predictions, stored_keypoints, tiny_network

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.errors import (
    LabelSpaceMismatch,
)
from sapiens_bench.pixels.codecs import read_rgb


@pytest.mark.parametrize("pipeline", ["full", "lite"])
@pytest.mark.parametrize(("name", "space"), [("pose17", "coco17"), ("pose308", "goliath308")])
def test_stored_predictions_equal_the_official_pipeline_by_hand(
    shared: Path, golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, name: str, space: str, pipeline: str
) -> None:
    tools.cards.write_card(
        tmp_path / "cards", tools.cards.family("tiny", name, [tools.cards.variant("tiny", f"{name}.safetensors")])
    )
    options = {"pipeline": "lite"} if pipeline == "lite" else {}
    record = go("tiny", weights_root=golden, options=options)
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 4)
    ours = stored_keypoints(tmp_path / "out", cell, 17)
    catalog = Catalog.load()
    card = catalog.space(space)
    index = catalog.space_map(space, "coco17").index
    net = tiny_network(golden / f"{name}.safetensors", outputs=len(card.names))
    n_people = n_sharp = 0
    for key, columns in predictions(tmp_path / "out", cell).items():
        image = read_rgb(f"{key.split('/')[1]}.jpg", root=shared / "data" / "coco" / "val2017")
        boxes = np.asarray(columns["boxes"]).reshape(-1, 4)
        for i, box in enumerate(boxes):
            points, scores, doubt = tools.by_hand.keypoints(
                net, image, box, card.flip_index, INPUT_HW[::-1], lite=pipeline == "lite"
            )
            away = np.abs(ours[key][i] - points[index]).max(axis=1)
            assert (away <= np.maximum(1e-3, doubt[index])).all()
            n_sharp += int((away <= 1e-3).sum())
            stored = np.asarray(columns["keypoint_scores"]).reshape(len(boxes), 17)[i]
            np.testing.assert_allclose(stored, scores[index], atol=1e-5)
            n_people += 1
    assert n_people == 12
    assert n_sharp > 0.95 * 12 * 17  # the others are flat peaks of these noise-like maps


@pytest.mark.parametrize("task", ["depth", "normal"])
def test_dense_tasks_run_end_to_end_on_a_folder(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path, task: str
) -> None:
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    write_folder(root, rng)
    card = tools.cards.family(f"tiny-{task}", task, [tools.cards.variant("tiny", f"{task}.safetensors")])
    tools.cards.write_card(tmp_path / "cards", card)
    record = go("tiny", task=task, datasets=("folder",), data_root=root, weights_root=golden)
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 3), (cell.how, cell.errors)
    assert math.isfinite(cell.scores[cell.headline].value), cell.scores


def write_folder(root: Path, rng: np.random.Generator) -> None:
    """Three pictures of different size with a mask, a tilted plane and its normal."""
    names = {"images": ".png", "masks": ".png", "depths": ".npy", "normals": ".npy"}
    for folder in names:
        (root / folder).mkdir(parents=True)
    for i, (h, w) in enumerate([(90, 70), (60, 100), (128, 96)]):
        cv2.imwrite(str(root / "images" / f"{i}.png"), rng.integers(0, 256, (h, w, 3), np.uint8))
        mask = np.zeros((h, w), np.uint8)
        mask[h // 4 : -h // 4, w // 4 : -w // 4] = 255
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
        np.save(root / "depths" / f"{i}.npy", 2 + rng.random((h, w), np.float32))
        normals = rng.normal(size=(h, w, 3)).astype(np.float32)
        normals[..., 2] = np.abs(normals[..., 2]) + 1
        np.save(root / "normals" / f"{i}.npy", normals / np.linalg.norm(normals, axis=-1, keepdims=True))
    frame = {"schema": "frame/1", "depth": {"unit": "m", "along": "z"}, "normals": {"frame": "viewer"}}
    (root / "frame.json").write_text(json.dumps(frame))


def test_segmentation_runs_end_to_end(golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path) -> None:
    root, rng = tmp_path / "data", np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for i, (h, w) in enumerate([(90, 70), (60, 100)]):
        cv2.imwrite(str(root / "images" / f"{i}.png"), rng.integers(0, 256, (h, w, 3), np.uint8))
        cv2.imwrite(str(root / "labels" / f"{i}.png"), rng.integers(0, 28, (h, w), np.uint8))
    card = tools.cards.family("tiny-seg", "seg", [tools.cards.variant("tiny", "seg.safetensors")])
    tools.cards.write_card(tmp_path / "cards", card)
    record = go("tiny", task="seg", datasets=("humans-2k",), data_root=root, weights_root=golden)
    (cell,) = record.cells
    assert (cell.status, cell.counts.ok) == ("done", 2), (cell.how, cell.errors)


def test_308_points_on_133_are_refused_or_missed_or_scored_where_they_meet(
    golden: Path, tools: SimpleNamespace, go: Any, tmp_path: Path
) -> None:
    cards = [("dense", "pose308"), ("whole", "pose133")]
    for identity, name in cards:
        variants = [tools.cards.variant(identity, f"{name}.safetensors")]
        tools.cards.write_card(tmp_path / "cards", tools.cards.family(f"f-{identity}", name, variants))
    request = {"datasets": ("coco-wholebody-val",), "weights_root": golden}
    with pytest.raises(LabelSpaceMismatch, match="53 of the 133"):
        go("dense", out="refused", **request)
    with pytest.raises(LabelSpaceMismatch, match="common114"):
        go("dense", protocol="gt-box-common114", out="face", **request)
    official = go("dense", "whole", protocol="gt-box-official308", out="official", **request)
    dense, whole = official.cells
    assert dense.approximate == "goliath308 -> coco-wholebody133, 80 of 133 points scored as misses"
    assert whole.approximate == ""
    index = Catalog.load().space_map("goliath308", "coco-wholebody133").index
    fair = go("dense", protocol="gt-box-wb53", out="fair", **request).cells[0]
    common = stored_keypoints(tmp_path / "fair", fair, 53)
    for key, columns in predictions(tmp_path / "official", dense).items():
        points = np.asarray(columns["keypoints"]).reshape(-1, 133, 2)
        scores = np.asarray(columns["keypoint_scores"]).reshape(-1, 133)
        assert not points[:, index < 0].any()
        assert not scores[:, index < 0].any()
        np.testing.assert_array_equal(points[:, index >= 0], common[key])
    for protocol in ("gt-box", "gt-box-common114", "gt-box-wb63"):
        assert go("whole", protocol=protocol, out=protocol, **request).cells[0].status == "done"


def test_the_pipeline_is_asked_only_of_wrappers_that_have_one() -> None:
    from sapiens_bench.cards.catalog import Catalog
    from sapiens_bench.engine.model_specs import candidates
    from sapiens_bench.engine.request import Request

    request = Request(task="pose", models=("sapiens-0.3b", "movenet-thunder"), options={"pipeline": "lite"})
    found = {c.entry.id: c.options for c in candidates(request.model(), Catalog.load()).all}
    assert found["sapiens-0.3b"]["pipeline"] == "lite"
    assert "pipeline" not in found["movenet-thunder"]
