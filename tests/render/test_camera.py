"""Cameras, framings and seeded draws."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.errors import ShapeError, UsageError
from sapiens_bench.render.camera import (
    FRAMINGS,
    Camera,
    CameraDraw,
    Framing,
    draw_camera,
    focal_from_film,
    framing_box,
    intrinsics,
    look_at,
    seeded,
)


def body() -> np.ndarray:
    """An upright cloud of points, 1.8 m high with a small head on top."""
    rng = np.random.default_rng(0)
    trunk = rng.uniform([-0.4, 0, -0.2], [0.4, 1.5, 0.2], (500, 3))
    head = rng.uniform([-0.1, 1.57, -0.12], [0.1, 1.8, 0.12], (100, 3))
    return np.concatenate([trunk, head, [[-0.4, 0, -0.2], [0.1, 1.8, 0.12]]])


def test_looking_along_minus_z_keeps_x_right_and_y_up() -> None:
    R, t = look_at([0, 0, 2], [0, 0, 0])
    camera = Camera(intrinsics(100, 65, 49), R, t, 65, 49)
    uv, depth = camera.project([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.5]])
    np.testing.assert_allclose(uv, [[32, 24], [37, 24], [32, 19], [32, 24]])
    np.testing.assert_allclose(depth, [2, 2, 2, 1.5])
    np.testing.assert_allclose(camera.centre, [0, 0, 2])


def test_look_at_gives_a_rotation() -> None:
    R, t = look_at([1, 2, 3], [0.2, 0.1, -0.4])
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(R) == pytest.approx(1)
    np.testing.assert_allclose(R @ [1, 2, 3] + t, 0, atol=1e-14)


@pytest.mark.parametrize("target", [[0, 0, 0], [0, 5, 0]])
def test_look_at_refuses_a_view_without_direction_or_up_side(target: list[float]) -> None:
    with pytest.raises(UsageError):
        look_at([0, 0, 0], target)


def test_rays_invert_projection_also_with_skew() -> None:
    K = np.array([[90.0, 3.0, 31], [0, 95, 22], [0, 0, 1]])
    camera = Camera(K, np.eye(3), np.zeros(3), 64, 48)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    points[:, 2] += 4
    uv, depth = camera.project(points)
    dx, dy = camera.rays(uv[:, 0], uv[:, 1])
    np.testing.assert_allclose(np.column_stack([dx * depth, dy * depth, depth]), points, rtol=1e-12)
    np.testing.assert_allclose(uv, (points @ K.T / points[:, 2:])[:, :2], rtol=1e-12)


def test_supersampled_samples_average_to_the_pixel_centre() -> None:
    R, t = look_at([1, 0.5, 2], [0, 0, 0])
    camera = Camera(intrinsics(50, 20, 16), R, t, 20, 16)
    fine = camera.supersampled(2)
    assert (fine.width, fine.height) == (40, 32)
    point = np.array([[0.1, 0.2, 0.3]])
    coarse_uv, fine_uv = camera.project(point).uv_V2_px, fine.project(point).uv_V2_px
    np.testing.assert_allclose(fine_uv, 2 * coarse_uv + 0.5)


@pytest.mark.parametrize(
    ("K", "R", "size"),
    [
        (np.eye(2), np.eye(3), 8),
        (np.full((3, 3), np.nan), np.eye(3), 8),
        (np.diag([0.0, 1, 1]), np.eye(3), 8),
        (np.eye(3), np.eye(3), 0),
    ],
)
def test_impossible_cameras_are_refused(K: np.ndarray, R: np.ndarray, size: int) -> None:
    with pytest.raises(ShapeError):
        Camera(K, R, np.zeros(3), size, 8)


def test_seeded_draws_depend_on_their_parts_alone() -> None:
    """The first values are fixed for good: changing them would change every published camera."""
    np.random.default_rng(0).random()
    a = seeded("protocol", 1, "scan").random(4)
    np.testing.assert_array_equal(a, seeded("protocol", 1, "scan").random(4))
    assert not np.array_equal(a, seeded("protocol", 11, "scan").random(4))
    np.testing.assert_array_equal(
        seeded("thuman2", 0, "0001", "full", 0).random(3),
        [0.5936151554063891, 0.6750819630749638, 0.06208279890270374],
    )


@pytest.mark.parametrize("framing", FRAMINGS)
def test_framed_box_fills_the_image_up_to_its_margin(framing: Framing) -> None:
    draw = CameraDraw("test", width=300, height=400)
    box = framing_box(body(), framing)
    corners = np.array([[(box.lower, box.upper)[i >> k & 1][k] for k in range(3)] for i in range(8)])
    for view in range(20):
        camera = draw_camera(draw, "scan", framing, view, box)
        uv, depth = camera.project(corners)
        assert depth.min() > 0
        off = np.abs(uv - [149.5, 199.5]).max(0) / [150, 200]
        assert off.max() == pytest.approx(0.9, abs=1e-6)  # 10 % margin on the side that limits


def test_framings_select_their_part_of_the_body() -> None:
    full, upper, face = (framing_box(body(), f) for f in FRAMINGS)
    np.testing.assert_allclose(full.lower, [-0.4, 0, -0.2])
    np.testing.assert_allclose(full.upper, [0.4, 1.8, 0.2], atol=0.01)
    assert upper.lower[1] == pytest.approx(0.9)
    assert face.lower[1] >= 1.8 * 0.87
    assert face.upper[0] - face.lower[0] <= 0.2
    assert len({full.rule, upper.rule, face.rule}) == 3
    with pytest.raises(UsageError):
        framing_box(body(), "feet")  # type: ignore[arg-type]


def test_draws_stay_in_range_and_cover_it() -> None:
    draw = CameraDraw("test")
    box = framing_box(body(), "full")
    cameras = [draw_camera(draw, f"{i:04d}", "full", 0, box) for i in range(300)]
    focal_mm = np.array([c.K[0, 0] for c in cameras]) * 36 / 1024
    away = np.array([-c.R[2] for c in cameras])  # from body to camera
    pitch = np.degrees(np.arcsin(away[:, 1]))
    yaw = np.degrees(np.arctan2(away[:, 0], away[:, 2])) % 360
    for values, low, high in ((focal_mm, 35, 85), (pitch, -10, 10), (yaw, 0, 360)):
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert np.ptp(values) > 0.95 * (high - low)


def test_film_width_is_the_long_side() -> None:
    assert focal_from_film(36.0, 768, 1024) == 1024
    assert focal_from_film(50.0, 640, 480) == pytest.approx(50 / 36 * 640)


def test_drawn_cameras_are_rounded_so_that_c_libraries_agree() -> None:
    camera = draw_camera(CameraDraw("test"), "0000", "full", 0, framing_box(body(), "full"))
    for array in (camera.R, camera.t):
        np.testing.assert_array_equal(array * 2.0**40, np.round(array * 2.0**40))
    np.testing.assert_allclose(camera.R @ camera.R.T, np.eye(3), atol=1e-11)
