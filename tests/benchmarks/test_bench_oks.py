"""OKS scoring against pycocotools in one process and thread, equal bit for bit, and the bootstrap of AP.

Ratios are of CPU seconds. "Evaluation" begins, on either side, after its own way of reading: pycocotools with indexed
annotations and results, ours with people and detections laid out as arrays. The sets are as large as keeps the whole
file under a minute: pycocotools takes 0.3 to 1 ms an image, and making its dictionaries as long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.engine.scores import scored_columns
from sapiens_bench.stats.bootstrap import draw_weights, intervals
from sapiens_bench.store.rows import commit_shard, read_rows, shard_files
from sapiens_bench.tasks.pose.average_precision import STATISTICS, Elements, PartOutcomes
from sapiens_bench.tasks.pose.compiled import KERNELS, LOADING_S
from sapiens_bench.tasks.pose.export import coco_results
from sapiens_bench.tasks.pose.flatten import flatten_people, flatten_predictions
from sapiens_bench.tasks.pose.matching import match
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.official import evaluate_results
from sapiens_bench.tasks.pose.oks import Detections, People
from sapiens_bench.tasks.pose.packing import packed
from sapiens_bench.tasks.pose.scoring import PoseScoring
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget

PLAIN = PoseScoring(nms_oks=None, score="instance")
Suite = tuple[list[PoseTarget], list[PosePrediction]]


TOPIC = "Keypoint similarity (OKS) against pycocotools"


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


@pytest.fixture(scope="module")
def poses(fake: Callable[[str], ModuleType]) -> ModuleType:
    return fake("poses")


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
    return metric.aggregate(metric.measure_table(targets, predictions))(None)


class Case(NamedTuple):
    """A suite in every form that an evaluation may begin with."""

    n_images: int
    metric: OksMetric
    targets: list[PoseTarget]
    predictions: list[PosePrediction]
    theirs: Any  # poses.Pycocotools


def case(poses: ModuleType, n_images: int, k: int, n_detections: tuple[int, int] | None) -> Case:
    targets, predictions = suite(n_images, k, n_detections)
    metric = OksMetric([0.05] * k, {}, PLAIN)
    truth, results = poses.coco_truth(targets), coco_results(predictions, range(1, n_images + 1), metric)
    for result in results:
        del result["bbox"]  # one group: the area of all points, as loadRes takes it from a plain file
    return Case(n_images, metric, targets, predictions, poses.Pycocotools(truth, results, [0.05] * k))


def evaluate(c: Case, people: People, found: Detections) -> dict[str, float]:
    """From arrays to the ten numbers."""
    matches = match(people, found, c.n_images, c.metric.groups)
    elements = Elements.sort(found.scores_D[matches.kept], found.image_D[matches.kept])
    part = PartOutcomes(elements, matches.outcomes[""][elements.order_E], matches.n_people[""])
    values = part.statistics(np.ones((1, c.n_images), np.uint8), tuple(STATISTICS))
    return {name: float(value[0]) for name, value in values.items()}


CASES = [
    ("17 keypoints, one detection a person", 1500, 17, None, 80),
    ("17 keypoints, 5 to 20 detections an image", 800, 17, (5, 21), 110),
    ("133 keypoints, one detection a person", 800, 133, None, 45),
    ("308 keypoints, one detection a person", 500, 308, None, 35),
]
MANY = (None, (5, 21))
NAMES = ["one detection a person", "5 to 20 detections an image"]


@pytest.mark.parametrize(("name", "n_images", "k", "n_detections", "goal"), CASES, ids=[c[0] for c in CASES])
def test_evaluation_against_pycocotools(
    page: Any,
    poses: ModuleType,
    name: str,
    n_images: int,
    k: int,
    n_detections: tuple[int, int] | None,
    goal: float,
) -> None:
    c = case(poses, n_images, k, n_detections)
    people = flatten_people(c.targets, k)
    found = flatten_predictions(c.predictions, k, PLAIN, c.metric.variances_K, c.metric.area_index).detections
    theirs = c.theirs.loaded()
    assert evaluate(c, people, found) == theirs() == ours(c.metric, c.targets, c.predictions)

    def parts() -> str:
        matching = min(cpu_seconds(lambda: match(people, found, n_images, c.metric.groups)) for _ in range(20))
        whole = min(cpu_seconds(lambda: evaluate(c, people, found)) for _ in range(20))
        return f"of our {whole * 1000:.3g} ms {matching * 1000:.3g} are matching, the rest is order and curves"

    def mine() -> dict[str, float]:
        return evaluate(c, people, found)

    page.ratio(TOPIC, f"evaluation only, {name}", theirs, mine, against="pycocotools", at_least=goal, if_missed=parts)
    with pytest.MonkeyPatch.context() as patch:  # what a job gets that is too small for the kernels to be loaded
        patch.setattr(KERNELS, "get", lambda numpy_s: None)
        assert mine() == theirs()
        page.ratio(TOPIC, f"evaluation only by numpy, as in a small job, {name}", theirs, mine, against="pycocotools")


@pytest.mark.parametrize(("n_detections", "name"), list(zip(MANY, NAMES, strict=True)), ids=NAMES)
def test_dictionaries_to_ten_numbers(
    page: Any, poses: ModuleType, n_detections: tuple[int, int] | None, name: str
) -> None:
    """Both sides from what ``json.load`` gives."""
    c = case(poses, 800, 17, n_detections)
    truth, results = json.loads(json.dumps(c.theirs.truth)), json.loads(json.dumps(c.theirs.results))
    space = SpaceCard(
        schema="space/1",
        id="k",
        title="k",
        kind="keypoints",
        source="test",
        names=tuple(map(str, range(17))),
        sigmas=(0.05,) * 17,
    )

    def mine() -> dict[str, float]:
        return evaluate_results(truth, results, space).parts["whole"]

    # the official data sets hold sigmas in float32, so the numbers may differ from those with float64 sigmas
    assert mine() == pytest.approx(c.theirs.run(), abs=1e-3)
    page.ratio(
        TOPIC,
        f"from dictionaries, 17 keypoints, {name}",
        c.theirs.run,
        mine,
        against="pycocotools",
        at_least=30,
        if_missed=lambda: _share("turning lists of Python's floats into arrays", mine, lambda: _pack(truth, results)),
    )


def _pack(truth: dict[str, Any], results: list[dict[str, Any]]) -> None:
    for entries in (truth["annotations"], results):
        packed([entry["keypoints"] for entry in entries], 51)


def _share(what: str, whole: Callable[[], object], part: Callable[[], object]) -> str:
    """What a part takes of the whole, measured in turns."""
    found = [(cpu_seconds(whole), cpu_seconds(part)) for _ in range(20)]
    whole_s, part_s = (min(times) for times in zip(*found, strict=True))
    return f"of our {whole_s * 1000:.3g} ms {part_s * 1000:.3g} are {what}"


@pytest.mark.parametrize("shard_size", [64, 512])
@pytest.mark.parametrize(("n_detections", "name"), list(zip(MANY, NAMES, strict=True)), ids=NAMES)
def test_rows_on_disk_to_ten_numbers(
    page: Any, poses: ModuleType, tmp_path: Path, n_detections: tuple[int, int] | None, name: str, shard_size: int
) -> None:
    """A run's shards are read and scored; pycocotools evaluates what it has read before."""
    c = case(poses, 1024, 17, n_detections)
    rows = c.metric.measure_many(c.targets, c.predictions)
    base = {"status": "ok", "error_code": "", "error_detail": "", "error_side": ""}
    whole = [
        {"index": i, "key": f"image/{i}", "group": f"{i}", **base, **{f"oks/{name}": v for name, v in row.items()}}
        for i, row in enumerate(rows)
    ]
    for number, start in enumerate(range(0, len(whole), shard_size)):
        commit_shard(tmp_path, number, whole[start : start + shard_size], {"fingerprint": "f", "item_key": "k"})

    wanted = scored_columns([c.metric])

    def mine() -> dict[str, float]:
        return c.metric.aggregate(read_rows(tmp_path, wanted))(None)

    theirs = c.theirs.loaded()
    assert mine() == theirs()
    page.ratio(
        TOPIC,
        f"from rows on disk ({shard_size} images a shard), 17 keypoints, {name}",
        theirs,
        mine,
        against="pycocotools, files read before,",
        at_least=40,
        if_missed=lambda: _share(
            f"reading {len(shard_files(tmp_path))} Parquet files, each checked by sha256 against its commit", mine,
            lambda: read_rows(tmp_path, wanted),
        ),
    )  # fmt: skip


