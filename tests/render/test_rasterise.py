"""The z-buffer against its definition, analytic shapes, stored silhouettes and a ray caster we did not write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sapiens_bench.errors import ShapeError
from sapiens_bench.render.attributes import shaded_normals, vertex_normals
from sapiens_bench.render.camera import Camera, intrinsics, look_at
from sapiens_bench.render.mesh import normalise, read_mesh
from sapiens_bench.render.rasterise import Hits, rasterise

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]
Icosphere = Callable[[int], Mesh]


def by_definition(vertices: NDArray[np.float64], faces: NDArray[np.int64], camera: Camera) -> NDArray[np.int64]:
    """Winning face of each pixel, straight from the module docstring: every face against every pixel."""
    px, py = np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))
    best, winner = np.zeros(px.shape), np.full(px.shape, -1)
    x, y, z = camera.to_camera(vertices)
    front = z > 1e-6
    x, y = camera.to_pixels(x, y, np.where(front, z, 1.0))
    inverse = 1.0 / np.where(front, z, 1.0)
    for index, (a, b, c) in enumerate(faces.tolist()):
        if not (front[a] and front[b] and front[c]):
            continue
        w0 = (x[b] - px) * (y[c] - py) - (y[b] - py) * (x[c] - px)
        w1 = (x[c] - px) * (y[a] - py) - (y[c] - py) * (x[a] - px)
        w2 = (x[a] - px) * (y[b] - py) - (y[a] - py) * (x[b] - px)
        inside = ((w0 >= 0) & (w1 >= 0) & (w2 >= 0)) | ((w0 <= 0) & (w1 <= 0) & (w2 <= 0))
        inside &= (w0 != 0) | (w1 != 0) | (w2 != 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (w0 * inverse[a] + w1 * inverse[b] + w2 * inverse[c]) / (w0 + w1 + w2)
        closer = inside & (value > best)  # faces come in index order, so a tie keeps the smaller index
        best[closer], winner[closer] = value[closer], index
    return winner


def flat_camera(width: int, height: int) -> Camera:
    """x and y of a point at depth 1 are its pixel."""
    K = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    return Camera(K, np.eye(3), np.zeros(3), width, height)


def at_pixels(xy: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([xy * z[:, None], z])


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.6, 2.0, 6.0, 40.0]),
    step=st.sampled_from([0.0, 0.5, 1.0]),
    chunk=st.sampled_from([1, 7, 300, 4_000_000]),
)
def test_every_pixel_has_the_face_the_definition_gives(seed: int, size: float, step: float, chunk: int) -> None:
    """Triangle soup from sub-pixel to larger than the image; snapped to pixel centres it is full of ties."""
    rng = np.random.default_rng(seed)
    n = 60
    xy = rng.uniform(-8, 40, (n, 1, 2)) + rng.uniform(-size, size, (n, 3, 2))
    z = rng.uniform(-0.1, 3, 3 * n) if step == 0 else rng.integers(0, 4, 3 * n).astype(float)
    xy = xy.reshape(-1, 2) if step == 0 else np.round(xy.reshape(-1, 2) / step) * step
    faces = np.arange(3 * n).reshape(n, 3)
    faces[::9] = faces[0]  # exact copies
    faces[4::9, 1] = faces[4::9, 0]  # without area
    vertices, camera = at_pixels(xy, z), flat_camera(33, 29)
    np.testing.assert_array_equal(
        rasterise(vertices, faces, camera, chunk=chunk).face_HW, by_definition(vertices, faces, camera)
    )


def test_large_and_small_faces_together_follow_the_definition() -> None:
    """Covers the path for single huge faces, which small images never reach."""
    rng = np.random.default_rng(5)
    xy = np.concatenate([rng.uniform(-300, 600, (12, 2)), rng.uniform(0, 200, (1, 2)) + rng.uniform(0, 9, (90, 2))])
    vertices = at_pixels(xy, rng.uniform(1, 2, len(xy)))
    faces = np.arange(len(xy)).reshape(-1, 3)
    camera = flat_camera(220, 190)
    hits = rasterise(vertices, faces, camera)
    np.testing.assert_array_equal(hits.face_HW, by_definition(vertices, faces, camera))
    assert len(np.unique(hits.face_HW)) > 4


def test_result_does_not_depend_on_the_chunk_size(icosphere: Icosphere, portrait: Camera) -> None:
    vertices, faces = icosphere(3)
    whole = rasterise(vertices * 0.5, faces, portrait)
    for chunk in (64, 5000):
        part = rasterise(vertices * 0.5, faces, portrait, chunk=chunk)
        for name in ("face_HW", "depth_HW", "barycentric_HW3"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_face_order_changes_only_the_names_of_faces(icosphere: Icosphere, thumbnail: Camera) -> None:
    vertices, faces = icosphere(3)
    order = np.random.default_rng(0).permutation(len(faces))
    a, b = rasterise(vertices, faces, thumbnail), rasterise(vertices, faces[order], thumbnail)
    np.testing.assert_array_equal(np.where(b.face_HW >= 0, order[b.face_HW], -1), a.face_HW)
    np.testing.assert_array_equal(a.depth_HW, b.depth_HW)


def test_winding_does_not_matter(icosphere: Icosphere, thumbnail: Camera) -> None:
    vertices, faces = icosphere(3)
    a, b = rasterise(vertices, faces, thumbnail), rasterise(vertices, faces[:, ::-1], thumbnail)
    np.testing.assert_array_equal(a.face_HW, b.face_HW)
    np.testing.assert_allclose(a.depth_HW[a.mask_HW], b.depth_HW[a.mask_HW], rtol=1e-12)


def test_faces_that_share_edges_on_pixel_centres_leave_no_gap() -> None:
    x, y = np.meshgrid(np.arange(0, 21, 4.0), np.arange(0, 21, 4.0))
    vertices = at_pixels(np.column_stack([x.ravel(), y.ravel()]), np.full(x.size, 2.0))
    corner = (np.arange(5)[:, None] * 6 + np.arange(5)).ravel()
    faces = np.concatenate(
        [np.column_stack([corner, corner + 1, corner + 7]), np.column_stack([corner, corner + 7, corner + 6])]
    )
    hits = rasterise(vertices, faces, flat_camera(24, 24))
    expected = np.zeros((24, 24), bool)
    expected[:21, :21] = True  # borders are inclusive
    np.testing.assert_array_equal(hits.mask_HW, expected)
    np.testing.assert_allclose(hits.depth_HW[expected], 2.0, rtol=1e-15)


def test_random_sheet_without_holes_covers_every_pixel() -> None:
    """A jittered grid over the whole image: one missed pixel would be a crack between two faces."""
    rng = np.random.default_rng(3)
    x, y = np.meshgrid(np.linspace(-3, 130, 150), np.linspace(-3, 100, 120))
    xy = np.column_stack([x.ravel(), y.ravel()]) + rng.uniform(-0.2, 0.2, (x.size, 2))
    corner = (np.arange(119)[:, None] * 150 + np.arange(149)).ravel()
    faces = np.concatenate(
        [np.column_stack([corner, corner + 1, corner + 151]), np.column_stack([corner, corner + 151, corner + 150])]
    )
    hits = rasterise(at_pixels(xy, rng.uniform(1, 1.2, len(xy))), faces, flat_camera(128, 98))
    assert hits.mask_HW.all()


@pytest.mark.parametrize("size", [2, 9, 200])
def test_equal_depth_goes_to_the_smallest_face_index(size: int) -> None:
    vertices = at_pixels(np.array([[1.0, 1], [size, 1], [1, size]]), np.full(3, 2.0))
    hits = rasterise(vertices, np.array([[0, 1, 1], [0, 1, 2], [0, 1, 2]]), flat_camera(200, 200))
    assert set(np.unique(hits.face_HW)) == {-1, 1}


def test_faces_across_the_near_plane_are_skipped_and_counted() -> None:
    vertices = np.array([[0.0, 0, 1], [9, 0, 1], [0, 9, 1], [0, 0, -1], [5, 0, -1], [0, 5, -1], [3, 3, 0]])
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 3, 4], [3, 4, 5], [0, 1, 6]])
    hits = rasterise(vertices, faces, flat_camera(12, 12))
    assert hits.n_near_skipped == 3  # not the one wholly behind, not the one wholly in front
    assert set(np.unique(hits.face_HW)) == {-1, 0}


def test_nothing_in_view_gives_an_empty_result() -> None:
    for faces in (np.zeros((0, 3), int), np.array([[0, 1, 2]])):
        hits = rasterise(np.array([[90.0, 90, 1], [99, 90, 1], [90, 99, 1]]), faces, flat_camera(5, 4))
        assert hits.face_HW.shape == (4, 5)
        assert (hits.face_HW == -1).all()
        assert np.isinf(hits.depth_HW).all()
        assert not hits.barycentric_HW3.any()


def test_images_wider_than_16_bit_coordinates_agree_with_a_crop() -> None:
    width = 40_000
    xy = np.array([[100.0, 0], [39_990, 2], [20_000, 5], [33_000, 0], [33_003.5, 0], [33_001, 4.2]])
    vertices, faces = at_pixels(xy, np.array([2.0, 2, 2, 1, 1, 1])), np.array([[0, 1, 2], [3, 4, 5]])
    wide = rasterise(vertices, faces, flat_camera(width, 6))
    K = np.array([[1.0, 0, -32_990], [0, 1, 0], [0, 0, 1]])
    crop = rasterise(vertices, faces, Camera(K, np.eye(3), np.zeros(3), 30, 6))
    np.testing.assert_array_equal(wide.face_HW[:, 32_990:33_020], crop.face_HW)
    assert set(np.unique(crop.face_HW)) == {-1, 0, 1}


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (np.zeros((3, 2)), np.zeros((1, 3), int)),
        (np.zeros((3, 3)), np.zeros((1, 4), int)),
        (np.zeros((3, 3)), np.zeros((1, 3))),
        (np.zeros((3, 3)), np.array([[0, 1, 3]])),
        (np.zeros((3, 3)), np.array([[0, 1, -1]])),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
    ],
)
def test_wrong_arrays_are_refused(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> None:
    with pytest.raises(ShapeError):
        rasterise(vertices, faces, flat_camera(4, 4))


def test_barycentrics_rebuild_the_point_on_the_ray(icosphere: Icosphere, thumbnail: Camera) -> None:
    vertices, faces = icosphere(2)
    hits = rasterise(vertices, faces, thumbnail)
    rows, columns = np.nonzero(hits.mask_HW)
    weights = hits.barycentric_HW3[rows, columns]
    points = (vertices[faces[hits.face_HW[rows, columns]]] * weights[..., None]).sum(1)
    uv, depth = thumbnail.project(points)
    np.testing.assert_allclose(uv, np.column_stack([columns, rows]), atol=1e-9)
    np.testing.assert_allclose(depth, hits.depth_HW[rows, columns], rtol=1e-12)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-12)
    assert weights.min() > -1e-9


# Analytic shapes. Limits are twice what a study gave, 1024 x 768, f = 1500 px, radius 0.5 m at 2.5 m.


def sphere_depth(camera: Camera, radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z-depth (NaN outside) and viewer-frame normal of a sphere at the origin of the world."""
    u, v = np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))
    dx, dy = camera.rays(u, v)
    ray = np.stack([dx, dy, np.ones_like(dx)], 2)
    middle = camera.t
    b, c = ray @ middle, float(middle @ middle) - radius**2
    a = (ray**2).sum(2)
    with np.errstate(invalid="ignore"):
        depth = (b - np.sqrt(b * b - a * c)) / a
    return depth, (depth[..., None] * ray - middle) / radius * np.array([1, -1, -1])


