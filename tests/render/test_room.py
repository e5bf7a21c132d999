"""The room behind the people: whoever looks stands inside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sapiens_bench.render.camera import Camera
from sapiens_bench.render.factors import FACTORS, redraw
from sapiens_bench.render.room import CLEARANCE_M, Backdrop, _to_room, backdrop, roofed, roomy
from sapiens_bench.render.scene import Setting, as_shipped, draw_setting

SIZE = (64, 48)
MOVES_THE_CAMERA = ("camera_pitch", "focal_length", "distance")
HIGH = 29  # of split study: framed from above, in a room


def from_outside(setting: Setting) -> float:
    """Share of the pixels of floor, walls and ceiling that show a side turned away from the camera."""
    seen: Backdrop = backdrop(setting.room, setting.camera)
    shell = (seen.surface_HW >= 1) & (seen.surface_HW <= 5)
    to_camera = setting.camera.centre - seen.point_HW3[shell]
    return float(((seen.normal_HW3[shell] * to_camera).sum(1) <= 0).mean())


@pytest.mark.parametrize("name", MOVES_THE_CAMERA)
def test_no_level_lifts_the_camera_out_of_the_room(name: str) -> None:
    for level in FACTORS[name].levels(3):
        setting = draw_setting("study", HIGH, *SIZE, redraw(f"{name}={level}"))
        assert setting.room.kind == "room"
        assert 0 < setting.camera.centre[2] < setting.room.ceiling_m
        assert from_outside(setting) == 0, level


def test_a_ceiling_over_the_camera_stays_where_it_is_and_one_below_goes_above_it() -> None:
    room = draw_setting("study", HIGH, *SIZE).room

    def camera_at(z: float) -> Camera:
        return Camera(np.eye(3), np.eye(3), np.array([0.0, 0.0, -z]), 4, 4)

    assert roofed(room, camera_at(1.6)).ceiling_m == room.ceiling_m
    assert roofed(room, camera_at(5.0)).ceiling_m == pytest.approx(5.3)


def test_published_scenes_keep_the_ceiling_they_were_drawn_with() -> None:
    """Of the pictures in the committed manifest, 51 is one whose camera stands above the ceiling."""
    shipped = draw_setting("default", 51, *SIZE)
    assert shipped.room.ceiling_m < shipped.camera.centre[2]
    assert from_outside(shipped) > 0.5
    assert from_outside(draw_setting("default", 51, *SIZE, redraw("truncation=0.3"))) == 0


@pytest.mark.parametrize(
    ("split", "factor", "shipped"),
    [
        ("tiny", "", True), ("default", "", True), ("train", "", True), ("clips", "", True), ("study", "", False),
        ("default", "skin_tone=3", True), ("default", "camera_pitch=30", False), ("study", "skin_tone=3", False),
    ],
)  # fmt: skip
def test_which_scenes_are_those_that_were_published(split: str, factor: str, shipped: bool) -> None:
    assert as_shipped(split, redraw(factor)) is shipped


def test_what_stands_before_people_hides_them_from_above_too() -> None:
    """A ceiling below the camera hid seats and counters, so that they hid nobody."""
    setting = draw_setting("study", HIGH, *SIZE, redraw("camera_pitch=60"))
    low = replace(setting.room, ceiling_m=2.5)
    assert np.isfinite(backdrop(setting.room, setting.camera).seat_depth_HW).any()
    assert not np.isfinite(backdrop(low, setting.camera).seat_depth_HW).any()


def test_walls_and_what_stands_along_them_move_out_for_people_who_stand_there_and_not_before() -> None:
    room = draw_setting("study", HIGH, *SIZE).room
    assert roomy(room, []) is room
    inside = np.array([[0.0, -1.0, 1.0]])
    assert roomy(room, [inside]).wall_y_m == room.wall_y_m
    behind = np.array([[0.0, room.wall_y_m + 1.0, 1.0]])
    wider = roomy(room, [behind])
    x, y, _ = (_to_room(room.turn_deg) @ behind.T)[:, 0]
    assert wider.wall_y_m >= y + CLEARANCE_M
    assert wider.side_m >= abs(x)
    along = [(a, b) for a, b in zip(room.slabs, wider.slabs, strict=True) if not a.hides]
    assert all(b.low_3[1] - a.low_3[1] == pytest.approx(wider.wall_y_m - room.wall_y_m) for a, b in along)
    assert [b for a, b in zip(room.slabs, wider.slabs, strict=True) if a.hides and a is not b] == []
