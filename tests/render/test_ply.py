"""PLY meshes in the forms that scans come in, and broken ones."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.mesh import read_mesh
from sapiens_bench.render.obj import MAX_CORNERS
from sapiens_bench.render.ply import parse_ply

VERTICES = [
    (0.0, 0.0, 0.0, 255, 0, 0),
    (1.0, 0.0, 0.0, 0, 255, 0),
    (1.0, 1.5, 0.0, 0, 0, 255),
    (0.0, 1.0, 2.0, 51, 51, 51),
]


def header(form: str, n_vertices: int, n_faces: int, more: str = "", index: str = "vertex_indices") -> bytes:
    text = f"ply\nformat {form} 1.0\ncomment made for a test\nelement vertex {n_vertices}\n"
    text += "property float x\nproperty float y\nproperty float z\n"
    text += "property uchar red\nproperty uchar green\nproperty uchar blue\n" + more
    text += f"element face {n_faces}\nproperty list uchar int {index}\nend_header\n"
    return text.encode()


def ply(faces: list[list[int]], form: str = "binary_little_endian", index: str = "vertex_indices") -> bytes:
    start = header(form, len(VERTICES), len(faces), index=index)
    if form == "ascii":
        lines = [" ".join(map(str, v)) for v in VERTICES] + [" ".join(map(str, [len(f), *f])) for f in faces]
        return start + "\n".join(lines).encode()
    order = "<" if "little" in form else ">"
    body = b"".join(struct.pack(order + "3f3B", *v) for v in VERTICES)
    return start + body + b"".join(struct.pack(f"{order}B{len(f)}i", len(f), *f) for f in faces)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("faces", [[[0, 1, 2], [0, 2, 3]], [[0, 1, 2, 3]], [[0, 1, 2], [0, 1, 2, 3]]])
@pytest.mark.parametrize("index", ["vertex_indices", "vertex_index"])
def test_every_form_gives_the_same_mesh(form: str, faces: list[list[int]], index: str, tmp_path: Path) -> None:
    (tmp_path / "scan.ply").write_bytes(ply(faces, form, index))
    mesh = read_mesh(tmp_path / "scan.ply")
    np.testing.assert_array_equal(mesh.vertices_V3, [v[:3] for v in VERTICES])
    assert mesh.colours_V3 is not None
    np.testing.assert_allclose(mesh.colours_V3 * 255, [v[3:] for v in VERTICES], rtol=1e-6)
    expected = [[f[0], f[k], f[k + 1]] for f in faces for k in range(1, len(f) - 1)]
    np.testing.assert_array_equal(mesh.faces_F3, expected)


def test_other_elements_and_properties_are_skipped() -> None:
    """Quality on vertices, flags and texture coordinates on faces, an element with a list before them."""
    text = (
        "ply\nformat binary_little_endian 1.0\nelement camera 2\nproperty list uchar short ids\nproperty double f\n"
        "element vertex 3\nproperty double x\nproperty double y\nproperty double z\nproperty float quality\n"
        "element face 2\nproperty uchar flags\nproperty list uchar uint vertex_indices\n"
        "property list uchar float texcoord\nend_header\n"
    )
    body = struct.pack("<B2hdBd", 2, 1, 2, 0.5, 0, 0.5) + b"".join(struct.pack("<3df", i, 0, 0, 9) for i in range(3))
    body += 2 * (struct.pack("<BB3I", 1, 3, 2, 1, 0) + struct.pack("<B6f", 6, *range(6)))
    mesh = parse_ply(text.encode() + body, "scan.ply")
    np.testing.assert_array_equal(mesh.corner_position, [2, 1, 0, 2, 1, 0])
    np.testing.assert_array_equal(mesh.vertices_V3[:, 0], [0, 1, 2])
    assert mesh.colours_V3 is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "mesh.parse"),
        (b"ply\nformat ascii 1.0\n", "mesh.parse"),
        (b"ply\nformat zip 1.0\nend_header\n", "mesh.parse"),
        (b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "mesh.parse"),
        (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n", "mesh.parse"),
        (b"ply\nformat ascii 1.0\nelement vertex -3\nend_header\n", "mesh.parse"),
        (
            b"ply\nformat ascii 1.0\nelement face 0\nproperty list uchar int vertex_indices\nend_header\n",
            "mesh.no_vertices",
        ),
        (ply([]), "mesh.no_faces"),
        (ply([[0, 1, 2]])[:-3], "mesh.parse"),
        (ply([[0, 1, 2]], "ascii")[:-8], "mesh.parse"),
        (header("binary_little_endian", 10**12, 1), "mesh.parse"),
        (ply([[0, 1, 7]]), "mesh.index"),
        (ply([[0, 1, -1]], "ascii"), "mesh.index"),
        (ply([[0, 1]]), "mesh.parse"),
        (ply([[0, 1, 2]], "ascii").replace(b"1.5", b"nan"), "mesh.nonfinite"),
        (ply([[0, 1, 2]], "ascii").replace(b"1.5", b"1_5"), "mesh.parse"),
        (ply([[0, 1, 2]], "ascii").replace(b"255", b"300"), "mesh.parse"),
        (
            header("ascii", 1, 1) + b"0 0 0 1 1 1\n" + b"%d" % (MAX_CORNERS + 1) + b" 0" * (MAX_CORNERS + 1),
            "mesh.polygon",
        ),
    ],
)
def test_broken_files_are_refused_by_name(data: bytes, code: str) -> None:
    with pytest.raises(SampleFault) as caught:
        parse_ply(data, "scan.ply")
    assert caught.value.code == code
    assert "scan.ply" in caught.value.detail


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_bytes_break_the_reader(data: Any) -> None:
    """A sound file with changed, cut or repeated bytes is a mesh with indices in range, or a fault."""
    form = data.draw(st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]))
    raw = bytearray(ply([[0, 1, 2], [0, 1, 2, 3]], form))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        mesh = parse_ply(bytes(raw[: data.draw(st.integers(0, len(raw)))]), "scan.ply")
    except SampleFault:
        return
    assert mesh.corner_position.min() >= 0
    assert mesh.corner_position.max() < len(mesh.vertices_V3)
    assert np.isfinite(mesh.vertices_V3).all()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.ply")
    with pytest.raises(SampleFault, match="pipe"):
        read_mesh(tmp_path / "scan.ply")