def errors_on_sphere(mesh: Mesh, camera: Camera) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    vertices, faces = mesh[0] * 0.5, mesh[1]
    hits = rasterise(vertices, faces, camera)
    normals = shaded_normals(hits, vertices, faces, vertex_normals(vertices, faces), camera).normal_HW3
    depth, expected = sphere_depth(camera, 0.5)
    both = hits.mask_HW & np.isfinite(depth)
    sine = np.linalg.norm(np.cross(normals[both].astype(float), expected[both]), axis=1)
    wrong = int((hits.mask_HW != np.isfinite(depth)).sum())
    return wrong, np.abs(hits.depth_HW - depth)[both] * 1000, np.degrees(np.arcsin(np.minimum(sine, 1)))


def test_fine_sphere_is_as_exact_as_specified(icosphere: Icosphere, portrait: Camera) -> None:
    wrong, depth_mm, normal_deg = errors_on_sphere(icosphere(7), portrait)  # 327,680 faces
    assert len(depth_mm) > 290_000
    assert wrong == 0
    assert depth_mm.mean() < 2 * 0.011
    assert np.percentile(depth_mm, 99) < 2 * 0.057
    assert depth_mm.max() < 2 * 2.1
    assert normal_deg.mean() < 2 * 0.0017
    assert normal_deg.max() < 2 * 0.25


