"""AP of joints: hand-made people, an independent formula with plain loops, and laws."""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CardError
from sapiens_bench.tasks.pose import task as pose
from sapiens_bench.tasks.pose.joint_ap import JointApMetric, inside
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.pck import PckMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, empty_prediction

NAMES = ("nose", "head_bottom", "head_top", "left_knee", "right_knee")
K = len(NAMES)
SCORING = PoseScoring(nms_oks=None, pck="head", joint_ap=True)
Image = tuple[PoseTarget, PosePrediction]


def metric(**changes: Any) -> JointApMetric:
    scoring = SCORING.model_copy(update=changes)
    return JointApMetric(NAMES, OksMetric([0.1] * K, {}, scoring), PckMetric(NAMES, scoring))


def scores(of: JointApMetric, images: list[Image], weights: Any = None) -> dict[str, float]:
    rows = [of.measure(*image) for image in images]
    table = pa.table({f"joint_ap/{name}": [row[name] for row in rows] for name in rows[0]})
    return of.aggregate(table)(weights)


def person(x: float, y: float = 0.0) -> np.ndarray[Any, Any]:
    return np.array([[x, y], [x, y + 10], [x, y - 10], [x - 5, y + 60], [x + 5, y + 60.0]])


def target(*people: Any, visible: Any = None, **changes: Any) -> PoseTarget:
    points, n = np.array(people).reshape(-1, K, 2), len(people)
    made = PoseTarget(
        points, np.ones((n, K), np.float32) if visible is None else np.asarray(visible, np.float32), np.full(n, 900.0),
        np.zeros(n, bool), np.tile([0, 0, 50.0, 50.0], (n, 1)), np.arange(1, n + 1), head_size_px_N=np.full(n, 20.0),
    )  # fmt: skip
    return replace(made, **changes)


def found(*people: Any, joint_scores: Any = None) -> PosePrediction:
    points, n = np.array(people).reshape(-1, K, 2), len(people)
    given_scores = np.ones((n, K)) if joint_scores is None else np.asarray(joint_scores, np.float64)
    return PosePrediction(points, given_scores, np.ones(n), np.tile(np.float32([0, 0, 50, 50]), (n, 1)))


def test_truth_as_results_scores_one_and_nobody_found_scores_zero() -> None:
    truth = target(person(0), person(200))
    best = scores(metric(), [(truth, found(person(200), person(0)))])
    assert best == {"mAP": 1.0, "head/AP": 1.0, "knee/AP": 1.0}
    assert set(scores(metric(), [(truth, empty_prediction(K))]).values()) == {0.0}


def test_a_false_person_ranked_first_halves_every_joint_and_ranked_last_none() -> None:
    truth = target(person(0))
    for stray_score, ap in ((2.0, 0.5), (0.5, 1.0)):
        answer = found(person(0), person(500), joint_scores=[[1.0] * K, [stray_score] * K])
        assert scores(metric(), [(truth, answer)])["mAP"] == ap


def test_the_threshold_is_half_a_head_and_a_joint_that_is_not_labelled_is_a_false_positive() -> None:
    for offset, ap in ((10.0, 1.0), (10.01, 0.0)):
        moved = person(0)
        moved[3, 0] += offset
        assert scores(metric(), [(target(person(0)), found(moved))])["knee/AP"] == pytest.approx((ap + 1) / 2)
    hidden = target(person(0), person(300), visible=[[1] * K, [0, 1, 1, 1, 1]])
    answer = found(person(0), person(300), joint_scores=[[0.5] * K, [0.9] * K])
    assert scores(metric(), [(hidden, answer)])["head/AP"] == pytest.approx((0.5 + 1 + 1) / 3)


def test_one_instance_for_each_person_and_the_better_one() -> None:
    near, far = person(0), person(0)
    far[:3] += 30
    answer = found(far, near, joint_scores=[[0.9] * K, [0.5] * K])
    assert scores(metric(), [(target(person(0)), answer)])["mAP"] == 0.5  # the worse one is all wrong, and ranked first


def test_images_without_people_and_ignored_regions_take_no_part() -> None:
    answer = found(person(0), person(500), joint_scores=[[1.0] * K, [2.0] * K])
    sound = (target(person(0)), found(person(0)))
    assert scores(metric(), [sound, (target(), answer)])["mAP"] == 1.0
    box = np.array([[450, -50], [550, -50], [550, 100], [450, 100.0]])
    assert scores(metric(), [(target(person(0), ignored_regions=(box,)), answer)])["mAP"] == 1.0
    both = target(person(0), person(500), ignored_regions=(box,))
    assert scores(metric(), [(both, found(person(0)))])["mAP"] == 1.0  # nor do the labelled points in it
    crowd = target(person(0), person(500), is_crowd_N=np.array([False, True]))
    assert scores(metric(), [(crowd, found(person(0)))])["mAP"] == 1.0


