"""Segment Anything: boxes of people in, one mask out; compared with the library's own processor and model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_nets
import torch
from numpy.typing import NDArray

from sapiens_bench.errors import CardError, CheckpointRejected
from sapiens_bench.models.sam import MOST_PROMPTS, SamPersons, boxes_of_parts, longest_side
from sapiens_bench.types import ModelInput

SIDE = 64


@pytest.fixture
def fake() -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sam")
    tiny_nets.sam(SIDE).save_pretrained(path)
    return path


def wrapper(fake: ModuleType, folder: Path, side: int = SIDE, classes: int = 2, **options: Any) -> SamPersons:
    return SamPersons(fake.context("sam", folder, "seg", "hf", (side, side), fake.space("labels", classes), **options))


def picture(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    waves = [127 + 120 * np.sin(x / a + y / b) for a, b in ((9, 17), (13, 7), (21, 11))]
    return np.stack(waves, -1).astype(np.uint8)


def given(image: NDArray[np.uint8], *boxes: tuple[float, float, float, float]) -> ModelInput:
    return ModelInput("k", image, np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


def theirs(folder: Path, x: ModelInput) -> tuple[dict[str, torch.Tensor], NDArray[np.bool_]]:
    """What the library makes of one picture and its boxes: network input, and the union of the masks."""
    from transformers import SamImageProcessor, SamModel, SamProcessor

    square = {"height": SIDE, "width": SIDE}
    processor = SamProcessor(SamImageProcessor(size={"longest_edge": SIDE}, pad_size=square))
    boxes = [x.boxes_xyxy_px.astype(float).tolist()]
    inputs = processor(images=x.image_HW3, input_boxes=boxes, return_tensors="pt", input_data_format="channels_last")
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    given = {name: value.float() for name, value in inputs.items()}
    with torch.inference_mode():
        out = SamModel.from_pretrained(folder).eval()(**given, multimask_output=False)
    (masks,) = processor.image_processor.post_process_masks(out.pred_masks, *sizes, pad_size=square)
    return given, masks[:, 0].any(0).numpy()


@pytest.mark.parametrize("size", [(90, 70), (40, 110), (64, 64)])
def test_masks_of_boxes_are_those_of_the_library(fake: ModuleType, folder: Path, size: tuple[int, int]) -> None:
    model = wrapper(fake, folder, prompt="boxes")
    x = given(picture(*size), (5, 8, 30, 36), (20, 2, size[1] - 4, size[0] - 9))
    inputs, wanted = theirs(folder, x)
    tensors = model.prepare(x).tensors
    np.testing.assert_allclose(tensors["boxes"][:, :2], inputs["input_boxes"], rtol=1e-6)
    assert not tensors["boxes"][:, 2:].any()
    # They round to 8 bits after resizing as a tensor; Pillow's filter differs from that by one count at most.
    np.testing.assert_allclose(tensors["image"], inputs["pixel_values"], atol=1.1 / 57.12)
    (answer,) = fake.predict(model, [x])
    assert 0.05 < wanted.mean() < 0.95
    assert set(np.unique(answer.labels_HW)) <= {0, 1}
    assert (answer.labels_HW.astype(bool) == wanted).mean() > 0.99


def test_neighbours_in_a_batch_do_not_change_a_picture_and_nobody_gives_background(
    fake: ModuleType, folder: Path
) -> None:
    model = wrapper(fake, folder, prompt="boxes")
    inputs = [given(picture(70, 50), (3, 3, 40, 60)), given(picture(50, 80)), given(picture(64, 64), (1, 2, 30, 40))]
    together = fake.predict(model, inputs)
    assert not together[1].labels_HW.any()
    for x, answer in zip(inputs, together, strict=True):
        (alone,) = fake.predict(model, [x])
        assert answer.labels_HW.shape == x.image_HW3.shape[:2]
        np.testing.assert_array_equal(answer.labels_HW, alone.labels_HW)


def test_half_precision_moves_the_outline_and_not_the_boxes(fake: ModuleType, folder: Path) -> None:
    x = given(picture(64, 64), (5, 8, 30, 36))
    coarse = SamPersons(
        fake.context(
            "sam", folder, "seg", "hf", (SIDE, SIDE), fake.space("labels", 2), precision="bf16", prompt="boxes"
        )
    )
    (half,), (full,) = fake.predict(coarse, [x]), fake.predict(wrapper(fake, folder, prompt="boxes"), [x])
    assert (half.labels_HW == full.labels_HW).mean() > 0.9


def test_more_boxes_than_there_is_room_for_leave_the_least_sure_out(fake: ModuleType, folder: Path) -> None:
    model = wrapper(fake, folder, prompt="boxes")
    boxes = np.tile(np.float32([1, 1, 20, 20]), (MOST_PROMPTS + 3, 1)) + np.arange(MOST_PROMPTS + 3)[:, None]
    scores = np.linspace(0.1, 1, len(boxes)).astype(np.float32)
    tensors = model.prepare(ModelInput("k", picture(64, 64), boxes.astype(np.float32), scores)).tensors
    assert tensors["n_boxes"].tolist() == [MOST_PROMPTS]
    np.testing.assert_allclose(tensors["boxes"][0], boxes[::-1][:MOST_PROMPTS])


def test_the_silhouette_prompts_with_a_box_around_each_large_part(fake: ModuleType, folder: Path) -> None:
    model = wrapper(fake, folder)
    assert model.silhouette is not None
    mask = np.zeros((100, 200), np.float32)
    mask[20:80, 30:60], mask[10:90, 120:170], mask[0:2, 0:2] = 1, 1, 1  # two people and a crumb
    np.testing.assert_allclose(boxes_of_parts(mask > 0), [[119.5, 9.5, 169.5, 89.5], [29.5, 19.5, 59.5, 79.5]])
    assert boxes_of_parts(mask > 2).shape == (0, 4)

    class Stub:
        threshold = 0.5

        def prepare(self, x: ModelInput) -> Any:
            return dataclasses.make_dataclass("P", ["tensors", "geometry"])({}, x.image_HW3.shape[:2])

        def forward(self, tensors: Any) -> Any:
            return {"mask": torch.zeros(1)}

        def probability(self, outputs: Any, geometry: Any) -> Any:
            return mask

    model.silhouette = Stub()  # type: ignore[assignment]
    x = given(picture(100, 200), (0, 0, 200, 100))  # the data set's own box is not looked at
    tensors = model.prepare(x).tensors
    assert tensors["n_boxes"].tolist() == [2]
    np.testing.assert_allclose(tensors["boxes"][0, 1], np.array([29.5, 19.5, 59.5, 79.5]) * SIDE / 200, rtol=1e-6)


def test_what_does_not_fit_is_refused(fake: ModuleType, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="64x64, the card says 96x96"):
        wrapper(fake, folder, side=96)
    with pytest.raises(CardError, match="label set of two, not of 3"):
        wrapper(fake, folder, classes=3)
    tiny_nets.segformer().save_pretrained(tmp_path)
    with pytest.raises(CheckpointRejected, match="needs 'sam'"):
        wrapper(fake, tmp_path)


def test_the_longer_side_is_brought_to_the_square() -> None:
    assert longest_side(480, 640, 1024) == (768, 1024)
    assert longest_side(1000, 3, 1024) == (1024, 3)
    assert longest_side(5000, 1, 1024) == (1024, 1)
