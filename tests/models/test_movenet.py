"""MoveNet: parity with its own runtime, geometry of the crop, wrapper behaviour, score on photographs."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.errors import WeightsMissing
from sapiens_bench.models import WRAPPERS
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.movenet import MoveNet, MoveNetPose
from sapiens_bench.models.options import PersonCropOptions
from sapiens_bench.models.parts.graph import load_graph
from sapiens_bench.models.parts.person_crop import SquareCrops, cut_squares
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.types import Model, ModelInput

SIZES = {"lightning": 192, "thunder": 256}
EMBEDDED = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def context(name: str, **changes: Any) -> ModelContext:
    variant = {"id": name.replace("_", "-"), "title": name}
    card = ModelCard.model_validate_json(
        json.dumps(
            {
                "schema": "model/1", "id": "movenet", "title": "MoveNet", "task": "pose", "wrapper": "movenet",
                "licence": {"name": "Apache-2.0"}, "trained_on": "COCO, Active", "variants": [variant],
            }
        )
    )  # fmt: skip
    fields: dict[str, Any] = {
        "card": card, "variant": card.variants[0], "weights": EMBEDDED / f"{name}.safetensors", "also": {},
        "device": "cpu", "precision": "fp32", "space": None, "options": PersonCropOptions(),
    }  # fmt: skip
    return ModelContext(**{**fields, **changes})


def predict(model: MoveNet, x: ModelInput) -> PosePrediction:
    tensors, geometry = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({key: torch.from_numpy(value) for key, value in tensors.items()})
    return model.finish({key: value.numpy() for key, value in outputs.items()}, geometry)


def model_input(image: NDArray[np.uint8], boxes: Any, scores: Any = None) -> ModelInput:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    box_scores = np.ones(len(array), np.float32) if scores is None else np.asarray(scores, np.float32)
    return ModelInput("key", image, array, box_scores)


@pytest.fixture(scope="module")
def portrait(shared: Path) -> NDArray[np.uint8]:
    return np.asarray(np.load(shared / "golden/embedded/movenet.npz")["movenet-thunder/astronaut/input"])


@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("image", ["astronaut", "coco000000000785", "noise"])
def test_outputs_equal_those_of_its_own_runtime(shared: Path, size: str, image: str) -> None:
    golden = np.load(shared / "golden/embedded/movenet.npz")
    pixels = golden[f"movenet-{size}/{image}/input"]
    want = golden[f"movenet-{size}/{image}/yx_score"]
    network = MoveNetPose(load_graph(EMBEDDED / f"movenet_{size}.safetensors"))
    with torch.inference_mode():
        got = network(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2))[0].numpy()
    assert np.abs(got[:, :2] - want[:, :2]).max() * SIZES[size] < 1e-3
    assert np.abs(got[:, 2] - want[:, 2]).max() < 1e-5


@pytest.mark.parametrize("size", sorted(SIZES))
def test_a_batch_of_eight_equals_eight_singles(shared: Path, size: str) -> None:
    golden = np.load(shared / "golden/embedded/movenet.npz")
    images = [golden[key] for key in golden if key.startswith(f"movenet-{size}") and key.endswith("input")]
    crops = torch.from_numpy(np.stack([np.roll(images[i % 3], 11 * i, axis=1) for i in range(8)]))
    model = MoveNet(context(f"movenet_{size}"))
    with torch.inference_mode():
        together = model.forward({"crops": crops})["yx_score"]
        singles = [model.forward({"crops": crops[i : i + 1]})["yx_score"] for i in range(8)]
    torch.testing.assert_close(together, torch.cat(singles), rtol=0, atol=1e-5)
    assert (together[0] - together[3]).abs().max() > 1e-3  # the crops do differ


def test_wrapper_is_a_model_and_listed() -> None:
    module, name = WRAPPERS["movenet"].split(":")
    assert (module, name) == (MoveNet.__module__, MoveNet.__name__)
    assert isinstance(MoveNet(context("movenet_lightning")), Model)


def test_prediction_holds_one_instance_per_box_in_order(portrait: NDArray[np.uint8]) -> None:
    boxes = [[20, 10, 230, 250], [60, 20, 140, 120]]
    model = MoveNet(context("movenet_lightning"))
    both = predict(model, model_input(portrait, boxes, [0.9, 0.4]))
    assert both.keypoints_NK2_px.shape == (2, 17, 2)
    assert both.keypoints_NK2_px.dtype == both.keypoint_scores_NK.dtype == np.float32
    np.testing.assert_array_equal(both.instance_scores_N, np.float32([0.9, 0.4]))
    np.testing.assert_array_equal(both.boxes_xyxy_px_N4, np.float32(boxes))
    second = predict(model, model_input(portrait, boxes[1:]))
    np.testing.assert_array_equal(second.keypoints_NK2_px[0], both.keypoints_NK2_px[1])


def test_no_boxes_give_an_empty_prediction_without_a_forward_pass(portrait: NDArray[np.uint8]) -> None:
    model = MoveNet(context("movenet_lightning"))
    tensors, geometry = model.prepare(model_input(portrait, []))
    assert tensors["crops"].shape == (0, 192, 192, 3)
    empty = model.finish({}, geometry)
    assert empty.keypoints_NK2_px.shape == (0, 17, 2)
    assert empty.keypoint_scores_NK.shape == (0, 17)


def test_moving_the_person_moves_the_keypoints(portrait: NDArray[np.uint8]) -> None:
    """A whole-pixel shift of image and box gives the same crop, so the same keypoints, shifted."""
    model = MoveNet(context("movenet_lightning"))
    box = np.float32([20, 10, 230, 250])
    canvas = np.zeros((500, 600, 3), np.uint8)
    canvas[150:406, 200:456] = portrait
    still = predict(model, model_input(portrait, box))
    moved = predict(model, model_input(canvas, box + np.float32([200, 150, 200, 150])))
    np.testing.assert_allclose(moved.keypoints_NK2_px - still.keypoints_NK2_px, [[[200, 150]] * 17], atol=0.2)


def test_keypoints_of_the_portrait_lie_on_the_face(portrait: NDArray[np.uint8]) -> None:
    """Nose and eyes of the golden's portrait, read off the picture: within 4 px of 256."""
    found = predict(MoveNet(context("movenet_thunder")), model_input(portrait, [26, 26, 230, 230]))
    assert (found.keypoint_scores_NK[0, :3] > 0.3).all()
    nose, left_eye, right_eye = found.keypoints_NK2_px[0, :3]
    assert left_eye[0] > nose[0] > right_eye[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < found.keypoints_NK2_px[0, 5:7, 1].min()


@settings(deadline=None, max_examples=30)
@given(
    corner=st.tuples(st.floats(-50, 300), st.floats(-50, 300)),
    extent=st.tuples(st.floats(0, 400), st.floats(0, 400)),
    padding=st.floats(1, 3),
)
def test_crop_and_image_positions_are_inverse(
    corner: tuple[float, float], extent: tuple[float, float], padding: float
) -> None:
    """The crop's edges are the square's edges, and its middle is the box's middle."""
    box = [*corner, corner[0] + extent[0], corner[1] + extent[1]]
    x = model_input(np.zeros((4, 4, 3), np.uint8), box)
    squares = SquareCrops.around(x, padding, 192)
    side = squares.side_N_px[0]
    ends = squares.to_image(np.array([[[0.0, 0.0], [96.0, 96.0], [192.0, 192.0]]]))[0]
    middle = x.boxes_xyxy_px[0].reshape(2, 2).astype(np.float64).mean(0)
    np.testing.assert_allclose(ends, [middle - side / 2, middle, middle + side / 2], atol=1e-6)
    assert side >= padding * max(*extent) - 1e-3


def test_a_bright_spot_is_found_where_it_was_drawn() -> None:
    """The pixel frame: a spot's centre of mass in the crop maps back to its image pixel."""
    image = np.zeros((200, 300, 3), np.uint8)
    cv2.circle(image, (170, 80), 9, (255, 255, 255), -1)
    squares = SquareCrops.around(model_input(image, [100, 20, 220, 180]), 1.25, 192)
    crop = cut_squares(image, squares)[0, ..., 0].astype(np.float64)
    rows, columns = np.mgrid[0:192, 0:192] + 0.5  # positions from the edge
    spot = np.array([[[(columns * crop).sum(), (rows * crop).sum()]]]) / crop.sum()
    np.testing.assert_allclose(squares.to_image(spot)[0, 0], [170, 80], atol=0.05)


def test_outside_the_image_is_black() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    squares = SquareCrops.around(model_input(image, [-100, -100, 150, 150]), 1.0, 192)
    crop = cut_squares(image, squares)[0]
    assert crop[0, 0].tolist() == [0, 0, 0]
    assert crop[96, 96].tolist() == [200, 200, 200]


def test_padding_is_an_option(portrait: NDArray[np.uint8]) -> None:
    wide = MoveNet(context("movenet_lightning", options=PersonCropOptions(padding=1.5)))
    assert wide.prepare(model_input(portrait, [0, 0, 100, 80])).geometry.side_N_px[0] == pytest.approx(150)


def test_missing_weights_are_named() -> None:
    with pytest.raises(WeightsMissing, match="movenet-lightning"):
        MoveNet(context("movenet_lightning", weights=None))


def test_flops_are_counted_on_the_meta_device_and_scale_with_the_batch() -> None:
    model = MoveNet(context("movenet_thunder", device="meta"))
    counts = []
    for n in (1, 3):
        crops = torch.zeros((n, 256, 256, 3), dtype=torch.uint8, device="meta")
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            assert model.forward({"crops": crops})["yx_score"].shape == (n, 17, 3)
        counts.append(counter.get_total_flops())
    assert counts[1] == 3 * counts[0]
    assert counts[0] == pytest.approx(2.44e9, rel=0.01)  # twice the multiply-adds of a width-1.75 MobileNetV2 + FPN


@pytest.mark.parametrize(("size", "least_ap"), [("lightning", 0.55), ("thunder", 0.70)])
def test_ap_on_four_photographs_is_that_of_the_study(shared: Path, size: str, least_ap: float) -> None:
    """12 people, ground-truth boxes, pycocotools: the study measured 0.608 and 0.774."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    root = shared / "data" / "coco"
    model = MoveNet(context(f"movenet_{size}"))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(next((root / "annotations").glob("person_keypoints*.json"))))
        found = []
        for image in truth.dataset["images"]:
            people = [a for a in truth.imgToAnns[image["id"]] if a["num_keypoints"] and not a["iscrowd"]]
            pixels = cv2.cvtColor(cv2.imread(str(root / "val2017" / image["file_name"])), cv2.COLOR_BGR2RGB)
            xywh = np.array([a["bbox"] for a in people])
            pose = predict(model, model_input(pixels, np.c_[xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]))
            for points, scores in zip(pose.keypoints_NK2_px, pose.keypoint_scores_NK, strict=True):
                flat = [float(v) for v in np.c_[points, np.ones(17)].ravel()]
                entry = {"image_id": image["id"], "category_id": 1, "keypoints": flat, "score": float(scores.mean())}
                found.append(entry)
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] > least_ap


def test_listing_the_wrappers_imports_no_network() -> None:
    code = "import sys, sapiens_bench.models as m; print(sorted(m.WRAPPERS)); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"'movenet'", "'blazepose'", "'selfie'"} <= set(done.stdout.strip("[]\n ").split(", "))
