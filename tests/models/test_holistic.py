"""Holistic: body, hands and face from one box; the second look; the whole-body sets it is scored in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import sapiens_bench.embedded
from sapiens_bench import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.models import WRAPPERS
from sapiens_bench.models.blazepose import BlazePose
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.holistic import N_POINTS, Holistic, HolisticPose, Part
from sapiens_bench.models.options import PersonCropOptions
from sapiens_bench.models.parts.regions import Region
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import Model, ModelInput

EMBEDDED = Path(sapiens_bench.embedded.__file__).parent
FURTHER = ("hand_landmark.safetensors", "face_landmark.safetensors")
Picture = tuple[NDArray[np.uint8], NDArray[np.float32]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.fixture(scope="module")
def context(catalog: Catalog) -> ModelContext:
    entry = catalog.model("holistic-full")
    return ModelContext(
        entry.card, entry.variant, EMBEDDED / "blazepose_full.safetensors", {n: EMBEDDED / n for n in FURTHER},
        "cpu", "fp32", catalog.space("holistic543"), PersonCropOptions(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(context: ModelContext) -> Holistic:
    return Holistic(context)


@pytest.fixture(scope="module")
def skier(shared: Path) -> Picture:
    """A photograph of one standing person (CC BY), and the person's box."""
    root = shared / "data" / "coco"
    annotations = json.loads((root / "annotations" / "coco_wholebody_val_v1.0.json").read_text())
    (person,) = [a for a in annotations["annotations"] if a["image_id"] == 785]
    x, y, w, h = person["bbox"]
    image = cv2.cvtColor(cv2.imread(str(root / "val2017" / "000000000785.jpg")), cv2.COLOR_BGR2RGB)
    return image.astype(np.uint8), np.float32([x, y, x + w, y + h])


def face_points(shared: Path, image_id: int) -> NDArray[np.float64]:
    annotations = json.loads((shared / "data/coco/annotations/coco_wholebody_val_v1.0.json").read_text())
    (person,) = [a for a in annotations["annotations"] if a["image_id"] == image_id]
    return np.array(person["face_kpts"]).reshape(68, 3)[:, :2]


def predict(model: Any, image: NDArray[np.uint8], boxes: Any) -> PosePrediction:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    tensors, geometry = model.prepare(ModelInput("key", image, array, np.full(len(array), 0.5, np.float32)))
    with torch.inference_mode():
        outputs = model.forward({key: torch.from_numpy(value) for key, value in tensors.items()})
    return model.finish({key: value.numpy() for key, value in outputs.items()}, geometry)


def test_wrapper_is_a_model_and_listed(model: Holistic) -> None:
    assert WRAPPERS["holistic"] == f"{Holistic.__module__}:{Holistic.__name__}"
    assert isinstance(model, Model)


def test_body_is_blazeposes_and_the_68_face_points_lie_on_the_face(
    model: Holistic, context: ModelContext, catalog: Catalog, skier: Picture, shared: Path
) -> None:
    image, box = skier
    found = predict(model, image, box)
    body = predict(BlazePose(context), image, box)
    assert found.keypoints_NK2_px.shape == (1, N_POINTS, 2)
    np.testing.assert_array_equal(found.keypoints_NK2_px[:, :33], body.keypoints_NK2_px)
    np.testing.assert_array_equal(found.instance_scores_N, body.instance_scores_N)
    index = catalog.space_map("holistic543", "coco-wholebody133").index[23:91]
    truth = face_points(shared, 785)
    error = np.linalg.norm(found.keypoints_NK2_px[0, index] - truth, axis=1)
    assert error.mean() < 0.09 * np.ptp(truth[:, 0])  # of the width of a face of 26 px
    assert found.keypoint_scores_NK[0, 33:501].min() > 0.9


def test_face_map_keeps_left_and_right_apart(model: Holistic, catalog: Catalog, skier: Picture) -> None:
    """Mirroring the picture exchanges the 68 points as the set's mirror table says."""
    image, box = skier
    width = image.shape[1]
    mirrored_box = np.float32([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])
    whole = catalog.space("coco-wholebody133")
    index = catalog.space_map("holistic543", "coco-wholebody133").index
    plain = predict(model, image, box).keypoints_NK2_px[0, index]
    mirrored = predict(model, np.ascontiguousarray(image[:, ::-1]), mirrored_box).keypoints_NK2_px[0, index]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    swapped = mirrored[list(whole.flip_index)]
    face = slice(23, 91)
    assert np.linalg.norm(swapped[face] - plain[face], axis=1).max() < 2.5  # px
    assert np.linalg.norm(mirrored[face] - plain[face], axis=1).max() > 15