def test_coarse_sphere_is_as_exact_as_specified(icosphere: Icosphere, portrait: Camera) -> None:
    wrong, _, normal_deg = errors_on_sphere(icosphere(5), portrait)  # 20,480 faces
    assert wrong <= 2 * 100
    assert normal_deg.mean() < 2 * 0.023


def test_tilted_plane_is_exact(portrait: Camera) -> None:
    """z-depth of a plane n.X = d along the ray is d / (n.ray), to rounding."""
    normal, point = np.array([0.3, 0.5, 0.81]), np.array([0.1, -0.2, 0.3])
    across = np.cross(normal, [0.0, 1, 0])
    across /= np.linalg.norm(across)
    up = np.cross(normal, across)
    vertices = point + np.array([a * across + b * up for a in (-1.7, 1.7) for b in (-1.7, 1.7)])
    vertices -= 5e-3 * normal  # off the grid
    hits = rasterise(vertices, np.array([[0, 1, 3], [0, 3, 2]]), portrait)
    u, v = np.meshgrid(np.arange(768.0), np.arange(1024.0))
    dx, dy = portrait.rays(u, v)
    turned = portrait.R @ normal
    expected = float(turned @ portrait.to_camera(vertices[:1])[:, 0]) / (dx * turned[0] + dy * turned[1] + turned[2])
    sees = hits.mask_HW
    assert sees.all()
    np.testing.assert_allclose(hits.depth_HW, expected, rtol=1e-12)


