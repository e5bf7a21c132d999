"""Counterfactual pictures: one factor differs, and every bit of the truth stays."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.errors import UnknownName, UsageError
from sapiens_bench.render.about import bounded
from sapiens_bench.render.factors import FACTORS, find, parse, redraw
from sapiens_bench.render.parts import LABEL
from sapiens_bench.render.picture import Picture
from sapiens_bench.render.scene import render, render_all

ONE_PERSON = 0
SIZE = {"height": 96, "width": 72}
TRUTH = ("labels_HW", "instance_HW", "depth_HW_m", "normal_HW3", "keypoints_NK2_px", "visible_NK")
APPEARANCE = [name for name, f in FACTORS.items() if f.to_redraw(f.levels(2)[0]).is_appearance]
GEOMETRY = [name for name in FACTORS if name not in APPEARANCE]


def picture(text: str, index: int = 2) -> Picture:
    return render("default", index, redraw=redraw(text), **SIZE)


@pytest.fixture(scope="module")
def as_drawn() -> Picture:
    return render("default", 2, **SIZE)


@pytest.mark.parametrize("name", APPEARANCE)
def test_a_factor_changes_the_picture_and_no_bit_of_the_truth(name: str, as_drawn: Picture) -> None:
    low, *_, high = (picture(f"{name}={level}") for level in FACTORS[name].levels(2))
    for other in (low, high):
        for part in TRUTH:
            np.testing.assert_array_equal(getattr(other, part), getattr(as_drawn, part))
        np.testing.assert_array_equal(other.camera.K, as_drawn.camera.K)
    assert (low.rgb_HW3 != high.rgb_HW3).any(2).mean() > 0.005


def test_pictures_of_one_rasterisation_have_the_bits_of_pictures_drawn_alone(as_drawn: Picture) -> None:
    texts = ["", "skin_tone=6", "clothing_colour=red", "background=white", "light_level=1", "light_direction=30"]
    together = render_all("default", 2, [redraw(text) for text in texts], **SIZE)
    for text, found in zip(texts[1:], together[1:]):
        alone = picture(text)
        np.testing.assert_array_equal(found.rgb_HW3, alone.rgb_HW3, err_msg=text)
        assert dict(found.about) == dict(alone.about), text
    np.testing.assert_array_equal(together[0].rgb_HW3, as_drawn.rgb_HW3)
    assert dict(together[0].about) == dict(as_drawn.about)


# what the picture states about itself -> the level that was set
STATED = {"age": "age", "body_shape": "body_shape", "gender_shape": "gender_shape", "height": "height",
          "camera_pitch": "camera_pitch", "focal_length": "focal_length", "people": "people"}  # fmt: skip
OUTFIT = ("hair", "clothing")
WORN = {
    "hair": [LABEL["Hair"], LABEL["Apparel"]],
    "clothing": [LABEL["Apparel"], LABEL["Upper_Clothing"], LABEL["Lower_Clothing"]],
}
UNTOUCHED = ("skin_tone", "hair", "clothing", "clothing_lightness", "background", "light_level")


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_factor_of_geometry_sets_what_the_picture_states_and_leaves_the_rest(name: str, as_drawn: Picture) -> None:
    level = FACTORS[name].levels(2)[1]
    found, before = picture(f"{name}={level}").about, as_drawn.about
    untouched = [n for n in UNTOUCHED if n != name]
    assert [found[n] for n in untouched] == [before[n] for n in untouched] or name == "people"
    if name in STATED:
        assert found[STATED[name]] == pytest.approx(float(level), rel=1e-3)
    for other in set(STATED) - {name, "people"}:
        if name != "people" and (name, other) not in {("camera_pitch", "distance")}:
            near = (
                {"abs": 0.2} if name in ("age", "body_shape", "gender_shape") and other == "height" else {"rel": 1e-6}
            )
            assert found[other] == pytest.approx(before[other], **near), other
    if name == "distance":
        assert found["distance"] == pytest.approx(4 * float(before["distance"]), rel=0.15)
        assert found["pixel_height"] == pytest.approx(float(before["pixel_height"]) / 4, rel=0.15)
    if name == "focal_length":
        assert found["pixel_height"] == pytest.approx(float(before["pixel_height"]), rel=0.1)
    if name in ("truncation", "occluder"):
        assert float(found["visible_share"]) < float(before["visible_share"]) - 0.2


def test_a_board_hides_the_share_of_rows_that_is_asked_for() -> None:
    plain, hidden = picture("occluder=0", 0), picture("occluder=0.5", 0)
    np.testing.assert_array_equal(plain.rgb_HW3, picture("", 0).rgb_HW3)
    rows = np.flatnonzero((plain.instance_HW == 1).any(1))
    left = np.flatnonzero((hidden.instance_HW == 1).any(1))
    assert len(left) / len(rows) == pytest.approx(0.5, abs=0.12)
    assert left[0] == rows[0]
    n = (plain.instance_HW > 0).sum()
    share = float(hidden.about["occluder"]) - float(plain.about["occluder"])
    assert share == pytest.approx(1 - (hidden.instance_HW > 0).sum() / n, abs=0.02)


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
    assert find("clothing_colour").levels(3) == ("black", "grey", "white")
    assert parse("light_level=-1.5") == ("light_level", "-1.5")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("skin_tine=3", UnknownName, "Did you mean 'skin_tone'"),
        ("clothing_colour=blu", UnknownName, "Did you mean 'blue'"),
        ("clothing=red", UsageError, "clothing_colour"),
        ("hair=bunn", UnknownName, "Did you mean 'bun'"),
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


@pytest.mark.parametrize("name", OUTFIT)
def test_an_outfit_leaves_points_camera_and_light_and_changes_the_truth_only_where_it_was_or_is(
    name: str, as_drawn: Picture
) -> None:
    for level in FACTORS[name].names:
        found = picture(f"{name}={level}")
        np.testing.assert_array_equal(found.keypoints_NK2_px, as_drawn.keypoints_NK2_px, err_msg=level)
        np.testing.assert_array_equal(found.camera.K, as_drawn.camera.K)
        np.testing.assert_array_equal(found.camera.t, as_drawn.camera.t)
        differs = found.labels_HW != as_drawn.labels_HW
        worn = np.isin(found.labels_HW, WORN[name]) | np.isin(as_drawn.labels_HW, WORN[name])
        assert (differs & ~worn).sum() <= 1, level  # a smoothed sleeve may lie within the shoulder's outline
        kept = (found.labels_HW == as_drawn.labels_HW) & ~worn & (found.instance_HW > 0)
        np.testing.assert_array_equal(found.depth_HW_m[kept], as_drawn.depth_HW_m[kept], err_msg=level)
        if name == "hair":
            assert found.about["hair"] == level
            assert (LABEL["Hair"] in found.labels_HW) is (level != "bald")


# level -> what the picture states about sleeves or legs
CUT = {"short_sleeves": "short+", "long_sleeves": "long+", "sleeveless": "short+", "shorts": "+short",
       "trousers": "+long", "skirt": "+skirt"}  # fmt: skip


@pytest.mark.parametrize("level", CUT)
def test_a_garment_that_is_set_is_stated_and_the_other_stays(level: str) -> None:
    before, words = (str(picture(text, ONE_PERSON).about["clothing"]) for text in ("", f"clothing={level}"))
    assert CUT[level] in words
    kept = 1 if CUT[level].endswith("+") else 0
    assert words.split("+")[kept] == before.split("+")[kept]


def test_longer_sleeves_hide_the_arms_and_looser_clothes_take_more_room() -> None:
    arms = [LABEL[f"{side}_{part}_Arm"] for side in ("Left", "Right") for part in ("Upper", "Lower")]
    bare = [int(np.isin(picture(f"clothing={cut}").labels_HW, arms).sum()) for cut in
            ("sleeveless", "short_sleeves", "long_sleeves")]  # fmt: skip
    assert bare[0] > bare[1] > bare[2]
    tight, loose = (int((picture(f"clothing={fit}").instance_HW > 0).sum()) for fit in ("tight", "loose"))
    assert loose > 1.05 * tight


def test_the_height_of_a_body_that_reaches_back_to_the_camera_has_a_bound() -> None:
    assert bounded(8.5e6, 512) == 5120
    assert bounded(743.2, 512) == 743.2
