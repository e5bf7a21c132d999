"""Speed and memory of the ground-truth renderer against trimesh + embreex, on one dense scan.

``pytest tests/benchmarks/test_bench_render.py --benchmark-only``; one thread each (OMP_NUM_THREADS=1). Ratios and peak
memory are in ``extra_info``. Peak memory is that of a fresh process running only the step, less what it held before.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.render.attributes import shaded_normals, texture_colour, vertex_normals
from sapiens_bench.render.camera import Camera, intrinsics, look_at
from sapiens_bench.render.mesh import normalise, read_mesh
from sapiens_bench.render.rasterise import rasterise

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


def midpoint_subdivide(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Mesh:
    """Every face into four, new vertices on the middles of edges."""
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    edges, which = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_inverse=True)
    middle = (vertices[edges // len(vertices)] + vertices[edges % len(vertices)]) / 2
    p, q, r = which.reshape(3, -1) + len(vertices)
    a, b, c = faces.T
    parts = ((a, p, r), (p, b, q), (r, q, c), (p, q, r))
    return np.concatenate([vertices, middle]), np.concatenate([np.stack(part, 1) for part in parts])


@lru_cache(maxsize=4)
def person(root: Path, levels: int) -> Mesh:
    """The sample person, 1.7 m, centred: 48,918 faces at level 0, 782,688 at level 2."""
    mesh, _ = normalise(read_mesh(root / "data/meshes/person.obj"), 1.7)
    vertices, faces = mesh.vertices_V3 - [0, 0.85, 0], mesh.faces_F3
    for _ in range(levels):
        vertices, faces = midpoint_subdivide(vertices, faces)
    return vertices, faces


def camera(width: int = 768, height: int = 1024, focal: float = 1300.0) -> Camera:
    R, t = look_at([2.5, 0.2, 0.3], [0, 0, 0])
    return Camera(intrinsics(focal, width, height), R, t, width, height)


def cast_with_trimesh(vertices: NDArray[np.float64], faces: NDArray[np.int64], view: Camera) -> NDArray[Any]:
    import trimesh
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    u, v = np.meshgrid(np.arange(view.width, dtype=float), np.arange(view.height, dtype=float))
    dx, dy = view.rays(u.ravel(), v.ravel())
    rays = np.column_stack([dx, dy, np.ones_like(dx)]) @ view.R
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    return np.asarray(RayMeshIntersector(mesh).intersects_first(np.broadcast_to(view.centre, rays.shape), rays))


def fastest(call: Callable[[], Any], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


PEAK = """
import importlib.util, sys
from pathlib import Path
def peak():  # of this process alone; ru_maxrss would start from the parent's
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
spec = importlib.util.spec_from_file_location("bench", sys.argv[1]); bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
if sys.argv[3] == "trimesh": import trimesh, trimesh.ray.ray_pyembree
vertices, faces = bench.person(Path(sys.argv[2]), 0)
(bench.cast_with_trimesh if sys.argv[3] == "trimesh" else bench.rasterise)(vertices, faces, bench.camera(64, 64, 90.0))
import numpy as np
with np.load(sys.argv[4]) as stored: vertices, faces = stored["vertices"], stored["faces"]
before = peak()
(bench.cast_with_trimesh if sys.argv[3] == "trimesh" else bench.rasterise)(vertices, faces, bench.camera())
print(before, peak())
"""


def peak_mb(root: Path, which: str, stored: Path) -> tuple[float, float]:
    """Added and total peak resident memory of one call in a fresh process, MB; NaN where /proc is absent."""
    if not Path("/proc/self/status").exists():
        return float("nan"), float("nan")
    command = [sys.executable, "-c", PEAK, __file__, str(root), which, str(stored)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = (float(x) for x in result.stdout.split())
    return round(after - before), round(after)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_rasterise_person(benchmark: Any, page: Any, shared: Path, tmp_path: Path, levels: int) -> None:
    pytest.importorskip("embreex")
    pytest.importorskip("trimesh")
    vertices, faces = person(shared, levels)
    view = camera()
    hits = benchmark.pedantic(rasterise, (vertices, faces, view), rounds=7, warmup_rounds=1)
    first = cast_with_trimesh(vertices, faces, view).reshape(hits.face_HW.shape)
    np.testing.assert_array_equal(first >= 0, hits.mask_HW)
    foreign_s = fastest(lambda: cast_with_trimesh(vertices, faces, view))
    np.savez(tmp_path / "mesh.npz", vertices=vertices, faces=faces)
    ours, theirs = (peak_mb(shared, which, tmp_path / "mesh.npz") for which in ("rasterise", "trimesh"))
    what, ours_s = f"rasterising {len(faces):,} faces at 1024 x 768", benchmark.stats.stats.min
    beside = f"trimesh + embreex {foreign_s:.3g} s, ours {ours_s:.3g} s; added memory {theirs[0]} and {ours[0]} MB"
    page.add("Rendering and networks", what, foreign_s / ours_s, "x", beside=beside)
    benchmark.extra_info.update(
        faces=len(faces),
        pixels=int(hits.mask_HW.sum()),
        faces_that_differ=int((first != hits.face_HW).sum()),
        trimesh_embreex_s=round(foreign_s, 4),
        speedup_over_trimesh_embreex=round(foreign_s / benchmark.stats.stats.min, 2),
        added_peak_mb=ours[0],
        total_peak_mb=ours[1],
        trimesh_added_peak_mb=theirs[0],
        trimesh_total_peak_mb=theirs[1],
    )


@pytest.mark.parametrize(("width", "height"), [(1280, 940), (2048, 1536), (4096, 3072)])
def test_rasterise_large_images(benchmark: Any, shared: Path, width: int, height: int) -> None:
    vertices, faces = person(shared, 2)
    view = camera(width, height, 1300 * height / 1024)
    hits = benchmark.pedantic(rasterise, (vertices, faces, view), rounds=3)
    benchmark.extra_info.update(pixels=int(hits.mask_HW.sum()))


def test_rasterise_small_image_with_supersampling(benchmark: Any, shared: Path) -> None:
    """512 x 384 with 2 x 2 samples: what one synthetic image needs for colour."""
    vertices, faces = person(shared, 0)
    R, t = look_at([2.5, 0.2, 0.3], [0, 0, 0])
    view = Camera(intrinsics(520, 512, 384), R, t, 512, 384).supersampled(2)
    hits = benchmark.pedantic(rasterise, (vertices, faces, view), rounds=7, warmup_rounds=1)
    benchmark.extra_info.update(faces=len(faces), pixels=int(hits.mask_HW.sum()))


def test_vertex_normals_of_a_dense_scan(benchmark: Any, shared: Path) -> None:
    vertices, faces = person(shared, 2)
    normals = benchmark.pedantic(vertex_normals, (vertices, faces), rounds=5)
    assert np.isfinite(normals).all()


def test_attributes_of_a_dense_scan(benchmark: Any, shared: Path) -> None:
    """Normals and texture colour of one 1024 x 768 view; a first study took 1.5 s for attributes."""
    vertices, faces = person(shared, 2)
    view = camera()
    hits, normals = rasterise(vertices, faces, view), vertex_normals(vertices, faces)
    image = np.zeros((2048, 2048, 3), np.uint8)

    def attributes() -> None:
        shaded_normals(hits, vertices, faces, normals, view)
        texture_colour(hits, faces, vertices[:, :2], image, 0.0)

    benchmark.pedantic(attributes, rounds=5)


def test_read_a_large_obj(benchmark: Any, shared: Path, tmp_path: Path) -> None:
    vertices, faces = person(shared, 2)
    path = tmp_path / "scan.obj"
    with path.open("w") as file:
        file.writelines("v {:.6f} {:.6f} {:.6f}\n".format(*v) for v in vertices.tolist())
        file.writelines("vt {:.6f} {:.6f}\n".format(*v[:2]) for v in vertices.tolist())
        file.writelines("f {0}/{0} {1}/{1} {2}/{2}\n".format(*f) for f in (faces + 1).tolist())
    mesh = benchmark.pedantic(read_mesh, (path,), rounds=2, warmup_rounds=1)
    np.testing.assert_array_equal(mesh.faces_F3, faces)
    benchmark.extra_info.update(megabytes=round(path.stat().st_size / 1e6, 1))
