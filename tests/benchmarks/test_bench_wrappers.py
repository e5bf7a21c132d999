"""What a wrapper adds to its network: crops, resizes, decoding, maps of the picture's size, as a share of the network.

Published sizes, random weights where none are shipped (arithmetic does not depend on them; the ONNX files are plain
convolutions of the published files' sizes of input and answer, and about their operations), one picture of 640 x 480
with one box, one thread, CPU seconds, no mirrored second pass. Depth Pro and Sapiens2 would take minutes a picture:
their networks are smaller than published ones behind the published input, so their shares are more than the true ones.
The goal is for ``prepare`` and ``finish``; what ``forward`` does around the network stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from sapiens_bench.api import load_model
from sapiens_bench.engine.threads import keep_freed_memory
from sapiens_bench.models import (
    depth_anything,
    hub_seg,
    metric_depth,
    one_stage,
    pifuhd,
    sam,
    sapiens2,
    simcc,
    torchvision_seg,
)
from sapiens_bench.models.parts.onnx_session import OnnxNetwork
from sapiens_bench.models.sapiens_v1 import build as build_sapiens
from sapiens_bench.models.vitpose import VitPose
from sapiens_bench.profiling.subject import network_of, randomise
from sapiens_bench.types import Model, ModelInput

SMALL = {  # why the share cannot be smaller
    "selfie-segmentation": "a network of some 9 ms; a picture is brought to 256 x 256 and its mask back",
    "face-mesh-normal": "warps to 256, 768 and 1024 squared 3.3 ms, a silhouette's Poisson equation of 5,000 "
    "cells 3 ms (nearly all of it LAPACK's band factor), normals of the whole picture 2.4 ms",
}
TOPIC = "What a wrapper adds to its network"
MOST = 5.0  # per cent
Fake = Callable[[str], ModuleType]


class Clock:
    """CPU seconds inside the outermost calls of any ``nn.Module`` or ONNX file."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    @contextmanager
    def running(self) -> Iterator[None]:
        owners: tuple[Any, ...] = (nn.Module, OnnxNetwork)
        plain = [owner.__call__ for owner in owners]
        for owner in owners:
            owner.__call__ = self._timed(owner.__call__)
        try:
            yield
        finally:
            for owner, call in zip(owners, plain, strict=True):
                owner.__call__ = call

    def _timed(self, plain: Any) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.depth += 1
            start = time.process_time()
            try:
                return plain(*args, **kwargs)
            finally:
                self.depth -= 1
                self.seconds += 0.0 if self.depth else time.process_time() - start

        return timed


class Forward(NamedTuple):
    """CPU seconds of one picture, and what the network found."""

    network: float
    around: float  # what forward does beside the network: decoding, maps of the picture's size
    found: dict[str, Any]


def forward(model: Model, x: ModelInput) -> Forward:
    clock, prepared = Clock(), model.prepare(x)
    with clock.running(), torch.inference_mode():
        start = time.process_time()
        tensors = {name: torch.from_numpy(array) for name, array in prepared.tensors.items()}
        found = {name: tensor.numpy() for name, tensor in model.forward(tensors).items()}
        passed = time.process_time() - start
    return Forward(clock.seconds, passed - clock.seconds, found)


def outside(model: Model, x: ModelInput, found: dict[str, Any]) -> float:
    """CPU seconds of prepare and finish."""
    start = time.process_time()
    model.finish(found, model.prepare(x).geometry)
    return time.process_time() - start


def with_silhouette(found: dict[str, Any]) -> dict[str, Any]:
    """As if a person had been found: one of 80 x 200 cells, in a mask of 256 x 256."""
    y, x = np.mgrid[:256, :256]
    return found | {"mask": (((x - 128) / 40) ** 2 + ((y - 140) / 100) ** 2 < 1).astype(np.float32)[None]}


def picture() -> ModelInput:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    box = np.array([[200, 60, 420, 460]], np.float32)
    return ModelInput("k", np.ascontiguousarray(image), box, np.ones(1, np.float32))


def hub(monkeypatch: pytest.MonkeyPatch, module: ModuleType, net: Any) -> None:
    """The wrapper's folder holds this network."""
    monkeypatch.setattr(module, "open_folder", lambda *_, **__: net.eval().requires_grad_(False))


