"""Normal scores: angles known by construction, arccos in float64, invariances, degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.tasks.normal.angles import angle_sums, angles_deg
from sapiens_bench.tasks.normal.median import BIN_DEG, N_BINS, histogram_median
from sapiens_bench.tasks.normal.metrics import NormalMetric, contradictions
from sapiens_bench.tasks.normal.task import check, perfect
from sapiens_bench.tasks.normal.types import NormalPrediction, NormalTarget

Normals = NDArray[np.float32]


def tilted(degrees: NDArray[np.float64] | float, n: int = 1) -> Normals:
    """Unit vectors at known angles from +z, in seeded directions."""
    angle = np.deg2rad(np.broadcast_to(degrees, n))
    around = np.random.default_rng(0).uniform(0, 2 * np.pi, n)
    out = np.stack([np.sin(angle) * np.cos(around), np.sin(angle) * np.sin(around), np.cos(angle)], 1)
    return out.astype(np.float32)


def up(n: int) -> Normals:
    return np.tile(np.float32([0, 0, 1]), (n, 1))


def scores(pairs: list[tuple[Normals, Normals]], weights: NDArray[np.int64] | None = None) -> dict[str, float]:
    metric = NormalMetric()
    measured = []
    for gt, pred in pairs:
        target = NormalTarget(gt[None], np.ones((1, len(gt)), bool))
        measured.append(metric.measure(target, NormalPrediction(pred[None])))
    table = pa.table({f"{metric.name}/{k}": [np.asarray(m[k]).tolist() for m in measured] for k in measured[0]})
    return metric.aggregate(table)(weights)


@given(st.floats(0, 180))
@settings(max_examples=40, deadline=None)
def test_known_angles_are_found(degrees: float) -> None:
    assert angles_deg(tilted(degrees), up(1))[0] == pytest.approx(degrees, abs=2e-5)


def test_float32_angles_equal_float64_arccos() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(20_000, 3)).astype(np.float32)
    b = (a + 0.3 * rng.normal(size=a.shape)).astype(np.float32)
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(angles_deg(a, b), np.degrees(np.arccos(np.clip(cosine, -1, 1))), atol=1e-4)


@given(seed=st.integers(0, 10_000), n=st.sampled_from([1, 5, 16_384, 20_000]), kind=st.sampled_from(["f2", "f4", "f8"]))
@settings(max_examples=20, deadline=None)
def test_angles_in_blocks_equal_the_formula_over_whole_arrays_bit_for_bit(seed: int, n: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    gt = rng.normal(size=(n, 3)).astype(np.float32)
    pred = (gt + rng.choice([0, 1e-3, 0.3]) * rng.normal(size=gt.shape)).astype(kind)
    a, b = (v / np.sqrt(np.einsum("ni,ni->n", v, v))[:, None] for v in (pred.astype(np.float32), gt))
    chord, other = (np.sqrt(np.einsum("ni,ni->n", v, v)) for v in (a - b, a + b))
    whole = np.arctan2(chord, other) * np.float32(360 / np.pi)
    np.testing.assert_array_equal(angles_deg(pred, gt), whole, strict=True)
    rows = np.flatnonzero(rng.random(n) < 0.5)
    np.testing.assert_array_equal(angles_deg(pred, gt, rows), whole[rows])
    sums, wide = angle_sums(whole), whole.astype(np.float64)
    assert (sums.angle_deg, sums.angle_sq_deg) == (wide.sum(), (wide * wide).sum())
    assert sums.histogram.sum() == n


def test_length_does_not_matter_and_zero_is_undefined() -> None:
    assert angles_deg(tilted(30.0) * np.float32(7), up(1))[0] == pytest.approx(30, abs=1e-4)
    assert np.isnan(angles_deg(np.zeros((1, 3), np.float32), up(1))[0])


def test_hand_worked_scores() -> None:
    # angles 4, 10, 20, 40: mean 18.5, shares below 5 / 7.5 / 11.25 / 22.5 / 30
    found = scores([(up(4), tilted(np.array([4.0, 10, 20, 40]), 4))])
    assert found["mean_deg"] == pytest.approx(18.5, abs=1e-4)
    assert found["rmse_deg"] == pytest.approx(math.sqrt((16 + 100 + 400 + 1600) / 4), abs=1e-4)
    assert [found[k] for k in ("below_5", "below_7_5", "below_11_25", "below_22_5", "below_30")] == [
        0.25, 0.25, 0.5, 0.75, 0.75,
    ]  # fmt: skip
    assert found["coverage"] == 1.0


def test_a_threshold_is_strict() -> None:
    sums = angle_sums(angles_deg(tilted(np.array([29.999, 30.001]), 2), up(2)))
    assert sums.below.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.03, 17.31])
def test_where_all_errors_are_one_the_median_is_that_one_and_not_the_middle_of_its_bin(angle: float) -> None:
    found = scores([(up(50), tilted(np.full(50, angle), 50))])
    for kind in ("", "image/"):
        assert found[f"{kind}median_deg"] == pytest.approx(found[f"{kind}mean_deg"], abs=1e-5)


def test_the_histogram_median_is_within_half_a_bin() -> None:
    angles = np.random.default_rng(3).gamma(2, 8, 5001)
    found = scores([(up(5001), tilted(angles, 5001))])
    assert found["median_deg"] == pytest.approx(float(np.median(angles)), abs=BIN_DEG / 2 + 1e-3)
    assert math.isnan(float(histogram_median(np.zeros(N_BINS, np.int64))))


def test_pooled_and_per_image_means_differ_and_both_are_given() -> None:
    found = scores([(up(1), tilted(40.0)), (up(99), tilted(0.0, 99))])
    assert found["mean_deg"] == pytest.approx(0.4, abs=1e-4)
    assert found["image/mean_deg"] == pytest.approx(20, abs=1e-4)


def test_weights_equal_repeated_images() -> None:
    rng = np.random.default_rng(0)
    pairs = [(up(50), tilted(rng.uniform(0, 60, 50), 50)) for _ in range(4)]
    weights = np.array([1, 0, 2, 3])
    repeated = [p for p, w in zip(pairs, weights, strict=True) for _ in range(w)]
    assert scores(pairs, weights) == pytest.approx(scores(repeated))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda n: n.__setitem__((0, 0), np.nan), "pred.nonfinite"),
        (lambda n: n.__setitem__((0, 0), 0), "pred.normal_zero"),
    ],
)
def test_unusable_pixels_are_named_and_lower_the_coverage(change: object, code: str) -> None:
    target = NormalTarget(up(4)[None], np.ones((1, 4), bool))
    normals = perfect(target).normals_HW3.copy()
    change(normals)  # type: ignore[operator]
    clean, fault = check(NormalPrediction(normals), None, target)  # type: ignore[arg-type]
    assert fault is not None
    assert fault.code == code
    assert scores([(up(4), clean.normals_HW3[0])])["coverage"] == 0.75


@pytest.mark.parametrize("shape", [(3, 1, 4), (4, 1, 3), (1, 4), (1, 1, 4, 3)])
def test_another_shape_is_a_miss(shape: tuple[int, ...]) -> None:
    target = NormalTarget(up(4)[None], np.ones((1, 4), bool))
    clean, fault = check(NormalPrediction(np.ones(shape, np.float32)), None, target)  # type: ignore[arg-type]
    assert fault is not None
    assert fault.code == "pred.shape"
    assert scores([(up(4), clean.normals_HW3[0])])["coverage"] == 0.0


def test_impossible_pairs_of_scores_are_found() -> None:
    assert contradictions({"median_deg": 9.0, "below_11_25": 0.45})
    assert contradictions({"median_deg": 12.0, "below_11_25": 0.55})
    assert contradictions({"median_deg": 9.0, "below_11_25": 0.62, "below_30": 0.9}) == []
    found = scores([(up(200), tilted(np.linspace(0, 60, 200), 200))])
    assert contradictions(found) == []
