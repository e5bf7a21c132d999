"""Synthetic images and their ground truth."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.render import scene
from sapiens_bench.render.factors import redraw
from sapiens_bench.render.parts import LABEL, join
from sapiens_bench.render.person import make_person
from sapiens_bench.render.rasterise import rasterise
from sapiens_bench.render.scene import VIEWS, Picture, draw_setting, render, render_setting

SMALL = {"height": 128, "width": 96}
N = 8


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [render("default", index, **SMALL) for index in range(N)]


def test_rendering_is_repeatable_and_does_not_depend_on_order(pictures: list[Picture]):
    for index in (3, 0):
        again = render("default", index, **SMALL)
        for name in (
            "rgb_HW3",
            "labels_HW",
            "instance_HW",
            "depth_HW_m",
            "normal_HW3",
            "keypoints_NK2_px",
            "visible_NK",
        ):
            np.testing.assert_array_equal(getattr(again, name), getattr(pictures[index], name))


def test_splits_show_different_people():
    a, b = (draw_setting(split, 0, 128, 96).people[0] for split in ("default", "train"))
    assert np.abs(a.keypoints_K3 - b.keypoints_K3).max() > 1e-3


def test_ground_truth_is_what_a_rasterisation_at_image_size_gives():
    """The image is rasterised twice as fine; every second sample must equal the plain result, bit for bit or nearly."""
    setting = draw_setting("default", 1, 128, 96)
    picture = render_setting(setting)
    surface = join([person.parts for person in setting.people])
    hits = rasterise(surface.vertices_V3, surface.faces_F3, setting.camera)
    both = hits.mask_HW & (picture.instance_HW > 0)
    assert (hits.mask_HW != (picture.instance_HW > 0)).sum() <= 1
    np.testing.assert_allclose(picture.depth_HW_m[both], hits.depth_HW[both], atol=1e-6)


def test_truth_is_defined_on_people_and_nowhere_else(pictures: list[Picture]):
    for picture in pictures:
        person = picture.instance_HW > 0
        np.testing.assert_array_equal(picture.labels_HW > 0, person)
        np.testing.assert_array_equal(np.isfinite(picture.depth_HW_m), person)
        np.testing.assert_array_equal(np.isfinite(picture.normal_HW3).all(2), person)
        assert (picture.depth_HW_m[person] > 0.1).all()
        assert person.mean() > 0.01


def test_every_visible_normal_is_unit_and_faces_the_camera(pictures: list[Picture]):
    for picture in pictures:
        K = picture.camera.K
        y, x = np.nonzero(picture.instance_HW)
        ray = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(len(x))], 1)
        to_camera = -ray * [1, -1, -1]  # viewer frame: x right, y up, z towards the viewer
        normal = picture.normal_HW3[y, x].astype(np.float64)
        np.testing.assert_allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)
        assert ((normal * to_camera).sum(1) > 0).all()


def test_normals_agree_with_the_slope_of_depth(pictures: list[Picture]):
    """Inside smooth regions, the plane through neighbouring points has the stored normal (median within 8 degrees)."""
    picture = render("default", 7, height=256, width=192)
    K, depth = picture.camera.K, picture.depth_HW_m.astype(np.float64)
    y, x = np.mgrid[0:256, 0:192]
    point = np.stack([(x - K[0, 2]) / K[0, 0] * depth, (y - K[1, 2]) / K[1, 1] * depth, depth], -1)
    across, down = point[1:-1, 2:] - point[1:-1, :-2], point[2:, 1:-1] - point[:-2, 1:-1]
    slope = np.cross(down, across)
    slope /= np.linalg.norm(slope, axis=-1, keepdims=True)
    stored = picture.normal_HW3[1:-1, 1:-1] * np.array([1, -1, -1])
    smooth = np.isfinite(slope).all(-1) & (np.abs(across[..., 2]) < 0.02) & (np.abs(down[..., 2]) < 0.02)
    angle = np.rad2deg(np.arccos(np.clip((slope * stored)[smooth].sum(-1), -1, 1)))
    assert smooth.sum() > 2000
    assert np.median(angle) < 8


def test_keypoint_flags_agree_with_instances_and_depth(pictures: list[Picture]):
    n_visible = 0
    for picture in pictures:
        height, width = picture.instance_HW.shape
        for person, (points, flags) in enumerate(zip(picture.keypoints_NK2_px, picture.visible_NK), 1):
            assert set(np.unique(flags)) <= {0, 1, 2}
            at = np.rint(points).astype(int)
            inside = (at >= 0).all(1) & (at[:, 0] < width) & (at[:, 1] < height)
            assert inside[flags > 0].all()
            seen = at[flags == 2]
            n_visible += len(seen)
            assert (picture.instance_HW[seen[:, 1], seen[:, 0]] == person).all()
    assert n_visible > 100


def test_views_and_pairs_occur(pictures: list[Picture]):
    assert {picture.view for picture in pictures} <= set(VIEWS)
    pair = next(picture for picture in pictures if picture.view == "two")
    assert pair.keypoints_NK2_px.shape[0] == 2
    assert set(np.unique(pair.instance_HW)) == {0, 1, 2}


def test_another_size_shows_the_same_scene():
    small, large = (render("tiny", 2, height=h, width=h * 3 // 4) for h in (128, 256))
    np.testing.assert_allclose((large.camera.K[0, 0]) / (small.camera.K[0, 0]), 2, atol=1e-12)
    both = (small.visible_NK > 0) & (large.visible_NK > 0)
    np.testing.assert_allclose((small.keypoints_NK2_px[both] + 0.5) * 2, large.keypoints_NK2_px[both] + 0.5, atol=1e-6)


def test_colour_is_neither_black_nor_burnt_out(pictures: list[Picture]):
    for picture in pictures:
        assert 40 < picture.rgb_HW3.mean() < 225
        assert picture.rgb_HW3.std() > 12


@pytest.mark.slow
def test_all_28_classes_appear_in_the_default_split():
    found = np.zeros(28, np.int64)
    for index in range(120):
        found += np.bincount(render("default", index, height=256, width=192).labels_HW.ravel(), minlength=28)
        if found.all():
            break
    assert [name for name, label in LABEL.items() if found[label] == 0] == []


def test_levels_of_the_camera_share_the_people(monkeypatch: pytest.MonkeyPatch):
    made: list[object] = []

    def counted(*seed: object, **how: object) -> object:
        made.append(seed)
        return make_person(*seed, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(scene, "make_person", counted)
    scene._made.cache_clear()
    for text in ("", "camera_pitch=30", "distance=2", "hair=bald"):
        draw_setting("study", 2, 64, 48, redraw(text))
    assert len(made) == 2  # the one person, and the same one bald
    scene._made.cache_clear()
