"""SimpleBaseline and HRNet: against numbers that MMPose 1.3.2 gave, forms of the file, and what is refused.

The numbers were recorded from ``HRNet``, ``ResNet``, ``HeatmapHead``, ``MSRAHeatmap`` and ``UDPHeatmap`` of
open-mmlab/mmpose 1.3.2 with the weights, pictures and maps below, torch 2.14 on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_nets
import torch

from sapiens_bench.errors import CheckpointRejected, WeightsMissing
from sapiens_bench.models import heatmap_trunks as trunks
from sapiens_bench.models.heatmap_net import HeatmapPose
from sapiens_bench.models.parts.decoders import Decoder, MsraHeatmaps, UdpHeatmaps

POINTS = 5
RECORDED = {  # heatmaps [0, :, 3, 7] and [1, :, 12, 2], then their mean and standard deviation
    "hrnet": ([42.87895, -147.65356, 103.83986, -298.71387, 58.26323, -32.52151, -189.42101, 152.62114, -384.74448,
               182.6028], -68.970642, 223.495622),
    "resnet": ([-21.07789, -15.61178, -12.48325, -37.89351, 30.32454, 4.04176, 1.45113, -13.51015, -2.39993, 2.76818],
               -0.953612, 12.952251),
}  # fmt: skip
DECODED = {  # maps 0, 3, 7, 11, 25 and 39
    "plain": [63.0, 63.0, 32.0, 0.0, -4.0, -4.0, 68.0, 0.0, 4.0, 67.0, 63.0, 9.0],
    "dark": [64.0, 64.0, 32.0, 0.0, -4.0, -4.0, 68.0, 0.0, 4.0, 68.0, 64.0, 8.0],
    "udp": [65.73, 66.7588, 32.0779, -2.0837, -4.2353, -4.1739, 74.1176, -2.087, 5.5752, 69.8532, 65.9395, 9.5814],
}

IN_PICTURE = {  # of the second person: x, y and score of points 0, 2 and 4, whose maximum is positive
    "plain": [[-5.0000, 82.5000, 228.1517], [43.4375, 99.6875, 276.7839], [37.1875, 46.5625, 227.7980]],
    "dark": [[-5.0000, 82.5000, 228.1517], [43.2922, 91.6361, 276.7839], [44.4458, 56.0588, 227.7980]],
    "udp": [[-5.0000, 86.6667, 212.6716], [68.3333, 80.0000, 226.5065], [55.0000, 46.6667, 251.3014]],
}


@pytest.fixture
def fake() -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


def network(kind: str) -> trunks.HeatmapNet:
    if kind == "hrnet":
        trunk, widths, last = trunks.hrnet_trunk(tiny_nets.hrnet_sizes(stem=64)), [], 4
    else:
        trunk, widths, last = (
            trunks.resnet_trunk((2, 2, 2, 2), bottleneck=False),
            [(512, 8, 4), (8, 8, 4), (8, 8, 4)],
            8,
        )
    return trunks.HeatmapNet(trunk, trunks.deconvolutions(widths), torch.nn.Conv2d(last, POINTS, 1))


def weights(kind: str, head: str = "head.") -> dict[str, torch.Tensor]:
    """In the layout of MMPose 1.x; ``head`` names another one, "" that of the authors."""
    state = tiny_nets.heatmap_weights(tiny_nets.mmpose_names(network(kind).state_dict(), "head."))
    renamed = {n.replace("head.", head, 1) if n.startswith("head.") else n: t for n, t in state.items()}
    return renamed if head else {n.removeprefix("backbone."): t for n, t in renamed.items()}


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    torch.save({"meta": {}, "state_dict": state}, path)
    return path


def wrapper(fake: ModuleType, path: Path | None, **options: Any) -> HeatmapPose:
    space = fake.space("keypoints", POINTS)
    return HeatmapPose(fake.context("heatmap_net", path, "pose", "pth", (64, 64), space, **options))


@pytest.mark.parametrize("kind", ["hrnet", "resnet"])
def test_heatmaps_are_those_of_mmpose_from_its_own_layout_and_from_the_authors(tmp_path: Path, kind: str) -> None:
    torch.set_num_threads(1)
    picture = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (2, 3, 64, 64)).astype(np.float32))
    values, mean, deviation = RECORDED[kind]
    for number, head in enumerate(("head.", "keypoint_head.", "")):
        net = trunks.load_heatmap_net(saved(tmp_path / f"{number}.pth", weights(kind, head)))
        with torch.inference_mode():
            out = net(picture)
        assert out.shape == (2, POINTS, 16, 16)
        found = torch.cat([out[0, :, 3, 7], out[1, :, 12, 2]])
        np.testing.assert_allclose(found, values, rtol=2e-4, atol=1e-3)
        assert float(out.mean()) == pytest.approx(mean, rel=1e-4)
        assert float(out.std()) == pytest.approx(deviation, rel=1e-4)


def recorded_maps() -> np.ndarray:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:24, 0:18]
    c = rng.uniform(-1, 20, (40, 2))
    maps = np.exp(-((x - c[:, 0, None, None]) ** 2 + (y - c[:, 1, None, None]) ** 2) / (2 * 1.7**2)).astype(np.float32)
    maps += rng.normal(0, 0.01, maps.shape).astype(np.float32)
    maps[7] = -0.5
    return maps


@pytest.mark.parametrize(
    ("codec", "decoder"), [("plain", MsraHeatmaps()), ("dark", MsraHeatmaps(11)), ("udp", UdpHeatmaps(blur_kernel=11))]
)
def test_positions_are_those_of_mmposes_codecs(codec: str, decoder: Decoder) -> None:
    torch.set_num_threads(1)
    on_device = decoder.on_device((torch.from_numpy(recorded_maps())[None],))
    found = decoder.in_input({n: t.numpy() for n, t in on_device.items()}, (72, 96))[0]
    np.testing.assert_allclose(found[[0, 3, 7, 11, 25, 39]].ravel(), DECODED[codec], atol=1e-4)


@pytest.mark.parametrize("kernel", [11, 17])
def test_dark_finds_the_centre_of_a_gaussian(kernel: int) -> None:
    y, x = np.mgrid[0:64, 0:48]
    centres = np.array([[20.3, 30.8], [25.5, 11.1], [40.49, 50.0]])
    maps = np.exp(-((x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2) / 18)
    answers = (torch.from_numpy(maps[None].astype(np.float32)),)
    found = {n: t.numpy() for n, t in MsraHeatmaps(kernel).on_device(answers).items()}
    np.testing.assert_allclose(found["xy"][0], centres, atol=0.02)


def test_a_person_is_found_where_the_crop_lies_and_each_codec_crops_in_its_own_way(
    fake: ModuleType, tmp_path: Path
) -> None:
    path, x = saved(tmp_path / "net.pth", weights("hrnet")), fake.picture(120, 90, n_boxes=2)
    x.boxes_xyxy_px[1] = (20, 30, 70, 110)
    crops = {}
    for codec in ("plain", "dark", "udp"):
        model = wrapper(fake, path, codec=codec)
        crops[codec] = model.prepare(x).tensors["crop"]
        assert crops[codec].shape == (2, 3, 64, 64)
        prepared = model.prepare(x)
        with torch.inference_mode():
            out = {n: t.numpy() for n, t in model.forward({"crop": torch.from_numpy(crops[codec])}).items()}
        found = model.finish(out, prepared.geometry)
        assert found.keypoints_NK2_px.shape == (2, POINTS, 2)
        assert np.isfinite(found.keypoints_NK2_px).all()
    np.testing.assert_array_equal(crops["plain"], crops["dark"])
    assert (crops["plain"] != crops["udp"]).any()


@pytest.mark.parametrize("codec", ["plain", "dark", "udp"])
def test_keypoints_in_the_picture_are_those_of_mmposes_pipeline(fake: ModuleType, tmp_path: Path, codec: str) -> None:
    """Recorded through ``GetBBoxCenterScale``, ``TopdownAffine``, the network, ``flip_heatmaps`` and the codec."""
    model = wrapper(fake, saved(tmp_path / "net.pth", weights("hrnet")), codec=codec)
    x = fake.picture(120, 90, n_boxes=2)
    x.boxes_xyxy_px[1] = (20, 30, 70, 110)
    prepared = model.prepare(x)
    with torch.inference_mode():
        out = model.forward({"crop": torch.from_numpy(prepared.tensors["crop"])})
    found = model.finish({n: t.numpy() for n, t in out.items()}, prepared.geometry)
    expected = np.array(IN_PICTURE[codec])
    np.testing.assert_allclose(found.keypoints_NK2_px[1, ::2], expected[:, :2], atol=2e-3)
    np.testing.assert_allclose(found.keypoint_scores_NK[1, ::2], expected[:, 2], rtol=1e-4)


def test_a_file_of_another_trunk_or_other_points_is_refused(fake: ModuleType, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", weights("hrnet"))
    with pytest.raises(CheckpointRejected, match="hrnet_w4 with 5 keypoints, but tiny asks for hrnet_w48"):
        wrapper(fake, path, trunk="hrnet_w48")
    context = fake.context("heatmap_net", path, "pose", "pth", (64, 64), fake.space("keypoints", 17))
    with pytest.raises(CheckpointRejected, match="with 17"):
        HeatmapPose(context)
    with pytest.raises(WeightsMissing, match="trunk"):
        wrapper(fake, None)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"1 missing \(backbone\.stage3\.1\.fuse_layers\.2\.0\.1\.0\.weight\)"),
        ("extra", "belongs to neither"),
        ("kernel", "not made of deconvolutions"),
        ("layout", "no ResNet or HRNet with heatmaps"),
        ("trunk", "neither a ResNet nor an HRNet"),
    ],
)
def test_files_with_a_fault_are_refused_with_its_place(tmp_path: Path, fault: str, message: str) -> None:
    state = weights("resnet" if fault == "kernel" else "hrnet")
    if fault == "missing":
        del state["backbone.stage3.1.fuse_layers.2.0.1.0.weight"]
    elif fault == "extra":
        state["neck.weight"] = torch.zeros(1)
    elif fault == "kernel":
        state["head.deconv_layers.0.weight"] = torch.zeros(512, 8, 5, 5)
    elif fault == "layout":
        state = {n: t for n, t in state.items() if not n.startswith("head.")}
    else:
        state = {n: t for n, t in state.items() if ".stage4." not in n}
    with pytest.raises(CheckpointRejected, match=message):
        trunks.load_heatmap_net(saved(tmp_path / "net.pth", state))


@pytest.mark.parametrize(("trunk", "params"), [("hrnet_w48", 63.60), ("hrnet_w32", 28.54), ("resnet50", 34.00)])
def test_published_sizes_have_the_parameters_that_their_papers_print(trunk: str, params: float) -> None:
    net = trunks.published_net(trunk, 17)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(params, abs=0.01)
    assert trunks.trunk_name(net) == trunk