def built(name: str, modules: Fake, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Model:
    """The wrapper round a network of published size."""
    torch.manual_seed(0)
    fake, nets = modules("dense_wrappers"), modules("published_nets")
    if name == "segformer-b2":
        hub(monkeypatch, hub_seg, nets.segformer_b2())
        return hub_seg.SegFormer(fake.context("segformer", None, "seg", "hf", (512, 512), fake.space("labels", 18)))
    if name == "mask2former-swin-t":
        hub(monkeypatch, hub_seg, nets.mask2former_swin_t())
        space = fake.space("labels", 133)
        return hub_seg.Mask2Former(fake.context("mask2former", None, "seg", "hf", (800, 800), space))
    if name in ("depth-anything-v2-s", "midas-l"):
        kind, size = ("depth_anything", 518) if name == "depth-anything-v2-s" else ("dpt", 384)
        hub(monkeypatch, depth_anything, nets.depth_anything_s() if size == 518 else nets.dpt_large())
        monkeypatch.setattr(depth_anything, "weights_path", lambda _: None)
        monkeypatch.setattr(depth_anything, "read_config", lambda _: {"model_type": kind})
        place = fake.context(
            "depth_anything", None, "depth", "hf", (size, size), depth_kind="affine_invariant_inverse_depth"
        )
        return depth_anything.DepthAnything(place)
    if name == "zoedepth":
        hub(monkeypatch, metric_depth, nets.zoedepth_n())
        place = fake.context("zoedepth", None, "depth", "hf", (384, 512), depth_kind="metric_depth", flip_test=False)
        return metric_depth.ZoeDepth(place)
    if name == "depth-pro":
        hub(monkeypatch, metric_depth, nets.depth_pro())
        return metric_depth.DepthPro(
            fake.context("depth_pro", None, "depth", "hf", (1536, 1536), depth_kind="metric_depth")
        )
    if name == "sapiens2-pose":
        net = nets.sapiens2_pose().eval()
        monkeypatch.setattr(sapiens2, "build_network", lambda *_: net)
        space = fake.space("keypoints", 308)
        return sapiens2.build(fake.context("sapiens2", None, "pose", "hf", (1024, 768), space, flip_test=False))
    if name == "pifuhd":
        net = pifuhd.build_generator(None)
        randomise(net, "cpu")
        monkeypatch.setattr(pifuhd, "weights_path", lambda _: None)
        monkeypatch.setattr(pifuhd, "build_generator", lambda *_: net)
        return pifuhd.PIFuHD(fake.context("pifuhd", None, "normal", "pth", (512, 512)))
    if name == "rtmpose-m":
        answers = {"simcc_x": (17, 384), "simcc_y": (17, 512)}
        path = nets.pose_onnx(folder / "m.onnx", answers, (256, 192), 192, 8)
        return simcc.Simcc(fake.context("simcc", path, "pose", "onnx", (256, 192), fake.space("keypoints", 17)))
    if name == "rtmo-s":
        answers = {"dets": (100, 5), "keypoints": (100, 17, 3)}
        path = nets.pose_onnx(folder / "s.onnx", answers, (640, 640), 192, 7)
        return one_stage.OneStage(
            fake.context("one_stage", path, "pose", "onnx", (640, 640), fake.space("keypoints", 17), boxes="none")
        )
    if name == "sam-b":
        hub(monkeypatch, sam, nets.sam_b())
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
        options = {"size": "0.3b", "flip_test": False}
        return filled(build_sapiens(fake.context("sapiens_v1", None, "pose", "pth", (1024, 768), space, **options)))
    return load_model(name)


def filled(model: Any) -> Model:
    """With random weights where the network has no memory yet."""
    network = network_of(model)
    assert network is not None
    randomise(network, "cpu")
    found: Model = model
    return found


NAMES = (
    "movenet-lightning", "movenet-thunder", "blazepose-full", "holistic-full", "face-mesh-normal",
    "selfie-segmentation", "movenet-lightning-seg", "vitpose-b", "sapiens-0.3b", "segformer-b2", "mask2former-swin-t",
    "fcn-r50", "sam-b", "depth-anything-v2-s", "midas-l", "zoedepth", "depth-pro", "sapiens2-pose",
    "pifuhd", "rtmpose-m", "rtmo-s",
)  # fmt: skip
SLOW = (  # one pass of many seconds
    "sapiens-0.3b", "sam-b", "mask2former-swin-t", "midas-l", "zoedepth", "depth-pro", "sapiens2-pose", "pifuhd",
)  # fmt: skip
SMALLER = {  # networks that are not of the published size, so that the share is more than the true one
    "depth-pro": "2 of 24 layers",
    "sapiens2-pose": "trunk of 0.1B, the smallest published for poses is 0.4B",
}


@pytest.fixture(autouse=True)
def _memory_as_in_a_run() -> None:
    keep_freed_memory()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_the_network_costs_little(
    page: Any, fake: Fake, figures: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    model, x = built(name, fake, monkeypatch, tmp_path), picture()
    passes: list[Forward] = []
    if name not in SLOW:  # the first pass fills caches
        forward(model, x)
        passes += [forward(model, x) for _ in range(4)]
    page.call(lambda: passes.append(forward(model, x)))
    found = with_silhouette(passes[-1].found) if name == "face-mesh-normal" else passes[-1].found
    outside(model, x, found)
    rounds = [1000 * outside(model, x, found) for _ in range(7)]
    network, around = (1000 * min(each) for each in list(zip(*passes, strict=True))[:2])
    beside = f"network {network:.3g} ms, prepare and finish {min(rounds):.3g} ms, around the network {around:.3g} ms"
    beside = f"at most, network of {SMALLER[name]}; {beside}" if name in SMALLER else beside
    theirs, goal = fake("library_processors").library(name), {"at_most": MOST}
    if theirs is not None:
        processor = 1000 * min(_seconds(theirs, x) for _ in range(8))
        beside += f"; the library's own processor {processor:.3g} ms"
        goal = goal if min(rounds) + around > processor else {}  # the other way to be cheap enough
    share = figures([100 * each / network for each in rounds])
    page.add(TOPIC, name, share, "%", beside=beside, if_missed=SMALL.get(name, ""), **goal)


def _seconds(function: Callable[[ModelInput, Any], object], x: ModelInput) -> float:
    start = time.process_time()
    function(x, None)
    return time.process_time() - start
