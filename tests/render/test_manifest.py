"""Manifests: equality, tolerance at rounding boundaries, size of differences, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.errors import DataError, DataMissing, ShapeError
from sapiens_bench.render.attributes import shaded_normals, vertex_normals
from sapiens_bench.render.camera import Camera
from sapiens_bench.render.manifest import (
    ManifestEntry,
    compare,
    digest,
    distance,
    read_manifest,
    write_manifest,
)
from sapiens_bench.render.rasterise import rasterise

Arrays = tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.bool_]]


@pytest.fixture(scope="module")
def render(icosphere: Callable[[int], tuple[NDArray[np.float64], NDArray[np.int64]]], portrait: Camera) -> Arrays:
    vertices, faces = icosphere(4)
    vertices = vertices * 0.4
    hits = rasterise(vertices, faces, portrait)
    normals = shaded_normals(hits, vertices, faces, vertex_normals(vertices, faces), portrait)
    return hits.depth_HW, normals.normal_HW3, hits.mask_HW


def entry(camera: Camera, arrays: Arrays, key: str = "0001/full/0") -> ManifestEntry:
    depth, normals, mask = arrays
    return ManifestEntry(
        key,
        camera,
        {
            "mask": digest("mask", mask),
            "depth": digest("depth", depth, mask),
            "normal": digest("normal", normals, mask),
        },
        source={"obj_sha256": "ab" * 32, "normalisation": {"scale": 0.123, "offset": [0.1, 2.0, -3.0]}},
        view={"framing": "full", "light": None, "flipped_share": float("nan"), "yaw_deg": np.float64(12.5)},
    )


def moved(arrays: Arrays, depth_m: float, seed: int = 0) -> Arrays:
    depth, normals, mask = arrays
    return depth + np.random.default_rng(seed).normal(0, depth_m, depth.shape), normals, mask


def test_same_render_is_equal(render: Arrays, portrait: Camera) -> None:
    result = compare([entry(portrait, render)], [entry(portrait, render)])
    assert (result.verdict, result.n_equal, result.differences) == ("equal", 1, ())


def test_last_bits_that_flip_the_hash_are_still_close(render: Arrays, portrait: Camera) -> None:
    """Depths exactly on rounding boundaries: noise of one unit in the last place changes the hash, not the verdict."""
    depth, normals, mask = render
    edge = (np.floor(depth * 1e4) + 0.5) / 1e4
    nudged = np.nextafter(edge, np.where(np.random.default_rng(0).random(depth.shape) < 0.5, 0, 9))
    a, b = entry(portrait, (edge, normals, mask)), entry(portrait, (nudged, normals, mask))
    assert a.arrays["depth"].sha256 != b.arrays["depth"].sha256
    result = compare([a], [b])
    assert result.verdict == "close"
    assert "depth" in result.differences[0].reasons[0]


@pytest.mark.parametrize(("noise_m", "verdict"), [(1e-8, "close"), (1e-5, "different")])
def test_noise_over_all_pixels_is_judged_by_its_total(
    render: Arrays, portrait: Camera, noise_m: float, verdict: str
) -> None:
    assert compare([entry(portrait, render)], [entry(portrait, moved(render, noise_m))]).verdict == verdict


def test_one_wrong_pixel_among_many_is_found(render: Arrays, portrait: Camera) -> None:
    depth, normals, mask = render
    row, column = np.argwhere(mask)[12345]
    for step_m, verdict in ((5e-5, "close"), (1e-3, "different")):
        other = depth.copy()
        other[row, column] = np.rint(other[row, column] * 1e4) / 1e4
        before = other.copy()
        other[row, column] += step_m * 1.01
        a, b = entry(portrait, (before, normals, mask)), entry(portrait, (other, normals, mask))
        assert distance(a.arrays["depth"], b.arrays["depth"]) == pytest.approx(step_m, rel=0.05)
        assert compare([a], [b]).verdict == verdict


def test_distance_estimates_the_true_length_of_the_difference(render: Arrays) -> None:
    depth, _, mask = render
    for seed in range(5):
        other = moved(render, 1e-3, seed)[0]
        length = np.linalg.norm(other[mask] - depth[mask])
        assert distance(digest("depth", depth, mask), digest("depth", other, mask)) == pytest.approx(length, rel=0.4)


def test_compensating_errors_do_not_hide(render: Arrays) -> None:
    """Swapped neighbours keep every sum and histogram; the sketch still sees them."""
    depth, _, mask = render
    swapped = depth.copy()
    swapped[:, 300:400] = swapped[:, 300:400][:, ::-1]
    both = mask & mask[:, ::-1] & np.isfinite(swapped)
    length = np.linalg.norm(swapped[both] - depth[both])
    assert distance(digest("depth", depth, both), digest("depth", swapped, both)) == pytest.approx(length, rel=0.4)


def test_a_single_mask_pixel_makes_a_view_different(render: Arrays, portrait: Camera) -> None:
    mask = render[2].copy()
    mask[0, 0] = True
    a = entry(portrait, render)
    b = replace(a, arrays={**a.arrays, "mask": digest("mask", mask)})
    result = compare([a], [b])
    assert result.verdict == "different"
    assert "about 1 pixels" in result.differences[0].reasons[0]


def test_another_normal_map_is_different(render: Arrays, portrait: Camera) -> None:
    depth, normals, mask = render
    result = compare([entry(portrait, render)], [entry(portrait, (depth, normals * np.float32([1, -1, 1]), mask))])
    assert result.verdict == "different"
    assert result.differences[0].reasons[0].startswith("normal")


def test_colour_may_differ_by_single_levels_but_not_by_shade() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 250, (60, 40, 3), dtype=np.uint8)
    levels = image + (rng.random(image.shape) < 0.01).astype(np.uint8)
    camera = Camera(np.eye(3), np.eye(3), np.zeros(3), 40, 60)
    entries = [ManifestEntry("k", camera, {"rgb": digest("rgb", a)}) for a in (image, levels, image + np.uint8(3))]
    assert compare(entries[:1], entries[1:2]).verdict == "close"
    assert compare(entries[:1], entries[2:]).verdict == "different"


def test_differences_of_camera_and_source_are_named(render: Arrays, portrait: Camera) -> None:
    a = entry(portrait, render)
    other = Camera(portrait.K, portrait.R, portrait.t + np.array([0, 0, 1e-3]), portrait.width, portrait.height)
    tiny = Camera(portrait.K * (1 + 1e-15), portrait.R, portrait.t, portrait.width, portrait.height)
    assert compare([a], [replace(a, camera=tiny)]).verdict == "equal"
    found = compare([a], [replace(a, camera=other, source={**a.source, "obj_sha256": "cd"}, renderer=99)])
    text = " ".join(found.differences[0].reasons)
    assert found.verdict == "different"
    for name in ("camera.t[2]", "source.obj_sha256", "renderer"):
        assert name in text
    assert "camera.K" not in text


def test_missing_views_are_listed(render: Arrays, portrait: Camera) -> None:
    a, b = entry(portrait, render), entry(portrait, render, "0002/full/0")
    result = compare([a, b], [a])
    assert [(d.key, d.verdict) for d in result.differences] == [("0002/full/0", "missing")]
    assert result.n_equal == 1
    assert result.verdict == "different"


def test_file_round_trip_keeps_every_value(render: Arrays, portrait: Camera, tmp_path: Path) -> None:
    entries = [entry(portrait, render, key) for key in ("b", "a")]
    write_manifest(tmp_path / "deep" / "manifest.jsonl", entries)
    back = read_manifest(tmp_path / "deep" / "manifest.jsonl")
    assert [e.key for e in back] == ["a", "b"]
    assert compare(entries, back).verdict == "equal"
    np.testing.assert_array_equal(back[0].camera.K, portrait.K)
    assert back[0].arrays == entries[1].arrays
    first = (tmp_path / "deep" / "manifest.jsonl").read_bytes()
    write_manifest(tmp_path / "deep" / "manifest.jsonl", back)
    assert (tmp_path / "deep" / "manifest.jsonl").read_bytes() == first
    assert len(first) < 10_000


def test_manifest_faults_name_the_line(render: Arrays, portrait: Camera, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with pytest.raises(DataMissing):
        read_manifest(path)
    write_manifest(path, [entry(portrait, render)])
    line = path.read_text()
    record = json.loads(line)
    short = {**record, "arrays": {"mask": {**record["arrays"]["mask"], "sketch": [1.0]}}}
    faults = [
        "{",
        "[]",
        "3",
        "{}",
        json.dumps({**record, "schema": "x/1"}),
        json.dumps({**record, "camera": {}}),
        json.dumps(short),
    ]
    for bad in faults:
        path.write_text(line + bad + "\n")
        with pytest.raises(DataError, match="line 2"):
            read_manifest(path)
    path.write_text(line + line)
    with pytest.raises(DataError, match="twice"):
        read_manifest(path)
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(DataError, match="UTF-8"):
        read_manifest(path)


def test_undefined_values_must_be_masked(render: Arrays) -> None:
    depth, _, mask = render
    with pytest.raises(ShapeError):
        digest("depth", depth)
    with pytest.raises(ShapeError):
        digest("depth", depth, mask[1:])


def test_a_link_planted_under_a_temporary_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "manifest.jsonl.tmp").symlink_to(victim)
    write_manifest(tmp_path / "manifest.jsonl", [])
    assert victim.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.jsonl", "manifest.jsonl.tmp", "victim"]
