"""Views made at every step: plain ones are the model's input, changed ones keep picture and truth together."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sapiens_bench.probe.fresh import Draws, fresh_views, source_hw
from sapiens_bench.probe.views import NORMAL_STEPS, Grid

GRID = Grid((48, 36), 2)


def blocks() -> dict[str, Tensor]:
    """Two pictures of 64 x 48 whose 8 x 8 blocks have a colour, a label, a depth and a normal that belong together."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 5, (2, 8, 6)).astype(np.uint8)
    labels = np.kron(small, np.ones((1, 8, 8), np.uint8))
    image = np.stack([labels * 40, 255 - labels * 40, labels * 20], 1)
    angle = labels * 0.3
    normal = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], 1)
    found = {
        "image": image,
        "seg": labels,
        "depth": np.where(labels > 0, 2.0 + labels, 0).astype(np.float32),
        "normal": np.rint(normal * NORMAL_STEPS).astype(np.int16),
    }
    return {name: torch.from_numpy(array) for name, array in found.items()}


def changed(**more: object) -> Draws:
    """Draws of a step that leave the colours as they are."""
    plain = Draws.plain(2)
    drawn = Draws.of_step(2, 0, 3)
    return replace(plain, zoom=drawn.zoom, shift=drawn.shift, **more)  # type: ignore[arg-type]


def test_the_source_is_a_third_larger_than_the_input() -> None:
    assert source_hw((384, 288)) == (512, 384)
    assert source_hw((256, 192)) == (342, 256)


def test_a_plain_view_is_the_picture_made_smaller() -> None:
    source = blocks()
    view = fresh_views(source, Draws.plain(2), GRID)
    assert view["image"].shape == (2, 3, 48, 36)
    for image, made in zip(source["image"], view["image"], strict=True):
        small = cv2.resize(image.permute(1, 2, 0).numpy(), (36, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(small.transpose(2, 0, 1) - made.numpy()).mean() < 3
    centres = source["seg"][:, 1::8, 1::8]  # of cell (0, 0) of every block: 8 source pixels are 3 cells
    assert torch.equal(view["seg"][:, ::3, ::3], centres)


@pytest.mark.parametrize("mirrored", [0.0, 1.0])
def test_colour_label_depth_and_normal_of_a_place_stay_together(mirrored: float) -> None:
    flips = torch.arange(256, dtype=torch.uint8)
    flips[:5] = torch.tensor([0, 2, 1, 4, 3])
    drawn = changed(mirrored=np.full(2, mirrored, np.float32))
    view = fresh_views(blocks(), drawn, GRID, flips)
    label = view["seg"].long()
    inside = label != 255
    own = (flips.long()[label] if mirrored else label)[inside]  # as the picture has it
    assert 0.5 < inside.float().mean() <= 1
    depth = view["depth"][inside]
    assert torch.equal(depth, torch.where(own > 0, 2.0 + own, 0.0))
    x = view["normal"].permute(0, 2, 3, 1)[inside][:, 0].float() / NORMAL_STEPS
    assert torch.allclose(x, torch.sin(own * 0.3) * (-1 if mirrored else 1), atol=1e-3)
    assert not view["normal"].permute(0, 2, 3, 1)[~inside].any()
    red = torch.nn.functional.avg_pool2d(view["image"][:, :1], 2)[:, 0][inside]
    assert (red - own * 40).abs().median() < 2


def test_a_zoomed_out_view_says_nothing_beside_the_picture() -> None:
    drawn = replace(Draws.plain(2), zoom=np.full(2, 0.5, np.float32), shift=np.full((2, 2), 0.25, np.float32))
    view = fresh_views(blocks(), drawn, GRID)
    inside = view["seg"] != 255
    assert int(inside.sum()) == 2 * 12 * 9  # a quarter of the cells
    assert inside[:, 6:18].any()
    assert not inside[:, :6].any()


def test_draws_follow_from_seed_and_step() -> None:
    one, again, next_step, other = (Draws.of_step(4, *at).on("cpu") for at in ((0, 1), (0, 1), (0, 2), (1, 1)))
    assert torch.equal(one, again)
    assert not torch.equal(one, next_step)
    assert not torch.equal(one, other)
    views = [fresh_views(blocks(), Draws.of_step(2, 0, 1), GRID, noise_seed=1)["image"] for _ in range(2)]
    assert torch.equal(*views)


def test_a_grey_draw_takes_the_colours_away() -> None:
    drawn = replace(Draws.plain(2), colour=np.zeros(2, np.float32))
    image = fresh_views(blocks(), drawn, GRID)["image"]
    assert torch.equal(image[:, 0], image[:, 2])
    assert image.std() > 1