def test_mirrored_mesh_and_camera_give_the_flipped_image(icosphere: Icosphere) -> None:
    """X-flipped depth, X-negated normals: catches a half-pixel shift and a wrong axis sign."""
    sphere, faces = icosphere(4)
    vertices = sphere * [0.5, 0.8, 0.4] + 0.1 * np.sin(3 * sphere[:, [1, 2, 0]])
    R, t = look_at([1.0, 0.4, 2.3], [0.05, 0, 0])
    camera = Camera(intrinsics(150, 96, 128), R, t, 96, 128)
    mirror = np.diag([-1.0, 1, 1])
    mirrored = Camera(camera.K, mirror @ R @ mirror, mirror @ t, 96, 128)
    results = []
    for points, triangles, view in ((vertices, faces, camera), (vertices @ mirror, faces[:, ::-1], mirrored)):
        hits = rasterise(points, triangles, view)
        results.append((hits, shaded_normals(hits, points, triangles, vertex_normals(points, triangles), view)))
    (hits, shaded), (other, other_shaded) = results
    np.testing.assert_array_equal(hits.mask_HW, other.mask_HW[:, ::-1])
    np.testing.assert_allclose(hits.depth_HW, other.depth_HW[:, ::-1], rtol=1e-9)
    np.testing.assert_allclose(shaded.normal_HW3, other_shaded.normal_HW3[:, ::-1] * np.float32([-1, 1, 1]), atol=1e-6)


