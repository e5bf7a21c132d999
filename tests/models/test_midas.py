"""MiDaS (DPT) by its cards: what the network sees and answers, compared with the library's own processor and model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_nets
import torch

from sapiens_bench.models.depth_anything import DepthAnything

SIDE = 64
HALF = {"mean": (127.5,) * 3, "std": (127.5,) * 3}


@pytest.fixture
def fake() -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


@pytest.mark.parametrize("make", [tiny_nets.dpt, tiny_nets.dpt_swin2])
@pytest.mark.parametrize("size", [(90, 70), (40, 110)])
def test_midas_sees_and_answers_what_the_library_does(
    fake: ModuleType, tmp_path: Path, make: Callable[[], Any], size: tuple[int, int]
) -> None:
    from dataclasses import replace

    from transformers import DPTForDepthEstimation, DPTImageProcessor

    make().save_pretrained(tmp_path)
    given = fake.context(
        "depth_anything", tmp_path, "depth", "hf", (SIDE, SIDE), depth_kind="affine_invariant_inverse_depth",
        upsample="bicubic",
    )  # fmt: skip
    assert given.card.input is not None
    card = given.card.model_copy(update={"input": given.card.input.model_copy(update=HALF)})
    model = DepthAnything(replace(given, card=card))
    x = fake.picture(*size)
    processor = DPTImageProcessor(
        size={"height": SIDE, "width": SIDE}, keep_aspect_ratio=False, ensure_multiple_of=1, resample=3,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    theirs = processor(images=x.image_HW3, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    tensors = model.prepare(x).tensors
    # Both round to 8 bits, ours between the two passes of the filter, too: edges that overshoot are clipped earlier.
    assert tensors["image"].shape == theirs.shape
    assert float(np.abs(tensors["image"] - theirs.numpy()).mean()) < 0.5 / 127.5
    net = DPTForDepthEstimation.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        out = net(torch.from_numpy(tensors["image"]))
        ours = model.forward({name: torch.from_numpy(a) for name, a in tensors.items()})["map"]
    wanted = processor.post_process_depth_estimation(out, target_sizes=[size])[0]["predicted_depth"]
    assert ours.shape[-2:] == size
    assert float(wanted.std()) > 1e-4 * float(wanted.abs().mean())
    torch.testing.assert_close(ours[0].reshape(size), wanted, rtol=1e-4, atol=1e-5)
