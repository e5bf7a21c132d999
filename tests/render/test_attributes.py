"""Normals, interpolation, textures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.adapters.scans.textures import read_texture
from sapiens_bench.errors import ShapeError
from sapiens_bench.render.attributes import (
    _angle,
    average_down,
    corner_faces,
    face_values,
    interpolate,
    sample_texture,
    shaded_normals,
    texture_colour,
    vertex_normals,
)
from sapiens_bench.render.camera import Camera, intrinsics, look_at
from sapiens_bench.render.mesh import read_mesh
from sapiens_bench.render.rasterise import rasterise

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]
Icosphere = Callable[[int], Mesh]


def front_camera(size: int = 64, focal: float = 80.0) -> Camera:
    R, t = look_at([0, 0, 2.0], [0, 0, 0])
    return Camera(intrinsics(focal, size, size), R, t, size, size)


def quad(z: float = 0.0) -> Mesh:
    """Unit square in x and y (-0.5..0.5), facing +z; corners: lower left, lower right, upper right, upper left."""
    vertices = np.array([[-0.5, -0.5, z], [0.5, -0.5, z], [0.5, 0.5, z], [-0.5, 0.5, z]])
    return vertices, np.array([[0, 1, 2], [0, 2, 3]])


def test_angle_agrees_with_the_c_library() -> None:
    rng = np.random.default_rng(0)
    theta = np.concatenate([rng.uniform(0, np.pi, 20_000), 10.0 ** rng.uniform(-9, 0, 2000), [0, np.pi / 2, np.pi]])
    scale = 10.0 ** rng.uniform(-6, 6, len(theta))
    sine, cosine = np.abs(np.sin(theta)) * scale, np.cos(theta) * scale
    np.testing.assert_allclose(_angle(sine, cosine), np.arctan2(sine, cosine), rtol=1e-10, atol=1e-25)
    np.testing.assert_array_equal(_angle(np.zeros(1), np.zeros(1)), 0)


def test_vertex_normals_weigh_faces_by_their_angle() -> None:
    """Corner of a cube whose top is cut into two triangles: by angle each of the three sides counts 90 degrees."""
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, -1], [1, 0, -1], [0, 1, -1]])
    top = [[0, 1, 2], [0, 2, 3]]
    front, left = [[0, 4, 5], [0, 5, 1]], [[0, 3, 6], [0, 6, 4]]
    normals = vertex_normals(vertices, np.array(top + front + left))
    np.testing.assert_allclose(normals[0], np.array([-1, -1, 1]) / np.sqrt(3), atol=1e-9)
    np.testing.assert_allclose(normals[2], [0, 0, 1], atol=1e-12)


def test_vertex_normals_of_a_sphere_point_outwards(icosphere: Icosphere) -> None:
    vertices, faces = icosphere(4)
    normals = vertex_normals(vertices, faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-12)
    assert np.degrees(np.arccos((normals * vertices).sum(1).min())) < 0.2


def test_degenerate_faces_and_unused_vertices_change_no_normal() -> None:
    vertices, faces = quad()
    more = np.concatenate([vertices, [[9.0, 9, 9]], [[0.0, 0, 0]]])
    extra = np.concatenate([faces, [[0, 0, 1], [0, 5, 2], [5, 5, 5]]])  # repeated corner; three points on a line
    normals = vertex_normals(more, extra)
    np.testing.assert_allclose(normals[:4], np.tile([0.0, 0, 1], (4, 1)), atol=1e-15)
    np.testing.assert_array_equal(normals[4:], 0)


def test_normals_ignore_texture_seams(shared: Path) -> None:
    """Position indices only: after splitting at the seams, normals there would be off by up to tens of degrees."""
    mesh = read_mesh(shared / "data/thuman_layout_standin/0000/0000.obj")
    assert mesh.texture_faces_F3 is not None
    whole = vertex_normals(mesh.vertices_V3, mesh.faces_F3)[mesh.faces_F3]
    position_of_texture = np.zeros(int(mesh.texture_faces_F3.max()) + 1, np.int64)
    position_of_texture[mesh.texture_faces_F3] = mesh.faces_F3
    split = vertex_normals(mesh.vertices_V3[position_of_texture], mesh.texture_faces_F3)[mesh.texture_faces_F3]
    off = np.degrees(np.arccos(np.clip((whole * split).sum(2), -1, 1)))
    assert off.max() > 20  # what the mistake would cost on this mesh
    seam = np.flatnonzero(np.bincount(position_of_texture, minlength=len(mesh.vertices_V3)) > 1)
    assert len(seam) > 1000
    for vertex in seam[::100]:  # faces of both sides, summed by hand
        total = np.zeros(3)
        for face in mesh.faces_F3[(mesh.faces_F3 == vertex).any(1)]:
            a, b, c = mesh.vertices_V3[np.roll(face, -int(np.flatnonzero(face == vertex)[0]))]
            u, v = b - a, c - a
            normal = np.cross(u, v)
            angle = np.arctan2(np.linalg.norm(normal), u @ v)
            total += angle * normal / np.linalg.norm(normal)
        corner = np.argwhere(mesh.faces_F3 == vertex)[0]
        np.testing.assert_allclose(whole[tuple(corner)], total / np.linalg.norm(total), atol=1e-9)


def test_normals_have_x_right_y_up_z_towards_the_viewer(icosphere: Icosphere) -> None:
    sphere, faces = icosphere(4)
    for eye in ([0, 0, 2.5], [2.5, 0, 0.01], [-1.0, 1.2, -2]):
        R, t = look_at(eye, [0, 0, 0])
        camera = Camera(intrinsics(100, 64, 64), R, t, 64, 64)
        vertices = sphere * 0.5
        hits = rasterise(vertices, faces, camera)
        shaded = shaded_normals(hits, vertices, faces, vertex_normals(vertices, faces), camera)
        rows, columns = np.nonzero(hits.mask_HW)
        at = {
            name: shaded.normal_HW3[rows[i], columns[i]]
            for name, i in (("left", columns.argmin()), ("right", columns.argmax()), ("top", rows.argmin()))
        }
        assert at["left"][0] < -0.8
        assert at["right"][0] > 0.8
        assert at["top"][1] > 0.8
        assert shaded.normal_HW3[31, 31, 2] > 0.99
        assert np.isnan(shaded.normal_HW3[~hits.mask_HW]).all()
        assert shaded.flipped_share == 0


def test_inverted_mesh_gives_the_same_normals_and_reports_them_flipped(icosphere: Icosphere) -> None:
    sphere, faces = icosphere(3)
    camera, vertices = front_camera(), sphere * 0.5
    results = []
    for triangles in (faces, faces[:, ::-1]):
        hits = rasterise(vertices, triangles, camera)
        results.append(shaded_normals(hits, vertices, triangles, vertex_normals(vertices, triangles), camera))
    outward, inward = results
    assert outward.flipped_share == 0
    assert inward.flipped_share > 0.98
    # silhouette normals that point away are kept as they are (step 5), so only these may differ
    same = np.isclose(outward.normal_HW3, inward.normal_HW3, atol=1e-6, equal_nan=True).all(2)
    assert (~same).mean() <= outward.away_share


def test_only_inverted_faces_are_turned_unless_all_are_asked_for() -> None:
    """One face towards the camera whose corner normals lean away: kept by the rule, turned on request."""
    vertices, faces = quad()
    camera = front_camera()
    hits = rasterise(vertices, faces, camera)
    leaning = np.tile([0.8, 0.0, -0.6], (4, 1))
    kept = shaded_normals(hits, vertices, faces, leaning, camera)
    np.testing.assert_allclose(kept.normal_HW3[32, 32], [0.8, 0, -0.6], atol=1e-6)
    assert kept.flipped_share == 0
    assert kept.away_share == 1
    turned = shaded_normals(hits, vertices, faces, leaning, camera, turn="all")
    np.testing.assert_allclose(turned.normal_HW3[32, 32], [-0.8, 0, 0.6], atol=1e-6)
    assert turned.away_share == 0


def test_cancelling_corner_normals_fall_back_to_the_face() -> None:
    vertices, faces = quad()
    hits = rasterise(vertices, faces, front_camera())
    shaded = shaded_normals(hits, vertices, faces, np.zeros((4, 3)), front_camera())
    np.testing.assert_allclose(shaded.normal_HW3[32, 32], [0, 0, 1], atol=1e-6)


def test_no_hit_has_no_flipped_share() -> None:
    vertices, faces = quad(z=5.0)  # behind the camera
    hits = rasterise(vertices, faces, front_camera())
    assert np.isnan(shaded_normals(hits, vertices, faces, vertices, front_camera()).flipped_share)


def test_interpolation_is_perspective_correct() -> None:
    """World coordinates as attribute of a slanted quad must land on their own pixel."""
    vertices, faces = quad()
    vertices = vertices * [1.5, 1.5, 1] + np.outer(vertices[:, 0], [0, 0, 1.6])
    camera = front_camera()
    hits = rasterise(vertices, faces, camera)
    points = interpolate(hits, faces, vertices)
    rows, columns = np.nonzero(hits.mask_HW)
    np.testing.assert_allclose(
        camera.project(points[rows, columns]).uv_V2_px, np.column_stack([columns, rows]), atol=1e-9
    )
    assert np.isnan(points[~hits.mask_HW]).all()
    assert (interpolate(hits, faces, vertices, fill=7.0)[~hits.mask_HW] == 7).all()


def test_corner_attributes_may_jump_across_an_edge() -> None:
    vertices, faces = quad()
    hits = rasterise(vertices, faces, front_camera())
    colour = np.repeat([[1.0], [5.0]], 3, axis=0)  # face 0 all 1, face 1 all 5
    seen = interpolate(hits, corner_faces(2), colour)[..., 0]
    np.testing.assert_allclose(seen[hits.mask_HW], face_values(hits, np.array([1.0, 5.0]), np.nan)[hits.mask_HW])
    with pytest.raises(ShapeError):
        interpolate(hits, faces, np.zeros(4))


def test_face_values_keep_their_dtype_and_mark_empty_pixels() -> None:
    vertices, faces = quad()
    hits = rasterise(vertices, faces, front_camera())
    labels = face_values(hits, np.array([3, 250], np.uint8), 255)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {3, 250, 255}
    assert face_values(hits, np.zeros((2, 4), np.float32), np.nan).shape == (64, 64, 4)


def test_texture_v_points_up() -> None:
    """Quad with the usual uv seen from the front: the picture's first row is at the top, first column at the left."""
    vertices, faces = quad()
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :4, 0], image[:4, 4:, 1], image[4:, :4, 2] = 200, 100, 50  # upper left, upper right, lower left
    hits = rasterise(vertices, faces, front_camera())
    seen = texture_colour(hits, faces, uv, image, np.nan)
    rows, columns = np.nonzero(hits.mask_HW)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    np.testing.assert_array_equal(seen[top, left], [200, 0, 0])
    np.testing.assert_array_equal(seen[top, right], [0, 100, 0])
    np.testing.assert_array_equal(seen[bottom, left], [0, 0, 50])
    np.testing.assert_array_equal(seen[bottom, right], [0, 0, 0])
    assert np.isnan(seen[~hits.mask_HW]).all()


