"""Counterfactual pictures: one factor differs, and every bit of the truth stays."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.render.factors import FACTORS, find, parse, redraw
from sapiens_bench.render.scene import Picture, render

SIZE = {"height": 96, "width": 72}
TRUTH = ("labels_HW", "instance_HW", "depth_HW_m", "normal_HW3", "keypoints_NK2_px", "visible_NK")


def picture(text: str, index: int = 2) -> Picture:
    return render("default", index, redraw=redraw(text), **SIZE)


@pytest.fixture(scope="module")
def as_drawn() -> Picture:
    return render("default", 2, **SIZE)


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_changes_the_picture_and_no_bit_of_the_truth(name: str, as_drawn: Picture) -> None:
    low, *_, high = (picture(f"{name}={level}") for level in FACTORS[name].levels(2))
    for other in (low, high):
        for part in TRUTH:
            np.testing.assert_array_equal(getattr(other, part), getattr(as_drawn, part))
        np.testing.assert_array_equal(other.camera.K, as_drawn.camera.K)
    assert (low.rgb_HW3 != high.rgb_HW3).any(2).mean() > 0.005


def test_what_a_factor_does_not_touch_keeps_its_colour(as_drawn: Picture) -> None:
    person = as_drawn.instance_HW > 0
    inner = ~person  # a pixel of the room next to a person mixes with it
    for dy, dx in [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)]:
        inner &= ~np.roll(person, (dy, dx), (0, 1))
    inner[[0, -1]] = inner[:, [0, -1]] = False
    skin = picture("skin_tone=7").rgb_HW3
    np.testing.assert_array_equal(skin[inner], as_drawn.rgb_HW3[inner])


def test_levels_go_the_way_they_say() -> None:
    skin = [picture(f"skin_tone={level}").rgb_HW3.mean() for level in (1, 4, 7)]
    light = [picture(f"light_level={level}").rgb_HW3.mean() for level in (-4, -1, 2)]
    back = [picture(f"background={level}").rgb_HW3.mean() for level in ("black", "grey", "white")]
    assert skin == sorted(skin, reverse=True)
    assert light == sorted(light)
    assert back == sorted(back)


def test_light_from_the_right_lights_the_right() -> None:
    left, right = (picture(f"light_direction={turn}").rgb_HW3.astype(float).mean(2) for turn in (-80, 80))
    person = picture("").instance_HW > 0
    x = np.nonzero(person)[1]
    change = (right - left)[person]
    assert change[x > np.median(x)].mean() > change[x < np.median(x)].mean()


def test_levels_of_a_span_are_evenly_spaced_and_names_come_in_order() -> None:
    assert find("skin_tone").levels(5) == ("1", "2.5", "4", "5.5", "7")
    assert find("clothing").levels(3) == ("black", "grey", "white")
    assert parse("light_level=-1.5") == ("light_level", "-1.5")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("skin_tine=3", UnknownName, "Did you mean 'skin_tone'"),
        ("clothing=blu", UnknownName, "Did you mean 'blue'"),
        ("skin_tone=8", UsageError, "from 1 to 7"),
        ("skin_tone=nan", UsageError, "from 1 to 7"),
        ("skin_tone=dark", UsageError, "from 1 to 7"),
        ("skin_tone", UsageError, "NAME=LEVEL"),
    ],
)
def test_an_unknown_factor_or_level_is_refused(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        redraw(text)


def test_too_many_or_too_few_levels_are_refused() -> None:
    for n in (1, 6):
        with pytest.raises(UsageError, match="2 to 5"):
            find("hair_colour").levels(n)
