"""People who join a scene are seen in its picture, and nothing else of it moves."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.render.crowd import SEEN_SHARE
from sapiens_bench.render.factors import redraw
from sapiens_bench.render.outfit import SEATED_HEM_M, fallen
from sapiens_bench.render.scene import draw_setting, render

SIZE = (256, 192)
FACE, FULL, TWO, UPPER = 10, 2, 3, 9  # of split study


@pytest.mark.parametrize("index", [FACE, UPPER, FULL, TWO])
def test_a_picture_shows_as_many_people_as_its_level_says(index: int) -> None:
    """From the instance labels, each with two hundredths of the picture or more, in close-ups too."""
    for n in (1, 3):
        found = render("study", index, height=SIZE[0], width=SIZE[1], redraw=redraw(f"people={n}"))
        shares = np.bincount(found.instance_HW.ravel(), minlength=n + 1)[1:] / found.instance_HW.size
        assert len(shares) == n
        assert (shares >= SEEN_SHARE).all(), shares
        assert found.about["people"] == n


def test_three_people_are_the_two_and_one_more_before_the_same_camera_in_the_same_room() -> None:
    drawn = draw_setting("study", UPPER, *SIZE)
    two, three = (draw_setting("study", UPPER, *SIZE, redraw(f"people={n}")) for n in (2, 3))
    for one, other in zip((*drawn.people, *two.people), (*two.people[:1], *three.people[:2]), strict=True):
        np.testing.assert_array_equal(one.keypoints_K3, other.keypoints_K3)
    for setting in (two, three):
        np.testing.assert_array_equal(setting.camera.K, drawn.camera.K)
        np.testing.assert_array_equal(setting.camera.t, drawn.camera.t)
        assert (setting.room.kind, setting.room.turn_deg) == (drawn.room.kind, drawn.room.turn_deg)
        assert setting.room.wall_y_m >= drawn.room.wall_y_m


def test_people_join_at_the_same_place_in_pictures_of_every_size() -> None:
    small, large = (draw_setting("study", UPPER, h, h * 3 // 4, redraw("people=3")) for h in (64, 512))
    for one, other in zip(small.people, large.people, strict=True):
        np.testing.assert_allclose(one.keypoints_K3, other.keypoints_K3, rtol=0, atol=1e-9)


def test_a_level_that_is_what_was_drawn_gives_the_picture_as_drawn() -> None:
    for index, n in ((FULL, 1), (TWO, 2)):
        found = render("study", index, height=128, width=96, redraw=redraw(f"people={n}"))
        np.testing.assert_array_equal(found.rgb_HW3, render("study", index, height=128, width=96).rgb_HW3)


def test_who_sits_in_split_study_wears_a_top_that_ends_above_the_lap() -> None:
    (mended,) = draw_setting("study", 39, *SIZE).people
    assert mended.pose.family == "sit"
    assert mended.wear.top is not None
    assert mended.wear.top.hem_m == SEATED_HEM_M
    assert mended.hair.is_combed
    (drawn,) = draw_setting("tiny", 0, *SIZE).people[:1]
    assert not drawn.hair.is_combed  # what is published keeps its bits
    assert fallen(drawn.wear, drawn.hair, "stand")[0] == drawn.wear
