"""A results list scores the same however its numbers came, and is refused by the field that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sapiens_bench.cards.schema import SpaceCard
from sapiens_bench.errors import DatasetRejected
from sapiens_bench.tasks.pose import official
from sapiens_bench.tasks.pose.official import evaluate_results

SPACE = SpaceCard(schema="space/1", id="k", title="k", kind="keypoints", source="test", names=("a", "b", "c"),
                  sigmas=(0.05,) * 3)  # fmt: skip
N = 40


def files() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One person a picture; every third result is far off, and those rank among the others."""
    points = [[10.0 + i, 20.0, 2, 30.0, 40.5, 2, 15.0, 60.0, 1] for i in range(N)]
    truth = {
        "images": [{"id": 7 * i} for i in range(N)],
        "annotations": [
            {"id": i, "image_id": 7 * i, "keypoints": p, "area": (2e3, 2e4)[i % 2], "bbox": [5, 5, 60, 60]}
            for i, p in enumerate(points)
        ],
    }  # fmt: skip
    results = [
        {"image_id": 7 * i, "score": (i % 10) / 10 + i / 1000,
         "keypoints": [v + 300 * (i % 3 == 0 and k % 3 < 2) for k, v in enumerate(p)]} for i, p in enumerate(points)
    ]  # fmt: skip
    return truth, results


def changed(results: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [{**result, **{key: make(result) for key, make in fields.items()}} for result in results]


def test_blocks_and_whole_numbers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, results = files()
    whole = evaluate_results(truth, results, SPACE)
    assert 0 < whole.parts["whole"]["AP"] < 1
    monkeypatch.setattr(official, "_BLOCK", 7)
    assert evaluate_results(truth, results, SPACE) == whole
    floats = json.loads(json.dumps(results), parse_int=float)
    for result, original in zip(floats, results, strict=True):
        result["image_id"] = original["image_id"]
    assert evaluate_results(truth, floats, SPACE) == whole


def test_a_score_of_the_whole_body_ranks_before_the_score() -> None:
    truth, results = files()
    both = changed(results, wholebody_score=lambda result: 1 - result["score"])
    reversed_ = changed(results, score=lambda result: 1 - result["score"])
    found = evaluate_results(truth, both, SPACE)
    assert found == evaluate_results(truth, reversed_, SPACE)
    assert found != evaluate_results(truth, results, SPACE)


@pytest.mark.parametrize(
    ("key", "said"),
    [("image_id", "1 of 40 entries lack 'image_id'"), ("keypoints", "1 of 40 entries lack 'keypoints'"),
     ("score", "score: not finite")],
)  # fmt: skip
def test_a_field_that_is_lacking_is_named(key: str, said: str) -> None:
    truth, results = files()
    del results[3][key]
    with pytest.raises(DatasetRejected, match=said):
        evaluate_results(truth, results, SPACE)


def test_points_that_are_not_finite_are_refused() -> None:
    truth, results = files()
    results[5]["keypoints"] = [1e308] * 8 + [float("nan")]
    with pytest.raises(DatasetRejected, match="not finite"):
        evaluate_results(truth, results, SPACE)
    # a sum that overflows is no value that does
    points = official._Layout.array([[1e308] * 9], (3, 3), "points")
    assert points.shape == (1, 3, 3)
