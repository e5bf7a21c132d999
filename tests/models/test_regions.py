"""Turned squares: where hands and faces are looked for, and what is seen there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sapiens_bench.models.parts.regions import (
    Region,
    face_from_landmarks,
    face_from_pose,
    hand_from_landmarks,
    hand_from_pose,
    look_at,
    upright,
)


def turn(degrees: float) -> Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]])


def point(x: float, y: float) -> Tensor:
    return torch.tensor([[x, y]])


def test_a_hand_hanging_down_is_turned_upside_down_and_centred_on_its_middle_knuckle() -> None:
    """Wrist (100, 50), index (95, 80), pinky (110, 80): the middle is two thirds towards the index."""
    region = hand_from_pose(point(100, 50), point(110, 80), point(95, 80), 2.7)
    distance = 30.0  # from (100, 50) to (100, 80)
    assert region.side.item() == pytest.approx(2.7 * 2 * distance)
    assert region.center[0].tolist() == pytest.approx([100, 80 + 0.1 * 2 * distance])  # a tenth towards the fingers
    torch.testing.assert_close(region.rotation[0], turn(180), atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=25)
@given(st.floats(-180, 180), st.floats(-50, 50), st.integers(0, 1000))
def test_hand_regions_turn_and_move_with_the_hand(degrees: float, shift: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hand = torch.rand((1, 21, 2), generator=generator) * 100
    moved = hand @ turn(degrees).T + shift
    from_body = [hand_from_pose(p[:, 0], p[:, 17], p[:, 5], 2.7) for p in (hand, moved)]
    for first, second in ((hand_from_landmarks(hand), hand_from_landmarks(moved)), (from_body[0], from_body[1])):
        torch.testing.assert_close(second.side, first.side, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(second.center, first.center @ turn(degrees).T + shift, rtol=1e-3, atol=0.05)
        torch.testing.assert_close(second.rotation, turn(degrees) @ first.rotation, rtol=0, atol=2e-3)


def test_an_open_hand_gives_twice_its_palm_moved_towards_the_fingers() -> None:
    hand = torch.zeros(1, 21, 2)
    hand[0, :, 1] = torch.linspace(0, -200, 21)  # points that are not of the palm reach further up
    palm = {0: (0, 0), 1: (-20, -20), 2: (-30, -40), 3: (-40, -60), 5: (-20, -80), 6: (-20, -100), 9: (0, -80),
            10: (0, -110), 13: (20, -80), 14: (20, -100), 17: (40, -70), 18: (40, -90)}  # fmt: skip
    for index, xy in palm.items():
        hand[0, index] = torch.tensor(xy, dtype=torch.float32)
    region = hand_from_landmarks(hand)
    assert region.side.item() == pytest.approx(2 * 110)
    assert region.center[0].tolist() == pytest.approx([0, -55 - 0.1 * 110])
    torch.testing.assert_close(region.rotation[0], torch.eye(2))


def test_a_face_is_level_with_its_eyes_and_boxed_along_the_pictures_axes() -> None:
    body = torch.zeros(1, 11, 2)
    xy = {0: (50, 60), 2: (60, 50), 5: (40, 50), 7: (75, 52), 8: (25, 52), 9: (56, 70), 10: (44, 72)}
    for index, where in xy.items():
        body[0, index] = torch.tensor(where, dtype=torch.float32)
    region = face_from_pose(body)
    assert region.side.item() == pytest.approx(2 * 50)  # ear to ear
    assert region.center[0].tolist() == pytest.approx([50, (50 + 71) / 2 - 0.1 * 21])
    torch.testing.assert_close(region.rotation[0], torch.eye(2))
    mesh = torch.full((1, 468, 2), 50.0)
    mesh[0, 33], mesh[0, 263] = torch.tensor([50.0, 30.0]), torch.tensor([50.0, 70.0])  # head on its left side
    lying = face_from_landmarks(mesh)
    torch.testing.assert_close(lying.rotation[0], turn(90), atol=1e-6, rtol=0)
    assert lying.side.item() == pytest.approx(1.5 * 40)


def test_points_that_coincide_give_a_finite_region() -> None:
    for region in (hand_from_landmarks(torch.ones(1, 21, 2)), face_from_landmarks(torch.ones(1, 468, 2))):
        assert all(bool(torch.isfinite(value).all()) for value in region)
        torch.testing.assert_close(region.rotation[0], torch.eye(2))


def test_looking_equals_torchs_own_sampling_of_the_float_picture() -> None:
    generator = np.random.Generator(np.random.Philox(7))
    picture = torch.from_numpy(generator.integers(0, 256, (2, 60, 60, 3), dtype=np.uint8))
    center = torch.tensor([[128.0, 100.0], [250.0, 20.0]])  # the second leaves the picture
    region = Region(center, torch.tensor([90.0, 140.0]), upright(torch.tensor([[0.3, -1.0], [-1.0, 0.2]])))
    found = look_at(picture, region, 256.0, 32)
    linear = region.rotation * (region.side / 256)[:, None, None]
    theta = torch.cat([linear, (region.center / 256 * 2 - 1)[:, :, None]], 2)
    grid = F.affine_grid(theta, [2, 3, 32, 32], align_corners=False)
    planes = picture.permute(0, 3, 1, 2).float() / 255
    expected = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert (found[1] == 0).any()


def test_what_a_region_shows_comes_back_to_where_it_was() -> None:
    """A white dot, found in the turned view, is mapped to its place in the parent."""
    picture = torch.zeros((1, 512, 512, 3), dtype=torch.uint8)
    picture[0, 198:203, 298:303] = 255  # centre x 300.5, y 200.5 of 512
    region = Region(point(140, 110), torch.tensor([100.0]), upright(point(1, -0.5)))
    seen = look_at(picture, region, 256.0, 200)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(200.0) + 0.5, torch.arange(200.0) + 0.5, indexing="ij")
    share = torch.stack([(columns * seen).sum(), (rows * seen).sum()]) / seen.sum() / 200
    back = region.to_parent(share[None, None])[0, 0]
    assert back.tolist() == pytest.approx([300.5 / 2, 200.5 / 2], abs=0.05)
