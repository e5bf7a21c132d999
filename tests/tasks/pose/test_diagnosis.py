"""Where AP is lost: planted errors are found as what they are, and losses and AP add up to 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.tasks.pose.diagnosis import KINDS, Diagnosis, diagnose
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.pairing import pair
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

FLIP = (0, 2, 1, 4, 3)  # one point in the middle, two mirrored pairs
SIGMAS = [0.05] * 5
SCORING = PoseScoring(score="instance", nms_oks=None)
SHAPE = np.array([[50.0, 10], [20, 40], [80, 40], [20, 90], [80, 90]])
N_IMAGES = 40


def metric(k: int = 5) -> OksMetric:
    return OksMetric([0.05] * k, {}, SCORING)


def target(*shifts: float) -> PoseTarget:
    """People of the same shape side by side."""
    points = np.stack([SHAPE + np.array([shift, 0]) for shift in shifts])
    n = len(points)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    return PoseTarget(points, np.full((n, 5), 2.0, np.float32), np.full(n, 4800.0), np.zeros(n, bool), boxes,
                      np.arange(n))  # fmt: skip


def perfect(truth: PoseTarget) -> PosePrediction:
    n, k = truth.visible_NK.shape
    return PosePrediction(truth.keypoints_NK2_px.copy(), np.ones((n, k), np.float32),
                          np.linspace(0.9, 0.8, n).astype(np.float32), truth.boxes_xyxy_px_N4)  # fmt: skip


def diagnosed(spoil: Callable[[int, PosePrediction], PosePrediction], *shifts: float) -> Diagnosis:
    truths = [target(*(shifts or (0.0, 400.0))) for _ in range(N_IMAGES)]
    predictions = [spoil(i, perfect(truth)) for i, truth in enumerate(truths)]
    return diagnose(metric(), pair(metric(), truths, predictions), FLIP)


def moved(prediction: PosePrediction, person: int, points: dict[int, np.ndarray]) -> PosePrediction:
    for k, place in points.items():
        prediction.keypoints_NK2_px[person, k] = place
    return prediction


def test_a_perfect_model_loses_nothing() -> None:
    found = diagnosed(lambda i, p: p)
    assert found.ap == pytest.approx(1.0)
    assert max(map(abs, found.lost.values())) < 1e-12
    assert found.keypoints == {"good": N_IMAGES * 10, "jitter": 0, "inversion": 0, "swap": 0, "miss": 0}


def invert(i: int, p: PosePrediction) -> PosePrediction:
    own = p.keypoints_NK2_px[0].copy()
    return moved(p, 0, {1: own[2], 2: own[1]})


def swap(i: int, p: PosePrediction) -> PosePrediction:
    return moved(p, 0, {k: p.keypoints_NK2_px[1, k].copy() for k in (3, 4)})


def miss(i: int, p: PosePrediction) -> PosePrediction:
    return moved(p, 0, {k: np.array([50.0, 200.0]) for k in (3, 4)})


def jitter(i: int, p: PosePrediction) -> PosePrediction:
    return moved(p, 0, {k: p.keypoints_NK2_px[0, k] + np.array([6.0, 0]) for k in range(5)})  # similarity 0.69


def background(i: int, p: PosePrediction) -> PosePrediction:
    ghost = PosePrediction(SHAPE[None] + np.array([0, 1000]), np.ones((1, 5), np.float32), np.ones(1, np.float32),
                           np.zeros((1, 4)))  # fmt: skip
    return PosePrediction(*(np.concatenate([getattr(p, f), getattr(ghost, f)]) for f in (
        "keypoints_NK2_px", "keypoint_scores_NK", "instance_scores_N", "boxes_xyxy_px_N4")))  # fmt: skip


def lose(i: int, p: PosePrediction) -> PosePrediction:
    return p.take(np.array([1]))


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [("inversion", invert), ("swap", swap), ("miss", miss), ("jitter", jitter), ("background", background),
     ("not found", lose)],
)  # fmt: skip
def test_a_planted_error_is_named_and_loses_all_that_is_lost(
    kind: str, spoil: Callable[[int, PosePrediction], PosePrediction]
) -> None:
    """The spoilt person has the higher score, so its failing thresholds put false positives first as well."""
    found = diagnosed(spoil)
    # The spoilt person is ranked first, so part of what a keypoint error costs is its wrong rank.
    by_rank = found.lost["score order"] if kind in ("inversion", "swap", "miss", "jitter") else 0.0
    assert found.ap < 0.95
    assert found.lost[kind] > 0.05
    assert found.lost[kind] + by_rank == pytest.approx(1.0 - found.ap, abs=1e-9)


@pytest.mark.parametrize(("kind", "spoil", "n"), [("inversion", invert, 2), ("swap", swap, 2), ("miss", miss, 2),
                                                  ("jitter", jitter, 5)])  # fmt: skip
def test_planted_keypoints_are_counted_as_what_they_are(
    kind: str, spoil: Callable[[int, PosePrediction], PosePrediction], n: int
) -> None:
    found = diagnosed(spoil)
    others = {name: count for name, count in found.keypoints.items() if name not in (kind, "good")}
    assert found.keypoints[kind] == n * N_IMAGES
    assert set(others.values()) == {0}
    assert found.classes_KC.sum() == N_IMAGES * 10


def test_scores_that_rank_bad_poses_first_lose_by_score_order_alone_once_the_poses_are_right() -> None:
    """By hand: half the images hold a pose that fails every threshold, ranked above all good ones."""

    def spoil(i: int, p: PosePrediction) -> PosePrediction:
        scores = np.array([0.9 if i < N_IMAGES // 2 else 0.5], np.float32)
        p = PosePrediction(p.keypoints_NK2_px, p.keypoint_scores_NK, scores, p.boxes_xyxy_px_N4)
        return moved(p, 0, {k: np.array([50.0, 300.0 + 50 * k]) for k in range(1, 5)}) if i < N_IMAGES // 2 else p

    found = diagnosed(spoil, 0.0)
    # 20 wrong ones first: precision is 1/21 .. 20/40, its envelope 0.5 up to recall 0.5; sorted rightly it is 1 there
    assert found.ap == pytest.approx(0.5 * 51 / 101)
    assert found.lost["score order"] == pytest.approx(0.5 * 51 / 101)
    assert found.lost["miss"] == pytest.approx(50 / 101)


def test_without_mirror_images_an_inversion_is_a_miss() -> None:
    truth = target(0.0)
    found = diagnose(metric(), pair(metric(), [truth], [invert(0, perfect(truth))]))
    assert (found.keypoints["inversion"], found.keypoints["miss"]) == (0, 2)


def test_nobody_to_find_gives_no_number_and_no_error() -> None:
    empty = PoseTarget(np.zeros((0, 5, 2)), np.zeros((0, 5), np.float32), np.zeros(0), np.zeros(0, bool),
                       np.zeros((0, 4)), np.zeros(0, np.int64))  # fmt: skip
    found = diagnose(metric(), pair(metric(), [empty], [perfect(target(0.0))]), FLIP)
    assert np.isnan(found.ap)
    assert np.isnan(list(found.lost.values())).all()
    assert (found.n_people, found.n_background) == (0, 1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.sampled_from([1, 5, 17, 40]), crowd=st.booleans())
def test_for_any_set_of_points_the_losses_and_the_ap_of_the_metric_add_up_to_one(
    seed: int, k: int, crowd: bool
) -> None:
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for _ in range(6):
        n, m = int(rng.integers(0, 4)), int(rng.integers(0, 5))
        points = rng.uniform(0, 100, (n, k, 2))
        is_crowd = (rng.random(n) < 0.3) if crowd else np.zeros(n, bool)
        truths.append(PoseTarget(points, rng.integers(0, 3, (n, k)).astype(np.float32), rng.uniform(500, 9000, n),
                                 is_crowd, np.zeros((n, 4)), np.arange(n)))  # fmt: skip
        near = points[rng.integers(0, n, m)] + rng.normal(0, 5, (m, k, 2)) if n else rng.uniform(0, 100, (m, k, 2))
        predictions.append(PosePrediction(near, rng.random((m, k)).astype(np.float32),
                                          rng.random(m).round(1).astype(np.float32), np.zeros((m, 4))))  # fmt: skip
    scored = metric(k)
    found = diagnose(scored, pair(scored, truths, predictions), list(range(k))[::-1])
    rows = pa.Table.from_pylist([{f"oks/{n}": v for n, v in row.items()} for row in
                                 scored.measure_many(truths, predictions)])  # fmt: skip
    ap = scored.aggregate(rows)(None)["AP"]
    assert found.ap == pytest.approx(ap, abs=1e-12, nan_ok=True)
    assert tuple(found.lost) == KINDS
    if np.isfinite(ap):
        assert found.ap + sum(found.lost.values()) == pytest.approx(1.0, abs=1e-12)
        assert found.lost["not found"] > -1e-9
