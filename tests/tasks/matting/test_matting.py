"""Alpha matting: errors by hand and against brute force, what is refused, what the codec keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import ndimage

from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.matting.codec import MattingCodec
from sapiens_bench.tasks.matting.errors import SIGMA, gaussian_filters, gradient_size, matte_sums
from sapiens_bench.tasks.matting.metrics import MattingMetric, unknown_region
from sapiens_bench.tasks.matting.noise import MattingNoise, add_noise
from sapiens_bench.tasks.matting.task import MattingScoring, make
from sapiens_bench.tasks.matting.types import MattingPrediction, MattingTarget
from sapiens_bench.types import ModelInput

PICTURE = ModelInput("", np.zeros((6, 6, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
rng = np.random.default_rng(3)


def scores(pairs: list[tuple[Any, Any]], region: Any = "whole", reach: int = 1) -> dict[str, float]:
    metric = MattingMetric(region, reach)
    rows = [metric.measure(MattingTarget(np.float32(t)), MattingPrediction(np.float32(p))) for t, p in pairs]
    return metric.aggregate(pa.table({f"matting/{k}": [row[k] for row in rows] for k in rows[0]}))(None)


def disc(n: int = 40, radius: float = 11, soft: float = 3) -> np.ndarray[Any, Any]:
    v, u = np.mgrid[:n, :n] - (n - 1) / 2
    return np.clip((radius - np.hypot(u, v)) / soft + 0.5, 0, 1)


def test_sums_are_means_over_images_in_the_units_of_papers() -> None:
    truth = np.zeros((10, 20))
    one, two = np.full((10, 20), 0.5), np.full((10, 20), 0.25)
    found = scores([(truth, one), (truth, two)])
    assert found["sad"] == pytest.approx((100 + 50) / 2 / 1000)
    assert found["mse"] == pytest.approx((0.25 + 0.0625) / 2)
    assert found["mad"] == pytest.approx(0.375)
    assert found["grad"] == pytest.approx(0, abs=1e-12)


def test_a_ramp_has_the_gradient_of_its_slope() -> None:
    smooth, slope = gaussian_filters()
    per_unit = float((np.arange(-4, 5) * slope).sum() * smooth.sum())
    ramp = np.broadcast_to(np.arange(30) / 100, (20, 30)).astype(np.float64)
    np.testing.assert_allclose(gradient_size(ramp)[5:-5, 5:-5], 0.01 * per_unit, rtol=1e-12)
    found = scores([(np.zeros((20, 30)), ramp)])
    inside = 20 * 20 * (0.01 * per_unit) ** 2  # columns that see no border; rows repeat, so all of them
    assert found["grad"] * 1000 > inside


def test_gradients_are_those_of_the_full_filter() -> None:
    """Xiong's gaussgradient.m as the evaluation code of Deep Image Matting calls it, written out in two dimensions."""
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * 0.01)))
    x = np.arange(-half, half + 1)
    g = np.exp(-(x**2) / (2 * SIGMA**2)) / (SIGMA * np.sqrt(2 * np.pi))
    kernel = np.outer(g, -x * g / SIGMA**2)
    kernel /= np.sqrt((kernel**2).sum())
    alpha = rng.random((24, 17))
    across, down = (ndimage.convolve(alpha, k, mode="nearest") for k in (kernel, kernel.T))
    np.testing.assert_allclose(gradient_size(alpha), np.hypot(across, down), rtol=1e-10)


def test_a_piece_that_the_prediction_lacks_costs_its_area() -> None:
    truth = np.zeros((20, 40))
    truth[2:18, 2:18] = truth[5:11, 30:36] = 1
    lacking = truth.copy()
    lacking[:, 30:] = 0
    found = scores([(truth, lacking)])
    assert found["conn"] == pytest.approx(36 / 1000)
    assert scores([(truth, truth)])["conn"] == 0