def test_texture_sampling_hits_pixel_centres_and_clamps() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    column, row = np.meshgrid(np.arange(4), np.arange(3))
    centres = np.column_stack([(column.ravel() + 0.5) / 4, 1 - (row.ravel() + 0.5) / 3])
    np.testing.assert_allclose(sample_texture(image, centres)[:, 0], np.arange(12), atol=1e-5)
    middle = sample_texture(image, np.array([[0.25, 0.5]]))[0, 0]  # between columns 0 and 1 of row 1
    assert middle == pytest.approx(4.5)
    outside = sample_texture(image, np.array([[-3.0, 9], [2, -1], [np.nan, 0.5]]))[:, 0]
    np.testing.assert_array_equal(outside, [0, 11, np.nan])


def test_faces_without_texture_get_the_fill_colour() -> None:
    vertices, faces = quad()
    hits = rasterise(vertices, faces, front_camera())
    seen = texture_colour(hits, np.array([[0, 1, 2], [-1, -1, -1]]), np.ones((3, 2)), np.full((2, 2, 3), 9.0), 4.0)
    assert set(np.unique(seen[hits.face_HW == 0])) == {9}
    assert set(np.unique(seen[hits.face_HW == 1])) == {4}
    plain = interpolate(hits, np.array([[0, 1, 2], [0, -1, 2]]), np.ones((3, 1)), fill=8.0)[..., 0]
    assert (plain[hits.face_HW == 1] == 8).all()
    np.testing.assert_allclose(plain[hits.face_HW == 0], 1)


