"""Which texture belongs to which faces, as exporters write it. Pictures are one colour each."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sapiens_bench.errors import SampleFault
from sapiens_bench.render.materials import Coats, find_coats, library_files
from sapiens_bench.render.mesh import read_mesh

FACES = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\n"
FACE = "f 1/1 2/1 3/1\n"


def picture(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
    return path


def coats(folder: Path, *uses: str, head: str = "mtllib scan.mtl\n") -> Coats:
    """The coats of a mesh with one face for each material; "" stands for a face before any usemtl."""
    text = head + FACES + "".join((f"usemtl {name}\n" if name else "") + FACE for name in uses or ("skin",))
    (folder / "scan.obj").write_bytes(text.encode("utf-8", "surrogateescape"))
    return find_coats(read_mesh(folder / "scan.obj"))


def images(found: Coats) -> list[str]:
    """Texture of each material in the order of use, "colour" for a plain one; last the faces before any usemtl."""
    named = [coat.map.image.name if coat.map else "colour" for coat in found.coats]
    return [named[k] if k >= 0 else "" for k in found.of_material]


def fault(folder: Path, *uses: str, head: str = "mtllib scan.mtl\n") -> str:
    with pytest.raises(SampleFault) as caught:
        coats(folder, *uses, head=head)
    assert caught.value.code == "mesh.texture"
    return caught.value.detail


# One material ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "entry", "image"),
    [
        ("scan.mtl", "map_Kd skin.png", "skin.png"),
        ("Scan.MTL", "map_Kd SKIN.PNG", "skin.png"),
        ("scan.mtl", "map_Kd\tskin.png", "skin.png"),
        ("scan.mtl", 'map_Kd "my skin.png"', "my skin.png"),
        ("scan.mtl", "map_Kd skin.png # of the face", "skin.png"),
        ("scan.mtl", "map_Kd C:\\work\\textures\\skin.png", "skin.png"),
        ("scan.mtl", "map_Kd ../../other/skin.png", "skin.png"),  # only its name is used
        ("scan.mtl", "map_Kd tex\\skin.png", "tex/skin.png"),
        ("scan.mtl", "map_Kd Tex/Skin.PNG", "tex/skin.png"),
        ("scan.mtl", "map_Kd material0.jpeg", "material0.JPG"),  # renamed while it was converted
        ("scan.mtl", "Ka 1 1 1", "material0.jpeg"),
        ("absent.mtl", "", "whatever.jpg"),  # the only image of the folder
    ],
)
def test_texture_is_found_beside_the_mesh(tmp_path: Path, library: str, entry: str, image: str) -> None:
    if library != "absent.mtl":
        (tmp_path / "scan.mtl").write_text(f"newmtl other\nmap_Kd missing.png\nnewmtl skin\n{entry}\n")
    picture(tmp_path / image)
    if image not in ("material0.jpeg", "whatever.jpg"):
        picture(tmp_path / "decoy.png"), picture(tmp_path / "decoy2.png")
    assert coats(tmp_path, head=f"mtllib {library}\n").coats[0].map is not None
    found = coats(tmp_path, head=f"mtllib {library}\n").coats[0].map
    assert found is not None
    assert found.image == tmp_path / image


@pytest.mark.parametrize(
    ("options", "scale", "offset", "clamps", "base", "gain"),
    [
        ("-s 1 1 1 -o 0 0 0", (1, 1), (0, 0), False, 0, 1),
        ("-s 2 3 1", (2, 3), (0, 0), False, 0, 1),
        ("-s 2", (2, 1), (0, 0), False, 0, 1),
        ("-o 0.25 -0.5", (1, 1), (0.25, -0.5), False, 0, 1),
        ("-bm 1.0 -clamp on", (1, 1), (0, 0), True, 0, 1),
        ("-clamp off -imfchan r", (1, 1), (0, 0), False, 0, 1),
        ("-texres 512 -blendu on -blendv off -boost 2 -cc on", (1, 1), (0, 0), False, 0, 1),
        ("-mm 0.1 0.5 -type sphere", (1, 1), (0, 0), False, 0.1, 0.5),
        ("-t 0 0 0", (1, 1), (0, 0), False, 0, 1),
    ],
)
def test_options_of_a_map_are_applied_and_never_taken_for_the_name(
    tmp_path: Path,
    options: str,
    scale: tuple[float, float],
    offset: tuple[float, float],
    clamps: bool,
    base: float,
    gain: float,
) -> None:
    for name in ("my tex.jpg", "decoy1.png", "decoy2.png"):
        picture(tmp_path / name)
    (tmp_path / "scan.mtl").write_text(f"newmtl skin\nmap_Kd {options} my tex.jpg\n")
    (coat,) = coats(tmp_path).coats
    assert coat.map is not None
    assert coat.map.image.name == "my tex.jpg"
    assert (coat.map.scale, coat.map.offset, coat.map.clamps) == (scale, offset, clamps)
    assert (coat.map.base, coat.map.gain) == (base, gain)


def test_a_number_that_belongs_to_the_file_name_is_given_back(tmp_path: Path) -> None:
    for name in ("3 skin.png", "decoy1.png", "decoy2.png"):
        picture(tmp_path / name)
    (tmp_path / "scan.mtl").write_text("newmtl skin\nmap_Kd -s 2 2 3 skin.png\n")
    (coat,) = coats(tmp_path).coats
    assert coat.map is not None
    assert (coat.map.image.name, coat.map.scale) == ("3 skin.png", (2, 2))


def test_what_cannot_be_drawn_is_refused_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    (tmp_path / "scan.mtl").write_text("newmtl skin\nmap_Kd -t 0.1 0 0 a.png\n")
    assert "turbulence" in fault(tmp_path)
    (tmp_path / "scan.mtl").write_text("newmtl skin\nmap_Kd -twist 2 a.png\n")
    assert "-twist 2 a.png" in fault(tmp_path)


@pytest.mark.parametrize(
    ("statement", "files"),
    [
        ("a.mtl", ["a.mtl"]),
        ("a.mtl b.mtl", ["a.mtl", "b.mtl"]),
        ("my file.mtl", ["my file.mtl"]),
        ('"my file.mtl"', ["my file.mtl"]),
        ("absent.mtl b.mtl", ["b.mtl"]),
        ("..\\a.mtl", ["a.mtl"]),
    ],
)
def test_mtllib_names_one_file_or_several(tmp_path: Path, statement: str, files: list[str]) -> None:
    for name in ("a.mtl", "b.mtl", "my file.mtl"):
        (tmp_path / name).write_text("")
    assert [path.name for path in library_files(tmp_path, statement)] == files


def test_a_library_may_start_with_a_byte_order_mark_and_end_without_a_newline(tmp_path: Path) -> None:
    picture(tmp_path / "tex.png"), picture(tmp_path / "decoy.png")
    (tmp_path / "scan.mtl").write_bytes(b"\xef\xbb\xbfnewmtl skin\r\n# made by\r\nmap_Kd tex.png")
    assert images(coats(tmp_path)) == ["tex.png", ""]


def test_names_in_other_forms_of_unicode_and_in_no_encoding_are_found(tmp_path: Path) -> None:
    picture(tmp_path / "decoy.png"), picture(tmp_path / unicodedata.normalize("NFD", "gesicht-ü.png"))
    (tmp_path / "scan.mtl").write_text(f"newmtl skin\nmap_Kd {unicodedata.normalize('NFC', 'gesicht-ü.png')}\n")
    assert len(coats(tmp_path).coats) == 1
    raw = os.fsencode(tmp_path) + b"/haut-\xfc.png"
    os.rename(picture(tmp_path / "x.png"), raw)
    (tmp_path / "scan.mtl").write_bytes(b"newmtl skin\nmap_Kd haut-\xfc.png\n")
    found = coats(tmp_path).coats[0].map
    assert found is not None
    assert os.fsencode(found.image) == raw


# Links and rubbish ----------------------------------------------------------------------------------------------------


def test_a_linked_texture_is_used_but_no_name_in_a_library_leaves_the_folder(tmp_path: Path) -> None:
    inside, secret = tmp_path / "scan", picture(tmp_path / "secret.png")
    inside.mkdir()
    (inside / "skin.png").symlink_to(secret)
    (inside / "scan.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    assert images(coats(inside)) == ["skin.png", ""]
    (inside / "skin.png").unlink()
    for entry in ("../secret.png", str(secret), f"C:{secret}"):
        (inside / "scan.mtl").write_text(f"newmtl skin\nmap_Kd {entry}\n")
        assert "secret.png" in fault(inside)


def test_pipes_and_what_operating_systems_leave_behind_are_no_textures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "material0.jpeg")
    for name in ("._skin.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    picture(tmp_path / "skin.jpg")
    (tmp_path / "scan.mtl").write_text("newmtl skin\n")
    assert images(coats(tmp_path)) == ["skin.jpg", "skin.jpg"]


# Several materials ----------------------------------------------------------------------------------------------------


def test_each_material_has_its_own_texture_or_colour(tmp_path: Path) -> None:
    picture(tmp_path / "skin.png"), picture(tmp_path / "cloth.png")
    (tmp_path / "scan.mtl").write_text(
        "newmtl skin\nKd 1 1 1\nmap_Kd skin.png\nnewmtl cloth\nmap_Kd cloth.png\nnewmtl buttons\nKd 1 0.5 0\n"
    )
    found = coats(tmp_path, "cloth", "buttons", "skin", "cloth")
    assert images(found) == ["cloth.png", "colour", "skin.png", ""]
    assert [coat.colour for coat in found.coats if coat.colour] == [(1, 0.5, 0)]


def test_materials_may_lie_in_several_libraries_and_the_first_of_a_name_counts(tmp_path: Path) -> None:
    picture(tmp_path / "skin.png"), picture(tmp_path / "cloth.png"), picture(tmp_path / "old.png")
    (tmp_path / "a.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    (tmp_path / "b.mtl").write_text("newmtl skin\nmap_Kd old.png\nnewmtl cloth\nmap_Kd cloth.png\n")
    for head in ("mtllib a.mtl b.mtl\n", "mtllib a.mtl\nmtllib b.mtl\n"):
        assert images(coats(tmp_path, "skin", "cloth", head=head)) == ["skin.png", "cloth.png", ""]


@pytest.mark.parametrize("uses", [("",), ("unknown",), ("", "skin"), ("empty", "skin")])
def test_the_only_texture_serves_faces_whose_material_says_nothing(tmp_path: Path, uses: tuple[str, ...]) -> None:
    picture(tmp_path / "skin.png"), picture(tmp_path / "decoy.png")
    (tmp_path / "scan.mtl").write_text("newmtl skin\nmap_Kd skin.png\nnewmtl empty\nNs 10\n")
    assert {name for name in images(coats(tmp_path, *uses)) if name} == {"skin.png"}


@pytest.mark.parametrize(
    ("uses", "says"),
    [
        (("skin", "absent"), "'absent' is in no library"),
        (("", "skin", "cloth"), "before the first usemtl"),
        (("skin", "lost"), "'lost' names the texture 'lost.png'"),
        (("skin", "empty"), "'empty' has neither map_Kd nor Kd"),
    ],
)
def test_a_material_without_colours_among_several_is_refused_by_name(
    tmp_path: Path, uses: tuple[str, ...], says: str
) -> None:
    picture(tmp_path / "skin.png"), picture(tmp_path / "cloth.png")
    (tmp_path / "scan.mtl").write_text(
        "newmtl skin\nmap_Kd skin.png\nnewmtl cloth\nmap_Kd cloth.png\nnewmtl lost\nmap_Kd lost.png\nnewmtl empty\n"
    )
    assert says in fault(tmp_path, *uses)


# No texture -----------------------------------------------------------------------------------------------------------


def test_colours_of_vertices_stand_in_for_a_texture_that_is_not_there(tmp_path: Path) -> None:
    plain = "v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 1 1 0 0 0 1\n"
    (tmp_path / "scan.obj").write_text(plain + "f 1 2 3\n")
    assert find_coats(read_mesh(tmp_path / "scan.obj")).coats == ()
    (tmp_path / "scan.obj").write_text("mtllib scan.mtl\n" + plain + "vt 0 0\nusemtl skin\n" + FACE)
    assert find_coats(read_mesh(tmp_path / "scan.obj")).coats == ()
    picture(tmp_path / "material0.jpeg")
    assert len(find_coats(read_mesh(tmp_path / "scan.obj")).coats) == 1  # a texture is finer


def test_a_scan_without_any_colours_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "scan.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    with pytest.raises(SampleFault, match="neither texture coordinates"):
        find_coats(read_mesh(tmp_path / "scan.obj"))
    (tmp_path / "scan.mtl").write_text("newmtl skin\nKd 0.8 0.8 0.8\n")
    assert "no map_Kd names one" in fault(tmp_path)  # a grey statue is no picture of a person
    picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    (tmp_path / "scan.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    detail = fault(tmp_path)
    assert "'skin.png'" in detail
    assert "2 images" in detail
