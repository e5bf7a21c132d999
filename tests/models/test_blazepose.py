"""BlazePose: parity with its own runtime, the second pass, heatmap refinement, wrapper behaviour."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.models import WRAPPERS
from sapiens_bench.models.blazepose import BlazePose, BlazePosePose, refined
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import PersonCropOptions
from sapiens_bench.models.parts.graph import load_graph
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import Model, ModelInput

EMBEDDED = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded"
IMAGES = ("astronaut", "coco000000000785", "noise")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def context(name: str, **changes: Any) -> ModelContext:
    card = ModelCard.model_validate_json(
        json.dumps(
            {
                "schema": "model/1", "id": "blazepose", "title": "BlazePose", "task": "pose", "wrapper": "blazepose",
                "licence": {"name": "Apache-2.0"}, "trained_on": "private",
                "variants": [{"id": name.replace("_", "-"), "title": name}],
            }
        )
    )  # fmt: skip
    fields: dict[str, Any] = {
        "card": card, "variant": card.variants[0], "weights": EMBEDDED / f"{name}.safetensors", "also": {},
        "device": "cpu", "precision": "fp32", "space": None, "options": PersonCropOptions(),
    }  # fmt: skip
    return ModelContext(**{**fields, **changes})


def predict(model: BlazePose, x: ModelInput) -> PosePrediction:
    tensors, geometry = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({key: torch.from_numpy(value) for key, value in tensors.items()})
    return model.finish({key: value.numpy() for key, value in outputs.items()}, geometry)


def model_input(image: NDArray[np.uint8], boxes: Any, scores: Any = None) -> ModelInput:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    box_scores = np.ones(len(array), np.float32) if scores is None else np.asarray(scores, np.float32)
    return ModelInput("key", image, array, box_scores)


@pytest.fixture(scope="module")
def skier(shared: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A photograph of one standing person (CC BY), and the person's box."""
    root = shared / "data" / "coco"
    annotations = json.loads(next((root / "annotations").glob("person_keypoints*.json")).read_text())
    (person,) = [a for a in annotations["annotations"] if a["image_id"] == 785]
    x, y, w, h = person["bbox"]
    image = cv2.cvtColor(cv2.imread(str(root / "val2017" / "000000000785.jpg")), cv2.COLOR_BGR2RGB)
    return image.astype(np.uint8), np.float32([x, y, x + w, y + h])


def assert_golden(weights: Path, shared: Path, size: str, image: str) -> None:
    golden = np.load(shared / "golden/embedded/tflite.npz")
    want = {key: golden[f"pose_landmark_{size}/{image}/{key}"] for key in ("landmarks", "presence", "mask_logits")}
    x = torch.from_numpy(golden[f"input/{image}"])[None].permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        got = {key: value.numpy() for key, value in load_graph(weights)(x).items()}
    difference = np.abs(got["landmarks"].reshape(39, 5) - want["landmarks"])
    assert difference[:, :3].max() < 0.1  # px; 0.012 at worst, on noise
    assert difference[:, 3:].max() < 1e-3  # logits
    assert abs(got["presence"].item() - want["presence"].item()) < 1e-4
    assert np.abs(got["world"].reshape(39, 3) - golden[f"pose_landmark_{size}/{image}/world"]).max() < 1e-4
    error = np.abs(got["mask_logits"][0, 0, ::2, ::2] - want["mask_logits"])
    if image == "noise":
        return
    # Mask logits reach 1600, where float32 itself is this coarse: the reference is up to 0.29 from float64 there.
    assert error[np.abs(want["mask_logits"]) < 20].max() < 0.05
    assert error.max() < 4e-4 * np.abs(want["mask_logits"]).max()  # 2.5e-4 at worst over two processors


@pytest.mark.parametrize("size", ["lite", "full"])
@pytest.mark.parametrize("image", IMAGES)
def test_outputs_equal_those_of_its_own_runtime(shared: Path, size: str, image: str) -> None:
    assert_golden(EMBEDDED / f"blazepose_{size}.safetensors", shared, size, image)


@pytest.mark.slow
def test_heavy_converted_on_the_fly_equals_its_own_runtime(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite")
    import convert_embedded

    path = tmp_path / "blazepose_heavy.safetensors"
    path.write_bytes(convert_embedded.convert("blazepose_heavy", shared / "data" / "embedded_models"))
    for image in IMAGES:
        assert_golden(path, shared, "heavy", image)


class FakeGraph(torch.nn.Module):
    """Answers every look with the landmarks and presence it was given for that pass."""

    input_size = 256

    def __init__(self, *answers: tuple[Tensor, float]) -> None:
        super().__init__()
        self.answers = list(answers)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, outputs: tuple[str, ...]) -> dict[str, Tensor]:
        landmarks, presence = self.answers[len(self.seen)]
        self.seen.append(x)
        n = len(x)
        return {
            "landmarks": landmarks.reshape(1, -1).expand(n, -1),
            "presence": torch.full((n, 1), presence),
            "heatmap_logits": torch.full((n, 39, 64, 64), -9.0),
        }


