"""A person's outline tells in which axes normals are."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.evidence import ORDERS, SIGNS, Sign, doubt_frame, frame_evidence


def ball(sphere: ModuleType, x: float = 0.35) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    found = sphere.perspective(x=x)
    return np.nan_to_num(found.normals_HW3), found.mask_HW


def test_normals_of_a_ball_point_outwards_and_at_the_camera(sphere: ModuleType) -> None:
    found = frame_evidence(*ball(sphere))
    assert found is not None
    assert min(found.x, found.y) > 0.8
    assert found.z > 0.95
    assert doubt_frame([ball(sphere)]) is None


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("order", ORDERS)
def test_every_reading_is_recognised(sphere: ModuleType, sign: Sign, order: str) -> None:
    pairs = []
    for x in (0.35, -0.3):
        normals, mask = ball(sphere, x)
        stored = normals * np.array(sign, np.float32)
        pairs.append((stored if order == "xyz" else stored[..., ::-1], mask))
    doubt = doubt_frame(pairs)
    found = (doubt.sign, doubt.order) if doubt else ((1, 1, 1), "xyz")
    assert found == (sign, order)
    if doubt and sign[2] < 0 and order == "xyz":
        assert "look away from the camera" in doubt.text


def test_pictures_that_cannot_tell_are_silent(sphere: ModuleType) -> None:
    normals, mask = ball(sphere)
    assert frame_evidence(normals, np.zeros_like(mask)) is None
    assert frame_evidence(normals, np.ones_like(mask)) is None  # no outline inside the picture
    assert frame_evidence(normals * 0, mask) is None
    assert doubt_frame([]) is None
    assert doubt_frame([(normals, np.zeros_like(mask))]) is None


def test_noise_is_not_doubted() -> None:
    rng = np.random.default_rng(0)
    mask = np.hypot(*np.mgrid[-60:60, -80:80]) < 50
    for _ in range(10):
        noise = rng.standard_normal((120, 160, 3)).astype(np.float32)
        noise[..., 2] = np.abs(noise[..., 2])
        assert doubt_frame([(noise, mask)]) is None


def test_pictures_that_disagree_are_not_doubted(sphere: ModuleType) -> None:
    normals, mask = ball(sphere)
    assert doubt_frame([(normals, mask), (-normals, mask)]) is None


def test_a_large_map_says_the_same_as_a_small_one(sphere: ModuleType) -> None:
    big = sphere.perspective(height=1200, width=1600, focal=1100)
    doubt = doubt_frame([(np.nan_to_num(big.normals_HW3) * np.array([1, -1, -1], np.float32), big.mask_HW)])
    assert doubt is not None
    assert doubt.sign == (1, -1, -1)
