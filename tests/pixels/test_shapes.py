"""Axes that lie a little differently: what is unambiguous is put right, the rest is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sapiens_bench.pixels.shapes import Shape, fitted, misfit, one_of_equal_channels

H, W = 4, 6
MAP = np.arange(H * W).reshape(H, W)
VECTORS = np.arange(H * W * 3).reshape(H, W, 3)


@pytest.mark.parametrize("shape", [(H, W), (1, H, W), (H, W, 1)])
def test_one_singleton_axis_is_dropped(shape: Shape) -> None:
    np.testing.assert_array_equal(fitted(MAP.reshape(shape), (H, W)), MAP)


@pytest.mark.parametrize("shape", [(H, W, 3), (1, H, W, 3), (H, W, 3, 1)])
def test_vectors_too(shape: Shape) -> None:
    np.testing.assert_array_equal(fitted(VECTORS.reshape(shape), (H, W, 3)), VECTORS)


@pytest.mark.parametrize(
    ("shape", "wanted", "words"),
    [
        ((W, H), (H, W), "height and width are swapped"),
        ((1, W, H), (H, W), "height and width are swapped"),
        ((2, 3), (H, W), "another size"),
        ((28, H, W), (H, W), "28 maps in one"),
        ((3, H, W), (H, W, 3), "channels come first"),
        ((W, H, 3), (H, W, 3), "height and width are swapped"),
        ((H * W,), (H, W), ""),
        ((), (H, W), ""),
    ],
)
def test_what_does_not_fit_is_refused_with_both_shapes(shape: Shape, wanted: Shape, words: str) -> None:
    assert fitted(np.zeros(shape), wanted) is None
    text = misfit(shape, wanted)
    assert str(shape) in text
    assert str(wanted) in text
    assert words in text


@pytest.mark.parametrize("shape", [(1, 1, H, W), (H, W, 1, 1), (1, H, W, 1)])
def test_axes_of_a_batch_and_of_a_channel_go_together(shape: Shape) -> None:
    """What a network answers for one picture, saved as it is."""
    np.testing.assert_array_equal(fitted(MAP.reshape(shape), (H, W)), MAP)


def test_channels_in_front_are_moved_when_that_is_declared() -> None:
    batch = np.moveaxis(VECTORS, -1, 0)[None]
    np.testing.assert_array_equal(fitted(batch, (H, W, 3), channels_first=True), VECTORS)
    np.testing.assert_array_equal(fitted(np.moveaxis(VECTORS, -1, 0), (H, W, 3), channels_first=True), VECTORS)
    assert fitted(np.zeros((3, W, H)), (H, W, 3), channels_first=True) is None


def test_three_equal_channels_are_one() -> None:
    np.testing.assert_array_equal(one_of_equal_channels(np.dstack([MAP] * 3), (H, W)), MAP)
    assert one_of_equal_channels(VECTORS, (H, W)) is None
    assert one_of_equal_channels(np.dstack([MAP] * 4), (H, W)) is None


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([None, 0, -1]))
def test_a_map_of_the_right_shape_is_never_touched(height: int, width: int, axis: int | None) -> None:
    array = np.random.default_rng(height * 5 + width).random((height, width))
    given_ = array if axis is None else np.expand_dims(array, axis)
    np.testing.assert_array_equal(fitted(given_, (height, width)), array)
