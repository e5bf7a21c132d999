"""Segmentation scores: values worked by hand, independent implementations, invariances, degenerate input."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, ShapeError
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.seg.confusion import boundary_counts, confusion
from sapiens_bench.tasks.seg.metrics import BoundaryMetric, SegMetric
from sapiens_bench.tasks.seg.task import Check, miss, perfect, remap
from sapiens_bench.tasks.seg.types import IGNORE, NO_CLASS, SegPrediction, SegTarget

NAMES = ("background", "skin", "hair")
Labels = NDArray[np.uint8]


def rows(metric: SegMetric | BoundaryMetric, pairs: list[tuple[Labels, Labels]]) -> pa.Table:
    measured = [metric.measure(SegTarget(g), SegPrediction(p)) for g, p in pairs]
    return pa.table({f"{metric.name}/{k}": [np.asarray(m[k]).tolist() for m in measured] for k in measured[0]})


def smooth(seed: int, shape: tuple[int, int] = (40, 30), classes: int = 3) -> Labels:
    coarse = np.random.default_rng(seed).integers(0, classes, (4, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_NEAREST))


def test_iou_of_summed_areas_not_the_mean_of_image_ious() -> None:
    # class 1: 1 of 10 in the first image, 90 of 100 in the second -> 91/110, not (0.1 + 0.9) / 2
    first, second = np.ones((1, 10), np.uint8), np.ones((1, 100), np.uint8)
    a, b = np.zeros((1, 10), np.uint8), np.zeros((1, 100), np.uint8)
    a[0, :1], b[0, :90] = 1, 1
    scores = SegMetric(NAMES).aggregate(rows(SegMetric(NAMES), [(first, a), (second, b)]))(None)
    assert scores["iou/skin"] == pytest.approx(91 / 110)
    assert scores["aacc"] == pytest.approx(91 / 110)
    assert math.isnan(scores["iou/hair"])
    assert scores["miou"] == pytest.approx((0 + 91 / 110) / 2)  # background: predicted, never true -> 0; hair: absent
    assert scores["macc"] == pytest.approx(91 / 110)
    assert scores["miou_no_background"] == pytest.approx(91 / 110)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_confusion_counts_equal_a_count_pixel_by_pixel(seed: int, noisy: bool) -> None:
    rng = np.random.default_rng(seed)
    gt = rng.integers(0, 3, (17, 23)).astype(np.uint8) if noisy else smooth(seed)
    pred = rng.integers(0, 3, gt.shape).astype(np.uint8) if noisy else smooth(seed + 1)
    gt[rng.random(gt.shape) < 0.1] = IGNORE
    pred[0, 0] = NO_CLASS
    wanted = np.zeros((3, 4), np.int64)
    for g, p in zip(gt.ravel(), pred.ravel(), strict=True):
        if g != IGNORE:
            wanted[g, min(int(p), 3)] += 1
    np.testing.assert_array_equal(confusion(gt, pred, 3), wanted)


def test_maps_of_more_pixels_than_float32_counts_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    gt, pred = smooth(3), smooth(4)
    whole = confusion(gt, pred, 3)
    monkeypatch.setattr("sapiens_bench.tasks.seg.confusion._EXACT", 7)
    np.testing.assert_array_equal(confusion(gt, pred, 3), whole)
    monkeypatch.undo()
    large = np.zeros((1, (1 << 24) + 3), np.uint8)  # one class has more pixels than float32 can count one by one
    assert confusion(large, large, 1).tolist() == [[(1 << 24) + 3, 0]]


def test_unknown_true_labels_and_other_shapes_are_programming_errors() -> None:
    with pytest.raises(ShapeError, match="between 3 and 254"):
        confusion(np.full((2, 2), 7, np.uint8), np.zeros((2, 2), np.uint8), 3)
    for count in (confusion, boundary_counts):
        with pytest.raises(ShapeError):
            count(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 3)


def test_weights_equal_repeated_images() -> None:
    metric = SegMetric(NAMES)
    pairs = [(smooth(i), smooth(i + 9)) for i in range(4)]
    weights = np.array([2, 0, 3, 1])
    repeated = [pair for pair, w in zip(pairs, weights, strict=True) for _ in range(w)]
    weighted = metric.aggregate(rows(metric, pairs))(weights)
    assert weighted == pytest.approx(metric.aggregate(rows(metric, repeated))(None), nan_ok=True)


def test_only_scored_classes_enter_the_means() -> None:
    metric = SegMetric(NAMES, scored=[0, 1])
    gt = np.array([[0, 0, 1, 1]], np.uint8)
    pred = np.array([[0, 2, 1, 1]], np.uint8)  # one background pixel called hair: hurts background
    scores = metric.aggregate(rows(metric, [(gt, pred)]))(None)
    assert scores["miou"] == pytest.approx((0.5 + 1.0) / 2)
    assert "iou/hair" not in scores


def naive_boundary(mask: NDArray[np.bool_], d: int) -> NDArray[np.bool_]:
    """Iterated 3x3 erosion of the zero-padded mask, as the reference implementation does it."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=d)[1:-1, 1:-1]
    return mask & (eroded == 0)