# Stored and foreign answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [1, 2])
def test_silhouettes_equal_the_stored_masks_pixel_for_pixel(shared: Path, frame: int) -> None:
    folder = shared / "data/hi4d_layout_standin/pair00/hug00"
    mesh = read_mesh(folder / "frames" / f"mesh-f{frame:05d}.obj")
    with np.load(folder / "cameras/rgb_cameras.npz") as cameras:
        ids, K, extrinsics = cameras["ids"].tolist(), cameras["intrinsics"], cameras["extrinsics"]
    for camera_id in (4, 16):
        at = ids.index(camera_id)
        mask = np.asarray(Image.open(folder / f"seg/img_seg_mask/{camera_id}/all/{frame:06d}.png"))
        camera = Camera(K[at], extrinsics[at, :, :3], extrinsics[at, :, 3], mask.shape[1], mask.shape[0])
        hits = rasterise(mesh.vertices_V3, mesh.faces_F3, camera)
        assert int((hits.mask_HW != (mask > 0)).sum()) == 0


def test_normalised_scan_renders_like_the_unscaled_one(shared: Path) -> None:
    """Scale 100 and shift (12, -35, 7) in the file must not move depth by 1e-6, with cameras that correspond."""
    mesh = read_mesh(shared / "data/thuman_layout_standin/0001/0001.obj")
    small, step = normalise(mesh, 1.7)
    R, t = look_at([0.5, 1.0, 3.0], [0, 0.85, 0])
    camera = Camera(intrinsics(600, 240, 320), R, t, 240, 320)
    # X_cam / scale = R (X - offset) + t / scale
    original = Camera(camera.K, R, t / step.scale - R @ np.array(step.offset), 240, 320)
    a = rasterise(small.vertices_V3, small.faces_F3, camera)
    b = rasterise(mesh.vertices_V3, mesh.faces_F3, original)
    assert a.mask_HW.sum() > 5000
    np.testing.assert_array_equal(a.mask_HW, b.mask_HW)
    np.testing.assert_allclose(b.depth_HW[a.mask_HW] * step.scale, a.depth_HW[a.mask_HW], rtol=1e-6)


def cast(vertices: NDArray[np.float64], faces: NDArray[np.int64], camera: Camera) -> tuple[NDArray[np.int64], Hits]:
    """First hits of embree through trimesh, [H, W], and ours."""
    trimesh = pytest.importorskip("trimesh")
    embree = pytest.importorskip("trimesh.ray.ray_pyembree")
    u, v = np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))
    dx, dy = camera.rays(u.ravel(), v.ravel())
    rays = np.column_stack([dx, dy, np.ones_like(dx)]) @ camera.R
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    first = embree.RayMeshIntersector(mesh).intersects_first(np.broadcast_to(camera.centre, rays.shape), rays)
    return np.asarray(first).reshape(camera.height, camera.width), rasterise(vertices, faces, camera)


def test_embree_sees_the_same_person(shared: Path, portrait: Camera) -> None:
    pytest.importorskip("embreex")
    mesh, _ = normalise(read_mesh(shared / "data/meshes/person.obj"), 1.7)
    vertices = mesh.vertices_V3 - [0, 0.85, 0]
    first, hits = cast(vertices, mesh.faces_F3, portrait)
    assert hits.mask_HW.sum() > 50_000
    np.testing.assert_array_equal(first >= 0, hits.mask_HW)
    differ = hits.mask_HW & (first != hits.face_HW)
    assert int(differ.sum()) <= 12  # ties on shared edges, in single precision
    rows, columns = np.nonzero(hits.mask_HW)
    corners = vertices[mesh.faces_F3[first[rows, columns]]] @ portrait.R.T + portrait.t
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    dx, dy = portrait.rays(columns.astype(float), rows.astype(float))
    depth = (normal * corners[:, 0]).sum(1) / (normal[:, 0] * dx + normal[:, 1] * dy + normal[:, 2])
    assert np.abs(depth - hits.depth_HW[rows, columns]).max() < 2e-5
