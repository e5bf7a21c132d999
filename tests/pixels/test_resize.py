from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import ShapeError
from sapiens_bench.pixels.resize import resize_depth, resize_labels, resize_normals


def test_bilinear_follows_the_half_pixel_convention() -> None:
    # Output pixel i of 2 -> 4 looks at (i + 0.5)/2 - 0.5 = -0.25, 0.25, 0.75, 1.25, clamped: 0, 1/4, 3/4, 1.
    wide = resize_depth(np.array([[0.0, 4.0]], np.float32), (4, 1))
    np.testing.assert_allclose(wide, [[0.0, 1.0, 3.0, 4.0]])


def test_labels_take_the_pixel_under_the_exact_centre() -> None:
    # 4 -> 2: centres 1.0 and 3.0 in edge coordinates, floor -> pixels 1 and 3.
    np.testing.assert_array_equal(resize_labels(np.array([[10, 11, 12, 13]]), (2, 1)), [[11, 13]])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60), st.integers(1, 60))
def test_no_label_appears_that_was_not_there(height: int, width: int, new_width: int, new_height: int) -> None:
    labels = np.random.default_rng(height * 41 + width).choice(np.array([0, 7, 255], np.uint8), (height, width))
    found = resize_labels(labels, (new_width, new_height))
    assert found.shape == (new_height, new_width)
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= set(np.unique(labels))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 50), st.integers(1, 50))
def test_depth_equals_torch_without_aligned_corners(height: int, width: int, new_width: int, new_height: int) -> None:
    import torch

    depth = np.random.default_rng(width).random((height, width), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(depth)[None, None], size=(new_height, new_width), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(resize_depth(depth, (new_width, new_height)), expected, atol=1e-5)


def test_normals_come_back_with_unit_length() -> None:
    normals = np.random.default_rng(0).normal(size=(8, 6, 3)).astype(np.float32) * 3
    length = np.linalg.norm(resize_normals(normals, (6, 8)), axis=2)
    np.testing.assert_allclose(length, 1.0, atol=1e-4)


def test_same_size_changes_nothing() -> None:
    depth = np.random.default_rng(1).random((9, 11), np.float32)
    np.testing.assert_array_equal(resize_depth(depth, (11, 9)), depth)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        resize_labels(np.zeros((2, 2, 1)), (4, 4))
    with pytest.raises(ShapeError):
        resize_normals(np.zeros((2, 2)), (4, 4))
    with pytest.raises(ShapeError):
        resize_depth(np.zeros((0, 3), np.float32), (4, 4))
