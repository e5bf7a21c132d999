"""Selfie segmentation: parity with its own runtime, and the wrapper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sapiens_bench.cards.schema import ModelCard
from sapiens_bench.models import WRAPPERS
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.options import SelfieOptions
from sapiens_bench.models.parts.graph import load_graph
from sapiens_bench.models.selfie import SelfieSegmentation
from sapiens_bench.tasks.seg.types import SegPrediction
from sapiens_bench.types import Model, ModelInput

WEIGHTS = Path(__file__).resolve().parents[2] / "sapiens_bench" / "embedded" / "selfie_segmentation.safetensors"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def context(**changes: Any) -> ModelContext:
    card = ModelCard.model_validate_json(
        json.dumps(
            {
                "schema": "model/1", "id": "selfie", "title": "Selfie", "task": "seg", "wrapper": "selfie",
                "licence": {"name": "Apache-2.0"}, "trained_on": "private", "variants": [{"id": "s", "title": "s"}],
            }
        )
    )  # fmt: skip
    fields: dict[str, Any] = {
        "card": card, "variant": card.variants[0], "weights": WEIGHTS, "also": {},
        "device": "cpu", "precision": "fp32", "space": None, "options": SelfieOptions(),
    }  # fmt: skip
    return ModelContext(**{**fields, **changes})


def predict(model: SelfieSegmentation, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], SegPrediction]:
    x = ModelInput("key", image, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    tensors, geometry = model.prepare(x)
    with torch.inference_mode():
        outputs = model.forward({key: torch.from_numpy(value) for key, value in tensors.items()})
    arrays = {key: value.numpy() for key, value in outputs.items()}
    return model.probability(arrays, geometry), model.finish(arrays, geometry)


@pytest.mark.parametrize("image", ["astronaut", "coco000000000785", "noise"])
def test_mask_equals_that_of_its_own_runtime(shared: Path, image: str) -> None:
    golden = np.load(shared / "golden/embedded/tflite.npz")
    x = torch.from_numpy(golden[f"input/{image}"])[None].permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        mask = load_graph(WEIGHTS)(x)["mask"][0, 0].numpy()
    assert np.abs(mask - golden[f"selfie_segmentation/{image}/mask"]).max() < 1e-3


def test_wrapper_is_a_model_and_listed() -> None:
    module, name = WRAPPERS["selfie"].split(":")
    assert (module, name) == (SelfieSegmentation.__module__, SelfieSegmentation.__name__)
    assert isinstance(SelfieSegmentation(context()), Model)


def test_mask_of_a_portrait_has_the_images_size_and_covers_the_person(shared: Path) -> None:
    portrait = np.load(shared / "golden/embedded/tflite.npz")["input/astronaut"]
    wide = np.repeat(np.repeat(portrait, 2, axis=0), 3, axis=1)  # 512 x 768
    mask, labels = predict(SelfieSegmentation(context()), wide)
    assert mask.shape == (512, 768)
    assert mask.dtype == np.float32
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask[300:500, 250:450].mean() > 0.9  # chest
    assert mask[:60, :60].mean() < 0.2  # a corner of the background
    assert np.array_equal(labels.labels_HW, (mask >= 0.5).astype(np.uint8))
    assert (
        predict(SelfieSegmentation(context(options=SelfieOptions(threshold=0.9))), wide)[1].labels_HW.sum()
        < labels.labels_HW.sum()
    )


def test_batch_of_eight_equals_eight_singles(shared: Path) -> None:
    portrait = np.load(shared / "golden/embedded/tflite.npz")["input/astronaut"]
    crops = torch.from_numpy(np.stack([np.roll(portrait, 17 * i, axis=0) for i in range(8)]))
    model = SelfieSegmentation(context())
    with torch.inference_mode():
        together = model.forward({"crops": crops})["mask"]
        singles = torch.cat([model.forward({"crops": crops[i : i + 1]})["mask"] for i in range(8)])
    torch.testing.assert_close(together, singles, rtol=0, atol=1e-5)
