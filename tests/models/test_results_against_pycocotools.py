"""Results files are scored as pycocotools scores them, to the last bit, whatever they hold."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.models.pose_results import PoseResults
from sapiens_bench.models.stored_options import StoredPosesOptions
from sapiens_bench.tasks.pose.average_precision import STATISTICS
from sapiens_bench.tasks.pose.metrics import OksMetric
from sapiens_bench.tasks.pose.scoring import PoseScoring


def theirs(document: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(document)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {s: math.nan if v == -1 else float(v) for s, v in zip(STATISTICS, evaluation.stats, strict=True)}


def ours(coco: ModuleType, folder: Path, document: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    space = Catalog.load().space("coco17")
    (folder / "results.json").write_text(json.dumps(results))
    data = coco.small(
        folder, json.dumps(document).encode(), space=space, protocol_options={"boxes": "none"}
    ).without_pictures()
    stored = PoseResults(folder / "results.json", space.names, data._data.index, StoredPosesOptions())
    metric = OksMetric(space.sigmas, {}, PoseScoring())
    samples = [data[i] for i in range(len(data))]
    predictions = [stored.prediction(sample.key) for sample in samples]
    return metric.aggregate(metric.measure_table([s.target for s in samples], predictions))(None)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), boxes=st.booleans(), ties=st.booleans())
def test_every_statistic_equals_pycocotools(
    coco: ModuleType, random_poses: ModuleType, tmp_path_factory: pytest.TempPathFactory, seed: int, boxes: bool,
    ties: bool,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    document = random_poses.truth(rng, int(rng.integers(1, 9)))
    results = random_poses.results(rng, document, boxes=boxes, ties=ties)
    if not document["annotations"] or not results:
        return
    reference = theirs(document, results)
    found = ours(coco, tmp_path_factory.mktemp("case"), document, results)
    assert [found[s] for s in STATISTICS] == pytest.approx([reference[s] for s in STATISTICS], abs=0, nan_ok=True)


def test_more_results_than_people_stay_false_positives(
    coco: ModuleType, random_poses: ModuleType, tmp_path: Path
) -> None:
    document = coco.document(coco.person(1, 1), coco.person(2, 2))
    right = [{"image_id": i, "category_id": 1, "keypoints": document["annotations"][i - 1]["keypoints"], "score": 0.5}
             for i in (1, 2)]  # fmt: skip
    wrong = [{**right[0], "keypoints": [1.0, 1.0, 1.0] * 16 + [150.0, 100.0, 1.0], "score": 0.9} for _ in range(4)]
    found = ours(coco, tmp_path, document, wrong + right)
    assert found["AP"] == theirs(document, wrong + right)["AP"] < 0.6


def test_results_of_two_categories_do_not_repeat_each_other() -> None:
    results = PoseResults.__new__(PoseResults)  # as it is behind its reading
    results._points_RK3, results._scores_R = np.ones((3, 17, 3)), np.ones(3)
    results._by_image = {7: [0, 1], 8: [2]}
    results._category_R = np.array([1, 2, 1])
    assert results._repeated() == 0
    results._category_R = np.zeros(0, np.int64)  # one category
    assert results._repeated() == 1
