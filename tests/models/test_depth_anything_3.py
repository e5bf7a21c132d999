"""Depth Anything 3 against numbers of the authors' own code, sizes of its input, sky, and what is refused.

Recorded from depth-anything-3 0.1.1 (``DinoVisionTransformer``, ``DPT``, ``set_sky_regions_to_max_depth`` and
``InputProcessor``) with the weights and picture below, torch 2.14 on a CPU.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tiny_nets
import torch
from safetensors.torch import save_file

from sapiens_bench.errors import CheckpointRejected
from sapiens_bench.models.depth_anything_3 import DepthAnything3, build_net, sky_put_far

RECORDED = [
    0.43754,
    1.84172,
    1.84172,
    0.09511,
    1.84669,
    1.84172,
    1.84172,
    1.84172,
    1.66744,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    0.12378,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
    1.84172,
]  # depth[::11, ::13] with the sky put far
SIZES = {  # picture -> network input
    (480, 640): (378, 504), (1000, 333): (504, 168), (200, 90): (504, 224), (504, 504): (504, 504),
    (37, 700): (28, 504),
}  # fmt: skip


@pytest.fixture
def fake() -> ModuleType:
    torch.set_num_threads(1)
    import dense_wrappers

    return dense_wrappers


def wrapper(fake: ModuleType, path: Path, side: int = 504, kind: str = "affine_invariant_depth") -> DepthAnything3:
    return DepthAnything3(fake.context("depth_anything_3", path, "depth", "safetensors", (side, side), depth_kind=kind))


def test_depth_is_that_of_the_authors_code() -> None:
    torch.set_num_threads(1)
    net = build_net(tiny_nets.depth_anything_3(), Path("file"))
    picture = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (1, 3, 56, 42)).astype(np.float32))
    with torch.inference_mode():
        depth = net(picture)[0]
    assert depth.shape == (56, 42)
    np.testing.assert_allclose(depth[::11, ::13].flatten(), RECORDED, rtol=1e-3, atol=2e-5)
    assert float(depth.mean()) == pytest.approx(1.7632108, rel=1e-4)


def test_pictures_come_to_the_sizes_that_the_authors_give_them(fake: ModuleType, tmp_path: Path) -> None:
    save_file(tiny_nets.depth_anything_3(), path := tmp_path / "net.safetensors")
    model = wrapper(fake, path)
    for (height, width), size in SIZES.items():
        fitted = model.fit(np.zeros((height, width, 3), np.uint8))
        assert fitted.image_hw3.shape[:2] == size
        assert fitted.inside == (0, 0, *size)


def test_a_picture_has_depth_at_its_own_size_whatever_prefix_the_file_has(fake: ModuleType, tmp_path: Path) -> None:
    state, found = tiny_nets.depth_anything_3(), []
    for name, prefix in (("hub", "model."), ("plain", "")):
        save_file({f"{prefix}{n}": t for n, t in state.items()}, path := tmp_path / f"{name}.safetensors")
        model = wrapper(fake, path, 84, "scale_invariant_depth")
        found.append(fake.predict(model, [fake.picture(90, 150)])[0])
    assert found[0].depth_HW.shape == (90, 150)
    assert found[0].kind == "scale_invariant_depth"
    assert found[0].depth_HW.std() > 0
    np.testing.assert_array_equal(found[0].depth_HW, found[1].depth_HW)


def test_sky_lies_as_far_as_the_farthest_of_the_rest_and_a_little_of_it_is_none() -> None:
    depth, sky = torch.linspace(1, 2, 100).view(10, 10), torch.zeros(10, 10)
    sky[0, :10] = 1
    torch.testing.assert_close(sky_put_far(depth, sky), depth)
    sky[1, 0] = 1
    moved = sky_put_far(depth, sky)
    torch.testing.assert_close(moved[sky > 0], torch.quantile(depth[sky == 0], 0.99).expand(11))
    torch.testing.assert_close(moved[sky == 0], depth[sky == 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone.pretrained.camera_token": torch.zeros(1, 2, 128)}, "many views"),
        ({"head.scratch.sky_output_conv2.0.weight": None}, "many views"),
        ({"cam_dec.weight": torch.zeros(2)}, "neither backbone nor head"),
        ({"head.projects.0.weight": None}, "no Depth Anything 3 file"),
        ({"head.scratch.refinenet4.resConfUnit1.conv1.weight": torch.zeros(8, 8, 3, 3)}, "unexpected"),
        ({"backbone.pretrained.blocks.3.ls2.gamma": None}, "missing"),
    ],
)
def test_another_network_is_refused_with_its_reason(change: dict[str, Any], message: str) -> None:
    state = {n: t for n, t in (tiny_nets.depth_anything_3() | change).items() if t is not None}
    with pytest.raises(CheckpointRejected, match=message):
        build_net(state, Path("file"))


def test_a_folder_is_refused(fake: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CheckpointRejected, match="is a folder"):
        wrapper(fake, tmp_path)
