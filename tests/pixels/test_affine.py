from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.errors import ShapeError
from sapiens_bench.pixels.affine import (
    box_to_center_scale,
    classic_matrix,
    square_matrix,
    udp_matrix,
    warp,
)


def applied(matrix: NDArray[Any], points_xy: Any) -> NDArray[np.float64]:
    """Points under a 2x3 matrix, in float64."""
    m = np.asarray(matrix, np.float64)
    return np.asarray(points_xy, np.float64) @ m[:, :2].T + m[:, 2]


def inverse(matrix: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]]))[:2])


sides = st.floats(1.0, 4000.0)
positions = st.floats(-5000.0, 5000.0)
angles = st.floats(-180.0, 180.0)


def test_centres_scales_and_matrices_equal_the_official_ones_to_the_bit(shared: Path) -> None:
    golden = np.load(shared / "golden/sapiens-v1/codec/bbox_affine.npz")
    width, height = (int(v) for v in golden["input_size"])
    found = box_to_center_scale(golden["bbox_xyxy"], aspect=width / height)
    np.testing.assert_array_equal(found.center_N2, golden["center"])
    np.testing.assert_array_equal(found.scale_N2, golden["scale"])
    for i, angle in enumerate(golden["rotation_deg"]):
        region = found.center_N2[i], found.scale_N2[i], (width, height)
        np.testing.assert_array_equal(udp_matrix(*region), golden["warp_matrix"][i])
        np.testing.assert_array_equal(udp_matrix(*region, float(angle)), golden["warp_matrix_rotated"][i])


def test_inverse_udp_matrix_takes_heatmap_points_where_the_official_code_does(shared: Path) -> None:
    golden = np.load(shared / "golden/sapiens-v1/codec/bbox_affine.npz")
    size = (int(golden["heatmap_size"][0]), int(golden["heatmap_size"][1]))
    for i, points in enumerate(golden["heatmap_xy"]):
        back = inverse(udp_matrix(golden["center"][i], golden["scale"][i], size))
        np.testing.assert_allclose(applied(back, points), golden["image_xy"][i], atol=2e-3)


def test_udp_crops_equal_the_official_ones_up_to_the_opencv_version(shared: Path) -> None:
    golden = np.load(shared / "golden/sapiens-v1/models/pose17.npz")
    found = box_to_center_scale(golden["bbox_xyxy"])
    np.testing.assert_array_equal(found.scale_N2, golden["bbox_scale"])
    for i, expected in enumerate(golden["crop_bgr"]):
        matrix = udp_matrix(found.center_N2[i], found.scale_N2[i], (96, 128))
        np.testing.assert_array_equal(matrix, golden["warp_matrix"][i])
        crop = warp(golden["image_bgr"], matrix, (96, 128)).transpose(2, 0, 1)
        difference = np.abs(crop.astype(int) - expected)
        assert difference.max() <= 3
        assert difference.mean() < 0.06


def test_classic_crop_equals_the_simcc_reference(shared: Path) -> None:
    from PIL import Image

    golden = np.load(shared / "golden/baselines/simcc.npz")
    image = np.asarray(Image.open(shared / "golden/baselines/image.png").convert("RGB"))
    crop = warp(image, classic_matrix(golden["center"][0], golden["scale"][0], (288, 384)), (288, 384))
    assert np.abs(crop.astype(int) - golden["crop_rgb_first"]).max() <= 3


def test_udp_maps_region_corners_to_outermost_pixel_centres() -> None:
    matrix = udp_matrix(np.array([50.0, 60.0]), np.array([30.0, 40.0]), (96, 128))
    np.testing.assert_allclose(applied(matrix, [[35.0, 40.0], [65.0, 80.0]]), [[0, 0], [95, 127]], atol=1e-4)


