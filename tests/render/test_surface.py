"""Alpha and albedo of rendered people: what they must explain of the picture, and that they cost it no bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sapiens_bench.render.factors import redraw
from sapiens_bench.render.parts import LABELS
from sapiens_bench.render.scene import Scene, draw_setting, render

SIZE = {"height": 128, "width": 96}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(draw_setting("tiny", 3, 128, 96))


def test_the_picture_keeps_its_bits(scene: Scene) -> None:
    told = scene.picture(scene.setting.redraw, surface=True)
    np.testing.assert_array_equal(told.rgb_HW3, render("tiny", 3, **SIZE).rgb_HW3)
    assert render("tiny", 3, **SIZE).alpha_HW is None


def test_another_background_shows_where_alpha_is_below_one_and_nowhere_else(scene: Scene) -> None:
    levels = [scene.picture(redraw(f"background={level}"), surface=True) for level in ("light", "dark")]
    alpha = levels[0].alpha_HW
    assert alpha is not None
    changed = (levels[0].rgb_HW3 != levels[1].rgb_HW3).any(axis=-1)
    assert not changed[alpha == 1].any()
    assert changed[(alpha > 0) & (alpha < 1)].mean() > 0.8  # the sky and seats have no other colour
    np.testing.assert_array_equal(alpha, levels[1].alpha_HW)


def test_alpha_counts_sixteenths_and_agrees_with_the_mask(scene: Scene) -> None:
    picture = scene.picture(scene.setting.redraw, surface=True)
    assert picture.alpha_HW is not None
    np.testing.assert_array_equal(picture.alpha_HW * 16, np.rint(picture.alpha_HW * 16))
    people = picture.instance_HW > 0
    assert (picture.alpha_HW[people] >= 4 / 16).all()  # the pixel's own sample
    assert (picture.alpha_HW[~people] <= 12 / 16).all()


def test_albedo_does_not_know_the_light_but_the_skin(scene: Scene) -> None:
    drawn, dark, turned = (
        scene.picture(change, surface=True).albedo_HW3
        for change in (scene.setting.redraw, redraw("skin_tone=7"), redraw("light_direction=90"))
    )
    assert drawn is not None
    np.testing.assert_array_equal(drawn, turned)
    changed = np.abs(np.asarray(dark) - drawn).max(axis=-1) > 0.02
    clothes = [number for number, name in enumerate(LABELS) if "Clothing" in name or name == "Apparel"]
    inside = ndimage.binary_erosion(np.isin(scene.truth.labels, clothes), np.ones((3, 3)))
    assert changed[~inside].any()
    assert inside.sum() > 50
    assert not changed[inside].any()


def test_albedo_is_there_where_anybody_is(scene: Scene) -> None:
    picture = scene.picture(scene.setting.redraw, surface=True)
    assert picture.alpha_HW is not None
    assert picture.albedo_HW3 is not None
    np.testing.assert_array_equal(np.isfinite(picture.albedo_HW3).all(axis=-1), picture.alpha_HW > 0)
    inside = picture.albedo_HW3[picture.alpha_HW > 0]
    assert inside.min() >= 0
    assert inside.max() <= 1
