"""Scans as people have them: layouts, axes, textures, links, leftovers, hostile files. A box stands for a person."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_scans import CATALOG, CORNERS, QUADS, box, height_px, opened, picture, scan, texture

from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.cards.locate import dataset_root
from sapiens_bench.errors import DataMissing
from sapiens_bench.render.manifest import read_manifest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


def test_later_scans_of_thuman21_stand_along_z_and_are_drawn_upright(tmp_path: Path) -> None:
    scan(tmp_path / "z/0526", box(z_up=True)), scan(tmp_path / "y/0526")
    lying, standing = opened(tmp_path / "z", "thuman21"), opened(tmp_path / "y", "thuman21", z_up_from=None)
    np.testing.assert_array_equal(picture(lying), picture(standing))
    np.testing.assert_array_equal(lying[0].target.depth_HW, standing[0].target.depth_HW)
    assert prepare_data(lying).notes == ()
    stored = lying.samples.entry(0)
    assert stored is not None
    assert stored.entry.source["up"] == "z"
    rows, columns = height_px(lying)
    assert rows > 1.5 * columns


def test_earlier_scans_stand_along_y_whatever_they_look_like_and_a_doubt_is_said(tmp_path: Path) -> None:
    """A person who lies cannot be told from one in another frame: the declaration decides, the note names the scan."""
    scan(tmp_path / "0000"), scan(tmp_path / "0001", box(z_up=True))
    data = opened(tmp_path)
    (note,) = prepare_data(data).notes
    assert "scan 0001 is longer along z than along y" in note
    assert "option up: z" in note
    assert data.notes == (note,)
    assert prepare_data(opened(tmp_path, ids=[1, 1], up="z")).notes == ()


@pytest.mark.parametrize("z_up", [False, True])
def test_renderpeople_is_turned_by_its_extents(tmp_path: Path, z_up: bool) -> None:
    folder = tmp_path / "rp_aneko_posed_011_OBJ"
    (folder / "tex").mkdir(parents=True)
    scan(folder, box(z_up=z_up), "rp_aneko_posed_011_100k", image="tex/dif_8k.jpg")
    (folder / "rp_aneko_posed_011_30k.obj").write_text("v 0 0 0\n")  # a reduced copy, damaged
    data = opened(tmp_path, "renderpeople")
    assert data.keys == ["renderpeople/rp_aneko_posed_011/full"]
    rows, columns = height_px(data)
    assert rows > 1.5 * columns
    assert np.ptp(picture(data)[data[0].target.mask_HW], axis=1).max() > 60  # coloured: the texture in tex/ was found


def test_the_release_of_21_with_model_and_smplx_gives_the_scans(tmp_path: Path) -> None:
    release = tmp_path / "THuman2.1_Release"
    scan(release / "model/0000"), scan(release / "model/0526", box(z_up=True))
    for name in ("0000", "0526"):
        (release / "smplx" / name).mkdir(parents=True)
        (release / "smplx" / name / "mesh_smplx.obj").write_text(box(uv=False, head=""))
        (release / "smplx" / name / "smplx_param.pkl").write_bytes(b"\x80\x04.")
    data = opened(tmp_path, "thuman21")
    assert data.keys == ["thuman21/0000/full", "thuman21/0526/full"]
    assert {view.mesh.parent.parent.name for view in data.samples.views} == {"model"}
    assert data.notes == ()


@pytest.mark.parametrize(
    ("dataset", "place", "key"),
    [
        ("thuman2", "0000/0000", "thuman2/0000/full"),
        ("customhumans", "mesh/0001_01/0001_01", "customhumans/0001/full"),
        ("renderpeople", "rp_anna_posed_001_OBJ/rp_anna_posed_001_OBJ", "renderpeople/rp_anna_posed_001/full"),
        ("renderpeople", "RP_Anna_posed_001_OBJ", "renderpeople/RP_Anna_posed_001/full"),
    ],
)
def test_folders_doubled_while_unpacking_or_in_capitals_are_found(
    tmp_path: Path, dataset: str, place: str, key: str
) -> None:
    scan(tmp_path / place, name="mesh-f00001" if dataset == "customhumans" else "")
    assert dataset_root(CATALOG.dataset(dataset), tmp_path) == tmp_path
    data = opened(tmp_path, dataset)
    assert data.keys == [key]
    assert prepare_data(data).n_failed == 0


def test_a_missing_material_library_is_named(tmp_path: Path) -> None:
    folder = scan(tmp_path / "0000")
    (folder / "material0.mtl").rename(folder / "other.mtl")
    (folder / "material0.jpeg").rename(folder / "a.png")
    texture().save(folder / "b.png")
    (fault,) = prepare_data(opened(tmp_path)).faults
    assert "its material library 'material0.mtl' is not there; 2 images lie beside it" in fault.detail


@pytest.mark.parametrize("fit", ["mesh_smplx.obj", "0127.obj", "smplx_param.pkl", "0127_smpl.obj"])
def test_fits_alone_are_named_as_what_they_are(tmp_path: Path, fit: str) -> None:
    (tmp_path / "smplx/0127").mkdir(parents=True)
    (tmp_path / "smplx/0127" / fit).write_text(box(uv=False, head=""))
    with pytest.raises(DataMissing, match=r"body-model fits.*0127.*the scans are"):
        opened(tmp_path)


def test_fits_renders_masks_and_previews_beside_scans_are_left_out(tmp_path: Path) -> None:
    folder = scan(tmp_path / "scans/0000")
    (folder / "mesh_smplx.obj").write_text(box(uv=False, head=""))
    texture().save(folder / "preview.png")
    for beside in ("renders", "img", "mask", "normal_F"):
        (tmp_path / beside / "0000").mkdir(parents=True)
        texture().save(tmp_path / beside / "0000/000.png")
        (tmp_path / beside / "0001").mkdir()
        texture().save(tmp_path / beside / "0001/000.jpg", "PNG")  # of a scan that is not here
    (tmp_path / "fits/0000").mkdir(parents=True)
    (tmp_path / "fits/0000/smplx_param.pkl").write_bytes(b"\x80\x04.")
    data = opened(tmp_path)
    assert data.keys == ["thuman2/0000/full"]
    assert data.samples.views[0].mesh == folder / "0000.obj"
    assert data.notes == ()
    assert prepare_data(data).n_failed == 0


def test_meshes_under_other_names_are_left_out_and_said(tmp_path: Path) -> None:
    scan(tmp_path / "0000")
    scan(tmp_path / "rp_eric_posed/mesh", name="rp_eric_posed_100k")
    scan(tmp_path / "smplx/rest", name="body_smplx")
    notes = " ".join(opened(tmp_path).notes)
    assert "1 folders hold meshes under other names than NNNN/NNNN.obj and were left out: mesh" in notes


def test_customhumans_is_read_as_released_and_as_its_training_folder(tmp_path: Path) -> None:
    for layout, mesh in (("a/mesh/0003_00027_04", "mesh-f00101"), ("b/0003", "mesh-f00101")):
        scan(tmp_path / layout, name=mesh)
    fit = tmp_path / "a/smplx/0003_00027_04"
    fit.mkdir(parents=True)
    for folder in (fit, tmp_path / "b/0003"):
        (folder / "mesh-f00101_smpl.obj").write_text(box(uv=False, head=""))
    released, training = (opened(tmp_path / name, "customhumans") for name in ("a", "b"))
    assert released.keys == training.keys == ["customhumans/0003/full"]
    np.testing.assert_array_equal(picture(released), picture(training))
    scan(tmp_path / "b/0003", name="mesh-f00102")
    assert opened(tmp_path / "b", "customhumans").keys == [
        "customhumans/0003-mesh-f00101/full", "customhumans/0003-mesh-f00102/full",
    ]  # fmt: skip


def test_2k2k_is_drawn_with_the_colours_of_its_vertices(tmp_path: Path) -> None:
    """Each corner of the box has one colour, written as PLY and as OBJ: the pictures agree."""
    colours = [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (255, 0, 255),
        (0, 255, 255),
        (9, 9, 9),
        (255, 255, 255),
    ]
    ply = "ply\nformat binary_little_endian 1.0\nelement vertex 8\n" + "".join(f"property float {a}\n" for a in "xyz")
    ply += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue", "alpha"))
    ply += "element face 6\nproperty list uchar int vertex_indices\nend_header\n"
    body = b"".join(struct.pack("<3f4B", *at, *rgb, 255) for at, rgb in zip(CORNERS, colours))
    body += b"".join(struct.pack("<B4i", 4, *(i - 1 for i in quad)) for quad in QUADS)
    (tmp_path / "ply/train/00003").mkdir(parents=True)
    (tmp_path / "ply/train/00003/00003.ply").write_bytes(ply.encode() + body)
    (tmp_path / "ply/train/00003/smplx10475_rigid_mesh.obj").write_text("v 0 0 0\n")
    obj = "".join(
        "v {} {} {} {} {} {}\n".format(*np.float32(at), *(c / 255 for c in rgb)) for at, rgb in zip(CORNERS, colours)
    )
    obj += "".join("f {} {} {} {}\n".format(*quad) for quad in QUADS)
    (tmp_path / "obj/test/00003").mkdir(parents=True)
    (tmp_path / "obj/test/00003/00003.obj").write_text(obj)
    first, second = (opened(tmp_path / kind, "2k2k") for kind in ("ply", "obj"))
    assert first.keys == ["2k2k/00003/full"]
    assert np.abs(picture(first) - picture(second)).max() <= 1
    assert np.ptp(picture(first)[first[0].target.mask_HW], axis=1).max() > 150


@pytest.mark.parametrize(("dataset", "folder"), [("thuman2", "0505"), ("customhumans", "0007"), ("2k2k", "00007")])
def test_the_protocol_of_icon_has_four_parallel_views_at_right_angles(
    tmp_path: Path, dataset: str, folder: str
) -> None:
    scan(tmp_path / folder, name="mesh-f00001" if dataset == "customhumans" else "")
    data = opened(tmp_path, dataset, "normal", "normal-icon")
    name = f"{dataset}/{folder}/full-"
    assert data.keys == [f"{name}{yaw:03d}" for yaw in (0, 90, 180, 270)]
    samples = [data[k] for k in range(4)]
    for k, sample in enumerate(samples):
        assert sample.input.intrinsics is None  # parallel rays have no pinhole
        rows, columns = height_px(data, k)
        assert rows == pytest.approx(512 * 1.8 / 2.048, abs=1)  # 87.9 % of the image
        width_m = (0.6, 0.3)[k % 2] * 1.8 / 1.7
        assert columns == pytest.approx(512 * width_m / 2.048, abs=1)
    face = samples[0].target.normals_HW3[256, 256]
    assert face[2] > 0.5  # smooth normals of a box, towards the viewer
    np.testing.assert_allclose(
        samples[0].target.normals_HW3[256, 200] * [-1, 1, 1],
        samples[2].target.normals_HW3[256, 311] * [1, 1, 1],
        atol=0.02,
    )
    (manifest,) = data.samples.folder.glob("manifest*") if prepare_data(data).n_failed == 0 else ()
    assert all(entry.camera.is_orthographic for entry in read_manifest(manifest))


def test_every_way_to_write_the_same_texture_gives_the_same_picture(tmp_path: Path) -> None:
    control = picture(opened(scan(tmp_path / "control/0000").parent))
    shifted = "\n".join(
        f"vt {float(line.split()[1]) + 1} {float(line.split()[2]) - 2}" if line.startswith("vt") else line
        for line in box().splitlines()
    )
    ways = {
        "shifted": (shifted, "map_Kd material0.jpeg"),
        "scaled": (box().replace(" 0.5\n", " 0.25\n"), "map_Kd -s 1 2 1 material0.jpeg"),
        "offset": (box().replace(" 0.5\n", " 0.1\n"), "map_Kd -o 0 0.4 material0.jpeg"),
        "no usemtl": (box(head="mtllib material0.mtl\n"), "map_Kd material0.jpeg"),
        "crlf and mark": ("\ufeff" + box().replace("\n", "\r\n"), "map_Kd material0.jpeg"),
    }
    for name, (obj, entry) in ways.items():
        folder = scan(tmp_path / name / "0000", obj)
        (folder / "material0.mtl").write_text(f"newmtl material0\n{entry}\n")
        assert np.abs(picture(opened(folder.parent)) - control).max() <= 1, name


def test_a_grey_texture_of_16_bits_is_drawn_at_its_brightness(tmp_path: Path) -> None:
    folder = scan(tmp_path / "deep/0000", image="material0.png")
    Image.fromarray(np.full((4, 24), 200 * 257, np.uint16)).save(folder / "material0.png")
    plain = scan(tmp_path / "plain/0000", image="material0.png")
    Image.fromarray(np.full((4, 24), 200, np.uint8)).save(plain / "material0.png")
    np.testing.assert_array_equal(picture(opened(folder.parent)), picture(opened(plain.parent)))


def test_a_targa_texture_is_read(tmp_path: Path) -> None:
    control = scan(tmp_path / "png/0000", image="material0.png")
    folder = scan(tmp_path / "tga/0000", image="material0.tga")
    texture().save(folder / "material0.tga", "TGA")
    np.testing.assert_array_equal(picture(opened(folder.parent)), picture(opened(control.parent)))


def test_faces_without_texture_coordinates_are_grey_and_said(tmp_path: Path) -> None:
    half = box().replace("f 2/6 6/6 8/6 4/6", "f 2 6 8 4").replace("f 1/5 3/5 7/5 5/5", "f 1 3 7 5")
    scan(tmp_path / "0000", half)
    assert any("faces without colour" in note for note in prepare_data(opened(tmp_path)).notes)


def test_a_picture_that_stands_in_for_a_missing_texture_is_said(tmp_path: Path) -> None:
    folder = scan(tmp_path / "0000")
    (folder / "material0.jpeg").rename(folder / "preview.png")
    (note,) = prepare_data(opened(tmp_path)).notes
    assert "'material0.jpeg', which is not there; drawn with preview.png" in note