def test_a_joint_that_is_labelled_nowhere_is_not_in_the_mean() -> None:
    truth = target(person(0), visible=[[1, 1, 1, 0, 0]])
    given_scores = scores(metric(), [(truth, found(person(0)))])
    assert (given_scores["mAP"], math.isnan(given_scores["knee/AP"])) == (1.0, True)
    assert set(metric(pck_leave_out=("left_knee", "right_knee")).scores) == {"mAP", "head/AP"}


def by_hand(images: list[Image]) -> dict[str, float]:
    """The same with loops over everything, and every copy of an image an image of its own."""
    ranked: list[list[tuple[float, bool]]] = [[] for _ in range(K)]
    n_points = [0] * K
    for truth, answer in images:
        people = [p for p in range(len(truth.area_N)) if truth.visible_NK[p].any()]
        if not len(truth.area_N):
            continue
        for k in range(K):
            n_points[k] += int(sum(truth.visible_NK[p, k] > 0 for p in people))
        best: dict[int, tuple[float, int]] = {}
        right: dict[tuple[int, int], list[bool]] = {}
        for n in range(len(answer.instance_scores_N)):
            shares = []
            for p in people:
                away = np.linalg.norm(answer.keypoints_NK2_px[n] - truth.keypoints_NK2_px[p], axis=1)
                right[n, p] = ((away <= 0.5 * truth.head_size_px_N[p]) & (truth.visible_NK[p] > 0)).tolist()  # type: ignore[index]
                shares.append(sum(right[n, p]) / int((truth.visible_NK[p] > 0).sum()))
            if shares and max(shares) > best.get(people[int(np.argmax(shares))], (0.0, -1))[0]:
                best[people[int(np.argmax(shares))]] = (max(shares), n)
        owner = {n: p for p, (_, n) in best.items()}
        for n in range(len(answer.instance_scores_N)):
            for k in range(K):
                is_right = n in owner and right[n, owner[n]][k]
                ranked[k].append((float(answer.keypoint_scores_NK[n, k]), bool(is_right)))
    aps = []
    for k in range(K):
        in_order = sorted(ranked[k], key=lambda pair: -pair[0])
        hits, curve = 0, []
        for place, (_, is_right) in enumerate(in_order, start=1):
            hits += is_right
            curve.append((hits, hits / place))
        if n_points[k]:
            steps = [max(p for h, p in curve if h >= level) for level in range(1, hits + 1)]
            aps.append(sum(steps) / n_points[k])
    return {"mAP": float(np.mean(aps)) if aps else math.nan}


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_images_score_as_by_hand_and_weights_are_copies(poses: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, predictions = poses.suite(seed, 6, K)
    images = []
    for truth, answer in zip(targets, predictions, strict=True):
        n = len(truth.area_N)
        plain = replace(truth, is_crowd_N=np.zeros(n, bool), head_size_px_N=rng.uniform(20, 200, n))
        unequal = rng.permutation(1000)[: answer.keypoint_scores_NK.size].reshape(answer.keypoint_scores_NK.shape) / 1e3
        images.append((plain, replace(answer, keypoint_scores_NK=unequal + rng.uniform(0, 1e-6))))
    ours = scores(metric(), images)["mAP"]
    assert ours == pytest.approx(by_hand(images)["mAP"], abs=1e-12, nan_ok=True)
    weights = rng.integers(0, 3, 6)
    copies = [image for image, times in zip(images, weights, strict=True) for _ in range(times)]
    assert scores(metric(), images, weights)["mAP"] == pytest.approx(by_hand(copies)["mAP"], abs=1e-12, nan_ok=True)


def test_points_in_a_polygon_with_a_notch() -> None:
    notch = np.array([[0, 0], [10, 0], [10, 10], [5, 5], [0, 10.0]])
    points = np.array([[[1, 1], [5, 8], [9, 8], [11, 5], [-1, 5.0]]])
    assert inside(points, notch)[0].tolist() == [True, False, True, False, False]


def test_posetrack_is_ranked_by_it_and_it_needs_a_length() -> None:
    catalog = Catalog.load()
    space = catalog.space("posetrack-17")
    protocol = catalog.dataset("posetrack18").protocols["gt-box"]
    made = pose.make(read_options(PoseScoring, protocol.scoring, "test"), space)
    assert made.headline == "joint_ap/mAP"
    assert set(made.metrics[-1].scores) == {"mAP", *(f"{part}/AP" for part in (
        "head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"))}  # fmt: skip
    with pytest.raises(CardError, match="needs pck"):
        pose.make(PoseScoring(joint_ap=True), space)
