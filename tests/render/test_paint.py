"""Colours on screen: repeated textures, several materials, plain colours, colours of vertices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.attributes import sample_texture, texture_colour
from sapiens_bench.render.camera import Camera, intrinsics
from sapiens_bench.render.materials import Coat, Coats, Map
from sapiens_bench.render.mesh import MeshData
from sapiens_bench.render.paint import Paint, seen_colours, vertex_colours
from sapiens_bench.render.rasterise import Hits, rasterise

# A square of two triangles that fills an 8 x 8 image: pixel (x, y) sees u = (x + 0.5) / 8, v = 1 - (y + 0.5) / 8.
SQUARE = np.array([[-1.0, 1, 1], [1, 1, 1], [1, -1, 1], [-1, -1, 1]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
UV = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
CAMERA = Camera(intrinsics(4.0, 8, 8), np.eye(3), np.zeros(3), 8, 8)
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8, 1).repeat(3, 2)
PNG = Path("x.png")


@pytest.fixture
def hits() -> Hits:
    return rasterise(SQUARE, FACES, CAMERA)


def mesh(uv: NDArray[Any] = UV, **more: Any) -> MeshData:
    return MeshData(SQUARE, FACES, uv_T2=uv, texture_faces_F3=FACES, face_material_F=np.array([0, 1]), **more)


def one(texture: NDArray[np.uint8] = RAMP, **options: Any) -> Paint:
    return Paint(Coats((Coat(Map(PNG, **options)),), (0, 0, 0)), (texture,))


def test_moving_texture_coordinates_by_whole_numbers_changes_nothing(hits: Hits) -> None:
    plain = seen_colours(mesh(), one(), hits)
    np.testing.assert_array_equal(plain, RAMP)
    for shift in ([1, 0], [0, -2], [-3, 5]):
        moved = seen_colours(mesh(UV + shift), one(), hits)
        np.testing.assert_allclose(moved, plain, atol=1e-4)


def test_a_texture_repeats_across_tiles_as_a_picture_laid_side_by_side(hits: Hits) -> None:
    """Coordinates from -1 to 2 read the same as a 3 x 3 wall of the picture."""
    seen = seen_colours(mesh(UV * 3 - 1), one(), hits)
    wall = np.tile(RAMP, (3, 3, 1))
    expected = texture_colour(hits, FACES, UV, wall, np.nan)
    np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_a_clamped_map_does_not_repeat(hits: Hits) -> None:
    seen = seen_colours(mesh(UV + np.array([2, 0])), one(clamps=True), hits)
    np.testing.assert_allclose(seen, np.repeat(RAMP[:, -1:], 8, 1), atol=1e-4)


def test_scale_and_offset_act_on_the_coordinates(hits: Hits) -> None:
    """u' = 2 u + 0.25: the 8 columns show the picture twice, two columns further."""
    seen = seen_colours(mesh(), one(scale=(2.0, 1.0), offset=(0.25, 0.0)), hits)[..., 0]
    np.testing.assert_allclose(seen, seen_colours(mesh(UV * [2, 1] + [0.25, 0]), one(), hits)[..., 0])
    # pixel 0: u' = 0.375, x = 2.5, between columns 2 and 3 of the first row
    assert seen[0, 0] == pytest.approx(2.5)
    assert seen[0, 4] == pytest.approx(2.5)  # one repeat later


def test_base_and_gain_change_stored_values(hits: Hits) -> None:
    seen = seen_colours(mesh(), one(np.full((2, 2, 3), 100, np.uint8), base=0.1, gain=0.5), hits)
    np.testing.assert_allclose(seen, 75.5, atol=1e-3)


def test_border_texels_blend_across_the_edge_only_when_wrapping() -> None:
    image = np.array([[[0.0], [100.0]]])
    at_edge = np.array([[0.0, 0.5]])
    assert sample_texture(image, at_edge)[0, 0] == 0
    assert sample_texture(image, at_edge, wrap=True)[0, 0] == 50
    far = np.array([[-7.0 + 1e-16, 0.5], [1e9, 0.5]])
    assert np.isfinite(sample_texture(image, far, wrap=True)).all()


def test_faces_of_several_materials_have_their_own_colours(hits: Hits) -> None:
    red = np.full((3, 3, 3), (200, 0, 0), np.uint8)
    paint = Paint(Coats((Coat(Map(PNG)), Coat(colour=(0.0, 1.0, 0.2))), (0, 1, -1)), (red, None))
    seen = seen_colours(mesh(), paint, hits)
    np.testing.assert_allclose(seen[hits.face_HW == 0], np.tile([200, 0, 0], ((hits.face_HW == 0).sum(), 1)))
    np.testing.assert_allclose(
        seen[hits.face_HW == 1], np.tile([0, 255, 51], ((hits.face_HW == 1).sum(), 1)), rtol=1e-6
    )
    swapped = Paint(Coats(paint.coats.coats, (1, 0, -1)), paint.textures)
    assert (seen_colours(mesh(), swapped, hits)[hits.face_HW == 0] == seen[hits.face_HW == 1][0]).all()


@pytest.mark.parametrize("full", [1.0, 255.0])
def test_colours_of_vertices_are_blended_over_faces(hits: Hits, full: float) -> None:
    colours = np.float32([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]]) * np.float32(full)
    seen = seen_colours(mesh(colours_V3=colours), Paint(Coats((), ()), ()), hits)
    np.testing.assert_allclose(seen[..., 0], np.tile((np.arange(8) + 0.5) / 8 * 255, (8, 1)), rtol=1e-5)
    assert (seen[..., 1:] == 0).all()


@pytest.mark.parametrize("value", [-0.1, 256.0, np.nan])
def test_colours_of_vertices_in_an_unknown_range_are_refused(value: float) -> None:
    colours = np.full((4, 3), 0.5, np.float32)
    colours[2, 1] = value
    with pytest.raises(SampleFault, match="vertex colours"):
        vertex_colours(mesh(colours_V3=colours))