def landmarks(center: tuple[float, float], scale: tuple[float, float], others: tuple[float, float]) -> Tensor:
    points = torch.zeros(39, 5)
    points[:, :2] = torch.tensor(others)
    points[33, :2], points[34, :2] = torch.tensor(center), torch.tensor(scale)
    return points


def look_twice(first: Tensor, second: Tensor, presences: tuple[float, float]) -> tuple[Tensor, Tensor, FakeGraph]:
    fake = FakeGraph((first, presences[0]), (second, presences[1]))
    context_pixels = torch.zeros(1, 3, 768, 768)
    context_pixels[:, :, 390:420, 420:450] = 255  # a square to look for
    network = BlazePosePose(fake)  # type: ignore[arg-type]
    found, presence = network(torch.zeros(1, 3, 256, 256), context_pixels)
    return found, presence, fake


def test_second_pass_is_mapped_back_through_its_rotated_square() -> None:
    """Person lying: head to the right of the hips. The second square's up is the first crop's right."""
    first = landmarks((128, 160), (178, 160), (10, 10))
    second = landmarks((128, 128), (128, 28), (128 + 64, 128 - 32))  # a quarter to the right, an eighth up
    found, presence, _ = look_twice(first, second, (0.9, 0.95))
    side = 2 * 1.25 * 50
    assert found[0, 0, 0].item() == pytest.approx(128 + side / 8, abs=1e-3)  # up -> right
    assert found[0, 0, 1].item() == pytest.approx(160 + side / 4, abs=1e-3)  # right -> down
    assert presence.item() == pytest.approx(0.95)


def test_second_pass_sees_the_surroundings_at_the_right_place_and_angle() -> None:
    """The white square of the context, centre (435, 405) of 768 from the edge, at 3 samples per 2 crop pixels."""
    first = landmarks((128, 160), (178, 160), (10, 10))
    _, _, fake = look_twice(first, first, (0.9, 0.9))
    seen = fake.seen[1][0, 0].numpy()
    rows, columns = np.mgrid[0:256, 0:256] + 0.5
    x, y = (columns * seen).sum() / seen.sum(), (rows * seen).sum() / seen.sum()
    crop_x, crop_y = (435 - 384) / 1.5 + 128, (405 - 384) / 1.5 + 128
    side = 125.0
    assert (crop_x - 128) / side == pytest.approx((128 - y) / 256, abs=2e-3)
    assert (crop_y - 160) / side == pytest.approx((x - 128) / 256, abs=2e-3)


@pytest.mark.parametrize(("presences", "scale", "accepted"), [
    ((0.9, 0.85), (128.0, 60.0), True),
    ((0.9, 0.75), (128.0, 60.0), False),  # clearly lower
    ((0.1, 0.9), (128.0, 125.0), False),  # a square of a few pixels
    ((0.1, 0.9), (128.0, 128.0), False),  # no direction at all
])  # fmt: skip
def test_second_pass_is_dropped_when_it_cannot_be_trusted(
    presences: tuple[float, float], scale: tuple[float, float], accepted: bool
) -> None:
    first = landmarks((128, 128), scale, (10, 10))
    found, presence, _ = look_twice(first, landmarks((128, 128), (128, 28), (128, 128)), presences)
    assert bool(torch.isfinite(found).all())
    assert presence.item() == pytest.approx(presences[1] if accepted else presences[0])
    assert found[0, 0, :2].tolist() == pytest.approx([128, 128] if accepted else [10, 10])


def refined_by_loop(x: float, y: float, heat: NDArray[np.float64]) -> tuple[float, float]:
    h, w = heat.shape
    column, row = math.floor(x * w), math.floor(y * h)
    if not (0 <= column < w and 0 <= row < h):
        return x, y
    total = sum_x = sum_y = best = 0.0
    for r in range(max(row - 3, 0), min(row + 4, h)):
        for c in range(max(column - 3, 0), min(column + 4, w)):
            value = 1 / (1 + math.exp(-heat[r, c]))
            total, best = total + value, max(best, value)
            sum_x, sum_y = sum_x + value * c, sum_y + value * r
    return (sum_x / total / w, sum_y / total / h) if best >= 0.5 else (x, y)


