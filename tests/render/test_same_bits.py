"""What is written for speed, channel by channel and in blocks, has the bits of the formula written down plainly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.render import picture, rasterise, room, shade, shell
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.shade import DISC, SHADOW_BIAS_M, ShadowMap

N_VERTICES, N_FACES, N_SAMPLES = 400, 700, 40_000  # samples fill more than two blocks


@pytest.fixture(scope="module")
def scene() -> SimpleNamespace:
    rng = np.random.default_rng(0)
    surface = SimpleNamespace(
        vertices_V3=rng.normal(size=(N_VERTICES, 3)) + np.array([0.0, 4, 1]),
        faces_F3=rng.integers(0, N_VERTICES, (N_FACES, 3)),
    )
    weight = rng.dirichlet(np.ones(3), N_SAMPLES)
    seen = SimpleNamespace(
        pixel_P=np.sort(rng.choice(300 * 400, N_SAMPLES, replace=False)),
        face_P=rng.integers(0, N_FACES, N_SAMPLES),
        weight_P3=weight,
        depth_P=rng.uniform(1, 5, N_SAMPLES),
    )
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    K = np.array([[300.0, 0, 150], [0, 300, 200], [0, 0, 1]])
    return SimpleNamespace(
        rng=rng, surface=surface, seen=seen, camera=Camera(K, turn, np.array([0.1, 0.2, 3]), 300, 400)
    )


def mixed(scene: SimpleNamespace, values_VC: NDArray[Any], chosen: Any) -> NDArray[Any]:
    corners = scene.surface.faces_F3[scene.seen.face_P[chosen]]
    weight = scene.seen.weight_P3[chosen].astype(values_VC.dtype)
    out = values_VC[corners[:, 0]] * weight[:, :1]
    out += values_VC[corners[:, 1]] * weight[:, 1:2]
    out += values_VC[corners[:, 2]] * weight[:, 2:]
    return np.asarray(out)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_vertex_values_at_samples(scene: SimpleNamespace, dtype: type, channels: int) -> None:
    values = scene.rng.normal(size=(N_VERTICES, channels)).astype(dtype)
    for chosen in (slice(None), np.arange(0, N_SAMPLES, 7)):
        found = picture.mixed(scene.seen, scene.surface, values, chosen)
        np.testing.assert_array_equal(found, mixed(scene, values, chosen), strict=True)


def test_normals_that_face_the_camera(scene: SimpleNamespace) -> None:
    camera, seen, surface = scene.camera, scene.seen, scene.surface
    unit = scene.rng.normal(size=(N_VERTICES, 3))
    unit /= np.sqrt((unit**2).sum(1, keepdims=True))
    unit[surface.faces_F3[0]] = 0.0  # a face without a normal of its own
    y, x = np.divmod(seen.pixel_P, camera.width)
    ray = np.stack([(x - 150.0) / 300, (y - 200.0) / 300, np.ones(N_SAMPLES)], 1) @ camera.R
    view = -ray / np.sqrt((ray**2).sum(1))[:, None]
    normal = mixed(scene, unit, slice(None))
    a, b, c = (surface.vertices_V3[surface.faces_F3[:, k]] for k in range(3))
    flat = np.cross(b - a, c - a)[seen.face_P]
    away = (flat * view).sum(1) < 0
    normal[away] *= -1
    flat[away] *= -1
    length = np.sqrt((normal**2).sum(1))
    lost = length < 1e-6
    assert lost.any()
    normal[lost] = flat[lost] / np.maximum(np.sqrt((flat[lost] ** 2).sum(1, keepdims=True)), 1e-300)
    normal /= np.where(lost, 1.0, length)[:, None]
    along = (normal * view).sum(1)
    lean = along < 1e-3
    normal[lean] += (np.maximum(-along[lean], 1e-3) - along[lean])[:, None] * view[lean]
    normal[lean] /= np.sqrt((normal[lean] ** 2).sum(1, keepdims=True))
    found = picture.normals(seen, surface, unit, camera)  # type: ignore[arg-type]
    for one, wanted in zip(found, (normal, view, camera.centre + ray * seen.depth_P[:, None]), strict=True):
        np.testing.assert_array_equal(one, wanted, strict=True)
    assert lean.any()
    assert away.any()


@pytest.mark.parametrize("taps", [5, 9])
def test_share_of_the_lamp(scene: SimpleNamespace, taps: int) -> None:
    K = np.array([[90.0, 0, 31.5], [0, 90, 31.5], [0, 0, 1]])
    lamp = Camera(K, np.eye(3), np.array([0.0, 0, 5]), 64, 64)
    depth = scene.rng.uniform(3, 7, (64, 64)).astype(np.float32)
    points = scene.rng.uniform(-2, 2, (N_SAMPLES, 3)).astype(np.float32)
    q = points @ np.eye(3, dtype=np.float32).T + np.array([0, 0, 5], np.float32)
    z = q[:, 2]
    u, v = (q[:, k] / z * np.float32(90) + np.float32(31.5) for k in range(2))
    near = (u > 3) & (u < 60) & (v > 3) & (v < 60)
    total = np.zeros(N_SAMPLES, np.float32)
    for du, dv in DISC[:taps]:
        column, row = (np.rint(at + np.float32(d * 1.7)).astype(int).clip(0, 63) for at, d in ((u, du), (v, dv)))
        total += depth[row, column] > z - np.float32(SHADOW_BIAS_M)
    wanted = np.where(near, total / taps, 1).astype(np.float32)
    np.testing.assert_array_equal(ShadowMap(lamp, depth, 1.7).lit(points, taps), wanted, strict=True)
    assert 0.2 < near.mean() < 0.9


def test_stencils_and_normals_at_rest(scene: SimpleNamespace) -> None:
    rng, vertices, faces = scene.rng, scene.surface.vertices_V3, scene.surface.faces_F3
    stencil, weight = rng.integers(0, N_VERTICES, (900, 5)), rng.random((900, 5))
    wanted = np.zeros((900, 3))
    for k in range(5):
        wanted += weight[:, k, None] * vertices[stencil[:, k]]
    np.testing.assert_array_equal(shell._apply(stencil, weight, vertices), wanted, strict=True)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal, total = np.cross(b - a, c - a), np.zeros_like(vertices)
    for axis in range(3):
        for k in range(3):
            total[:, axis] += np.bincount(faces[:, k], normal[:, axis], N_VERTICES)
    length = np.sqrt((total**2).sum(1, keepdims=True))
    wanted = total / np.where(length > 0, length, 1.0)
    np.testing.assert_array_equal(shell.normals_at_rest(vertices, faces), wanted, strict=True)


def test_a_point_is_inside_when_all_edges_agree_and_not_all_are_zero() -> None:
    values = np.array([-1.0, -0.0, 0.0, 2.0, np.nan])
    w0, w1, w2 = (w.ravel() for w in np.meshgrid(values, values, values))
    low, high = np.minimum(np.minimum(w0, w1), w2), np.maximum(np.maximum(w0, w1), w2)
    wanted = ((low >= 0) & (high > 0)) | ((high <= 0) & (low < 0))
    np.testing.assert_array_equal(rasterise._inside(w0, w1, w2), wanted)
    assert 0 < wanted.sum() < len(wanted)


def test_light_on_people_and_on_the_room(scene: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, n = scene.rng, 1000
    normal, view = (v / np.sqrt((v**2).sum(1, keepdims=True)) for v in rng.normal(size=(2, n, 3)).astype(np.float32))
    albedo = rng.random((n, 3)).astype(np.float32)
    gloss, wrap, lamp, sky = rng.random((4, n)).astype(np.float32)
    finish = SimpleNamespace(albedo=albedo, gloss=gloss, power=np.full(n, 20, np.float32), wrap=wrap)
    monkeypatch.setattr(shade, "_finish", lambda samples, looks: finish)
    light = shade.draw_light(np.random.default_rng(1), outdoors=True)
    shadows = shade.Shadows(lamp, sky)
    d = light.direction.astype(np.float32)
    cosine = normal @ d
    lit = np.where(cosine < 0, np.float32(1), lamp) * np.clip((cosine + wrap) / (1 + wrap), 0, 1)
    facing = 0.5 + 0.5 * normal[:, 2]
    ambient = light.ground * (1 - facing)[:, None] + light.sky * (facing * (0.35 + 0.65 * sky))[:, None]
    half = view + d
    half /= np.sqrt(shade.dots(half, half))[:, None]
    shine = gloss * np.clip(shade.dots(normal, half), 0, 1) ** finish.power * np.clip(lit * 3, 0, 1)
    rim = 0.12 * (1 - np.clip(shade.dots(normal, view), 0, 1)) ** 3
    wanted = albedo * (lit[:, None] * light.colour + ambient * (1 + rim[:, None]))
    wanted += shine[:, None] * light.colour + (gloss * rim * 0.6)[:, None] * light.sky
    samples: Any = SimpleNamespace(normal_P3=normal, view_P3=view)
    found = shade.light_people(samples, (), light, shadows)
    np.testing.assert_array_equal(found, wanted.astype(np.float32), strict=True)
    point = rng.uniform(0, 1, (n, 3)).astype(np.float32)
    is_floor = normal[:, 2] > 0.9
    shares = np.where(is_floor, 0.45 + 0.55 * sky, 1.0) * np.where(
        is_floor, 1.0, np.clip(0.72 + 0.5 * point[:, 2], 0.72, 1)
    )
    ambient = (light.ground * (1 - facing)[:, None] + light.sky * facing[:, None]) * shares[:, None]
    wanted = albedo * ((np.clip(normal @ d, 0, 1) * lamp)[:, None] * light.colour + ambient)
    found = shade.light_room(albedo, normal, point, light, shadows)
    np.testing.assert_array_equal(found, wanted.astype(np.float32), strict=True)


def test_grain_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    point = np.random.default_rng(0).uniform(-3, 3, (50, 30, 3)).astype(np.float32)
    its: Any = SimpleNamespace(phase=(0.3, 1.7, 2.9, 4.0, 5.0, 6.0))
    whole = room._grain(point, its, 23.0)
    monkeypatch.setattr(room, "POINT_BLOCK", 97)
    np.testing.assert_array_equal(room._grain(point, its, 23.0), whole, strict=True)
    assert np.ptp(whole) > 1
