"""Depth scores: hand-worked values, an independent fit, invariances, degenerate and hostile input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.cards.schema import EvalProtocol
from sapiens_bench.errors import CardError
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.depth.alignment import Values, fit
from sapiens_bench.tasks.depth.edges import THRESHOLDS, edge_counts, edge_f1
from sapiens_bench.tasks.depth.least_absolute import least_absolute_line
from sapiens_bench.tasks.depth.metrics import DepthEdgeMetric, DepthMetric
from sapiens_bench.tasks.depth.sums import Truth, all_depth_sums, depth_sums
from sapiens_bench.tasks.depth.task import check, miss, perfect
from sapiens_bench.tasks.depth.types import DepthKind, DepthPrediction, DepthTarget

Depth = NDArray[np.float32]


def target(seed: int = 0, shape: tuple[int, int] = (12, 9)) -> DepthTarget:
    rng = np.random.default_rng(seed)
    return DepthTarget(rng.uniform(1, 4, shape).astype(np.float32), rng.random(shape) < 0.7)


def scores(
    pairs: list[tuple[DepthTarget, DepthPrediction]],
    metric: DepthMetric | DepthEdgeMetric | None = None,
    weights: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    metric = metric or DepthMetric()
    measured = [metric.measure(t, p) for t, p in pairs]
    table = pa.table({f"{metric.name}/{k}": [np.asarray(m[k]).tolist() for m in measured] for k in measured[0]})
    return metric.aggregate(table)(weights)


def test_hand_worked_values_without_alignment() -> None:
    # truth 1, 2; prediction 1.25, 2: e = 0.25, 0
    t = DepthTarget(np.array([[1.0, 2.0]], np.float32), np.ones((1, 2), bool))
    found = scores([(t, DepthPrediction(np.array([[1.25, 2.0]], np.float32), "metric_depth"))], DepthMetric("none"))
    assert found["rmse"] == pytest.approx(0.25 / math.sqrt(2))
    assert found["abs_rel"] == pytest.approx(0.125)
    assert found["sq_rel"] == pytest.approx(0.0625 / 2)
    assert found["delta1"] == 0.5  # the ratio 1.25 is not strictly below 1.25
    assert found["delta2"] == 1.0
    logs = math.log(1.25)
    assert found["rmse_log"] == pytest.approx(logs / math.sqrt(2))
    assert found["log10"] == pytest.approx(math.log10(1.25) / 2)
    assert found["silog"] == pytest.approx(math.sqrt(logs**2 / 2 - 0.5 * (logs / 2) ** 2))
    assert found["coverage"] == 1.0


@given(st.floats(0.1, 10), st.floats(-5, 5), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_scale_and_shift_alignment_undoes_any_affine_change(scale: float, shift: float, seed: int) -> None:
    t = target(seed)
    prediction = DepthPrediction((t.depth_HW * scale + shift).astype(np.float32), "affine_invariant_depth")
    found = scores([(t, prediction)])
    assert found["rmse"] == pytest.approx(0, abs=1e-4)
    assert found["delta1"] == 1.0


@given(st.floats(0.1, 10), st.floats(0.01, 3), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_inverse_depth_is_fitted_in_inverse_space(scale: float, shift: float, seed: int) -> None:
    t = target(seed)
    disparity = (scale / t.depth_HW + shift).astype(np.float32)
    found = scores([(t, DepthPrediction(disparity, "affine_invariant_inverse_depth"))])
    assert found["rmse"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_fits_equal_numpy_least_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gt, pred = rng.uniform(1, 4, 500), rng.normal(2, 1, 500)
    wanted = np.linalg.lstsq(np.stack([pred, np.ones(500)], 1), gt, rcond=None)[0]
    np.testing.assert_allclose(fit(Values(pred), Values(gt), "scale_shift"), wanted, rtol=1e-10)
    factor = np.linalg.lstsq(pred[:, None], gt, rcond=None)[0][0]
    np.testing.assert_allclose(fit(Values(pred), Values(gt), "scale"), (factor, 0), rtol=1e-10)
    np.testing.assert_allclose(
        fit(Values(pred), Values(gt), "median"), (np.median(gt) / np.median(pred), 0), rtol=1e-12
    )


@given(st.integers(0, 10_000), st.integers(2, 12), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_least_absolute_line_is_that_of_a_linear_program(seed: int, n: int, tied: bool) -> None:
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, n).astype(float) if tied else rng.normal(2, 1, n)
    y = rng.integers(0, 5, n).astype(float) if tied else 2 * x + rng.standard_cauchy(n)
    slope, shift = least_absolute_line(x, y)
    line, one = np.stack([x, np.ones(n)], 1), np.eye(n)
    best = linprog(
        np.r_[0, 0, np.ones(n)],
        A_ub=np.block([[line, -one], [-line, -one]]),
        b_ub=np.r_[y, -y],
        bounds=[(None, None)] * 2 + [(0, None)] * n,
    ).fun
    assert np.abs(slope * x + shift - y).sum() <= best * (1 + 1e-7) + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_the_least_absolute_line_of_coarse_maps_is_no_worse_than_any_line_through_two_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):  # many points on one line: where a descent may stop too early
        n, levels = rng.integers(3, 14), rng.integers(2, 7)
        x, y = (rng.integers(0, levels, n).astype(float) for _ in range(2))
        pairs = [(i, j) for i in range(n) for j in range(i) if x[i] != x[j]]
        slopes = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in pairs]
        lines = [(0.0, np.median(y)), *((s, y[i] - s * x[i]) for s, (i, _) in zip(slopes, pairs, strict=True))]
        best = min(np.abs(s * x + t - y).sum() for s, t in lines)
        slope, shift = least_absolute_line(x, y)
        assert np.abs(slope * x + shift - y).sum() <= best * (1 + 1e-9) + 1e-9


def test_wild_pixels_of_the_truth_move_the_least_squares_fit_and_not_the_least_absolute_one() -> None:
    t = target(3)
    answer = DepthPrediction((0.5 * t.depth_HW + 1).astype(np.float32), "affine_invariant_depth")
    t.depth_HW[np.unravel_index(np.flatnonzero(t.mask_HW)[::10], t.mask_HW.shape)] += 50
    pair = [(t, answer)]
    robust = DepthMetric("scale_shift_l1")
    row = robust.measure(*pair[0])
    found = robust.aggregate(pa.table({f"depth/{k}": [v] for k, v in row.items()}))(None)
    assert found["delta1"] == pytest.approx(0.9, abs=0.02)
    assert found["delta1"] == found["scale_shift_l1/delta1"] > found["scale_shift/delta1"]
    assert not any(key.startswith("scale_shift_l1/") for key in DepthMetric().measure(*pair[0]))
    constant = DepthPrediction(np.full(t.depth_HW.shape, 0.3, np.float32), "affine_invariant_depth")
    truth = t.depth_HW[t.mask_HW].astype(float)
    sums = robust.measure(t, constant)
    assert sums["scale_shift_l1/sq_error"] == pytest.approx(((truth - np.median(truth)) ** 2).sum(), rel=1e-5)


def test_a_constant_prediction_is_scored_as_the_mean() -> None:
    t = target()
    found = scores([(t, DepthPrediction(np.full(t.depth_HW.shape, 0.3, np.float32), "affine_invariant_depth"))])
    assert found["rmse"] == pytest.approx(float(t.depth_HW[t.mask_HW].astype(float).std()), rel=1e-6)


def test_all_four_alignments_stand_side_by_side_and_never_get_worse() -> None:
    t = target(4)
    noisy = (t.depth_HW * 1.3 + np.random.default_rng(1).normal(0, 0.1, t.depth_HW.shape)).astype(np.float32)
    found = scores([(t, DepthPrediction(noisy, "metric_depth"))])
    assert found["scale_shift/rmse"] <= found["scale/rmse"] <= found["median/rmse"] + 1e-12
    assert found["scale/rmse"] < found["none/rmse"]
    assert found["rmse"] == found["scale_shift/rmse"]


def test_a_negative_aligned_depth_never_counts_as_accurate() -> None:
    sums = depth_sums(np.array([-1.0, -2.0]), Truth(np.array([1.0, 2.0])), "metric_depth", "none")
    assert (sums.delta1, sums.delta2, sums.delta3, sums.clamped) == (0, 0, 0, 2)
    assert math.isfinite(sums.log_sq)


def test_image_means_and_pooled_pixels_differ_and_both_are_given() -> None:
    near = DepthTarget(np.full((1, 1), 1.0, np.float32), np.ones((1, 1), bool))
    far = DepthTarget(np.full((1, 99), 1.0, np.float32), np.ones((1, 99), bool))
    pairs = [
        (near, DepthPrediction(np.full((1, 1), 2.0, np.float32), "metric_depth")),
        (far, DepthPrediction(np.full((1, 99), 1.0, np.float32), "metric_depth")),
    ]
    found = scores(pairs, DepthMetric("none"))
    assert found["abs_rel"] == pytest.approx(0.5)
    assert found["pooled/abs_rel"] == pytest.approx(0.01)


def test_weights_equal_repeated_images() -> None:
    rng = np.random.default_rng(0)
    pairs = [(t, DepthPrediction(rng.uniform(1, 4, t.depth_HW.shape).astype(np.float32), "metric_depth"))
             for t in map(target, range(4))]  # fmt: skip
    weights = np.array([0, 2, 1, 3])
    repeated = [p for p, w in zip(pairs, weights, strict=True) for _ in range(w)]
    for metric in (DepthMetric(), DepthEdgeMetric()):
        assert scores(pairs, metric, weights) == pytest.approx(scores(repeated, metric), nan_ok=True)


@given(seed=st.integers(0, 10_000), n=st.sampled_from([1, 2, 7, 130, 16_385, 40_001]), single=st.booleans())
@settings(max_examples=40, deadline=None)
def test_values_have_numpys_mean_median_and_range_and_so_have_their_inverses(seed: int, n: int, single: bool) -> None:
    stored = np.random.default_rng(seed).uniform(0.1, 9, n).astype(np.float32 if single else np.float64)
    wide = stored.astype(np.float64)
    for found, plain in ((Values(stored), wide), (Values(stored, is_inverse=True), 1.0 / wide)):
        assert found.mean == plain.mean()
        assert found.median == np.median(plain)
        assert found.range == (plain.min(), plain.max())
    assert math.isnan(Values(np.append(stored, np.nan).astype(stored.dtype)).median)


def plain_sums(pred: NDArray[np.float64], gt: NDArray[np.float64], fitted: tuple[float, float]) -> list[float]:
    aligned = fitted[0] * pred + fitted[1]
    ratio = np.maximum(aligned, 1e-3) / gt
    error, log, worst = aligned - gt, np.log(ratio), np.maximum(ratio, 1 / ratio)
    return [
        len(gt), (error**2).sum(), (np.abs(error) / gt).sum(), (error**2 / gt).sum(), (log**2).sum(), log.sum(),
        np.abs(log).sum() / math.log(10), *((worst < 1.25**k).sum() for k in (1, 2, 3)), (aligned < 1e-3).sum(),
    ]  # fmt: skip


@pytest.mark.parametrize("n", [1, 100, 16_384, 50_000])
@pytest.mark.parametrize("noise", [0.001, 0.3, 3.0])
def test_all_alignments_in_one_pass_equal_plain_formulas_and_one_alignment_alone(n: int, noise: float) -> None:
    rng = np.random.default_rng(n)
    gt = rng.uniform(1, 4, n).astype(np.float32)
    pred = (1.7 * gt - 0.4 + noise * rng.normal(size=n)).astype(np.float32)
    found = all_depth_sums(pred, Truth(gt), "affine_invariant_depth")
    for alignment, sums in found.items():
        assert depth_sums(pred, Truth(gt), "affine_invariant_depth", alignment) == sums
        fitted = fit(Values(pred), Values(gt), alignment)
        np.testing.assert_allclose(
            sums, plain_sums(pred.astype(np.float64), gt.astype(np.float64), fitted), rtol=1e-9, atol=1e-9
        )


def plain_edges(pred: NDArray[Any], gt: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pair by pair, threshold by threshold."""
    out, (height, width) = np.zeros((3, len(THRESHOLDS)), np.int64), mask.shape
    for y in range(height):
        for x in range(width):
            for v, u in ((y, x + 1), (y, x - 1), (y + 1, x), (y - 1, x)):
                if not (0 <= v < height and 0 <= u < width and mask[y, x] and mask[v, u]):
                    continue
                p, q = float(pred[y, x]), float(pred[v, u])
                steep_p = q / p if p > 0 and q > 0 else 0.0
                a, b = steep_p > 1 + THRESHOLDS, float(gt[v, u]) / float(gt[y, x]) > 1 + THRESHOLDS
                out += [a & b, a, b]
    return out


