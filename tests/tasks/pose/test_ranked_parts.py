"""Parts that results rank by scores of their own, among others that do not, in one pass over all images."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget, ResultScores, empty_prediction

K = 14
PARTS = {"body": range(6), "foot": range(6, 9), "left_hand": range(9, 11), "right_hand": range(11, 14)}
RANKED = ("whole", "foot", "left_hand", "right_hand")


def metric_of(max_detections: int = 20, nms_oks: float | None = 0.9) -> OksMetric:
    return OksMetric([0.08] * K, PARTS, PoseScoring(max_detections=max_detections, nms_oks=nms_oks))


def ranked(
    rng: np.random.Generator, prediction: PosePrediction, names: tuple[str, ...], **flags: Any
) -> PosePrediction:
    n = len(prediction.instance_scores_N)
    area = rng.uniform(100, 20_000, n) if rng.random() < 0.5 else None
    parts = {name: np.round(rng.random(n), 1) for name in names}
    return replace(prediction, results=ResultScores(parts=parts, area_N=area, **flags))


def mixed(poses: ModuleType, seed: int, n_images: int) -> tuple[list[PoseTarget], list[PosePrediction]]:
    """Results that rank all, some or no parts, final or not, beside a model's own and misses, in two number types."""
    rng = np.random.default_rng(seed)
    targets, predictions = poses.suite(seed, n_images, K)
    for i, target in enumerate(targets):
        if rng.random() < 0.3:
            targets[i] = replace(target, is_ignored_N=rng.random(len(target.area_N)) < 0.3)
        prediction = predictions[i]
        if rng.random() < 0.3:
            prediction = replace(prediction, keypoint_scores_NK=prediction.keypoint_scores_NK.astype(np.float64))
        prediction.keypoint_scores_NK[rng.random(len(prediction.keypoint_scores_NK)) < 0.2, 6:9] = 0
        names = tuple(name for name in RANKED if rng.random() < 0.5)
        predictions[i] = [
            prediction,
            empty_prediction(K),
            ranked(rng, prediction, RANKED),
            ranked(rng, prediction, names),
            ranked(rng, prediction, (), is_final=False, is_suppressed=bool(rng.integers(2))),
        ][rng.integers(5)]
    return targets, predictions


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """As rows on disk are read: columns that a row lacks are null."""
    kinds = {key: pa.list_(pa.float64() if "scores" in key else pa.int64()) for row in rows for key in row}
    return pa.table({f"oks/{key}": pa.array([row.get(key) for row in rows], kind) for key, kind in kinds.items()})


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), limit=st.sampled_from([1, 3, 20]), nms=st.sampled_from([None, 0.7]))
def test_every_row_is_the_one_its_image_has_alone(poses: ModuleType, seed: int, limit: int, nms: float | None) -> None:
    targets, predictions = mixed(poses, seed, 9)
    metric = metric_of(limit, nms)
    together = metric.measure_many(targets, predictions)
    for row, target, prediction in zip(together, targets, predictions, strict=True):
        alone = metric.measure(target, prediction)
        assert list(row) == list(alone)
        for key, value in alone.items():
            np.testing.assert_array_equal(row[key], value, strict=True)
    direct = metric.measure_table(targets, predictions)
    on_disk = table_of([{k: v for k, v in row.items() if f"oks/{k}" in direct.column_names} for row in together])
    assert {name: direct[name].to_pylist() for name in sorted(direct.column_names)} == {
        name: on_disk[name].to_pylist() for name in sorted(on_disk.column_names)
    }


@pytest.mark.parametrize("names", [(), ("foot",), ("whole",), RANKED])
def test_a_part_is_scored_as_if_its_scores_were_those_of_the_instances(
    poses: ModuleType, names: tuple[str, ...]
) -> None:
    """Also the body, which instance scores rank where the whole set has scores of its own."""
    rng = np.random.default_rng(7)
    targets, predictions = poses.suite(7, 30, K)
    metric = metric_of(max_detections=4)
    results = [ranked(rng, prediction, names) for prediction in predictions]
    found = metric.aggregate(metric.measure_table(targets, results))(None)
    assert not np.isnan([found[f"{part}/AP"] if part else found["AP"] for part in metric.groups]).any()
    for part in metric.groups:
        own = part or "whole"
        plain = []
        for p in results:
            scores = p.results.parts.get(own, p.instance_scores_N)
            plain.append(replace(p, instance_scores_N=scores, results=replace(p.results, parts={})))
        expected = metric.aggregate(metric.measure_table(targets, plain))(None)
        keys = [key for key in found if key.rpartition("/")[0] == part]
        assert len(keys) == 10
        assert {key: found[key] for key in keys} == {key: expected[key] for key in keys}


def test_images_that_rank_a_part_stand_beside_others_in_one_score(poses: ModuleType) -> None:
    """A part's own scores equal to the instances' change nothing, whichever images have them."""
    rng = np.random.default_rng(3)
    targets, predictions = poses.suite(3, 30, K)
    metric = metric_of()
    plain = [ranked(rng, prediction, ()) for prediction in predictions]
    some = [
        replace(p, results=replace(p.results, parts={"foot": p.instance_scores_N.astype(np.float64)})) if i % 3 else p
        for i, p in enumerate(plain)
    ]
    expected = metric.aggregate(metric.measure_table(targets, plain))(None)
    on_disk = table_of(metric.measure_many(targets, some))
    assert metric.aggregate(on_disk)(None) == expected
    assert metric.aggregate(pa.concat_tables([on_disk.slice(0, 20), on_disk.slice(20)]))(None) == expected
    assert metric.aggregate(metric.measure_table(targets, some))(None) == expected
