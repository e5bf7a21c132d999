"""What a wrapper adds to its network: crops, resizes, decoding, maps of the picture's size, as a share of the network.

Published sizes, random weights where none are shipped (arithmetic does not depend on them), one picture of 640 x 480
with one person, one thread, CPU seconds. The goal is for ``prepare`` and ``finish``; what ``forward`` does around the
network stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from sapiens_bench.api import load_model
from sapiens_bench.models import depth_anything, hub_seg, sam, torchvision_seg
from sapiens_bench.models.sapiens_v1 import build as build_sapiens
from sapiens_bench.models.vitpose import VitPose
from sapiens_bench.profiling.subject import network_of, randomise
from sapiens_bench.types import Model, ModelInput

SMALL = {  # why the share cannot be smaller: networks of some milliseconds, beside OpenCV's resizes and warps
    "selfie-segmentation": "a network of some 9 ms; a picture is brought to 256 x 256 and its mask back",
    "blazepose-full": "two affine warps by OpenCV for a network of some 40 ms",
    "holistic-full": "the crops of body, face and hands are affine warps by OpenCV",
    "face-mesh-normal": "three warps, and normals of the whole picture from the silhouette",
}
TOPIC = "What a wrapper adds to its network"
MOST = 5.0  # per cent
Fake = Callable[[str], ModuleType]


class Clock:
    """CPU seconds inside the outermost calls of any ``nn.Module``."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        plain: Any = nn.Module.__call__

        def timed(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            self.depth += 1
            start = time.process_time()
            try:
                return plain(module, *args, **kwargs)
            finally:
                self.depth -= 1
                self.seconds += 0.0 if self.depth else time.process_time() - start

        nn.Module.__call__ = timed  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = plain  # type: ignore[method-assign]


class Cost(NamedTuple):
    """CPU seconds of one picture."""

    network: float
    outside: float  # prepare and finish
    around: float  # what forward does beside the network: decoding, maps of the picture's size


def once(model: Model, x: ModelInput) -> Cost:
    clock = Clock()
    with clock.running(), torch.inference_mode():
        start = time.process_time()
        prepared = model.prepare(x)
        ready, inside = time.process_time(), clock.seconds
        tensors = {name: torch.from_numpy(array) for name, array in prepared.tensors.items()}
        found = {name: tensor.numpy() for name, tensor in model.forward(tensors).items()}
        done = time.process_time()
        model.finish(found, prepared.geometry)
        outside = ready - start - inside + time.process_time() - done
    return Cost(clock.seconds, outside, done - ready - (clock.seconds - inside))


def picture() -> ModelInput:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    box = np.array([[200, 60, 420, 460]], np.float32)
    return ModelInput("k", np.ascontiguousarray(image), box, np.ones(1, np.float32))


def segformer_b2() -> Any:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        depths=[3, 4, 6, 3], hidden_sizes=[64, 128, 320, 512], decoder_hidden_size=768, num_labels=18
    )
    return SegformerForSemanticSegmentation(config)


def mask2former_swin_t() -> Any:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    trunk = SwinConfig(
        depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], embed_dim=96, window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=trunk, num_labels=133))


def depth_anything_s() -> Any:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    trunk = Dinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=518, patch_size=14, reshape_hidden_states=False,
        out_features=["stage3", "stage6", "stage9", "stage12"],
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=trunk, reassemble_hidden_size=384, neck_hidden_sizes=[48, 96, 192, 384], fusion_hidden_size=64
    )
    return DepthAnythingForDepthEstimation(config)


def sam_b() -> Any:
    from transformers import SamConfig, SamModel

    return SamModel(SamConfig())


def hub(monkeypatch: pytest.MonkeyPatch, module: ModuleType, net: Any) -> None:
    """The wrapper's folder holds this network."""
    monkeypatch.setattr(module, "open_folder", lambda *_, **__: net.eval().requires_grad_(False))