def test_textured_scan_shows_its_texture_at_the_stored_coordinates(shared: Path) -> None:
    """Colour at a pixel equals the texture at the uv of the surface point, found independently by a hand-made mean."""
    mesh = read_mesh(shared / "data/thuman_layout_standin/0000/0000.obj")
    image = read_texture(shared / "data/thuman_layout_standin/0000/material0.jpeg")
    assert mesh.uv_T2 is not None
    assert mesh.texture_faces_F3 is not None
    R, t = look_at([0, 0.9, 3], [0, 0.9, 0])
    camera = Camera(intrinsics(200, 96, 128), R, t, 96, 128)
    hits = rasterise(mesh.vertices_V3, mesh.faces_F3, camera)
    seen = texture_colour(hits, mesh.texture_faces_F3, mesh.uv_T2, image, np.nan)
    rows, columns = np.nonzero(hits.mask_HW)
    for row, column in list(zip(rows, columns))[::97]:
        weights = hits.barycentric_HW3[row, column]
        u, v = weights @ mesh.uv_T2[mesh.texture_faces_F3[hits.face_HW[row, column]]]
        x, y = u * image.shape[1] - 0.5, (1 - v) * image.shape[0] - 0.5
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        window = image[y0 : y0 + 2, x0 : x0 + 2].astype(float)
        across = np.array([1 - (x - x0), x - x0])
        np.testing.assert_allclose(seen[row, column], np.array([1 - (y - y0), y - y0]) @ (across @ window), atol=0.01)


def test_average_down_is_the_mean_of_blocks() -> None:
    image = np.random.default_rng(0).random((6, 4, 3))
    expected = image.reshape(3, 2, 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(average_down(image, 2), expected, rtol=1e-14)
