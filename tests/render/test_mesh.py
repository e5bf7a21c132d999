"""Reading OBJ files: both readers, faults, normalisation, up axis. Links and pipes in their place."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.mesh import doubts_up, normalise, read_mesh, up_axis, upright
from sapiens_bench.render.obj import MAX_CORNERS, ObjText, _LineReader, _read_fast, parse_obj, triangles

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def parse(text: str) -> ObjText:
    return parse_obj(text.encode(), "scan.obj")


def fault(text: str | bytes) -> SampleFault:
    with pytest.raises(SampleFault) as caught:
        parse_obj(text if isinstance(text, bytes) else text.encode(), "scan.obj")
    return caught.value


def same(a: ObjText, b: ObjText) -> None:
    for name in ObjText.__slots__:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right, err_msg=name)
        else:
            assert left == right, name


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    corner=st.sampled_from(["{v}", "{v}/{t}", "{v}//{t}", "{v}/{t}/{t}"]),
    relative=st.booleans(),
    sides=st.sampled_from([(3,), (4,), (3, 4, 5)]),
    newline=st.sampled_from(["\n", "\r\n"]),
    interleaved=st.booleans(),
    width=st.sampled_from([3, 4, 6]),
)
def test_fast_and_line_reader_agree_on_every_regular_file(
    seed: int, corner: str, relative: bool, sides: tuple[int, ...], newline: str, interleaved: bool, width: int
) -> None:
    rng = np.random.default_rng(seed)
    numbers = [f"{x:.{rng.integers(0, 9)}{'e' if rng.random() < 0.2 else 'f'}}" for x in rng.normal(0, 90, 400)]
    lines = ["# made for a test", "mtllib some file.mtl", "", "o thing"]
    n = 0
    for _ in range(2 if interleaved else 1):
        for _ in range(8):
            lines.append("v  " + " ".join(numbers.pop() for _ in range(width)))
            lines.append(" ".join(["vt", numbers.pop(), numbers.pop()]) + " " * int(rng.integers(0, 2)))
            n += 1
        lines += ["vn 0 0 1", "s off"]
        for k in range(6):
            lines += [f"usemtl m{int(rng.integers(0, 3))}"] if k and rng.random() < 0.5 else []
            indices = rng.integers(1, n + 1, int(rng.choice(sides)))
            values = [int(i) - n - 1 if relative else int(i) for i in indices]
            lines.append("f " + " ".join(corner.format(v=v, t=v) for v in values))
    data = newline.join(lines).encode()
    fast = _read_fast(data)
    same(fast, _LineReader("scan.obj").read(data))
    assert fast.libraries == ("some file.mtl",)


def test_position_and_texture_indices_stay_apart() -> None:
    text = parse(SQUARE + "vt 0 0\nvt 1 1\nf 1/2/1 2/1/1 3/2/1\nvn 0 0 1\n")
    np.testing.assert_array_equal(text.corner_position, [0, 1, 2])
    np.testing.assert_array_equal(text.corner_texture, [1, 0, 1])
    np.testing.assert_array_equal(parse(SQUARE + "f 1//9 2//9 3//9\n").corner_texture, [-1, -1, -1])


def test_negative_indices_count_from_the_latest_line() -> None:
    text = parse(SQUARE + "f -4 -3 -2\nv 9 9 9\nf -1 -2 -5\n")
    np.testing.assert_array_equal(text.corner_position, [0, 1, 2, 4, 3, 0])


def test_polygons_become_fans_in_file_order() -> None:
    text = parse(SQUARE + "v 2 2 0\nf 1 2 3\nf 1 2 3 4 5\nf 5 4 3 2\n")
    expected = [[0, 1, 2], [0, 1, 2], [0, 2, 3], [0, 3, 4], [4, 3, 2], [4, 2, 1]]
    np.testing.assert_array_equal(triangles(text.corner_position, text.corners_per_face), expected)


def test_mixed_corner_forms_continued_lines_and_comments_are_understood() -> None:
    text = parse("  v 0 0 0 # first\nv 1 0 0\nv 1 1 \\\n 0\nvt .5\nf 1/1 2 3//1\n\tusemtl  skin\nf 1/1/1 2/1 3/1/\n")
    np.testing.assert_array_equal(text.vertices_V3, [[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(text.corner_texture, [0, -1, -1, 0, 0, 0])
    np.testing.assert_array_equal(text.uv_T2, [[0.5, 0]])
    np.testing.assert_array_equal(text.face_line, [6, 8])
    assert text.materials == ("skin",)
    np.testing.assert_array_equal(text.face_material, [-1, 0])


def test_old_line_ends_and_a_missing_last_one_are_understood() -> None:
    for text in (SQUARE + "f 1 2 3", (SQUARE + "f 1 2 3\n").replace("\n", "\r")):
        np.testing.assert_array_equal(parse(text).corner_position, [0, 1, 2])


def test_a_byte_order_mark_changes_nothing() -> None:
    for start in ("", "# made by\n", "mtllib a.mtl\n"):
        text = start + SQUARE + "f 1 2 3\n"
        same(parse_obj(b"\xef\xbb\xbf" + text.encode(), "scan.obj"), parse(text))


def test_each_face_knows_its_material() -> None:
    text = parse(SQUARE + "f 1 2 3\nusemtl b\nf 1 2 3 4\nusemtl a\nf 1 2 3\nusemtl b\nf 3 2 1\n")
    assert text.materials == ("b", "a")
    np.testing.assert_array_equal(text.face_material, [-1, 0, 1, 0])


def test_a_face_with_millions_of_corners_is_refused_quickly() -> None:
    caught = fault(SQUARE + "f 1 2 3\nf" + " 1 2 3" * 1_000_000 + "\n")
    assert caught.code == "mesh.polygon"
    assert "scan.obj:6" in caught.detail
    assert parse(SQUARE + "f" + " 1" * MAX_CORNERS + "\n").corners_per_face.tolist() == [MAX_CORNERS]


def test_vertex_colours_are_kept_only_when_every_vertex_has_them() -> None:
    coloured = SQUARE.replace(" 0\n", " 0 .5 .25 1\n")
    colours = parse(coloured + "f 1 2 3\n").colours_V3
    np.testing.assert_array_equal(colours, np.tile(np.float32([0.5, 0.25, 1]), (4, 1)))
    assert parse(coloured + "v 1 1 1\nf 1 2 3\n").colours_V3 is None


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (SQUARE.replace("1 1 0", "1 nan 0") + "f 1 2 3\n", "mesh.nonfinite", "scan.obj:3"),
        (SQUARE.replace("1 1 0", "1 inf 0") + "f 1 2 3\n", "mesh.nonfinite", "scan.obj:3"),
        (SQUARE.replace("1 1 0", "1 1e999 0") + "f 1 2 3\n", "mesh.nonfinite", "scan.obj:3"),
        (SQUARE + "vt 0 nan\nf 1 2 3\n", "mesh.nonfinite", "scan.obj:5"),
        (SQUARE.replace("1 1 0", "1 x 0") + "f 1 2 3\n", "mesh.parse", "scan.obj:3"),
        (SQUARE.replace("1 1 0", "1 1") + "f 1 2 3\n", "mesh.parse", "scan.obj:3"),
        (SQUARE.replace("1 1 0", "1 1").replace("0 1 0", "0 1 0 5") + "f 1 2 3\n", "mesh.parse", "scan.obj:3"),
        (SQUARE + "f 1 2 3\nf 1 2\n", "mesh.parse", "scan.obj:6"),
        (SQUARE + "f 1 2 3\nf 1 2 x\n", "mesh.parse", "scan.obj:6"),
        (SQUARE.replace("1 1 0", "1 1_0 0") + "f 1 2 3\n", "mesh.parse", "scan.obj:3"),
        (SQUARE + "f 1 2 0_3\n", "mesh.parse", "scan.obj:5"),
        (SQUARE + "f 1 2 /3\n", "mesh.parse", "scan.obj:5"),
        (SQUARE + "f 1/1/1/1 2/1/1/1 3/1/1/1\n", "mesh.parse", "scan.obj:5"),
        (SQUARE + "f 1 2 3\nf 1 2 5\n", "mesh.index", "scan.obj:6"),
        (SQUARE + "f 1 2 3 4\nf 1 2 0\n", "mesh.index", "scan.obj:6"),
        (SQUARE + "f 1 2 -5\n", "mesh.index", "scan.obj:5"),
        (SQUARE + "vt 0 0\nf 1/1 2/1 3/2\n", "mesh.index", "texture"),
        (SQUARE + "f 1 2 99999999999999999999999\n", "mesh.index", "scan.obj:5"),
        (SQUARE, "mesh.no_faces", "4 vertices"),
        ("", "mesh.no_vertices", "scan.obj"),
        ("f 1 2 3\n", "mesh.no_vertices", "scan.obj"),
        ("ply\nformat ascii 1.0\n", "mesh.parse", "scan.obj:1"),
        ("<html><body>404</body></html>", "mesh.parse", "scan.obj:1"),
    ],
)
def test_faults_name_file_line_and_cause(text: str, code: str, says: str) -> None:
    caught = fault(text)
    assert caught.code == code
    assert says in caught.detail
    assert caught.side == "input"


def test_binary_files_are_refused_without_a_traceback() -> None:
    assert fault(b"glTF\0\0\0\2" + bytes(range(256))).code == "mesh.binary"
    rng = np.random.default_rng(0)
    for length in (1, 40, 3000):
        junk = bytes(rng.integers(1, 256, length, dtype=np.uint8))
        assert fault(junk).code.startswith("mesh.")


@settings(deadline=None, max_examples=80)
@given(st.text("vtnf 0123456789./-\n#xe", max_size=120), st.booleans())
def test_no_text_breaks_the_reader(text: str, with_square: bool) -> None:
    """Whatever happens is a SampleFault or a mesh whose indices are in range."""
    try:
        parsed = parse((SQUARE if with_square else "") + text)
    except SampleFault:
        return
    assert parsed.corner_position.min() >= 0
    assert parsed.corner_position.max() < len(parsed.vertices_V3)
    assert parsed.corner_texture.max(initial=-1) < len(parsed.uv_T2)
    assert np.isfinite(parsed.vertices_V3).all()


def write(folder: Path, text: str = SQUARE + "f 1 2 3 4\nf 1 1 2\n", name: str = "scan.obj") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_reading_counts_polygons_and_degenerate_faces_but_keeps_them(tmp_path: Path) -> None:
    mesh = read_mesh(write(tmp_path))
    np.testing.assert_array_equal(mesh.faces_F3, [[0, 1, 2], [0, 2, 3], [0, 0, 1]])
    assert (mesh.n_polygons, mesh.n_degenerate) == (1, 1)
    assert mesh.uv_T2 is None
    assert len(mesh.sha256) == 64


def test_missing_file_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.obj", tmp_path):
        with pytest.raises(SampleFault, match=r"mesh.missing.*cannot be read"):
            read_mesh(path)


def test_normalised_mesh_stands_on_the_floor_at_the_given_height(tmp_path: Path) -> None:
    text = "v 100 10 7\nv 300 10 8\nv 200 50 9\nv 1000 -900 0\nf 1 2 3\n"  # the last vertex is used by no face
    mesh = read_mesh(write(tmp_path, text))
    scaled, step = normalise(mesh, 1.7)
    lower, upper = scaled.vertices_V3[:3].min(0), scaled.vertices_V3[:3].max(0)
    np.testing.assert_allclose(lower[1], 0)
    np.testing.assert_allclose(upper[1], 1.7)
    np.testing.assert_allclose((lower + upper)[[0, 2]], 0, atol=1e-12)
    assert step.scale == pytest.approx(1.7 / 40)
    assert step.offset == (200, 10, 8)
    np.testing.assert_allclose(scaled.vertices_V3 / step.scale + step.offset, mesh.vertices_V3)


def test_mesh_without_height_cannot_be_normalised(tmp_path: Path) -> None:
    with pytest.raises(SampleFault, match=r"mesh.flat"):
        normalise(read_mesh(write(tmp_path, "v 0 1 0\nv 1 1 0\nv 0 1 1\nf 1 2 3\n")), 1.7)


def test_a_person_who_stands_along_z_is_turned_upright_without_a_mirror(tmp_path: Path) -> None:
    """Facing +x with z up, as THuman2.1 from 0526 on, becomes facing +z with y up."""
    text = "v 0 0 0\nv 0.3 0 0\nv 0 0.6 1.7\nf 1 2 3\n"
    mesh = read_mesh(write(tmp_path, text))
    turned = upright(mesh, "z")
    np.testing.assert_array_equal(turned.vertices_V3, [[0, 0, 0], [0, 0, 0.3], [0.6, 1.7, 0]])
    assert np.linalg.det(np.eye(3)[:, [1, 2, 0]]) == 1
    assert upright(mesh, "y") is mesh


@pytest.mark.parametrize(
    ("size", "auto", "y_is_doubtful", "z_is_doubtful"),
    [
        ((0.6, 1.7, 0.3), "y", False, True),
        ((1.8, 1.7, 0.3), "y", False, True),  # arms spread wide
        ((0.3, 0.6, 1.7), "z", True, False),
        ((1.7, 0.5, 0.5), "y", False, False),  # nothing to see
    ],
)
def test_the_up_axis_comes_from_the_extents_only_where_nothing_is_declared(
    tmp_path: Path, size: tuple[float, float, float], auto: str, y_is_doubtful: bool, z_is_doubtful: bool
) -> None:
    x, y, z = size
    mesh = read_mesh(write(tmp_path, f"v 0 0 0\nv {x} 0 0\nv 0 {y} {z}\nv 9 99 999\nf 1 2 3\n"))
    assert [up_axis(mesh, declared) for declared in ("auto", "y", "z")] == [auto, "y", "z"]
    assert (doubts_up(mesh, "y"), doubts_up(mesh, "z")) == (y_is_doubtful, z_is_doubtful)


# Links, pipes, sizes --------------------------------------------------------------------------------------------------


def test_a_linked_mesh_is_read_and_its_text_never_repeated(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    sound, secret = write(tmp_path / "store", name="blob"), write(tmp_path / "store", "root:x:0:0:secret\n", "passwd")
    link = tmp_path / "scan.obj"
    link.symlink_to(sound)
    assert len(read_mesh(link).faces_F3) == 3
    link.unlink()
    link.symlink_to(secret)
    with pytest.raises(SampleFault, match=r"mesh\.parse") as caught:
        read_mesh(link)
    assert "secret" not in caught.value.detail
    with pytest.raises(SampleFault, match="secret"):
        read_mesh(secret)


@pytest.mark.parametrize("text", ["../../store/0000/0000.obj", "/disk/0000.obj\n", "../.git/annex/objects/x.obj\r\n"])
def test_a_link_that_became_text_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(SampleFault, match=r"mesh\.link.*core\.symlinks"):
        read_mesh(write(tmp_path, text))


def test_a_pipe_is_not_waited_for_and_a_sparse_giant_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.obj")
    with pytest.raises(SampleFault, match="pipe"):
        read_mesh(tmp_path / "pipe.obj")
    with (tmp_path / "giant.obj").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SampleFault, match="too large"):
        read_mesh(tmp_path / "giant.obj")