ASKED = 500


@pytest.mark.parametrize(("n_detections", "name"), list(zip(MANY, NAMES, strict=True)), ids=NAMES)
def test_from_what_size_a_run_loads_the_kernels(
    page: Any, monkeypatch: pytest.MonkeyPatch, n_detections: tuple[int, int] | None, name: str
) -> None:
    """A default run measures its images and draws 1,000 times; it asks for the kernels with what numpy would take."""
    targets, predictions = suite(ASKED, 17, n_detections)
    metric = OksMetric([0.05] * 17, {}, PoseScoring())
    asked: list[float] = []
    load = KERNELS.get

    def get(numpy_s: float) -> ModuleType | None:
        asked.append(numpy_s)
        return load(numpy_s)

    monkeypatch.setattr(KERNELS, "get", get)

    def whole() -> None:
        asked.clear()
        rows = metric.measure_table(targets, predictions)
        weights = draw_weights([str(i) for i in range(ASKED)], 1000, 0)
        intervals(metric.aggregate(rows), weights, keys=tuple(metric.scores), n_groups=ASKED)

    page.call(whole)
    needed = LOADING_S / sum(asked) * ASKED
    page.add(TOPIC, f"a run with 1,000 draws loads the kernels from so many images on, {name}", round(needed), "images",
             beside=f"numpy would take {1000 * sum(asked) / ASKED:.2g} ms an image; without draws from "
             f"{round(LOADING_S / (asked[0] / ASKED)):,} images on")  # fmt: skip


