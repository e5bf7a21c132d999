"""OKS scoring against pycocotools in the same run, equal bit for bit, and the bootstrap of AP.

Both sides get data in memory: pycocotools the dicts of its files, ours the records of adapters and models. The ratio of
the two is in ``extra_info`` (best of the rounds on either side).
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.stats.bootstrap import draw_weights, intervals
from sapiens_bench.tasks.pose.export import coco_results
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

PLAIN = PoseScoring(nms_oks=None, score="instance")
Suite = tuple[list[PoseTarget], list[PosePrediction]]


@pytest.fixture(scope="module")
def poses(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_poses", repository / "tests" / "fakes" / "poses.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def suite(n_images: int, k: int, n_detections: tuple[int, int] | None, seed: int = 0) -> Suite:
    """Two persons an image; one noisy detection for each, or between so and so many for either."""
    rng = np.random.default_rng(seed)
    targets, predictions = [], []
    for _ in range(n_images):
        corner, size = np.round(rng.uniform(0, 600, (2, 2))), np.round(rng.uniform(60, 400, (2, 2)))
        keypoints = np.round(corner[:, None] + rng.uniform(0, 1, (2, k, 2)) * size[:, None], 2)
        visible = np.where(rng.random((2, k)) < 0.8, 2.0, 0.0) * (rng.random((2, 1)) > 0.03)
        area = np.round(size.prod(axis=1) * 0.5, 2)
        boxes = np.concatenate([corner, corner + size], axis=1)
        is_crowd = rng.random(2) < 0.02
        targets.append(PoseTarget(keypoints, visible.astype(np.float32), area, is_crowd, boxes, np.array([1, 2])))
        source = np.arange(2) if n_detections is None else rng.integers(0, 2, rng.integers(*n_detections))
        noise = rng.exponential(0.05, len(source)) + 0.3 * (rng.random(len(source)) < 0.15)
        offset = rng.normal(size=(len(source), k, 2)) * (noise * np.sqrt(area[source]))[:, None, None]
        predictions.append(
            PosePrediction(
                keypoints_NK2_px=(keypoints[source] + offset).astype(np.float32),
                keypoint_scores_NK=rng.random((len(source), k)).astype(np.float32),
                instance_scores_N=np.round(rng.uniform(0.7, 1, len(source)) / (1 + 8 * noise), 3).astype(np.float32),
                boxes_xyxy_px_N4=boxes[source].astype(np.float32),
            )
        )
    return targets, predictions


def ours(metric: OksMetric, targets: list[PoseTarget], predictions: list[PosePrediction]) -> dict[str, float]:
    return metric.aggregate(metric.measure_many(targets, predictions))(None)


def seconds(function: Callable[[], Any], rounds: int) -> float:
    """Fastest of the rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize(
    ("name", "n_images", "k", "n_detections", "goal"),
    [
        ("5000 instances, 17 keypoints, one detection each", 2500, 17, None, 20),
        ("5000 instances, 17 keypoints, 5 to 20 detections an image", 2500, 17, (5, 21), 10),
        ("5000 instances, 308 keypoints, one detection each", 2500, 308, None, 5),
        ("1000 instances, 308 keypoints, 5 to 20 detections an image", 500, 308, (5, 21), 5),
    ],
)
def test_ours_against_pycocotools(
    benchmark: Any,
    poses: ModuleType,
    name: str,
    n_images: int,
    k: int,
    n_detections: tuple[int, int] | None,
    goal: float,
) -> None:
    targets, predictions = suite(n_images, k, n_detections)
    metric = OksMetric([0.05] * k, {}, PLAIN)
    truth, results = poses.coco_truth(targets), coco_results(predictions, range(1, n_images + 1), metric)
    for result in results:
        del result["bbox"]  # one group: the area of all points, as loadRes takes it from a plain file
    evaluation = poses.Pycocotools(truth, results, [0.05] * k)
    theirs = evaluation.run()
    mine = benchmark.pedantic(ours, (metric, targets, predictions), rounds=5, warmup_rounds=1)
    assert mine == theirs
    slow = seconds(evaluation.run, 2)
    ratio = slow / benchmark.stats.stats.min
    benchmark.extra_info |= {"case": name, "pycocotools_s": slow, "ratio": ratio, "goal": goal}


@pytest.fixture(scope="module")
def large() -> tuple[OksMetric, pa.Table]:
    """5,000 images, 10,000 people, about 62,000 detections."""
    metric = OksMetric([0.05] * 17, {"upper": range(11)}, PoseScoring(nms_oks=None, score="instance"))
    return metric, metric.measure_many(*suite(5000, 17, (5, 21)))


@pytest.mark.parametrize("keys", [("AP",), ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")])
def test_thousand_bootstrap_draws_of_5000_images(
    benchmark: Any, large: tuple[OksMetric, pa.Table], keys: tuple[str, ...]
) -> None:
    metric, rows = large
    weights = draw_weights([str(i) for i in range(5000)], 1000, 0)
    scores = metric.aggregate(rows)
    found = benchmark.pedantic(intervals, (scores, weights), {"keys": keys, "n_groups": 5000}, rounds=2)
    assert all(i.low < i.value < i.high for i in found.values())
    single = scores(weights[7])
    assert all(scores.batch(weights[7:8], [key])[key][0] == single[key] for key in keys)


def test_scoring_one_image_at_a_time(benchmark: Any) -> None:
    """What a run pays per image with the default score rule and OKS-NMS, 17 keypoints, 12 detections."""
    targets, predictions = suite(50, 17, (12, 13))
    metric = OksMetric([0.05] * 17, {}, PoseScoring())
    benchmark(lambda: [metric.measure(t, p) for t, p in zip(targets, predictions, strict=True)])
    benchmark.extra_info["ms_per_image"] = benchmark.stats.stats.min * 1000 / 50
