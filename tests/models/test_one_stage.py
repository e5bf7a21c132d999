"""Networks that need no boxes: a tiny ONNX file of RTMO's form, its card, and how its people are scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tiny_graphs import one_stage_file, people

from sapiens_bench import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.errors import CheckpointRejected, UsageError
from sapiens_bench.models.box_free_options import OneStageOptions
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.one_stage import OneStage
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import Model, ModelInput

H, W, K = 64, 96, 17


def card(**changes: Any) -> dict[str, Any]:
    variant = {
        "id": "tiny-rtmo", "title": "Tiny", "options": {"boxes": "none", **changes},
        "weights": {"file": "tiny.onnx", "format": "onnx", "sha256": None, "get": {"how": "Made by the test."}},
        "input": {"height": H, "width": W, "mean": [0, 0, 0], "std": [1, 1, 1], "channel_order": "bgr"},
    }  # fmt: skip
    return {
        "schema": "model/1", "id": "tiny-one-stage", "title": "Tiny", "task": "pose", "wrapper": "one_stage",
        "space": "coco17", "licence": {"name": "CC0-1.0"}, "trained_on": "nothing", "variants": [variant],
    }  # fmt: skip


def model_of(path: Path, **changes: Any) -> OneStage:
    parsed = ModelCard.model_validate_json(json.dumps(card(**changes)))
    options = OneStageOptions.model_validate({"boxes": "none", **changes})
    space = Catalog.load().space("coco17")
    return OneStage(ModelContext(parsed, parsed.variants[0], path, {}, "cpu", "fp32", space, options))


def predict(model: OneStage, *images: NDArray[np.uint8]) -> list[PosePrediction]:
    """All in one call of the network."""
    boxes = np.zeros((0, 4), np.float32)
    prepared = [model.prepare(ModelInput("k", image, boxes, np.zeros(0, np.float32))) for image in images]
    batch = torch.from_numpy(np.concatenate([p.tensors["image"] for p in prepared]))
    outputs = model.forward({"image": batch})
    rows = [{key: value[i : i + 1].numpy() for key, value in outputs.items()} for i in range(len(images))]
    return [model.finish(row, p.geometry) for row, p in zip(rows, prepared, strict=True)]


def test_positions_come_back_to_the_pictures_pixels(tmp_path: Path) -> None:
    """A picture twice as large as fits: everything is half as large in the input, in the top left corner."""
    dets, keypoints = people(0.9, 0.6)
    model = model_of(one_stage_file(tmp_path / "tiny.onnx", dets, keypoints))
    assert isinstance(model, Model)
    (found,) = predict(model, np.full((2 * H, W, 3), 114, np.uint8))
    np.testing.assert_allclose(found.keypoints_NK2_px, 2 * keypoints[..., :2])
    np.testing.assert_allclose(found.boxes_xyxy_px_N4, 2 * dets[:, :4])
    np.testing.assert_allclose(found.instance_scores_N, [0.9, 0.6])
    assert found.results is not None
    assert found.results.is_final


def test_the_picture_lies_in_the_corner_beside_grey_in_the_networks_channel_order(tmp_path: Path) -> None:
    model = model_of(one_stage_file(tmp_path / "tiny.onnx", *people(0.9)))
    picture = np.zeros((H, H, 3), np.uint8)
    picture[..., 0] = 200  # red
    image = model.prepare(ModelInput("k", picture, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))).tensors
    assert image["image"].shape == (1, 3, H, W)
    assert (image["image"][0, 2, :, :H] == 200).all()  # last, since the card says bgr
    assert (image["image"][0, 0, :, :H] == 0).all()
    assert (image["image"][0, :, :, H:] == 114).all()


def test_pictures_with_different_numbers_of_people_share_a_batch(tmp_path: Path) -> None:
    model = model_of(one_stage_file(tmp_path / "tiny.onnx", *people(0.9, 0.12, 0.04)))
    dark, bright = np.full((H, W, 3), 64, np.uint8), np.full((H, W, 3), 254, np.uint8)  # least -0.05 and 0.14
    together = predict(model, dark, bright)
    alone = [*predict(model, dark), *predict(model, bright)]
    assert [len(p.instance_scores_N) for p in together] == [2, 1]  # 0.04 is below the card's threshold
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.keypoints_NK2_px, b.keypoints_NK2_px)
        np.testing.assert_array_equal(a.instance_scores_N, b.instance_scores_N)


def test_a_file_of_another_set_is_refused_by_its_shapes(tmp_path: Path) -> None:
    dets, keypoints = people(0.9)
    path = one_stage_file(tmp_path / "tiny.onnx", dets, keypoints[:, :9])
    with pytest.raises(CheckpointRejected, match=r"keypoints \[1, 1, 9, 3\].*\[1, N, 17, 3\]"):
        model_of(path)


def data_set(root: Path) -> Path:
    """One picture: a person where the network finds its first one, and a person whom it does not find."""
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    Image.fromarray(np.full((H, W, 3), 114, np.uint8)).save(root / "val2017" / "000000000001.jpg")
    annotations = []
    for identity, shift in ((1, 0.0), (2, 50.0)):
        x, y = np.linspace(0, 8, K) + 1 + shift, np.linspace(5, 45, K)
        points = np.stack([x, y, np.full(K, 2)], 1).reshape(-1).tolist()
        annotations.append({"id": identity, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1200.0,
                            "bbox": [shift + 1, 5, 8, 40], "num_keypoints": K, "keypoints": points})  # fmt: skip
    for person in annotations[:1]:
        person["keypoints"] = [v - (1 if i % 3 == 0 else 0) for i, v in enumerate(person["keypoints"])]
    document = {
        "images": [{"id": 1, "file_name": "000000000001.jpg", "width": W, "height": H}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(Catalog.load().space("coco17").names)}],
    }
    (root / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("boxes", ["none", "gt"])
def test_every_detection_counts_and_who_is_not_found_is_a_miss(tmp_path: Path, boxes: str) -> None:
    """One right (score 0.9), one of nobody (0.6), one of two people missed: whatever the boxes are."""
    one_stage_file(tmp_path / "tiny.onnx", *people(0.9, 0.6))
    (tmp_path / "tiny.yaml").write_text(json.dumps(card()))
    record = evaluate(
        task="pose", models=["tiny-rtmo"], datasets="coco-val2017", data_root=data_set(tmp_path / "coco"), boxes=boxes,
        cards=tmp_path / "tiny.yaml", weights_root=tmp_path, out=tmp_path / "run", n_boot=10, device="cpu",
        max_errors=1.0,
    )  # fmt: skip
    (cell,) = record.cells
    assert cell.status == "done", cell
    assert cell.scores["oks/AR"].value == pytest.approx(0.5)
    assert cell.scores["oks/AP"].value == pytest.approx(51 / 101)  # recall 0 .. 0.5 in steps of 0.01 at precision 1
    assert any("needs no boxes" in note for note in record.notes), record.notes


def test_boxes_none_is_refused_for_models_that_need_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="movenet-thunder needs boxes"):
        evaluate(
            task="pose", models=["movenet-thunder"], datasets="coco-val2017", boxes="none",
            data_root=data_set(tmp_path / "coco"), out=tmp_path / "run",
        )  # fmt: skip


def test_the_file_alone_is_scored_in_one_line(tmp_path: Path) -> None:
    path = one_stage_file(tmp_path / "tiny.onnx", *people(0.9, 0.6))
    record = evaluate(
        task="pose", models=[str(path)], datasets="coco-val2017", data_root=data_set(tmp_path / "coco"), boxes="none",
        normalise="none,bgr", out=tmp_path / "run", n_boot=10, device="cpu",
    )  # fmt: skip
    (cell,) = record.cells
    assert cell.status == "done", cell
    assert cell.scores["oks/AP"].value == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("hw", "sums", "pixel"),
    [
        ((37, 50), [760751, 785109, 750114], [64, 135, 170]),
        ((150, 120), [746113, 743677, 743489], [118, 173, 80]),
        ((64, 96), [775367, 790060, 774187], [37, 246, 148]),
    ],
)
def test_the_input_is_that_of_rtmlib(tmp_path: Path, hw: tuple[int, int], sums: list[int], pixel: list[int]) -> None:
    """Recorded from ``RTMO.preprocess`` of rtmlib 0.0.16, which is given the picture blue first."""
    model = model_of(one_stage_file(tmp_path / "tiny.onnx", *people(0.9)))
    rgb = np.random.default_rng(3).integers(0, 256, (*hw, 3)).astype(np.uint8)
    prepared = model.prepare(ModelInput("k", rgb, np.zeros((0, 4), np.float32), np.zeros(0, np.float32)))
    image = prepared.tensors["image"][0]
    assert image.sum(axis=(1, 2)).tolist() == sums
    assert image[:, 10, 20].tolist() == pixel


def test_the_answer_is_read_as_rtmlib_reads_it(tmp_path: Path) -> None:
    """Recorded from ``RTMO.postprocess`` of rtmlib 0.0.16, whose own suppression finds nothing to do here."""
    dets = np.array([[5, 6, 30, 50, 0.9], [40, 8, 80, 60, 0.8]], np.float32)
    points = np.random.default_rng(4).uniform(0, 60, (1, 2, 17, 3)).astype(np.float32)[0]
    model = model_of(one_stage_file(tmp_path / "tiny.onnx", dets, points))
    found = model.finish({"dets": dets[None], "keypoints": points[None]}, 0.64)
    expected = [[50.9945, 84.5827], [46.8462, 89.6230]]
    np.testing.assert_allclose(found.keypoints_NK2_px[:, 3], expected, atol=1e-3)
    np.testing.assert_allclose(found.keypoint_scores_NK[:, 3], [28.6292, 54.1917], atol=1e-3)
