"""Errors in inverse depth: worked by hand, compared with numpy's least squares, and laws."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench import evaluate
from sapiens_bench.tasks.depth.disparity import DisparityMetric, disparity_sums
from sapiens_bench.tasks.depth.metrics import DepthMetric
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget

INVERSE: DepthKind = "affine_invariant_inverse_depth"
SCORES = ("rmse", "abs_rel", "depth_rmse", "depth_abs_rel")


def target(seed: int = 0, shape: tuple[int, int] = (12, 9)) -> DepthTarget:
    rng = np.random.default_rng(seed)
    return DepthTarget(rng.uniform(1, 4, shape).astype(np.float32), rng.random(shape) < 0.7)


def scores(pairs: list[tuple[DepthTarget, DepthPrediction]]) -> dict[str, float]:
    metric = DisparityMetric()
    measured = [metric.measure(t, p) for t, p in pairs]
    return metric.aggregate(pa.table({f"disparity/{k}": [m[k] for m in measured] for k in measured[0]}))()


def as_float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(values, np.float32)


def test_hand_worked_values() -> None:
    """Truth 1, 2 and 4 m, so q = 1, 0.5, 0.25. The answer 0, 1, 1 has the least-squares line -0.625 x + 1, exactly at
    the first pixel and at 0.375, the mean of the other two: e = 0, -0.125, 0.125 and E = 0, 2 / 3, -4 / 3."""
    t = DepthTarget(as_float32([[1, 2, 4]]), np.ones((1, 3), bool))
    found = scores([(t, DepthPrediction(as_float32([[0, 1, 1]]), INVERSE))])
    assert found["rmse"] == pytest.approx(math.sqrt(2 * 0.125**2 / 3))
    assert found["abs_rel"] == pytest.approx((0.25 + 0.5) / 3)
    assert found["depth_rmse"] == pytest.approx(math.sqrt((4 / 9 + 16 / 9) / 3))
    assert found["depth_abs_rel"] == pytest.approx((1 / 3 + 1 / 3) / 3)
    assert found["delta1"] == pytest.approx(1 / 3)  # ratios 1, 4 / 3 and 1.5
    assert found["delta2"] == pytest.approx(1)
    assert (found["coverage"], found["clipped"]) == (1, 0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.05, 50), shift=st.floats(-5, 5))
def test_a_perfect_answer_up_to_scale_and_shift_has_no_error(seed: int, scale: float, shift: float) -> None:
    t = target(seed)
    t.mask_HW[0] = True
    answers: dict[DepthKind, NDArray[np.floating]] = {
        INVERSE: scale / t.depth_HW.astype(np.float64) + shift,
        "affine_invariant_depth": scale * t.depth_HW.astype(np.float64) + shift,
        "scale_invariant_depth": scale * t.depth_HW.astype(np.float64),
        "metric_depth": t.depth_HW,
    }
    for kind, answer in answers.items():
        found = scores([(t, DepthPrediction(answer, kind))])
        for prefix in ("", "l1/"):
            assert [found[prefix + key] for key in SCORES] == pytest.approx([0] * 4, abs=1e-5), kind
            assert found[f"{prefix}delta1"] == 1
        assert found["coverage"] == 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.05, 50), shift=st.floats(-5, 5))
@example(seed=13260, scale=3.0, shift=0.0)  # the least-absolute line goes through the farthest pixel
def test_scores_do_not_change_with_the_scale_and_shift_of_inverse_depth(seed: int, scale: float, shift: float) -> None:
    t, rng = target(3), np.random.default_rng(seed)
    rough = 1 / t.depth_HW + rng.normal(0, 0.1, t.depth_HW.shape)
    one = scores([(t, DepthPrediction(rough, INVERSE))])
    other = scores([(t, DepthPrediction(scale * rough + shift, INVERSE))])
    assert other == pytest.approx(one, rel=1e-6, abs=1e-6)


def test_the_fit_is_that_of_numpy_and_the_clip_is_at_the_farthest_scored_pixel() -> None:
    t, rng = target(1, (40, 30)), np.random.default_rng(2)
    raw = 7 / t.depth_HW + rng.normal(0, 1.5, t.depth_HW.shape) - 3
    p, q = raw[t.mask_HW], 1 / t.depth_HW[t.mask_HW].astype(np.float64)
    (scale, shift), *_ = np.linalg.lstsq(np.stack([p, np.ones_like(p)], 1), q, rcond=None)
    fitted = scale * p + shift
    clipped = np.maximum(fitted, q.min())
    assert 0 < (fitted < q.min()).mean() < 0.5
    found = scores([(t, DepthPrediction(raw, INVERSE))])
    assert found["clipped"] == pytest.approx((fitted < q.min()).mean())
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((clipped - q) ** 2)))
    assert found["depth_abs_rel"] == pytest.approx(np.mean(np.abs(1 / clipped - 1 / q) * q))
    assert found["delta1"] == pytest.approx(np.mean(np.maximum(clipped / q, q / clipped) < 1.25))


def test_wild_pixels_move_least_squares_and_not_least_absolute_errors() -> None:
    t = DepthTarget(as_float32(np.linspace(1, 4, 100)[None]), np.ones((1, 100), bool))
    raw = 1 / t.depth_HW.astype(np.float64)
    raw[0, -8:] = 1.5  # farther than anything else, and said to be nearer than anything else
    found = scores([(t, DepthPrediction(raw, INVERSE))])
    assert found["delta1"] < 0.6
    assert found["l1/delta1"] == 0.92


def test_depth_that_is_not_positive_or_not_finite_is_left_out_and_lowers_the_coverage() -> None:
    t = DepthTarget(as_float32([[1, 2, 4, 3]]), np.ones((1, 4), bool))
    found = scores([(t, DepthPrediction(as_float32([[1, 2, -4, np.nan]]), "metric_depth"))])
    assert found["coverage"] == 0.5
    assert found["rmse"] == pytest.approx(0, abs=1e-7)
    nothing = disparity_sums(as_float32([np.nan, np.inf]), as_float32([1, 2]), "affine_invariant_depth")
    assert nothing.n == 0
    missed = scores([(t, DepthPrediction(as_float32([[np.nan] * 4]), "metric_depth"))])
    assert missed["coverage"] == 0
    assert math.isnan(missed["abs_rel"])


def test_shares_in_disparity_are_those_in_depth_where_nothing_is_clipped() -> None:
    t, rng = target(5), np.random.default_rng(6)
    raw = 1 / t.depth_HW + rng.normal(0, 0.01, t.depth_HW.shape)
    prediction = DepthPrediction(raw, INVERSE)
    metric = DepthMetric()
    row = {f"depth/{k}": [v] for k, v in metric.measure(t, prediction).items()}
    depth = metric.aggregate(pa.table(row))()
    assert scores([(t, prediction)])["delta1"] == pytest.approx(depth["delta1"], abs=0.02)


def test_asking_for_disparity_adds_columns_and_moves_none(tmp_path: Path) -> None:
    found = {}
    for asked in (False, True):
        record = evaluate(
            task="depth", models=["oracle-depth", "noisy-oracle-depth", "floor-median-depth"],
            datasets="synthetic-humans", split="tiny", limit=2, n_boot=0, device="cpu", out=tmp_path / str(asked),
            scoring={"disparity": True} if asked else {},
        )  # fmt: skip
        found[asked] = {c.model: {k: s.value for k, s in c.scores.items()} for c in record.cells}
    for model, before in found[False].items():
        after = found[True][model]
        assert {k: after[k] for k in before} == pytest.approx(before, rel=0, abs=0, nan_ok=True)
        assert set(after) - set(before) == {f"disparity/{key}" for key in DisparityMetric().scores}
    assert found[True]["oracle-depth"]["disparity/abs_rel"] == pytest.approx(0, abs=1e-6)
    assert (
        found[True]["noisy-oracle-depth"]["disparity/abs_rel"] < found[True]["floor-median-depth"]["disparity/abs_rel"]
    )
