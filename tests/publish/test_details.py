"""Picks, calibration and the pictures of maps, by hand."""

from __future__ import annotations

import base64
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.publish import rasters
from sapiens_bench.publish.calibration import calibration
from sapiens_bench.publish.gallery import chosen
from sapiens_bench.publish.layers import map_layers, skeletons
from sapiens_bench.publish.ranking import Ranking
from sapiens_bench.report.page import Layer
from sapiens_bench.tasks.albedo.types import AlbedoPrediction, AlbedoTarget
from sapiens_bench.tasks.matting.types import MattingPrediction, MattingTarget


def ranking(values: list[float], higher: bool) -> Ranking:
    keys = [f"k{i}" for i in range(len(values))]
    return Ranking("score", keys, {"m": np.array(values)}, higher, str)


def test_the_worst_the_middle_and_the_best_are_picked_and_the_undefined_left_out() -> None:
    picks = chosen(ranking([5, 1, np.nan, 3, 9, 7, 2, 4, 8, 6], higher=True), 2)["m"]
    assert picks == {"worst": [1, 6, 3], "median": [7, 0, 9], "best": [4, 8, 5]}


def test_the_worst_error_is_the_largest() -> None:
    assert chosen(ranking([0.1, 0.9, 0.5], higher=False), 10)["m"]["worst"] == [1, 2][:1]


def test_a_score_that_ranks_errors_perfectly_reaches_the_best_area() -> None:
    """Ten keypoints, errors rising as scores fall: the running mean of 0, 0.1 .. 0.9."""
    similarity = 1 - np.arange(10) / 10
    found = calibration(similarity, similarity)
    by_hand = np.mean([np.mean(np.arange(n + 1) / 10) for n in range(10)])
    assert found.area == pytest.approx(found.best_area)
    assert found.area == pytest.approx(by_hand)
    assert found.risk == pytest.approx(0.45)


def test_a_score_that_says_nothing_has_the_same_risk_everywhere_whatever_the_order() -> None:
    similarity = np.random.default_rng(0).random(200)
    found = calibration(np.full(200, 0.5), similarity)
    assert np.allclose(found.risk_R, 1 - similarity.mean())
    assert found.area == pytest.approx(found.risk)


def test_a_calibrated_score_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(1)
    score = rng.random(200_000)
    near = np.where(rng.random(200_000) < score, 0.9, 0.1)
    found = calibration(score, near)
    assert np.abs(found.score_B - found.share_B).max() < 0.02
    assert found.gap < 0.01


def test_scores_beyond_one_have_no_calibration_error() -> None:
    assert np.isnan(calibration(np.array([0.5, 7.0]), np.array([1.0, 1.0])).gap)


def test_no_keypoint_gives_no_number() -> None:
    found = calibration(np.zeros(0), np.zeros(0))
    assert found.n == 0
    assert np.isnan(found.area)


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def test_a_map_is_clear_where_it_has_no_value_and_bright_where_the_error_is_large() -> None:
    values = np.full((64, 64), np.nan)
    values[:32, :32], values[:32, 32:] = 0.0, 10.0
    pixels = decoded(rasters.heat(values, 10.0))
    assert pixels[48, 32, 3] == 0
    assert pixels[16, 16, 3] == 255
    assert pixels[16, 48, :3].sum() > pixels[16, 16, :3].sum() + 400


def test_a_large_picture_is_made_small_and_keeps_its_shape() -> None:
    assert decoded(rasters.photograph(np.zeros((1000, 500, 3), np.uint8))).shape[:2] == (480, 240)


def test_bones_to_points_that_are_not_shown_are_not_drawn() -> None:
    points = np.array([[[0.0, 0], [10, 0], [20, 0]]])
    found = skeletons(points, np.array([[True, True, False]]), [(0, 1), (1, 2)])[0]
    assert found.bones == ((0.0, 0.0, 10.0, 0.0),)
    assert found.points == ((0.0, 0.0), (10.0, 0.0))


def layers_of(task: str, truth: Any, found: Any) -> list[Layer]:
    place: Any = SimpleNamespace(
        task=SimpleNamespace(name=task),
        members=[SimpleNamespace(model="m", title="Mine")],
        map=lambda model, key: found,
    )
    return map_layers(place)("k", SimpleNamespace(target=truth))


def test_mattes_are_drawn_as_grey_with_their_errors() -> None:
    truth = np.zeros((4, 6), np.float32)
    truth[:, 3:] = 1
    mine = np.full((4, 6), 0.5, np.float32)
    drawn = layers_of("matting", MattingTarget(truth), MattingPrediction(mine))
    assert [layer.title for layer in drawn] == ["truth", "Mine", "Mine: error, 0 to 0.5"]
    ends = [[0, 0, 0, 255], [255, 255, 255, 255]]
    np.testing.assert_allclose(decoded(drawn[0].uri)[0, ::5].astype(int), ends, atol=4)  # pictures are lossy
    np.testing.assert_allclose(decoded(drawn[1].uri)[0, 0].astype(int), [127, 127, 127, 255], atol=4)
    assert decoded(drawn[2].uri)[0, 0, :3].min() > 150


def test_albedo_is_drawn_in_srgb_where_people_are_whatever_its_space() -> None:
    mask = np.ones((4, 6), bool)
    mask[:, :3] = False
    truth = AlbedoTarget(np.full((4, 6, 3), 0.5, np.float32), mask)
    drawn = layers_of("albedo", truth, AlbedoPrediction(np.full((4, 6, 3), 0.7353569, np.float32), "srgb"))
    true, mine, error = (decoded(layer.uri) for layer in drawn)
    assert true[0, 0, 3] == mine[0, 0, 3] == error[0, 0, 3] == 0
    np.testing.assert_allclose([true[0, 5], mine[0, 5]], [[187, 187, 187, 255]] * 2, atol=4)
    assert error[0, 5, :3].max() < 60
    assert layers_of("albedo", truth, None)[0].title == "truth"


def test_a_task_without_a_drawing_has_no_layers() -> None:
    assert layers_of("pointmap", None, None) == []
