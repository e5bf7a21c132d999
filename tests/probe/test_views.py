"""Views against geometry worked out by hand: what is where before and after."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.probe.views import NORMAL_STEPS, Grid, draws, make_view
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.seg.types import SegTarget

H, W = 64, 48
FLIP = np.array([0, 2, 1])


def scene() -> tuple[np.ndarray, dict[str, object]]:
    """Left label 1 in the left half, right label 2 in the right; depth and picture grow with x; normals lean to +x."""
    x = np.arange(W)
    image = np.broadcast_to((x * 5).astype(np.uint8)[None, :, None], (H, W, 3)).copy()
    labels = np.broadcast_to(np.where(x < W // 2, 1, 2).astype(np.uint8), (H, W)).copy()
    depth = np.broadcast_to((1 + x / 100).astype(np.float32), (H, W)).copy()
    normals = np.broadcast_to(np.array([0.6, 0, 0.8], np.float32), (H, W, 3)).copy()
    mask = np.ones((H, W), bool)
    return image, {"seg": SegTarget(labels), "depth": DepthTarget(depth, mask), "normal": NormalTarget(normals, mask)}


def test_the_plain_view_shows_every_cell_what_lies_under_its_centre() -> None:
    image, targets = scene()
    view = make_view(image, targets, 0, Grid((H, W), 2), draws("x"), FLIP)
    assert (view["image"] == image.transpose(2, 0, 1)).all()
    assert view["seg"].shape == (H // 2, W // 2)
    assert (view["seg"][:, : W // 4] == 1).all()
    assert (view["seg"][:, W // 4 :] == 2).all()
    assert abs(view["depth"][0] - (1 + (np.arange(W // 2) * 2 + 0.5) / 100)).max() <= 0.5 / 100 + 1e-6
    assert view["normal"][:, 3, 3] == pytest.approx(np.array([0.6, 0, 0.8]) * NORMAL_STEPS, abs=1)


def test_a_mirrored_view_swaps_left_and_right_and_turns_the_normals() -> None:
    image, targets = scene()
    view = make_view(image, targets, 1, Grid((H, W), 2), draws("any"), FLIP)
    assert (view["normal"][0][view["normal"][2] > 0] == round(-0.6 * NORMAL_STEPS)).all()
    inside = view["seg"] != 255
    assert set(np.unique(view["seg"][inside])) <= {1, 2}
    depth = np.where(view["depth"] > 0, view["depth"], np.nan)
    assert np.nanmean(np.diff(depth, axis=1)) < 0  # depth grew to the right before
    near, far = view["seg"][(depth < 1.2) & inside], view["seg"][(depth > 1.28) & inside]
    assert (near == 2).all()  # what was the left half, label 1, is a right part now
    assert (far == 1).all()


def test_picture_and_truth_of_a_changed_view_stay_together() -> None:
    image, targets = scene()
    for number in range(1, 9):
        view = make_view(image, targets, number, Grid((H, W), 1), draws("seed", number), FLIP)
        valid = view["depth"] > 0
        wanted = (view["depth"] - 1) * 100 * 5  # the grey value before recolouring
        found = view["image"].mean(axis=0)
        assert np.corrcoef(wanted[valid], found[valid])[0, 1] > 0.95


def test_what_lies_beside_the_picture_is_not_scored() -> None:
    image, targets = scene()
    view = make_view(image, targets, 0, Grid((H, 2 * W), 2), draws("x"), FLIP)
    assert (view["seg"][:, : W // 4] == 255).all()
    assert (view["seg"][:, -W // 4 :] == 255).all()
    assert (view["depth"][:, : W // 4] == 0).all()
    assert (view["seg"][:, W // 4 : -W // 4] != 255).all()


def test_a_view_depends_on_its_words_alone() -> None:
    image, targets = scene()
    first, second, other = (
        make_view(image, targets, 2, Grid((H, W), 2), draws("probe view", seed, "key", 2), FLIP) for seed in (0, 0, 1)
    )
    assert all((first[name] == second[name]).all() for name in first)
    assert (first["image"] != other["image"]).any()
