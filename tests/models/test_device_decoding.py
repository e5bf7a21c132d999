"""What a GPU computes in another way than the CPU gives the same answer; both ways run here on the CPU."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.models.parts import heatmaps
from sapiens_bench.models.parts.constants import constant
from sapiens_bench.models.parts.dense_frame import best_of_all, labels_at_original


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_all_classes_at_once_give_the_labels_of_class_by_class(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (1, 7, 9, 8)).astype(np.float32)  # many ties
    scores[rng.random(scores.shape) < 0.02] = np.nan
    scores[rng.random(scores.shape) < 0.02] = np.inf
    given_scores = torch.from_numpy(scores)
    expected = labels_at_original(given_scores, (9, 8), (9, 8), "lite")
    assert torch.equal(best_of_all(given_scores), expected)


@pytest.mark.parametrize(("height", "width", "kernel"), [(64, 48, 11), (20, 33, 11), (40, 12, 17)])
def test_the_maximum_of_the_whole_blurred_map_is_the_reference_s(height: int, width: int, kernel: int) -> None:
    maps = np.random.default_rng(0).random((5, height, width), np.float32)
    pad = (kernel - 1) // 2
    blurred = [cv2.GaussianBlur(np.pad(m, pad), (kernel, kernel), 0)[pad:-pad, pad:-pad].max() for m in maps]
    found = heatmaps._blurred_maximum(torch.from_numpy(maps), kernel)
    np.testing.assert_allclose(found.numpy(), blurred, rtol=1e-5)


def located(maps: torch.Tensor, modulate: Any, exact: bool) -> np.ndarray:
    found = heatmaps.peaks(maps, 11, modulate, exact=exact)
    xy, score, patch = (tensor.numpy() for tensor in (found.xy_BK2, found.score_BK, found.log_patch_BK33))
    return heatmaps.refine(xy.reshape(-1, 2), score.reshape(-1), patch.reshape(-1, 3, 3))


def blobs(rng: np.random.Generator, n: int, sigma: float, low: float) -> torch.Tensor:
    """Gaussians anywhere, borders included, of heights from ``low`` to 1."""
    at = rng.uniform(-1, [48, 64], (n, 2))
    y, x = np.mgrid[:64, :48]
    maps = np.exp(-((x - at[:, 0, None, None]) ** 2 + (y - at[:, 1, None, None]) ** 2) / (2 * sigma**2))
    return torch.from_numpy((maps * rng.uniform(low, 1, (n, 1, 1))).astype(np.float32)).view(1, n, 64, 48)


@pytest.mark.parametrize("modulate", ["mmpose1", "vitpose"])
@pytest.mark.parametrize(("sigma", "low"), [(2.0, 0.1), (6.0, 0.1), (2.0, 0.0)])
def test_peaks_lie_where_the_reference_s_roundings_put_them(modulate: Any, sigma: float, low: float) -> None:
    maps = blobs(np.random.default_rng(1), 200, sigma, low)
    ours, exact = located(maps, modulate, False), located(maps, modulate, True)
    is_peak = np.isfinite(exact).all(axis=1)
    np.testing.assert_array_equal(np.isfinite(ours).all(axis=1), is_peak)
    away = np.abs(ours - exact)[is_peak].max(axis=1)
    assert np.quantile(away, 0.95) < 1e-3  # px of the map
    assert away.max() < 0.05  # where the blurred map hardly bends at its border


def test_maps_without_a_peak_have_none_either_way() -> None:
    maps = torch.zeros(1, 3, 64, 48)
    maps[0, 1] -= 0.5
    maps[0, 2, 10, 10] = float("nan")
    ours, exact = located(maps, "mmpose1", False), located(maps, "mmpose1", True)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(exact))
    np.testing.assert_array_equal(ours[1], exact[1])


def test_a_constant_is_brought_to_the_device_once_and_may_be_used_in_training() -> None:
    with torch.inference_mode():
        first = constant(np.array([1.0, 2.0], np.float32), torch.device("cpu"))
    again = constant(np.array([1.0, 2.0], np.float32), torch.device("cpu"))
    assert again is first
    weights = torch.ones(2, requires_grad=True)
    (weights * first).sum().backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    assert weights.grad.tolist() == [1.0, 2.0]
    assert constant(np.array([1, 2]), torch.device("cpu")).dtype == torch.int64