def built(name: str, fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The wrapper round a network of published size."""
    torch.manual_seed(0)
    if name == "segformer-b2":
        hub(monkeypatch, hub_seg, segformer_b2())
        return hub_seg.SegFormer(fake.context("segformer", None, "seg", "hf", (512, 512), fake.space("labels", 18)))
    if name == "mask2former-swin-t":
        hub(monkeypatch, hub_seg, mask2former_swin_t())
        space = fake.space("labels", 133)
        return hub_seg.Mask2Former(fake.context("mask2former", None, "seg", "hf", (800, 800), space))
    if name == "depth-anything-v2-s":
        hub(monkeypatch, depth_anything, depth_anything_s())
        monkeypatch.setattr(depth_anything, "weights_path", lambda _: None)
        monkeypatch.setattr(depth_anything, "read_config", lambda _: {"model_type": "depth_anything"})
        kind = {"depth_kind": "affine_invariant_inverse_depth"}
        return depth_anything.DepthAnything(fake.context("depth_anything", None, "depth", "hf", (518, 518), **kind))
    if name == "sam-b":
        hub(monkeypatch, sam, sam_b())
        return sam.SamPersons(
            fake.context("sam", None, "seg", "hf", (1024, 1024), fake.space("labels", 2), prompt="boxes")
        )
    if name == "fcn-r50":
        monkeypatch.setattr(torchvision_seg, "weights_path", lambda _: None)
        monkeypatch.setattr(torchvision_seg, "open_state", lambda *_, **__: SimpleNamespace(state={}))
        monkeypatch.setattr(torchvision_seg, "fill", lambda net, *_, **__: randomise(net, "cpu"))
        options = {"architecture": "fcn_resnet50"}
        place = fake.context("torchvision_seg", None, "seg", "pth", (520, 520), fake.space("labels", 21), **options)
        return torchvision_seg.TorchvisionSeg(place)
    if name == "vitpose-b":
        space = fake.space("keypoints", 17)
        return filled(VitPose(fake.context("vitpose", None, "pose", "hf", (256, 192), space, size="base")))
    if name == "sapiens-0.3b":
        space = fake.space("keypoints", 308)
        return filled(build_sapiens(fake.context("sapiens_v1", None, "pose", "pth", (1024, 768), space, size="0.3b")))
    return load_model(name)


def filled(model: Any) -> Model:
    """With random weights where the network has no memory yet."""
    network = network_of(model)
    assert network is not None
    randomise(network, "cpu")
    found: Model = model
    return found


def library(name: str) -> Callable[[ModelInput, Any], object] | None:
    """What the library's own processor does with the picture and the network's answer."""
    import transformers as t

    size = (480, 640)
    if name == "segformer-b2":
        made = t.SegformerImageProcessor(size={"height": 512, "width": 512})
        answer = SimpleNamespace(logits=torch.randn(1, 18, 128, 128))
        return lambda x, _: (
            made(x.image_HW3, return_tensors="pt"), made.post_process_semantic_segmentation(answer, [size])
        )  # fmt: skip
    if name == "mask2former-swin-t":
        made = t.Mask2FormerImageProcessor(size={"height": 800, "width": 800})
        answer = SimpleNamespace(
            class_queries_logits=torch.randn(1, 100, 134), masks_queries_logits=torch.randn(1, 100, 200, 200)
        )
        return lambda x, _: (
            made(x.image_HW3, return_tensors="pt"), made.post_process_semantic_segmentation(answer, [size])
        )  # fmt: skip
    if name == "depth-anything-v2-s":
        made = t.DPTImageProcessor(size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14)
        answer = SimpleNamespace(predicted_depth=torch.randn(1, 518, 686))
        return lambda x, _: (made(x.image_HW3, return_tensors="pt"), made.post_process_depth_estimation(answer, [size]))
    if name == "sam-b":
        made = t.SamImageProcessor()
        masks = torch.randn(1, 1, 1, 256, 256)
        return lambda x, _: (
            made(x.image_HW3, return_tensors="pt"), made.post_process_masks(masks, [size], [(768, 1024)])
        )  # fmt: skip
    return None


NAMES = (
    "movenet-lightning", "movenet-thunder", "blazepose-full", "holistic-full", "face-mesh-normal",
    "selfie-segmentation", "movenet-lightning-seg", "vitpose-b", "sapiens-0.3b", "segformer-b2", "mask2former-swin-t",
    "fcn-r50", "sam-b", "depth-anything-v2-s",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_the_network_costs_little(
    page: Any, fake: Fake, figures: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model, x = built(name, fake("dense_wrappers"), monkeypatch), picture()
    once(model, x)
    rounds = [once(model, x) for _ in range(2 if name in ("sapiens-0.3b", "sam-b") else 5)]
    network, outside, around = (1000 * min(each) for each in zip(*rounds, strict=True))
    beside = f"network {network:.3g} ms, prepare and finish {outside:.3g} ms, around the network {around:.3g} ms"
    theirs, goal = library(name), {"at_most": MOST}
    if theirs is not None:
        processor = 1000 * min(_seconds(theirs, x) for _ in range(4))
        beside += f"; the library's own processor {processor:.3g} ms"
        goal = goal if outside + around > processor else {}  # the other way to be cheap enough
    page.call(lambda: once(model, x))
    shares = figures([100 * each.outside / each.network for each in rounds])
    page.add(TOPIC, name, shares, "%", beside=beside, if_missed=SMALL.get(name, ""), **goal)


def _seconds(function: Callable[[ModelInput, Any], object], x: ModelInput) -> float:
    start = time.process_time()
    function(x, None)
    return time.process_time() - start
