"""Albedo: errors by hand and against independent code, colour spaces, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from scipy import ndimage

from sapiens_bench.tasks import task_kind
from sapiens_bench.tasks.albedo.codec import AlbedoCodec
from sapiens_bench.tasks.albedo.floors import mean_colour, the_picture
from sapiens_bench.tasks.albedo.metrics import AlbedoMetric
from sapiens_bench.tasks.albedo.noise import AlbedoNoise, add_noise
from sapiens_bench.tasks.albedo.sums import albedo_sums, masked_ssim
from sapiens_bench.tasks.albedo.task import AlbedoScoring, make
from sapiens_bench.tasks.albedo.types import AlbedoPrediction, AlbedoTarget, in_space
from sapiens_bench.types import ModelInput

ROOT = Path(__file__).parents[3]
PICTURE = ModelInput("", np.zeros((6, 6, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
rng = np.random.default_rng(4)


def target(h: int = 44, w: int = 37) -> AlbedoTarget:
    mask = np.zeros((h, w), bool)
    mask[3:-4, 5:-2] = True
    return AlbedoTarget(np.float32(rng.uniform(0.05, 0.9, (h, w, 3)) * mask[..., None]), mask)


def scores(space: Any, *pairs: tuple[AlbedoTarget, AlbedoPrediction]) -> dict[str, float]:
    metric = AlbedoMetric(space)
    rows = [metric.measure(*pair) for pair in pairs]
    return metric.aggregate(pa.table({f"albedo/{k}": [row[k] for row in rows] for k in rows[0]}))(None)


def test_errors_are_pooled_over_pixels() -> None:
    small, large = (AlbedoTarget(np.full((1, n, 3), 0.5, np.float32), np.ones((1, n), bool)) for n in (1, 3))
    off = [AlbedoPrediction(t.albedo_HW3 + np.float32(d), "linear") for t, d in ((small, 0.4), (large, -0.1))]
    found = scores("linear", (small, off[0]), (large, off[1]))
    assert found["mae"] == pytest.approx((0.4 + 3 * 0.1) / 4, rel=1e-6)
    assert found["rmse"] == pytest.approx(np.sqrt((0.16 + 3 * 0.01) / 4), rel=1e-6)
    assert found["psnr"] == pytest.approx(-20 * np.log10(found["rmse"]))


def test_the_printed_psnr_of_sapiens2_is_that_of_its_printed_rmse() -> None:
    """Why PSNR is pooled: a mean of PSNRs of images would be another number."""
    table = yaml.safe_load((ROOT / "results/published/sapiens2_table7.yaml").read_text())
    for row in table["entries"][0]["rows"].values():
        assert row["psnr"]["value"] == pytest.approx(-20 * np.log10(row["rmse"]["value"]), abs=0.02)


def test_only_people_are_looked_at() -> None:
    truth = target()
    other = np.where(truth.mask_HW[..., None], truth.albedo_HW3, np.float32(0.7))
    found = scores("srgb", (truth, AlbedoPrediction(other, "linear")))
    assert (found["mae"], found["grad_l1"], found["si_rmse"], found["lmse"]) == (0, 0, 0, 0)
    assert (found["ssim"], found["psnr"]) == (pytest.approx(1), 100)


def test_a_prediction_in_the_other_space_is_converted() -> None:
    truth = target()
    coded = AlbedoPrediction(in_space(truth.albedo_HW3, "linear", "srgb").astype(np.float32), "srgb")
    for space in ("srgb", "linear"):
        assert scores(space, (truth, coded))["mae"] < 1e-6
    taken_as_linear = AlbedoPrediction(coded.albedo_HW3, "linear")
    assert scores("linear", (truth, taken_as_linear))["mae"] > 0.1


def test_the_transfer_function_is_that_of_srgb() -> None:
    np.testing.assert_allclose(
        in_space(np.array([0, 0.0031308, 0.5, 1]), "linear", "srgb"), [0, 0.04045, 0.7353569, 1], atol=1e-6
    )
    values = rng.random(100)
    np.testing.assert_allclose(in_space(in_space(values, "linear", "srgb"), "srgb", "linear"), values, atol=1e-12)


def ssim_by_hand(a: Any, b: Any, mask: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """One window, pixel by pixel: its similarity (mean of channels), and its weight on the mask."""
    weights, first, second = [], [], []
    for dy in range(-5, 6):
        for dx in range(-5, 6):
            i, j = y + dy, x + dx
            if 0 <= i < mask.shape[0] and 0 <= j < mask.shape[1] and mask[i, j]:
                weights.append(np.exp(-(dy * dy + dx * dx) / 4.5))
                first.append(a[i, j])
                second.append(b[i, j])
    all_weights = np.exp(-(np.arange(-5, 6) ** 2) / 4.5).sum() ** 2
    w = np.array(weights)[:, None] / np.sum(weights)
    p, q = np.array(first), np.array(second)
    mp, mq = (w * p).sum(0), (w * q).sum(0)
    vp, vq, c = (w * (p - mp) ** 2).sum(0), (w * (q - mq) ** 2).sum(0), (w * (p - mp) * (q - mq)).sum(0)
    found = (2 * mp * mq + 1e-4) * (2 * c + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4) + 1e-8)
    return float(found.mean()), float(np.sum(weights) / all_weights)


def test_structural_similarity_of_a_whole_picture_is_that_of_its_authors_away_from_its_border() -> None:
    """With scipy's Gaussian cut at 3.5 sigma, as scikit-image computes it (gaussian_weights, no sample covariance)."""
    a, b = rng.random((2, 30, 26, 3))

    def blur(x: Any) -> Any:
        return ndimage.gaussian_filter(x, (1.5, 1.5, 0), truncate=3.5)

    ma, mb = blur(a), blur(b)
    va, vb, both = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    wanted = ((2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean(-1)
    inner = np.s_[5:-5, 5:-5]
    found = masked_ssim(a, b, np.ones((30, 26), bool))[0]
    np.testing.assert_allclose(found[inner], wanted[inner], rtol=1e-4)  # the evaluator's 1e-8 below the fraction


def test_what_lies_outside_people_says_nothing_whatever_it_is() -> None:
    a, b = rng.random((2, 24, 21, 3))
    mask = np.zeros((24, 21), bool)
    mask[8:17, 6:15] = True
    odd = np.where(mask[..., None], b, np.nan)
    assert albedo_sums(a, b, (a, b), mask) == albedo_sums(a, odd, (a, odd), mask)


def test_noise_makes_similarity_fall() -> None:
    truth = target()
    perfect = AlbedoPrediction(truth.albedo_HW3, "linear")
    found = [
        scores("linear", (truth, add_noise(perfect, truth, np.random.default_rng(1), AlbedoNoise(sigma=sigma))))
        for sigma in (0, 0.03, 0.2)
    ]
    assert found[0]["ssim"] == pytest.approx(1, abs=1e-4)
    assert 1 > found[0]["ssim"] > found[1]["ssim"] > found[2]["ssim"]
    assert found[1]["rmse"] == pytest.approx(0.03, rel=0.05)


def test_similarity_is_pooled_over_windows_that_lie_on_people() -> None:
    pairs = []
    for h, w in ((24, 21), (30, 40)):
        truth = target(h, w)
        pairs.append((truth, AlbedoPrediction(np.float32(rng.uniform(0, 1, (h, w, 3))), "linear")))
    total, n = 0.0, 0
    for truth, prediction in pairs:
        a, b = prediction.albedo_HW3.astype(float), truth.albedo_HW3.astype(float)
        for y, x in np.argwhere(ndimage.binary_dilation(truth.mask_HW, iterations=2)):
            value, share = ssim_by_hand(a, b, truth.mask_HW, y, x)
            total, n = total + value * (share > 0.5), n + (share > 0.5)
    assert scores("linear", *pairs)["ssim"] == pytest.approx(total / n, rel=1e-9)
    assert n > sum(int(t.mask_HW[6:-6, 8:-5].sum()) for t, _ in pairs)


def test_the_local_error_is_that_of_grosse_window_by_window() -> None:
    truth = target(53, 47)
    pred = np.float32(rng.uniform(0, 1, truth.albedo_HW3.shape))
    found = scores("srgb", (truth, AlbedoPrediction(pred, "linear")))
    t, p = truth.albedo_HW3.astype(float), np.where(truth.mask_HW[..., None], pred.astype(float), 0)
    left = whole = 0.0
    for i in range(0, 53 - 20 + 1, 10):
        for j in range(0, 47 - 20 + 1, 10):
            a, b = t[i : i + 20, j : j + 20], p[i : i + 20, j : j + 20]
            factor = (a * b).sum() / (b * b).sum()
            left, whole = left + ((a - factor * b) ** 2).sum(), whole + (a * a).sum()
    assert found["lmse"] == pytest.approx(left / whole, rel=1e-9)


def test_scale_invariant_errors_do_not_see_a_factor_and_a_black_map_is_one() -> None:
    truth = target()
    dim = scores("srgb", (truth, AlbedoPrediction(truth.albedo_HW3 * np.float32(0.3), "linear")))
    assert dim["mae"] > 0.05
    assert dim["si_rmse"] < 1e-6
    assert dim["lmse"] < 1e-9
    assert scores("srgb", (truth, AlbedoPrediction(np.zeros_like(truth.albedo_HW3), "linear")))["lmse"] == 1


def test_gradients_are_compared_between_scored_neighbours_only() -> None:
    mask = np.array([[True, True, False], [True, False, False]])
    error = np.zeros((2, 3, 3))
    error[0, 1], error[1, 0], error[0, 2] = 0.2, 0.5, 9.0
    sums = albedo_sums(error, np.zeros((2, 3, 3)), (error, error), mask)
    assert (sums.n_pairs, sums.grad) == (2, pytest.approx(3 * (0.2 + 0.5)))


@pytest.mark.parametrize(
    ("albedo", "space", "code"),
    [
        (np.zeros((6, 5, 3), np.float32), "srgb", "pred.shape"),
        (np.zeros((6, 6, 3), np.uint8), "srgb", "pred.shape"),
        (np.zeros((6, 6, 3), np.float32), "rgb", "pred.kind"),
        (np.full((6, 6, 3), np.inf, np.float32), "srgb", "pred.nonfinite"),
        (np.full((6, 6, 3), 128.0, np.float32), "srgb", "pred.range"),
    ],
)
def test_what_is_no_albedo_is_the_worst_one(albedo: Any, space: Any, code: str) -> None:
    truth = AlbedoTarget(np.full((6, 6, 3), 0.2, np.float32), np.ones((6, 6), bool))
    worst, fault = make(AlbedoScoring(), None).check(AlbedoPrediction(albedo, space), PICTURE, truth)
    assert fault is not None
    assert fault.code == code
    assert (worst.albedo_HW3 == 1).all()


def test_saved_maps_keep_their_colour_space() -> None:
    truth = target()
    picture = AlbedoPrediction(np.float32(rng.random(truth.albedo_HW3.shape)), "srgb")
    codec = AlbedoCodec()
    back = codec.decode(codec.encode(picture, truth, ()), "a.png", ())
    assert back.space == "srgb"
    assert scores("srgb", (truth, back))["rmse"] == pytest.approx(scores("srgb", (truth, picture))["rmse"], abs=1e-5)


def test_floors_look_at_the_picture_alone() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 255
    np.testing.assert_array_equal(the_picture(image).albedo_HW3, image / np.float32(255))
    mean = mean_colour(image)
    assert mean.space == "linear"
    assert (mean.albedo_HW3 == 0.5).all()
    assert all(floor.needs_picture for floor in task_kind("albedo").floors.values())