@given(seed=st.integers(0, 10_000), shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), strip=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_edge_counts_equal_a_count_pair_by_pair(seed: int, shape: tuple[int, int], strip: int) -> None:
    rng = np.random.default_rng(seed)
    gt = (2 * rng.choice([1, 1.049, 1.05, 1.051, 1.2, 3], shape)).astype(np.float32)
    pred = (gt * rng.choice([1, 1, 1.03, 1.3], shape)).astype(rng.choice([np.float32, np.float64]))
    pred[rng.random(shape) < 0.1] = rng.choice([0.0, -1.0, 1e-42, 1e38])
    mask = rng.random(shape) < 0.8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sapiens_bench.tasks.depth.edges._STRIP_VALUES", strip)
        np.testing.assert_array_equal(np.stack(edge_counts(pred, gt, mask)), plain_edges(pred, gt, mask))


def step(at: int) -> Depth:
    depth = np.full((6, 10), 1.0, np.float32)
    depth[:, at:] = 2.0
    return depth


def test_depth_edges_in_the_right_place_score_one_elsewhere_zero() -> None:
    t = DepthTarget(step(5), np.ones((6, 10), bool))
    right = DepthPrediction(step(5) * 3, "scale_invariant_depth")
    wrong = DepthPrediction(step(3), "metric_depth")
    assert scores([(t, right)], DepthEdgeMetric())["f1"] == 1.0
    assert scores([(t, wrong)], DepthEdgeMetric("none"))["f1"] == 0.0


