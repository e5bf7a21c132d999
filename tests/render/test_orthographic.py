"""Parallel rays, as ICON and ECON render: against arithmetic, and against a pinhole that stands far away."""

from __future__ import annotations

import numpy as np
import pytest

from sapiens_bench.render.attributes import shaded_normals, vertex_normals
from sapiens_bench.render.camera import (
    ORTHOGRAPHIC_DISTANCE_M,
    Camera,
    CameraDraw,
    draw_camera,
    framing_box,
    intrinsics,
    place_orthographic,
)
from sapiens_bench.render.manifest import ManifestEntry, from_record, to_record
from sapiens_bench.render.rasterise import rasterise

DRAW = CameraDraw("test/1", 512, 512, pitch_deg=(0.0, 0.0))


def ball(n: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A unit ball of triangles around (0, 1, 0)."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n), indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta) + 1, np.sin(theta) * np.sin(phi)], -1)
    index = np.arange(n * 2 * n).reshape(n, 2 * n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (a, d, c))])
    return points.reshape(-1, 3), faces


def test_a_person_of_180_cm_fills_88_percent_of_the_image_as_in_icon() -> None:
    body = np.array([[-0.2, 0, 0], [0.2, 0, 0], [0, 1.8, 0.1], [0, 1.8, -0.1]])
    camera = place_orthographic(framing_box(body, "full"), 2.048, 0.0, 0.0, DRAW)
    v = camera.project(body).uv_V2_px[:, 1]
    assert np.ptp(v) == pytest.approx(512 * 1.8 / 2.048)  # 450 pixels: 87.9 % of 512
    assert (v.min() + v.max()) / 2 == pytest.approx(255.5)


def test_depth_and_normals_of_a_ball_are_those_of_parallel_rays() -> None:
    vertices, faces = ball(96)
    camera = place_orthographic(framing_box(vertices, "full"), 2.5, 30.0, 0.0, CameraDraw("t", 200, 200))
    hits = rasterise(vertices, faces, camera)
    x, y = (np.mgrid[:200, :200][::-1] - 99.5) / 80.0  # metres from the axis
    inside = x**2 + y**2 < 0.9
    expected = ORTHOGRAPHIC_DISTANCE_M - np.sqrt(1 - np.where(inside, x**2 + y**2, 0))
    assert np.abs(hits.depth_HW - expected)[inside].max() < 3e-3
    seen = shaded_normals(hits, vertices, faces, vertex_normals(vertices, faces), camera).normal_HW3
    ideal = np.stack([x, -y, np.sqrt(1 - np.where(inside, x**2 + y**2, 0))], -1)
    angle = np.degrees(np.arccos(np.clip((seen * ideal).sum(-1), -1, 1)))
    assert angle[inside].max() < 1.5
    assert (seen[inside][:, 2] > 0).all()


def test_it_is_the_limit_of_a_pinhole_that_moves_away() -> None:
    vertices, faces = ball(24)
    camera = place_orthographic(framing_box(vertices, "full"), 2.5, 75.0, 0.0, CameraDraw("t", 96, 96))
    far = 1e5
    pinhole = Camera(
        intrinsics(camera.K[0, 0] * far, 96, 96), camera.R, camera.t + np.array([0, 0, far - 10.0]), 96, 96
    )
    near, away = rasterise(vertices, faces, camera), rasterise(vertices, faces, pinhole)
    assert (near.mask_HW != away.mask_HW).sum() <= 2
    both = near.mask_HW & away.mask_HW & (near.face_HW == away.face_HW)
    assert both.sum() > 0.97 * near.mask_HW.sum()
    np.testing.assert_allclose(near.depth_HW[both] + far - 10.0, away.depth_HW[both], atol=2e-4)
    np.testing.assert_allclose(near.barycentric_HW3[both], away.barycentric_HW3[both], atol=2e-2)


def test_of_two_faces_the_nearer_one_is_seen_also_where_they_cross() -> None:
    """One square faces the camera at z = 5, one leans from z = 4 on the left to z = 6 on the right."""
    front = np.array([[-1.0, -1, 5], [1, -1, 5], [1, 1, 5], [-1, 1, 5]])
    leaning = front + np.array([[0.0, 0, -1], [0, 0, 1], [0, 0, 1], [0, 0, -1]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    camera = Camera(intrinsics(10.0, 20, 20), np.eye(3), np.zeros(3), 20, 20, True)
    hits = rasterise(np.concatenate([front, leaning]), faces, camera)
    assert (hits.face_HW[:, :9] >= 2).all()
    assert (hits.face_HW[:, 11:] < 2).all()
    np.testing.assert_allclose(hits.depth_HW[:, 0], 4 + 0.05, atol=1e-12)
    np.testing.assert_allclose(hits.depth_HW[:, 15], 5, atol=1e-12)


def test_views_at_right_angles_are_four_turns_of_the_same_camera() -> None:
    vertices, _ = ball(12)
    box = framing_box(vertices, "full")
    cameras = [draw_camera(DRAW, "0505", "full", k, box, yaw_deg=90.0 * k, span_m=2.048) for k in range(4)]
    axes = [camera.R[2] for camera in cameras]  # viewing directions
    np.testing.assert_allclose(axes, [[0, 0, -1], [-1, 0, 0], [0, 0, 1], [1, 0, 0]], atol=1e-11)
    assert all(camera.is_orthographic for camera in cameras)


def test_a_manifest_keeps_the_kind_of_camera_and_says_nothing_of_a_pinhole() -> None:
    for is_orthographic in (False, True):
        camera = Camera(intrinsics(10.0, 4, 4), np.eye(3), np.zeros(3), 4, 4, is_orthographic)
        record = to_record(ManifestEntry("k", camera, {}))
        assert ("orthographic" in record["camera"]) is is_orthographic
        assert from_record(record).camera.is_orthographic is is_orthographic