def test_refinement_equals_a_loop_over_the_window() -> None:
    """Inside, at borders, outside; confident maps and flat ones."""
    generator = np.random.Generator(np.random.Philox(3))
    xy = generator.uniform(-0.1, 1.1, (4, 20, 2)).astype(np.float32)
    xy[0, :4] = [[0, 0], [0.999, 0.999], [0.0, 0.5], [1.0, 0.5]]
    heat = generator.normal(-2.5, 1.5, (4, 20, 64, 64)).astype(np.float32)
    heat[1] -= 20
    got = refined(torch.from_numpy(xy), torch.from_numpy(heat)).numpy()
    want = [[refined_by_loop(*xy[b, k].tolist(), heat[b, k].astype(np.float64)) for k in range(20)] for b in range(4)]
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert (got[0] != xy[0]).any()
    np.testing.assert_array_equal(got[1], xy[1])


def test_wrapper_is_a_model_and_listed() -> None:
    module, name = WRAPPERS["blazepose"].split(":")
    assert (module, name) == (BlazePose.__module__, BlazePose.__name__)
    assert isinstance(BlazePose(context("blazepose_lite")), Model)


def test_landmarks_of_a_standing_person_lie_in_the_box(skier: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    image, box = skier
    found = predict(BlazePose(context("blazepose_full")), model_input(image, box, [0.5]))
    points, scores = found.keypoints_NK2_px[0], found.keypoint_scores_NK[0]
    assert found.keypoints_NK2_px.shape == (1, 33, 2)
    assert ((points[:29] > box[:2] - 20) & (points[:29] < box[2:] + 20)).all()
    assert points[0, 1] < points[11, 1] < points[23, 1] < points[27, 1]  # nose, shoulder, hip, ankle
    assert ((scores >= 0) & (scores <= 1)).all()
    assert 0.4 < found.instance_scores_N[0] <= 0.5  # box score x presence


def test_a_tilted_person_is_found_like_an_upright_one(skier: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    """Why there is a second pass: on its own upright square, turning the image turns the landmarks."""
    image, box = skier
    middle = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    matrix = cv2.getRotationMatrix2D(middle, 40, 1.0)
    turned = cv2.warpAffine(image, matrix, image.shape[1::-1]).astype(np.uint8)
    side = float(max(box[2:] - box[:2])) / 2
    square = [middle[0] - side, middle[1] - side, middle[0] + side, middle[1] + side]
    model = BlazePose(context("blazepose_full"))
    upright = predict(model, model_input(image, square)).keypoints_NK2_px[0, :29]
    expected = upright @ matrix[:, :2].T + matrix[:, 2]
    errors = {}
    for model.network.two_passes in (True, False):
        tilted = predict(model, model_input(turned, square)).keypoints_NK2_px[0, :29]
        errors[model.network.two_passes] = float(np.median(np.linalg.norm(tilted - expected, axis=1))) / (2 * side)
    assert errors[True] < 0.05
    assert errors[True] < 0.5 * errors[False]


def test_no_boxes_give_an_empty_prediction_without_a_forward_pass() -> None:
    model = BlazePose(context("blazepose_lite"))
    tensors, geometry = model.prepare(model_input(np.zeros((40, 60, 3), np.uint8), []))
    assert tensors["context"].shape == (0, 768, 768, 3)
    empty = model.finish({}, geometry)
    assert empty.keypoints_NK2_px.shape == (0, 33, 2)
    assert empty.instance_scores_N.shape == (0,)


def test_a_batch_of_eight_equals_eight_singles(skier: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    image, box = skier
    boxes = np.stack([box + np.float32([12 * i, -9 * i, 5 * i, 7 * i]) for i in range(8)])
    model = BlazePose(context("blazepose_lite"))
    tensors, _ = model.prepare(model_input(image, boxes))
    batch = {key: torch.from_numpy(value) for key, value in tensors.items()}
    with torch.inference_mode():
        together = model.forward(batch)
        for i in range(8):
            single = model.forward({key: value[i : i + 1] for key, value in batch.items()})
            for key, value in single.items():
                torch.testing.assert_close(value[0], together[key][i], rtol=0, atol=1e-5)


def test_both_passes_are_counted() -> None:
    model = BlazePose(context("blazepose_lite", device="meta"))
    first = torch.zeros((2, 256, 256, 3), dtype=torch.uint8, device="meta")
    surroundings = torch.zeros((2, 768, 768, 3), dtype=torch.uint8, device="meta")
    counts = {}
    for model.network.two_passes in (True, False):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            outputs = model.forward({"first": first, "context": surroundings})
        assert outputs["landmarks"].shape == (2, 33, 3)
        counts[model.network.two_passes] = counter.get_total_flops()
    convolutions = 2 * counts[False]
    assert convolutions <= counts[True] < 1.01 * convolutions  # the region's rotation adds a few products
