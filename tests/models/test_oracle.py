"""The models that see the ground truth."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sapiens_bench.errors import CardError, UsageError
from sapiens_bench.models.context import ModelContext
from sapiens_bench.models.oracle import NoisyOracle, Oracle, sample_generator
from sapiens_bench.tasks import task_kind, task_names
from sapiens_bench.tasks.depth.noise import DepthNoise
from sapiens_bench.tasks.depth.noise import add_noise as depth_noise
from sapiens_bench.tasks.normal.noise import NormalNoise
from sapiens_bench.tasks.normal.noise import add_noise as normal_noise
from sapiens_bench.tasks.pose.noise import PoseNoise
from sapiens_bench.tasks.pose.noise import add_noise as pose_noise
from sapiens_bench.tasks.pose.perfect import per_box
from sapiens_bench.tasks.pose.task import POSE
from sapiens_bench.tasks.pose.types import PosePrediction
from sapiens_bench.tasks.seg.noise import SegNoise
from sapiens_bench.tasks.seg.noise import add_noise as seg_noise
from sapiens_bench.types import ModelInput

NOTHING: Any = None


def context(prediction: Any, seed: int = 0, **options: Any) -> ModelContext:
    task: Any = SimpleNamespace(perfect=lambda target: prediction, per_box=per_box, kind=POSE, name="pose")
    card: Any = None
    variant: Any = SimpleNamespace(id="oracle")
    return ModelContext(card, variant, None, {}, "cpu", "fp32", None, PoseNoise(**options), lambda key: key, task, seed)


def pose(n: int = 3, k: int = 17, size: float = 100.0) -> PosePrediction:
    boxes = np.tile(np.array([[10.0, 20.0, 10.0 + size, 20.0 + size]]), (n, 1))
    points = np.full((n, k, 2), 50.0, np.float32)
    return PosePrediction(points, np.ones((n, k), np.float32), np.ones(n, np.float32), boxes)


def given(key: str, n: int = 3) -> ModelInput:
    boxes = np.tile(np.array([[10.0, 20.0, 110.0, 120.0]], np.float32), (n, 1))
    return ModelInput(key, np.zeros((2, 2, 3), np.uint8), boxes, np.ones(n, np.float32))


def answer(model: Oracle, key: str, n: int = 3) -> Any:
    prepared = model.prepare(given(key, n))
    assert prepared.tensors == {}
    return model.finish({}, prepared.geometry)


def test_the_oracle_returns_what_the_task_calls_perfect() -> None:
    best = pose()
    assert answer(Oracle(context(best)), "a") is best


def test_driven_by_other_boxes_the_oracle_answers_once_per_box() -> None:
    people = PosePrediction(
        np.array([[[20.0, 20.0]], [[220.0, 20.0]]], np.float32), np.ones((2, 1), np.float32), np.ones(2, np.float32),
        np.array([[0.0, 0.0, 40.0, 40.0], [200.0, 0.0, 240.0, 40.0]]),
    )  # fmt: skip
    boxes = np.array([[205, 5, 245, 45], [0, 0, 30, 40], [2, 2, 40, 40], [500, 500, 520, 540]], np.float32)
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    model = Oracle(context(people))
    found = model.finish({}, model.prepare(ModelInput("a", np.zeros((2, 2, 3), np.uint8), boxes, scores)).geometry)
    assert found.keypoints_NK2_px[:, 0].tolist() == [[220, 20], [20, 20], [20, 20], [510, 520]]
    np.testing.assert_array_equal(found.instance_scores_N, scores)
    nobody = per_box(pose(0), boxes, scores)
    np.testing.assert_array_equal(nobody.keypoints_NK2_px[0, 0], [225, 25])


def test_without_targets_an_oracle_cannot_be_built() -> None:
    blind: Any = SimpleNamespace(targets=None, task=None, variant=SimpleNamespace(id="oracle"))
    with pytest.raises(UsageError, match="sees the ground truth"):
        Oracle(blind)


def test_noise_depends_on_seed_and_key_alone() -> None:
    first = answer(NoisyOracle(context(pose())), "a")
    model = NoisyOracle(context(pose()))
    answer(model, "b")  # another image in between changes nothing
    again = answer(model, "a")
    np.testing.assert_array_equal(first.keypoints_NK2_px, again.keypoints_NK2_px)
    assert not np.array_equal(first.keypoints_NK2_px, answer(model, "b").keypoints_NK2_px)
    other = answer(NoisyOracle(context(pose(), seed=1)), "a")
    assert not np.array_equal(first.keypoints_NK2_px, other.keypoints_NK2_px)


def test_draws_are_the_same_on_every_machine() -> None:
    """Philox keyed by SHA-256: these digits must never change, or golden scores would."""
    assert sample_generator(0, "a").integers(0, 1 << 32, 3).tolist() == EXPECTED


EXPECTED = [2973795385, 1737151923, 1365865705]


def test_pose_jitter_has_the_stated_size() -> None:
    options = PoseNoise(jitter=0.05, lost=0.0)
    noisy = pose_noise(pose(200), NOTHING, sample_generator(0, "a"), options)
    shift = noisy.keypoints_NK2_px - 50.0
    assert shift.std() == pytest.approx(5.0, rel=0.03)  # 5 % of a 100 px box
    assert shift.mean() == pytest.approx(0.0, abs=0.2)
    assert noisy.keypoint_scores_NK.max() <= 1.0
    assert 0.9 <= noisy.instance_scores_N.min() <= noisy.instance_scores_N.max() <= 1.0


def test_lost_points_lie_in_the_box_with_little_confidence() -> None:
    options = PoseNoise(lost=1.0)
    noisy = pose_noise(pose(50), NOTHING, sample_generator(0, "a"), options)
    assert (noisy.keypoints_NK2_px >= (10, 20)).all()
    assert (noisy.keypoints_NK2_px <= (110, 120)).all()
    assert np.unique(noisy.keypoint_scores_NK).tolist() == [0.25]


def test_nobody_stays_nobody() -> None:
    noisy = answer(NoisyOracle(context(pose(0))), "a", n=0)
    assert noisy.keypoints_NK2_px.shape == (0, 17, 2)


def test_options_of_the_card_are_used() -> None:
    exact = answer(NoisyOracle(context(pose(), jitter=0.0, lost=0.0, drop=0.0)), "a")
    np.testing.assert_array_equal(exact.keypoints_NK2_px, pose().keypoints_NK2_px)


def test_a_task_without_noise_is_named() -> None:
    given = context(pose())
    given.task.kind = replace(POSE, noise=None)
    with pytest.raises(CardError, match="'pose' has no noise"):
        NoisyOracle(given)


def test_noise_of_dense_predictions() -> None:
    import dataclasses

    seg_type = dataclasses.make_dataclass("SegPrediction", ["labels_HW"])
    depth_type = dataclasses.make_dataclass("DepthPrediction", ["depth_HW", "kind"])
    normal_type = dataclasses.make_dataclass("NormalPrediction", ["normals_HW3"])
    rng = sample_generator(0, "a")
    labels = (np.arange(10000) % 4).reshape(100, 100).astype(np.uint8)
    seg = seg_noise(seg_type(labels), NOTHING, rng, SegNoise(flip=0.4))
    assert (seg.labels_HW != labels).mean() == pytest.approx(0.3, abs=0.02)  # a quarter of the flips draw the same
    assert seg.labels_HW.dtype == np.uint8
    depth = depth_noise(
        depth_type(np.full((100, 100), 2.0, np.float32), "metric_depth"), NOTHING, rng, DepthNoise(relative=0.05)
    )
    assert depth.depth_HW.std() == pytest.approx(0.1, rel=0.05)
    assert (depth.kind, depth.depth_HW.dtype) == ("metric_depth", np.float32)
    flat = np.zeros((100, 100, 3), np.float32)
    flat[..., 2] = 1
    normal = normal_noise(normal_type(flat), NOTHING, rng, NormalNoise(sigma=0.2))
    np.testing.assert_allclose(np.linalg.norm(normal.normals_HW3, axis=-1), 1, atol=1e-6)
    assert 0 < np.degrees(np.arccos(normal.normals_HW3[..., 2])).mean() < 30


@pytest.mark.parametrize("name", task_names())
def test_every_noise_has_defaults(name: str) -> None:
    noise = task_kind(name).noise
    assert noise is not None
    assert noise.Options()
