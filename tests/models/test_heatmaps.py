"""Heatmap decoding against truths, and against the map-by-map reference order of operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.models.parts import heatmaps


def gaussians(centres_K2: NDArray[np.float64], size_wh: tuple[int, int], sigma: float = 6.0) -> NDArray[np.float32]:
    y, x = np.mgrid[0 : size_wh[1], 0 : size_wh[0]]
    d = (x - centres_K2[:, 0, None, None]) ** 2 + (y - centres_K2[:, 1, None, None]) ** 2
    return np.exp(-d / (2 * sigma**2)).astype(np.float32)


def decode(maps_KHW: NDArray[np.float32]) -> NDArray[np.float32]:
    found = heatmaps.peaks(torch.from_numpy(maps_KHW)[None])
    return heatmaps.refine(found.xy_BK2[0].numpy(), found.score_BK[0].numpy(), found.log_patch_BK33[0].numpy())


def reference(maps_KHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Full blur of every map, as the reference does it."""
    k, _, w = maps_KHW.shape
    flat = maps_KHW.reshape(k, -1)
    best = flat.argmax(1)
    patches = heatmaps._exact_patches(maps_KHW, best % w, best // w, 11)
    return heatmaps.refine(np.stack([best % w, best // w], 1), flat.max(1), patches)


@given(st.floats(12, 50), st.floats(12, 40), st.floats(0.05, 3.0))
@settings(max_examples=25, deadline=None)
def test_the_centre_of_a_gaussian_is_found_to_a_hundredth_of_a_pixel(x: float, y: float, height: float) -> None:
    maps = gaussians(np.array([[x, y]]), (64, 56)) * np.float32(height)
    np.testing.assert_allclose(decode(maps)[0], [x, y], atol=0.01)


def test_window_decoding_equals_the_full_blur_on_noisy_and_two_peaked_maps() -> None:
    rng = np.random.default_rng(0)
    maps = gaussians(rng.uniform(0, 48, (60, 2)), (48, 64))
    maps += 0.9 * np.roll(maps, 17, axis=2) + rng.normal(0, 0.02, maps.shape).astype(np.float32)
    np.testing.assert_allclose(decode(maps), reference(maps), atol=2e-4)


def test_pure_noise_is_decoded_like_the_reference_though_ill_conditioned() -> None:
    maps = np.random.default_rng(1).normal(0, 1, (40, 32, 24)).astype(np.float32)
    np.testing.assert_allclose(decode(maps), reference(maps), atol=1e-3)


def test_a_map_without_positive_maximum_is_nowhere_and_an_empty_one_undefined() -> None:
    maps = np.stack([np.full((16, 12), -0.5, np.float32), np.zeros((16, 12), np.float32)])
    found = decode(maps)
    np.testing.assert_array_equal(found[0], [-1, -1])
    assert np.isnan(found[1]).all()


def test_first_of_equal_maxima_wins() -> None:
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 2, 5] = maps[0, 6, 1] = 1.0
    found = heatmaps.peaks(torch.from_numpy(maps)[None])
    assert found.xy_BK2[0, 0].tolist() == [5, 2]


def test_crops_of_a_batch_are_decoded_independently() -> None:
    maps = torch.from_numpy(gaussians(np.random.default_rng(2).uniform(4, 40, (12, 2)), (48, 48))).view(3, 4, 48, 48)
    together = heatmaps.peaks(maps)
    for i in range(3):
        alone = heatmaps.peaks(maps[i : i + 1])
        torch.testing.assert_close(together.log_patch_BK33[i], alone.log_patch_BK33[0], rtol=0, atol=1e-6)


def test_flip_merge_of_a_mirror_symmetric_network_changes_nothing() -> None:
    maps = torch.rand(1, 4, 6, 5)
    flip = [1, 0, 2, 3]
    mirrored = maps.index_select(1, torch.tensor(flip)).flip(-1)
    torch.testing.assert_close(heatmaps.merge_flipped(maps, mirrored, flip), maps)


@given(st.floats(30, 700), st.floats(30, 1000))
@settings(max_examples=15, deadline=None)
def test_encoding_then_decoding_returns_the_point_up_to_the_documented_scale(x: float, y: float) -> None:
    input_wh, heatmap_wh = (768, 1024), (192, 256)
    maps, weights = heatmaps.encode(np.array([[x, y]]), np.ones(1), input_wh, heatmap_wh)
    assert weights[0] == 1
    back = heatmaps.to_input_space(decode(maps), heatmap_wh, input_wh)[0]
    # The decoder divides by 191 where the encoder multiplied by 191 / 767: the official code does, too.
    np.testing.assert_allclose(back, np.array([x, y]) * [768 / 767, 1024 / 1023], atol=0.25)


def test_targets_far_outside_or_unlabelled_get_no_weight() -> None:
    maps, weights = heatmaps.encode(np.array([[-500.0, 10.0], [50.0, 50.0]]), np.array([1, 0]), (96, 128), (24, 32))
    assert weights.tolist() == [0, 0]
    assert not maps.any()


def test_gaussian_kernel_has_the_automatic_sigma_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    np.testing.assert_allclose(heatmaps.gaussian_kernel(11), cv2.getGaussianKernel(11, 0).ravel(), atol=1e-7)