def test_classic_matrix_equals_the_three_point_construction() -> None:
    import cv2

    center, scale, size, angle = np.array([41.0, 67.0]), np.array([60.0, 80.0]), (96, 128), 25.0
    turn = np.deg2rad(angle)
    up = scale[0] / 2 * np.array([np.sin(turn), -np.cos(turn)])  # (0, -w/2) turned by the angle

    def third(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return b + np.array([-(a - b)[1], (a - b)[0]])

    source = np.array([center, center + up, third(center, center + up)], np.float32)
    middle = np.array([48.0, 64.0])
    above = np.array([48.0, 16.0])  # the middle, half a crop width up
    target = np.array([middle, above, third(middle, above)], np.float32)
    expected = cv2.getAffineTransform(source, target)
    np.testing.assert_allclose(classic_matrix(center, scale, size, angle), expected, atol=1e-4)


def test_square_crop_of_the_whole_picture_at_its_own_size_is_the_picture() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    matrix = square_matrix(np.array([15.5, 15.5]), 32.0, 32)
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    np.testing.assert_array_equal(warp(image, matrix, (32, 32)), image)


def test_square_crop_halved_looks_between_pixel_pairs() -> None:
    back = inverse(square_matrix(np.array([15.5, 15.5]), 32.0, 16))
    np.testing.assert_allclose(applied(back, [[0.0, 0.0], [15.0, 15.0]]), [[0.5, 0.5], [30.5, 30.5]])


def test_pixels_outside_the_picture_are_black() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    crop = warp(image, square_matrix(np.array([-50.0, -50.0]), 20.0, 8), (8, 8))
    assert crop.shape == (8, 8, 3)
    assert crop.max() == 0


@settings(deadline=None, max_examples=60)
@given(positions, positions, sides, sides, angles)
def test_udp_then_inverse_is_the_identity(x: float, y: float, width: float, height: float, angle: float) -> None:
    matrix = udp_matrix(np.array([x, y]), np.array([width, height]), (192, 256), angle)
    points = np.array([[x, y], [x + width, y - height], [x - 2 * width, y]])
    # float32 matrices: the offset is of the order of 256 x position / side
    tolerance = 1e-5 * (abs(x) + abs(y) + width + height) * max(1.0, max(width, height) / min(width, height))
    np.testing.assert_allclose(applied(inverse(matrix), applied(matrix, points)), points, atol=tolerance)


@settings(deadline=None, max_examples=60)
@given(positions, positions, sides, angles)
def test_square_keeps_lengths_up_to_one_factor(x: float, y: float, side: float, angle: float) -> None:
    matrix = square_matrix(np.array([x, y]), side, 256, angle)
    assert np.isclose(np.linalg.det(matrix[:, :2]), (256 / side) ** 2)
    np.testing.assert_allclose(applied(matrix, [x, y]), [127.5, 127.5], atol=1e-6 * (1 + 256 / side) * 1e4)


@settings(deadline=None, max_examples=60)
@given(positions, positions, sides, sides)
def test_aspect_fix_never_shrinks_a_box(x: float, y: float, width: float, height: float) -> None:
    found = box_to_center_scale(np.array([[x, y, x + width, y + height]]), padding=1.25, aspect=0.75)
    w, h = (float(v) for v in found.scale_N2[0])
    box = np.array([x, y, x + width, y + height], np.float32)
    assert w >= 1.25 * float(box[2] - box[0]) * (1 - 1e-6)
    assert h >= 1.25 * float(box[3] - box[1]) * (1 - 1e-6)
    assert np.isclose(w / h, 0.75, rtol=1e-5)


@pytest.mark.parametrize("scale", [[0.0, 10.0], [-1.0, 5.0], [np.nan, 5.0], [np.inf, 5.0]])
def test_region_without_extent_is_a_shape_error(scale: list[float]) -> None:
    with pytest.raises(ShapeError, match="positive sides"):
        udp_matrix(np.zeros(2), np.array(scale), (96, 128))


def test_no_boxes_give_no_crops() -> None:
    found = box_to_center_scale(np.zeros((0, 4), np.float32))
    assert found.center_N2.shape == found.scale_N2.shape == (0, 2)


@given(
    st.integers(0, 9999), st.tuples(st.integers(2, 90), st.integers(2, 90)), st.floats(2, 300), angles, st.booleans()
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_a_large_crop_is_warped_as_opencv_warps_three_channels(
    seed: int, hw: tuple[int, int], side: float, angle: float, is_upright: bool
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*hw, 3), np.uint8)
    size = tuple(int(v) for v in rng.integers(64, 150, 2))  # more than a fifth of the picture
    matrix = square_matrix(rng.uniform(-20, 110, 2), side, size[0], 0.0 if is_upright else angle)
    plain = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    np.testing.assert_array_equal(warp(image, matrix, size), plain)


@pytest.mark.parametrize("size", [8, 120])  # a small crop of the picture and a large one
def test_a_crop_can_be_written_where_it_is_wanted(size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    matrix, crops = square_matrix(np.array([50, 50]), 60, size), np.zeros((2, size, size, 3), np.uint8)
    warp(image, matrix, (size, size), out=crops[1])
    np.testing.assert_array_equal(crops[1], warp(image, matrix, (size, size)))
    assert crops[1].any()
    assert not crops[0].any()