def test_a_step_the_wrong_way_round_is_no_hit() -> None:
    flipped = np.float32(3.0) - step(5)
    both, predicted, true = edge_counts(flipped, step(5), np.ones((6, 10), bool))
    assert both.sum() == 0
    assert predicted.sum() == true.sum() > 0


def test_predicting_no_edge_scores_zero_and_no_true_edge_is_undefined() -> None:
    flat, full = np.ones((6, 10), np.float32), np.ones((6, 10), bool)
    assert edge_f1(*(c[None] for c in edge_counts(flat, step(5), full)))[2] == [0.0]
    assert math.isnan(edge_f1(*(c[None] for c in edge_counts(step(5), flat, full)))[2][0])


@pytest.mark.parametrize(
    ("depth", "kind", "code"),
    [
        (np.full((12, 9), np.nan, np.float32), "metric_depth", "pred.nonfinite"),
        (np.zeros((12, 9), np.float32), "metric_depth", "pred.range"),
        (-np.ones((12, 9), np.float32), "metric_depth", "pred.range"),
        (np.ones((9, 12), np.float32), "metric_depth", "pred.shape"),
        (np.ones((1, 12, 9), np.float32), "metric_depth", "pred.shape"),
        (np.ones((12, 9), np.int32), "metric_depth", "pred.shape"),
        (np.ones((12, 9), np.float32), "depth", "pred.kind"),
    ],
)
def test_faulty_predictions_are_named(depth: Depth, kind: DepthKind, code: str) -> None:
    clean, fault = check(DepthPrediction(depth, kind), None, target())  # type: ignore[arg-type]
    assert fault is not None
    assert (fault.code, fault.side) == (code, "prediction")
    found = scores([(target(), clean)])
    assert found["coverage"] == 0.0
    assert math.isnan(found["rmse"])


