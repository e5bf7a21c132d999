from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.errors import CheckpointRejected, SampleFault, WeightsMissing
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import OPTIONS, options_class
from sapiens_bench.models.predictions import Predictions
from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.depth.types import DepthPrediction
from sapiens_bench.types import Model, ModelInput


def built(task: str, weights: Path | None, **options: Any) -> Predictions:
    card = ModelCard.model_validate_json(
        json.dumps(
            {
                "schema": "model/1",
                "id": "stored",
                "title": "stored",
                "task": task,
                "licence": {"name": "CC0-1.0"},
                "wrapper": "predictions",
                "trained_on": "nothing",
                "variants": [{"id": "stored", "title": "stored"}],
            }
        )
    )
    space = Catalog.load().space("coco17") if task == "pose" else None
    kind = options_class(OPTIONS["predictions"], task_kind(task))
    assert kind is not None
    read = read_options(kind, options, "model stored")
    return Predictions(ModelContext(card, card.variants[0], weights, {}, "cpu", "fp32", space, read))


def asked(key: str, n_boxes: int = 1) -> ModelInput:
    boxes = np.tile(np.array([0, 0, 10, 10], np.float32), (n_boxes, 1))
    return ModelInput(key, np.zeros((12, 16, 3), np.uint8), boxes, np.ones(n_boxes, np.float32))


def answer(model: Predictions, key: str, n_boxes: int = 1) -> Any:
    prepared = model.prepare(asked(key, n_boxes))
    assert prepared.tensors == {}
    return model.finish({}, prepared.geometry)


def results(path: Path, *entries: dict[str, Any]) -> Path:
    points = [v for j in range(17) for v in (1.0 * j, 2.0 * j, 0.5)]
    full = [{"image_id": 785, "category_id": 1, "score": 0.7, "keypoints": points, **entry} for entry in entries]
    path.write_text(json.dumps(full), encoding="utf-8")
    return path


def test_results_are_found_by_the_number_of_the_key(tmp_path: Path) -> None:
    model = built("pose", results(tmp_path / "r.json", {"bbox": [1, 2, 3, 4]}, {"image_id": 9}))
    assert isinstance(model, Model)
    found = answer(model, "coco-val2017/000000000785")
    np.testing.assert_array_equal(found.keypoints_NK2_px[0, :, 1], 2.0 * np.arange(17))
    np.testing.assert_array_equal(found.boxes_xyxy_px_N4, [[1, 2, 4, 6]])
    np.testing.assert_array_equal(found.instance_scores_N, [0.7])
    assert len(answer(model, "set/a b#9").instance_scores_N) == 1
    np.testing.assert_array_equal(answer(model, "set/a b#9").boxes_xyxy_px_N4, [[0, 0, 16, 32]])


def test_stem_table_of_an_annotation_file_leads_to_ids(tmp_path: Path) -> None:
    images = {"images": [{"id": 785, "file_name": "sub/photo.jpg"}]}
    (tmp_path / "gt.json").write_text(json.dumps(images), encoding="utf-8")
    path = results(tmp_path / "r.json", {})
    assert len(answer(built("pose", path, annotations=str(tmp_path / "gt.json")), "s/sub-photo").instance_scores_N) == 1
    with pytest.raises(SampleFault, match=r"pred\.unknown_image"):
        answer(built("pose", path), "s/sub-photo")


def test_the_stored_score_is_final_unless_told_otherwise(tmp_path: Path) -> None:
    path = results(tmp_path / "r.json", {})
    assert (answer(built("pose", path), "s/785").keypoint_scores_NK == 1).all()
    assert (answer(built("pose", path, keypoint_scores="stored"), "s/785").keypoint_scores_NK == 0.5).all()


def test_no_result_is_a_miss_only_where_somebody_was_asked_for(tmp_path: Path) -> None:
    model = built("pose", results(tmp_path / "r.json", {}))
    with pytest.raises(SampleFault, match=r"pred\.missing") as caught:
        answer(model, "s/1")
    assert caught.value.side == "prediction"
    assert len(answer(model, "s/1", n_boxes=0).instance_scores_N) == 0


@pytest.mark.parametrize("points", [[1.0] * 48, "text", None, [True] * 51, ["1"] * 51])
def test_malformed_points_cost_their_image_only(tmp_path: Path, points: Any) -> None:
    model = built("pose", results(tmp_path / "r.json", {"keypoints": points}, {"image_id": 2}))
    with pytest.raises(SampleFault, match=r"pred\.shape"):
        answer(model, "s/785")
    assert len(answer(model, "s/2").instance_scores_N) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", '[{"image_id": "785"}]', "[{", '[{"image_id": true}]'])
def test_files_that_are_no_results_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointRejected, match=r"r\.json"):
        built("pose", tmp_path / "r.json")


def test_dense_predictions_are_read_from_files_named_by_key(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    np.save(tmp_path / "set/a.npy", np.full((12, 16), 2.0))
    depth = answer(built("depth", tmp_path, depth_kind="metric_depth"), "set/a")
    assert isinstance(depth, DepthPrediction)
    assert (depth.kind, depth.depth_HW.dtype) == ("metric_depth", np.float32)
    np.save(tmp_path / "set/n.npy", np.zeros((12, 16, 3)))
    assert answer(built("normal", tmp_path), "set/n").normals_HW3.shape == (12, 16, 3)
    Image.fromarray(np.full((12, 16), 27, np.uint8)).save(tmp_path / "set/s.png")
    assert (answer(built("seg", tmp_path), "set/s").labels_HW == 27).all()


def test_absent_broken_and_escaping_dense_files_are_that_image_s_fault(tmp_path: Path) -> None:
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    model = built("depth", tmp_path)
    for key, code in (("a", "pred.missing"), ("b", "pred.unreadable"), ("../b", "pred.unreadable")):
        with pytest.raises(SampleFault) as caught:
            answer(model, key)
        assert (caught.value.code, caught.value.side) == (code, "prediction")
    with pytest.raises(SampleFault, match=r"pred\.missing"):
        answer(built("seg", tmp_path), "a")


def test_what_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="stored"):
        built("pose", None)
    with pytest.raises(CheckpointRejected, match="not a folder"):
        built("depth", tmp_path / "absent")
