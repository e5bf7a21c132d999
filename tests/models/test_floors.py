"""Floors against values worked out by hand on a ball seen from infinity: sin(angle) = r / R, uniform over a disc."""

from __future__ import annotations

import math
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch

from sapiens_bench.api import evaluate
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CardError
from sapiens_bench.models.options import floor_options
from sapiens_bench.pixels import inflate
from sapiens_bench.pixels.inflate import balloon_heights, balloon_normals
from sapiens_bench.tasks import task_kind, task_names
from sapiens_bench.tasks.normal.angles import angles_deg

FLOORS = ["floors-seg", "floors-depth", "floors-normal"]
R_M = 80 * 0.005  # of the ball, metres


@pytest.fixture(scope="module")
def scores(sphere: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Score of every floor and oracle on the ball, through the whole engine."""
    torch.set_num_threads(1)
    root = sphere.write_folder(tmp_path_factory.mktemp("ball"), {"ball": sphere.orthographic()})
    found: dict[str, dict[str, float]] = {}
    for task in ("seg", "depth", "normal"):
        out = tmp_path_factory.mktemp("run") / "out"
        record = evaluate(
            task=task, models=(f"floors-{task}", f"oracle-{task}"), datasets=("folder",), data_root=root,
            out=out, device="cpu", n_boot=0, workers=1,
        )  # fmt: skip
        found |= {c.model: {k: v.value for k, v in c.scores.items()} for c in record.cells if c.status == "done"}
    return found


def test_flat_normal_is_off_by_45_degrees_on_a_ball(scores: dict[str, dict[str, float]]) -> None:
    # A share sin^2(a) of the disc lies below angle a; the mean is the integral of a sin(2a) = pi / 4.
    flat = scores["floor-flat-normal"]
    assert flat["normal/mean_deg"] == pytest.approx(45, abs=0.3)
    assert flat["normal/median_deg"] == pytest.approx(45, abs=0.3)
    for degrees, key in ((30, "below_30"), (22.5, "below_22_5"), (11.25, "below_11_25")):
        assert flat[f"normal/{key}"] == pytest.approx(math.sin(math.radians(degrees)) ** 2, abs=0.003)


def test_constant_depth_is_off_by_r_over_root_18_on_a_ball(scores: dict[str, dict[str, float]]) -> None:
    # cos(angle) = c has density 2 c: mean 2 / 3, variance 1 / 2 - 4 / 9 = 1 / 18; scale and shift leave the mean.
    constant = scores["floor-median-depth"]
    assert constant["depth/rmse"] == pytest.approx(R_M / math.sqrt(18), rel=0.01)
    # Median alignment: depth 2.5 - R / sqrt 2, so the error is R (1 / sqrt 2 - c): R sqrt(1 - 4 / (3 sqrt 2)).
    expected = R_M * math.sqrt(0.5 - 2 / math.sqrt(2) * 2 / 3 + 0.5)
    assert constant["depth/median/rmse"] == pytest.approx(expected, rel=0.01)
    assert constant["depth/abs_rel"] == pytest.approx(
        np.mean(np.abs(disc_depth() - disc_depth().mean()) / disc_depth())
    )


def disc_depth() -> np.ndarray:
    v, u = np.mgrid[:201, :201] - 100.0
    r2 = (u**2 + v**2) / 80**2
    return (2.5 - R_M * np.sqrt(1 - r2[r2 < 1])).astype(np.float32).astype(float)


def test_all_background_has_the_share_of_the_background(scores: dict[str, dict[str, float]]) -> None:
    share = len(disc_depth()) / 201**2  # of the ball
    seg = scores["floor-background"]
    assert seg["seg/miou"] == pytest.approx((1 - share) / 2)  # background and hair are the two classes there are
    assert seg["seg/macc"] == pytest.approx(0.5)
    assert seg["seg/aacc"] == pytest.approx(1 - share)


def test_oracle_is_perfect_on_every_task(scores: dict[str, dict[str, float]]) -> None:
    assert scores["oracle-seg"]["seg/miou"] == scores["oracle-seg"]["boundary/miou"] == 1
    assert scores["oracle-depth"]["depth/rmse"] == pytest.approx(0, abs=1e-7)
    assert scores["oracle-depth"]["depth/none/abs_rel"] == 0
    assert scores["oracle-normal"]["normal/mean_deg"] == pytest.approx(0, abs=1e-4)


def test_every_floor_ran(scores: dict[str, dict[str, float]]) -> None:
    catalog = Catalog.load()
    cards = [e for e in catalog.models.values() if e.card.kind == "floor"]
    here = {
        e.id for e in cards if e.card.task in ("seg", "depth", "normal")
    }  # others: tests/engine/test_tiny_systems.py
    assert here <= set(scores)
    assert {e.variant.options["rule"] for e in cards} == {
        rule for name in task_names() for rule in task_kind(name).floors
    }
    assert all(e.variant.in_all for e in cards)


def test_inflated_disc_is_the_ball(sphere: ModuleType) -> None:
    ball = sphere.orthographic()
    normals = balloon_normals(ball.mask_HW, grid=201)
    error = angles_deg(normals[ball.mask_HW], ball.normals_HW3[ball.mask_HW])
    assert error.mean() < 1.0
    heights = balloon_heights(ball.mask_HW, grid=201)[ball.mask_HW] * 0.005
    truth = 2.5 - ball.depth_HW[ball.mask_HW]
    assert np.abs(heights - truth).mean() < 0.01 * R_M
    assert (normals[~ball.mask_HW] == [0, 0, 1]).all()


def test_balloon_on_a_coarse_grid_keeps_its_size_and_sides() -> None:
    v, u = np.mgrid[:600, :800].astype(float)
    mask = (u - 500) ** 2 + (v - 250) ** 2 < 200**2
    normals, heights = balloon_normals(mask), balloon_heights(mask)
    assert heights.max() == pytest.approx(200, rel=0.03)
    assert normals[250, 660, 0] > 0.7  # right side faces right
    assert normals[90, 500, 1] > 0.7  # top faces up
    assert np.allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)


def test_a_person_cut_off_by_the_image_edge_goes_on_beyond_it() -> None:
    # A vertical limb of half width 20 that leaves the image below and above: u = 2 (w^2 - x^2) at every height.
    mask = np.zeros((80, 100), bool)
    mask[:, 30:71] = True
    normals, heights = balloon_normals(mask, grid=100), balloon_heights(mask, grid=100)
    assert np.abs(normals[mask][:, 1]).max() < 1e-6
    assert heights[:, 50] == pytest.approx(np.full(80, math.sqrt(2) * 21), rel=0.01)


def test_normals_of_the_persons_pixels_alone_are_those_of_the_whole_picture() -> None:
    v, u = np.mgrid[:90, :130].astype(float)
    mask = ((u - 50) ** 2 / 900 + (v - 60) ** 2 / 2500 < 1) ^ (np.random.default_rng(0).random((90, 130)) < 0.05)
    square, _ = inflate._balloon(mask, 40)
    down, right = np.gradient(square)
    vectors = np.stack([-right, down, 2 * np.sqrt(square)], -1).astype(np.float32)
    vectors = cv2.resize(vectors, (130, 90), interpolation=cv2.INTER_LINEAR)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    plain = np.where(mask[..., None] & (length > 1e-6), vectors / np.maximum(length, 1e-6), np.float32([0, 0, 1]))
    found = balloon_normals(mask, grid=40)
    assert found.dtype == plain.dtype == np.float32
    np.testing.assert_array_equal(found, plain)
    assert 0 < (length[mask] <= 1e-6).sum() < mask.sum()  # thin parts that the grid does not see stay flat


@pytest.mark.parametrize("shape", [(9, 14), (14, 9), (1, 7), (7, 1)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_the_balloon_solves_its_equation_at_every_cell(shape: tuple[int, int], share: float) -> None:
    mask = np.random.default_rng(3).random(shape) < share
    mask[0, 0], mask[-1, -1] = True, False
    square, scale = inflate._balloon(mask, 20)
    beyond = np.pad(square, 1, mode="edge")
    around = beyond[:-2, 1:-1] + beyond[2:, 1:-1] + beyond[1:-1, :-2] + beyond[1:-1, 2:]
    assert scale == 1
    np.testing.assert_allclose((4 * square - around)[mask], 4, atol=1e-9)
    assert (square[~mask] == 0).all()


@pytest.mark.parametrize("mask", [np.zeros((40, 30), bool), np.ones((40, 30), bool), np.ones((1, 1), bool)])
def test_balloon_of_nothing_and_of_everything_is_defined(mask: np.ndarray) -> None:
    assert np.isfinite(balloon_normals(mask)).all()
    assert np.isfinite(balloon_heights(mask)).all()


def test_unknown_rules_and_options_are_refused() -> None:
    kind = floor_options(task_kind("normal"))
    with pytest.raises(CardError, match=r"'flat-normal' or 'silhouette-normal'.*median-depth"):
        read_options(kind, {"rule": "median-depth"}, "model f")
    with pytest.raises(CardError, match="'sign': unknown key; valid keys: rule, threshold"):
        read_options(kind, {"rule": "flat-normal", "sign": 1}, "model f")
    with pytest.raises(CardError, match="Task 'pose' has no floors"):
        floor_options(task_kind("pose"))
