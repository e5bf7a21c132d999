"""ZoeDepth, Depth Pro and torchvision's networks on tiny random weights, against the libraries' own code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_nets
import torch
from torch.nn import functional

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.metric_depth import DepthPro, ZoeDepth, border, nearest_size, reflected
from sapiens_bench.types import ModelInput

HALF = (127.5, 127.5, 127.5)


@pytest.fixture
def fake() -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


def half(context: Any) -> Any:
    """The context with pictures from -1 to 1."""
    spec = context.card.input.model_copy(update={"mean": HALF, "std": HALF})
    return replace(context, card=context.card.model_copy(update={"input": spec}))


def picture(height: int, width: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(3)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 5, 4)).astype(np.float32))
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255)
    return np.ascontiguousarray(smooth[0].permute(1, 2, 0).numpy().astype(np.uint8))


def seen(model: Any, image: np.ndarray[Any, Any]) -> tuple[torch.Tensor, Any]:
    """Network input and the prediction of a picture."""
    height, width = image.shape[:2]
    box = np.array([[0, 0, width, height]], np.float32)
    prepared = model.prepare(ModelInput("x", image, box, np.ones(1, np.float32)))
    tensors = {name: torch.from_numpy(value) for name, value in prepared.tensors.items()}
    with torch.inference_mode():
        outputs = {name: value.numpy() for name, value in model.forward(tensors).items()}
    return tensors["image"], model.finish(outputs, prepared.geometry)


@pytest.fixture(scope="module")
def zoe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoe")
    tiny_nets.zoedepth().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pro_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pro")
    tiny_nets.depth_pro().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("flip", [False, True])
def test_zoedepth_sees_and_answers_what_the_library_does(fake: ModuleType, zoe_folder: Path, flip: bool) -> None:
    from transformers import ZoeDepthForDepthEstimation, ZoeDepthImageProcessor

    options = {"depth_kind": "metric_depth", "flip_test": flip}
    model = ZoeDepth(half(fake.context("zoedepth", zoe_folder, "depth", "hf", (64, 96), **options)))
    image = picture(90, 70)
    pixels, answer = seen(model, image)
    library = ZoeDepthImageProcessor(size={"height": 64, "width": 96}, ensure_multiple_of=32)
    theirs = library(images=image, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    assert pixels.shape == theirs.shape
    torch.testing.assert_close(pixels, theirs, atol=2e-5, rtol=0)
    net = ZoeDepthForDepthEstimation.from_pretrained(zoe_folder).eval()
    with torch.inference_mode():
        out, mirrored = net(theirs), net(theirs.flip(-1))
    found = library.post_process_depth_estimation(
        out, source_sizes=[(90, 70)], outputs_flipped=mirrored if flip else None
    )[0]["predicted_depth"]
    np.testing.assert_allclose(answer.depth_HW, found.numpy(), atol=1e-3)
    assert answer.depth_HW.std() > 1e-3 * answer.depth_HW.mean()


def test_depth_pro_sees_and_answers_what_the_library_does(fake: ModuleType, pro_folder: Path) -> None:
    from transformers import DepthProForDepthEstimation, DepthProImageProcessor

    model = DepthPro(half(fake.context("depth_pro", pro_folder, "depth", "hf", (32, 32), depth_kind="metric_depth")))
    image = picture(60, 40)
    pixels, answer = seen(model, image)
    library = DepthProImageProcessor(size={"height": 32, "width": 32})
    theirs = library(images=image, return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    torch.testing.assert_close(pixels, theirs, atol=2e-5, rtol=0)
    net = DepthProForDepthEstimation.from_pretrained(pro_folder).eval()
    with torch.inference_mode():
        found = library.post_process_depth_estimation(net(theirs), target_sizes=[(60, 40)])[0]["predicted_depth"]
    np.testing.assert_allclose(answer.depth_HW, found.numpy(), rtol=1e-3)
    assert answer.depth_HW.std() > 1e-3 * answer.depth_HW.mean()


def test_another_network_is_refused(fake: ModuleType, zoe_folder: Path, pro_folder: Path) -> None:
    options = {"depth_kind": "metric_depth"}
    with pytest.raises(CheckpointRejected, match="is a 'depth_pro' model"):
        ZoeDepth(fake.context("zoedepth", pro_folder, "depth", "hf", (64, 96), **options))
    with pytest.raises(CheckpointRejected, match="is a 'zoedepth' model"):
        DepthPro(fake.context("depth_pro", zoe_folder, "depth", "hf", (64, 96), **options))


def test_the_input_keeps_the_aspect_by_the_smaller_change() -> None:
    assert nearest_size(480, 640, (384, 512), 32) == (384, 512)
    assert nearest_size(1080, 1920, (384, 512), 32) == (384, 672)
    assert border(512) == 48


def test_a_picture_narrower_than_its_border_is_reflected_again() -> None:
    narrow = torch.arange(6.0).reshape(1, 1, 3, 2)
    wide = reflected(narrow, 3, 3)
    assert wide.shape == (1, 1, 9, 8)
    torch.testing.assert_close(wide[:, :, 3:6, 3:5], narrow)
    assert reflected(torch.ones(1, 3, 1, 1), 2, 2).shape == (1, 3, 5, 5)
    enough = torch.rand(1, 3, 8, 9)
    torch.testing.assert_close(reflected(enough, 2, 3), functional.pad(enough, (3, 3, 2, 2), mode="reflect"))


@pytest.mark.parametrize("architecture", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_torchvision_networks_answer_as_the_library_does(fake: ModuleType, tmp_path: Path, architecture: str) -> None:
    from torchvision.models import segmentation
    from torchvision.transforms._presets import SemanticSegmentation

    from sapiens_bench.models.torchvision_seg import TorchvisionSeg, shorter_side

    torch.manual_seed(0)
    net = getattr(segmentation, architecture)(weights=None, weights_backbone=None, num_classes=3, aux_loss=True).eval()
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path)
    model = TorchvisionSeg(
        fake.context(
            "torchvision_seg", path, "seg", "pth", (64, 64), fake.space("labels", 3), architecture=architecture
        )
    )
    image = picture(50, 90)
    pixels, answer = seen(model, image)
    theirs = SemanticSegmentation(resize_size=64)(torch.from_numpy(image).permute(2, 0, 1))[None]
    assert pixels.shape == theirs.shape == (1, 3, *shorter_side(50, 90, 64))
    assert float((pixels - theirs).abs().mean()) < 0.01  # they round to 8 bits after resizing as a tensor
    with torch.inference_mode():
        logits = functional.interpolate(net(pixels)["out"], (50, 90), mode="bilinear", align_corners=False)
    assert float((torch.from_numpy(answer.labels_HW) == logits[0].argmax(0)).float().mean()) > 0.999