def test_connectivity_forgives_differences_below_its_threshold() -> None:
    truth = np.zeros((20, 20))
    truth[2:18, 2:18] = 1
    assert scores([(truth, 0.9 * truth)])["conn"] == 0
    assert scores([(truth, 0.8 * truth)])["conn"] == pytest.approx(256 * 0.2 / 1000, rel=1e-6)


def test_only_the_unknown_region_is_scored_under_a_trimap() -> None:
    truth = disc()
    wrong = truth.copy()
    wrong[:3] = 1  # far from the soft edge
    assert scores([(truth, wrong)], "whole")["sad"] == pytest.approx(0.12)
    assert scores([(truth, wrong)], "unknown", 2)["sad"] == 0
    band = unknown_region(MattingTarget(np.float32(truth)), 2)
    soft = (truth > 0) & (truth < 1)
    np.testing.assert_array_equal(band, ndimage.distance_transform_edt(~soft) <= 2)
    given = np.zeros(truth.shape, bool)
    given[0, 0] = True
    assert unknown_region(MattingTarget(np.float32(truth), given), 2) is given


def test_a_hard_border_has_an_unknown_region_too() -> None:
    hard = np.zeros((9, 9), np.float32)
    hard[:, 5:] = 1
    np.testing.assert_array_equal(unknown_region(MattingTarget(hard), 2).any(axis=0), [0, 0, 0, 1, 1, 1, 1, 0, 0])


def test_an_image_without_a_pixel_to_score_is_left_out_and_said() -> None:
    task = make(MattingScoring(region="unknown"), None)
    target = MattingTarget(np.zeros((6, 6), np.float32))
    _, fault = task.check(MattingPrediction(target.alpha_HW), PICTURE, target)
    assert fault is not None
    assert (fault.code, fault.side) == ("label.empty", "input")


@pytest.mark.parametrize(
    ("alpha", "code"),
    [
        (np.zeros((5, 6), np.float32), "pred.shape"),
        (np.zeros((6, 6), np.uint8), "pred.shape"),
        (np.full((6, 6), np.nan, np.float32), "pred.nonfinite"),
        (np.full((6, 6), 255.0, np.float32), "pred.range"),
    ],
)
def test_what_is_no_matte_is_the_worst_one(alpha: Any, code: str) -> None:
    task = make(MattingScoring(), None)
    target = MattingTarget(np.float32(disc(6, 2)))
    worst, fault = task.check(MattingPrediction(alpha), PICTURE, target)
    assert fault is not None
    assert fault.code == code
    assert (np.abs(worst.alpha_HW - target.alpha_HW) >= 0.5).all()


def test_a_little_beyond_the_range_is_cut() -> None:
    task = make(MattingScoring(), None)
    target = MattingTarget(np.float32(disc(6, 2)))
    cut, fault = task.check(MattingPrediction(np.full((6, 6), 1.04, np.float64)), PICTURE, target)
    assert fault is None
    assert cut.alpha_HW.dtype == np.float32
    assert (cut.alpha_HW == 1).all()


def test_saved_mattes_score_as_they_did_but_for_their_steps() -> None:
    truth = np.float32(disc())
    noisy = add_noise(MattingPrediction(truth), MattingTarget(truth), rng, MattingNoise(sigma=0.1))
    codec = MattingCodec()
    back = codec.decode(codec.encode(noisy, MattingTarget(truth), ()), "a.png", ())
    assert float(np.abs(back.alpha_HW - noisy.alpha_HW).max()) <= 0.5 / 65535 + 1e-7
    assert matte_sums(back.alpha_HW, truth, truth >= 0).abs == pytest.approx(
        matte_sums(noisy.alpha_HW, truth, truth >= 0).abs, abs=1e-5 * truth.size
    )


def test_floors_look_at_the_mask_alone() -> None:
    mask = disc() > 0.5
    floors = task_kind("matting").floors
    np.testing.assert_array_equal(floors["silhouette-alpha"].answer(mask).alpha_HW, mask)
    assert not floors["background-alpha"].answer(mask).alpha_HW.any()