def test_mirroring_the_picture_exchanges_the_543_points_as_their_table_says(
    model: Holistic, catalog: Catalog, skier: Picture
) -> None:
    image, box = skier
    width = image.shape[1]
    mirrored_box = np.float32([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])
    plain = predict(model, image, box).keypoints_NK2_px[0]
    mirrored = predict(model, np.ascontiguousarray(image[:, ::-1]), mirrored_box).keypoints_NK2_px[0]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    swapped = mirrored[list(catalog.space("holistic543").flip_index)]
    error = np.linalg.norm(swapped - plain, axis=1)
    assert error[33:501].max() < 3  # px, of a face of 26 px; a swapped pair of eyes would be 13 apart
    assert np.median(error[:33]) < 6  # the body


def test_every_wholebody_set_is_reached_and_toes_are_the_foots_tip(catalog: Catalog) -> None:
    source = catalog.space("holistic543")
    assert len(source.names) == N_POINTS
    assert source.names[33] == "mesh-0"
    assert (source.names[501], source.names[522]) == ("left_hand_root", "right_hand_root")
    for target in ("coco17", "coco-wholebody133", "common114", "wb53", "wb63", "wb83"):
        found = catalog.space_map("holistic543", target)
        assert found.complete, target
        assert found.approximate, target
    names = dict(zip(catalog.space("coco-wholebody133").names, catalog.space_map(source.id, "coco-wholebody133").index))
    assert source.names[names["left_big_toe"]] == source.names[names["left_small_toe"]] == "left_foot_index"
    assert len({int(names[f"face-{i}"]) for i in range(68)}) == 68


def test_no_boxes_give_an_empty_prediction_without_a_forward_pass(model: Holistic) -> None:
    boxes = np.zeros((0, 4), np.float32)
    x = ModelInput("key", np.zeros((40, 60, 3), np.uint8), boxes, np.zeros(0, np.float32))
    tensors, geometry = model.prepare(x)
    assert tensors["detail"].shape[0] == 0
    assert model.finish({}, geometry).keypoints_NK2_px.shape == (0, N_POINTS, 2)


class Looks(HolisticPose):
    """The decision between two looks, without networks."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.size = 256


@pytest.mark.parametrize(("presences", "side", "accepted"), [
    ((0.9, 0.85), 40.0, True),
    ((0.2, 0.95), 40.0, True),
    ((0.9, 0.75), 40.0, False),  # clearly lower
    ((0.1, 0.9), 1.0, False),  # a square of a pixel
])  # fmt: skip
def test_the_second_look_is_dropped_when_it_cannot_be_trusted(
    presences: tuple[float, float], side: float, accepted: bool
) -> None:
    seen: list[Region] = []

    def look(detail: Tensor, region: Region) -> Part:
        seen.append(region)
        return Part(torch.full((1, 21, 2), float(len(seen))), torch.tensor([presences[len(seen) - 1]]))

    first = Region(torch.zeros(1, 2), torch.ones(1), torch.eye(2)[None])
    closer = Region(torch.ones(1, 2), torch.tensor([side]), torch.eye(2)[None])
    found = Looks().twice(look, lambda points: closer, first, torch.zeros(1))
    assert [id(region) for region in seen] == [id(first), id(closer)]
    assert found.xy.unique().item() == (2.0 if accepted else 1.0)
    assert found.presence.item() == pytest.approx(presences[1] if accepted else presences[0])


def test_a_run_needs_no_download_and_scores_face_feet_and_hands(shared: Path, tmp_path: Path) -> None:
    record = evaluate(
        task="pose", models=["holistic-full"], datasets="coco-wholebody-val", data_root=shared / "data" / "coco",
        limit=1, out=tmp_path / "run", n_boot=10, device="cpu",
    )  # fmt: skip
    (cell,) = record.cells
    assert cell.status == "done"
    assert "holistic543 -> coco-wholebody133" in cell.approximate
    scores = {key: cell.scores[f"oks/{key}AR50"].value for key in ("", "body/", "foot/", "face/")}
    assert scores == dict.fromkeys(scores, 1.0)  # of the one person, each part is found


def test_a_run_on_rendered_people_needs_no_data_either(tmp_path: Path) -> None:
    record = evaluate(
        task="pose", models=["holistic-full", "blazepose-full"], datasets="synthetic-humans", split="tiny", limit=2,
        out=tmp_path / "run", n_boot=10, device="cpu",
    )  # fmt: skip
    assert [cell.status for cell in record.cells] == ["done", "done"]
    first, second = ({key: score.value for key, score in cell.scores.items()} for cell in record.cells)
    assert first == pytest.approx(second, nan_ok=True)  # the body is BlazePose's
