"""Protocols that score points which a model's set does not have as misses, as the official 308 -> 133 code does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.cards.schema import EvalProtocol, SpaceCard
from sapiens_bench.errors import CardError, ShapeError
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget
from sapiens_bench.types import Task

SPACE = SpaceCard(
    schema="space/1", id="three", title="three", kind="keypoints", source="a test", names=("a", "b", "c"),
    sigmas=(0.05, 0.05, 0.05),
)  # fmt: skip
INDEX = np.array([1, -1, 0])  # a from the model's second point, b from nowhere, c from its first


def task(**scoring: object) -> Task:
    return task_for(EvalProtocol(task="pose", title="t", space="three", scoring=scoring), SPACE)


def one_person() -> tuple[PoseTarget, PosePrediction]:
    """Truth at three places far apart; a model of two points that finds both of its own exactly."""
    points = np.array([[[1000.0, 1000.0], [2000.0, 1000.0], [1500.0, 1800.0]]])
    box = np.array([[900.0, 900.0, 2100.0, 1900.0]])
    target = PoseTarget(
        keypoints_NK2_px=points, visible_NK=np.full((1, 3), 2, np.float32), area_N=np.array([1e5]),
        is_crowd_N=np.zeros(1, bool), boxes_xyxy_px_N4=box, ids_N=np.array([7]),
    )  # fmt: skip
    prediction = PosePrediction(
        keypoints_NK2_px=points[:, [2, 0]].astype(np.float32), keypoint_scores_NK=np.ones((1, 2), np.float32),
        instance_scores_N=np.ones(1, np.float32), boxes_xyxy_px_N4=box.astype(np.float32),
    )  # fmt: skip
    return target, prediction


def test_missing_points_lie_at_the_origin_without_score_and_cost_their_share() -> None:
    lenient = task(unmapped="miss")
    assert lenient.partial_maps
    assert lenient.remap is not None
    target, prediction = one_person()
    mapped = lenient.remap(prediction, INDEX)
    assert mapped.keypoints_NK2_px[0].tolist() == [[1000, 1000], [0, 0], [1500, 1800]]
    assert mapped.keypoint_scores_NK[0].tolist() == [1, 0, 1]
    assert mapped.keypoints_NK2_px.dtype == mapped.keypoint_scores_NK.dtype == np.float32
    (metric,) = lenient.metrics
    row = {f"oks/{name}": value for name, value in metric.measure(target, mapped).items()}
    columns = {name: pa.array([np.asarray(value).tolist()]) for name, value in row.items()}
    scores = metric.aggregate(pa.table(columns))(None)
    # Two of three points are exact and the third is a world away: OKS 2/3, which passes 0.50, 0.55, 0.60 and 0.65.
    assert scores["AP"] == pytest.approx(0.4)
    assert scores["AR"] == pytest.approx(0.4)


def test_by_default_an_incomplete_map_is_refused() -> None:
    strict = task()
    assert not strict.partial_maps
    assert strict.remap is not None
    with pytest.raises(ShapeError, match="of a set of 2"):
        strict.remap(one_person()[1], INDEX)


def test_a_map_may_not_point_outside_the_set_either_way() -> None:
    lenient = task(unmapped="miss")
    assert lenient.remap is not None
    for bad in (-2, 2):
        with pytest.raises(ShapeError):
            lenient.remap(one_person()[1], np.array([0, 1, bad]))


def test_an_unknown_rule_is_named() -> None:
    with pytest.raises(CardError, match="option 'unmapped': Input should be 'refuse' or 'miss'"):
        task(unmapped="zero")