def test_partly_finite_predictions_lower_the_coverage_and_keep_the_rest() -> None:
    t = target()
    depth = t.depth_HW.copy()
    depth[:6] = np.inf
    clean, fault = check(DepthPrediction(depth, "metric_depth"), None, t)  # type: ignore[arg-type]
    assert fault is not None
    found = scores([(t, clean)])
    assert found["coverage"] == pytest.approx(t.mask_HW[6:].sum() / t.mask_HW.sum())
    assert found["rmse"] == pytest.approx(0, abs=1e-6)


def test_negative_relative_depth_is_fine_and_an_empty_mask_is_an_input_fault() -> None:
    t = target()
    prediction = DepthPrediction(t.depth_HW - 10, "affine_invariant_depth")
    assert check(prediction, None, t)[1] is None  # type: ignore[arg-type]
    _, fault = check(prediction, None, DepthTarget(t.depth_HW, np.zeros_like(t.mask_HW)))  # type: ignore[arg-type]
    assert fault is not None
    assert (fault.code, fault.side) == ("label.empty", "input")


def test_perfect_scores_perfectly_and_unknown_scoring_is_named() -> None:
    t = target()
    found = scores([(t, perfect(t))], DepthMetric("none"))
    assert (found["rmse"], found["delta1"]) == (0.0, 1.0)
    assert np.isnan(miss(t).depth_HW).all()
    protocol = EvalProtocol(task="depth", title="t", default=True)
    with pytest.raises(CardError, match="'scael'"):
        task_for(protocol.model_copy(update={"scoring": {"alignment": "scael"}}), None)