LOAD = """
import time
import numpy, sapiens_bench.tasks.pose.oks
from sapiens_bench.tasks.pose.compiled import KERNELS, is_kept
kept, start = is_kept("sapiens_bench.tasks.pose.kernels"), time.process_time()
assert KERNELS.load() is not None
print(int(kept), time.process_time() - start)
"""


def test_loading_the_kernels(page: Any, figures: Callable[..., Any], tmp_path: Path) -> None:
    """In fresh processes: what an earlier run has left is loaded; the first run of a machine compiles."""

    def load(cache: Path) -> tuple[bool, float]:
        done = subprocess.run([sys.executable, "-c", LOAD], env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
                              capture_output=True, text=True, check=True)  # fmt: skip
        kept, seconds = done.stdout.split()
        return kept == "1", float(seconds)

    found: list[tuple[bool, float]] = []
    page.call(lambda: found.append(load(tmp_path)))
    found += [load(tmp_path) for _ in range(3)]
    assert [kept for kept, _ in found] == [False, True, True, True]
    times = [seconds for _, seconds in found[1:]]
    page.add(TOPIC, "loading the kernels that an earlier run has compiled", figures(times)._replace(value=min(times)),
             "s", beside=f"CPU time; compiling them, once a machine, {found[0][1]:.2g} s")  # fmt: skip


@pytest.fixture(scope="module")
def large() -> tuple[OksMetric, pa.Table]:
    """5,000 images, 10,000 people, about 62,000 detections."""
    metric = OksMetric([0.05] * 17, {"upper": range(11)}, PoseScoring(nms_oks=None, score="instance"))
    return metric, metric.measure_table(*suite(5000, 17, (5, 21)))


def test_thousand_bootstrap_draws_of_5000_images(
    page: Any, large: tuple[OksMetric, pa.Table], peak_mb: Callable[[Callable[[], object]], float]
) -> None:
    metric, rows = large
    weights = draw_weights([str(i) for i in range(5000)], 1000, 0)
    scores = metric.aggregate(rows)
    keys = tuple(STATISTICS)
    found = intervals(scores, weights, keys=keys, n_groups=5000)
    assert all(i.low < i.value < i.high for i in found.values())
    single = scores(weights[7])
    assert all(scores.batch(weights[7:8], [key])[key][0] == single[key] for key in keys)
    record_draws(page, "AP, ten numbers, 5 to 20 detections an image", (metric, rows), keys, 2.0, peak_mb)


def test_thousand_bootstrap_draws_of_80_wholebody_scores(
    page: Any, peak_mb: Callable[[Callable[[], object]], float]
) -> None:
    """Five parts, both hands, the mean of the hands and the whole set, ten numbers each."""
    parts = {"body": (0, 17), "foot": (17, 23), "face": (23, 91), "left_hand": (91, 112), "right_hand": (112, 133)}
    metric = OksMetric([0.05] * 133, {name: range(*ends) for name, ends in parts.items()}, PLAIN)
    rows = pa.concat_tables([metric.measure_table(*suite(1250, 133, (5, 21)))] * 4)  # images of one kind, four times
    assert len(metric.scores) == 80
    record_draws(page, "whole body, 80 numbers, 5 to 20 detections an image", (metric, rows), tuple(metric.scores), 4.0,
                 peak_mb)  # fmt: skip


def record_draws(
    page: Any, what: str, scored: tuple[OksMetric, pa.Table], keys: tuple[str, ...], goal_s: float, peak_mb: Any
) -> None:
    """CPU time and peak memory, drawing included, beside the goals."""
    metric, rows = scored

    def everything() -> None:
        weights = draw_weights([str(i) for i in range(rows.num_rows)], 1000, 0)
        intervals(metric.aggregate(rows), weights, keys=keys, n_groups=rows.num_rows)

    topic = "Bootstrap: 1,000 draws of 5,000 images"
    page.seconds(topic, what, everything, rounds=3, at_most=goal_s,
                 if_missed=f"{len(metric.groups)} parts of thirty curves each are walked for every draw")  # fmt: skip
    page.add(topic, f"{what}: most memory", peak_mb(everything), "MB", at_most=300)


def test_measuring_a_shard_together(page: Any) -> None:
    """What a run pays per image with the default score rule and OKS-NMS, 17 keypoints, 12 detections."""
    targets, predictions = suite(128, 17, (12, 13))
    metric = OksMetric([0.05] * 17, {}, PoseScoring())
    parts = [slice(start, start + 64) for start in range(0, 128, 64)]
    page.ratio(
        TOPIC,
        "a shard of 64 images measured together, over image by image",
        lambda: [metric.measure(t, p) for t, p in zip(targets, predictions, strict=True)],
        lambda: [metric.measure_many(targets[p], predictions[p]) for p in parts],
        against="128 images one by one",
    )