@given(seed=st.integers(0, 10_000), ratio=st.sampled_from([0.02, 0.1, 0.6]), data=st.data())
@settings(max_examples=30, deadline=None)
def test_boundary_counts_of_noisy_maps_with_ignored_pixels_equal_the_iterated_erosion(
    seed: int, ratio: float, data: st.DataObject
) -> None:
    rng, shape = np.random.default_rng(seed), data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    gt, pred = smooth(seed, shape), smooth(seed + 1, shape)
    for labels in (gt, pred):
        is_noise = rng.random(shape) < 0.05
        labels[is_noise] = rng.integers(0, 3, is_noise.sum())
    gt[rng.random(shape) < 0.05], pred[rng.random(shape) < 0.05] = IGNORE, NO_CLASS
    d = max(1, round(ratio * math.hypot(*shape)))
    intersection, union = boundary_counts(gt, pred, 3, ratio)
    for c in range(3):
        a, b = naive_boundary(gt == c, d), naive_boundary((pred == c) & (gt != IGNORE), d)
        assert (intersection[c], union[c]) == ((a & b).sum(), (a | b).sum())


@pytest.mark.parametrize("seed", range(4))
def test_boundary_counts_equal_the_iterated_erosion(seed: int) -> None:
    gt, pred = smooth(seed, (60, 50)), smooth(seed + 5, (60, 50))
    d = max(1, round(0.05 * math.hypot(60, 50)))
    intersection, union = boundary_counts(gt, pred, 3, ratio=0.05)
    for c in range(3):
        a, b = naive_boundary(gt == c, d), naive_boundary(pred == c, d)
        assert (intersection[c], union[c]) == ((a & b).sum(), (a | b).sum())


def test_boundary_iou_of_a_perfect_prediction_is_one_and_of_a_shifted_one_less() -> None:
    gt = smooth(3, (80, 60))
    metric = BoundaryMetric(3)
    assert metric.aggregate(rows(metric, [(gt, gt)]))(None)["miou"] == 1.0
    shifted = np.roll(gt, 3, axis=1)
    assert metric.aggregate(rows(metric, [(gt, shifted)]))(None)["miou"] < 0.8


SPACE = SpaceCard(schema="space/1", id="s", title="s", kind="labels", source="test", names=NAMES)
PROTOCOL = EvalProtocol(task="seg", title="t", default=True)


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (np.full((4, 5), 3, np.uint8), "pred.label"),
        (np.full((4, 5), 255, np.uint8), "pred.label"),
        (np.full((4, 5), -1, np.int16), "pred.label"),
        (np.full((4, 5), 0.5), "pred.label"),
        (np.zeros((5, 4), np.uint8), "pred.shape"),
        (np.zeros((4, 5, 1), np.uint8), "pred.shape"),
        ("labels", "pred.shape"),
    ],
)
def test_a_faulty_prediction_becomes_a_miss(labels: object, code: str) -> None:
    target = SegTarget(np.ones((4, 5), np.uint8))
    clean, fault = Check(3)(SegPrediction(labels), None, target)  # type: ignore[arg-type]
    assert fault is not None
    assert (fault.code, fault.side) == (code, "prediction")
    metric = SegMetric(NAMES)
    scores = metric.aggregate(rows(metric, [(target.labels_HW, clean.labels_HW)]))(None)
    assert scores["iou/skin"] == 0.0
    assert scores["miou"] == 0.0  # nothing is gained for other classes


def test_a_label_without_a_scored_pixel_is_an_input_fault() -> None:
    target = SegTarget(np.full((4, 5), IGNORE, np.uint8))
    _, fault = Check(3)(SegPrediction(np.zeros((4, 5), np.uint8)), None, target)  # type: ignore[arg-type]
    assert fault is not None
    assert (fault.code, fault.side) == ("label.empty", "input")


def test_perfect_scores_one_and_miss_scores_zero() -> None:
    task = task_for(PROTOCOL, SPACE)
    target = SegTarget(smooth(1))
    for prediction, value in ((task.perfect(target), 1.0), (task.miss(target), 0.0)):
        metric = task.metrics[0]
        assert isinstance(metric, SegMetric)
        table = rows(metric, [(target.labels_HW, prediction.labels_HW)])
        assert metric.aggregate(table)(None)["miou"] == value
    assert perfect(target).labels_HW.max() < 3
    assert (miss(target).labels_HW == NO_CLASS).all()


def test_remapping_keeps_out_of_range_labels_out_of_range() -> None:
    index = np.array([0, 2, -1])
    found = remap(SegPrediction(np.array([[0, 1, 2, 3, 200]], np.uint8)), index)
    assert found.labels_HW.tolist() == [[0, 2, NO_CLASS, IGNORE, IGNORE]]


def test_unknown_scoring_keys_and_classes_are_named() -> None:
    with pytest.raises(CardError, match="'clases'"):
        task_for(PROTOCOL.model_copy(update={"scoring": {"clases": []}}), SPACE)
    with pytest.raises(CardError, match="'Nose'"):
        task_for(PROTOCOL.model_copy(update={"scoring": {"classes": ["Nose"]}}), SPACE)
    with pytest.raises(CardError, match="label set"):
        task_for(PROTOCOL, None)
