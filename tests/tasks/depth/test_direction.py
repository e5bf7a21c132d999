"""A depth map that is upside down is no prediction: the usual fit would turn it over in silence."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.tasks.depth.convention import FARTHER, NEARER, Direction
from sapiens_bench.tasks.depth.direction import correlation, upside_down
from sapiens_bench.tasks.depth.task import check
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget

TRUTH = (1.5 + np.random.default_rng(0).random((20, 30))).astype(np.float32)
MASK = np.ones(TRUTH.shape, np.bool_)
DEPTH, INVERSE, METRIC = "affine_invariant_depth", "affine_invariant_inverse_depth", "metric_depth"


def code(values: np.ndarray, kind: DepthKind) -> str:
    fault = check(DepthPrediction(values.astype(np.float32), kind), None, DepthTarget(TRUTH, MASK))[1]  # type: ignore[arg-type]
    return fault.code if fault else ""


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (TRUTH, DEPTH, ""),
        (3 * TRUTH - 8, DEPTH, ""),
        (-TRUTH, DEPTH, "pred.direction"),
        (1 / TRUTH, DEPTH, "pred.direction"),
        (1 / TRUTH, INVERSE, ""),
        (TRUTH, INVERSE, "pred.direction"),
        (-1 / TRUTH, INVERSE, "pred.direction"),
        (9 - TRUTH, METRIC, "pred.direction"),
        (-TRUTH, METRIC, "pred.range"),
        (np.full(TRUTH.shape, 0.7), DEPTH, ""),
        (np.full(TRUTH.shape, 1e6) + 1e-3 * TRUTH, DEPTH, ""),  # constant up to rounding
    ],
)
def test_direction_is_checked_in_the_space_of_the_kind(values: np.ndarray, kind: DepthKind, expected: str) -> None:
    assert code(values, kind) == expected


def test_a_bad_model_is_not_an_upside_down_one() -> None:
    rng = np.random.default_rng(1)
    for share in (0.0, 0.3, 0.6):
        assert code(-share * TRUTH + rng.standard_normal(TRUTH.shape), DEPTH) == ""


def test_an_upside_down_map_is_a_miss_and_says_what_to_declare() -> None:
    safe, fault = check(DepthPrediction(-TRUTH, DEPTH), None, DepthTarget(TRUTH, MASK))  # type: ignore[arg-type]
    assert fault is not None
    assert fault.side == "prediction"
    assert f"kind {INVERSE!r}" in fault.detail
    assert np.isnan(safe.depth_HW).all()


def test_correlation_is_that_of_numpy() -> None:
    rng = np.random.default_rng(2)
    pred = rng.random(600).astype(np.float32)
    truth = TRUTH.ravel()
    assert correlation(pred, truth, DEPTH) == pytest.approx(np.corrcoef(pred, truth)[0, 1], abs=1e-9)
    assert correlation(pred, truth, INVERSE) == pytest.approx(np.corrcoef(pred, 1 / truth)[0, 1], abs=1e-6)


def test_a_single_pixel_or_a_flat_truth_says_nothing() -> None:
    assert upside_down(np.ones(1, np.float32), np.ones(1, np.float32), DEPTH) == ""
    flat = np.full(600, 2.0, np.float32)
    assert upside_down(np.random.default_rng(3).random(600).astype(np.float32), flat, DEPTH) == ""


def test_advice_names_the_option_that_is_there() -> None:
    advice = Direction().correction
    assert f"options: {{depth_kind: {INVERSE}}}" in advice(NEARER, {"depth_kind": DEPTH, "resize": ""})
    assert f"options: {{kind: {DEPTH}}}" in advice(FARTHER, {"kind": INVERSE})
    assert "no option" in advice(NEARER, {})
    assert repr(INVERSE) in advice(NEARER, {})
