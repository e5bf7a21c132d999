"""Hi4D as archives unpack and copies are re-packed. Two boxes stand for a pair, seen by one camera at 64 x 48."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.adapters.scans.hi4d import Hi4D
from sapiens_bench.adapters.scans.hi4d_cameras import read_cameras
from sapiens_bench.adapters.scans.hi4d_layout import find_sequences
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.locate import dataset_root
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import EvalProtocol
from sapiens_bench.errors import DataMissing, DatasetRejected

CARD = Catalog.load().dataset("hi4d")
WIDTH, HEIGHT, FOCAL = 48, 64, 60.0
K = np.array([[FOCAL, 0, 23.5], [0, FOCAL, 31.5], [0, 0, 1]])
QUADS = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
LEFT_X = {0: -0.8, 1: 0.3}  # of each person: a box of 0.4 x 1.6 m, three metres away


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


def mesh() -> str:
    lines = ["mtllib MatLib-F00001.mtl", "usemtl atlas"]
    for x in LEFT_X.values():
        lines += [f"v {a} {b} {c}" for a in (x, x + 0.4) for b in (-0.8, 0.8) for c in (3.0, 3.2)]
    lines.append("vt 0.5 0.5")
    for person in LEFT_X:
        lines += ["f " + " ".join(f"{i + 8 * person}/1" for i in quad) for quad in QUADS]
    return "\n".join(lines) + "\n"


def save(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def sequence(folder: Path, **cameras: Any) -> Path:
    """One frame of one camera, masks as the renderer sees them (the layout is tested here, not the renderer)."""
    from sapiens_bench.render.camera import Camera
    from sapiens_bench.render.mesh import read_mesh
    from sapiens_bench.render.rasterise import rasterise

    (folder / "frames").mkdir(parents=True)
    (folder / "frames/mesh-f00001.obj").write_text(mesh())
    (folder / "frames/MatLib-F00001.mtl").write_text("newmtl atlas\nmap_Kd Atlas-F00001.png\n")
    save(folder / "frames/Atlas-F00001.png", np.full((8, 8, 3), (200, 90, 40), np.uint8))
    read = read_mesh(folder / "frames/mesh-f00001.obj")
    hits = rasterise(read.vertices_V3, read.faces_F3, Camera(K, np.eye(3), np.zeros(3), WIDTH, HEIGHT))
    person_HW = np.where(hits.mask_HW, hits.face_HW // 12, -1)
    masks = folder / "seg/img_seg_mask/4"
    for person in LEFT_X:
        save(masks / str(person) / "000001.png", ((person_HW == person) * 255).astype(np.uint8))
    save(masks / "all/000001.png", (hits.mask_HW * 255).astype(np.uint8))
    save(folder / "images/4/000001.jpg", np.repeat((hits.mask_HW * 200).astype(np.uint8)[..., None], 3, 2))
    (folder / "seg/mesh_seg_mask").mkdir()
    np.savez(folder / "seg/mesh_seg_mask/mesh-f00001.npz", faces_mask=np.repeat([0, 1], 12))
    (folder / "cameras").mkdir()
    arrays = {
        "ids": np.array([4]), "intrinsics": K[None], "extrinsics": np.eye(4)[None, :3], "dist_coeffs": np.zeros((1, 5)),
    }  # fmt: skip
    np.savez(folder / "cameras/rgb_cameras.npz", **{**arrays, **cameras})
    np.savez(folder / "meta.npz", start=1, end=1, mono_cam=4, num_persons=2)
    return folder


def opened(root: Path, task: str = "depth", **options: Any) -> Hi4D:
    read = read_options(Hi4D.Options, options, "hi4d")
    protocol = EvalProtocol(task=task, title="test", options=options)
    return Hi4D(
        DataContext(
            card=CARD, protocol=protocol, space=None, to_space={}, root=root, split="", boxes="", seed=0, options=read
        )
    )


def assert_sound(data: Hi4D, n: int = 1) -> None:
    report = prepare_data(data)
    assert (report.n_failed, len(data)) == (0, n), report.faults
    for index, group in enumerate(data.groups):
        assert data.sequence_iou(group) == 1.0
        assert data[index].target.mask_HW.sum() > 200


# Archives -------------------------------------------------------------------------------------------------------------


def test_halves_of_a_pair_are_one_pair_in_keys_and_lists(tmp_path: Path) -> None:
    for name in ("pair28/dance28", "pair32_1/pose32", "pair32_2/sidehug32", "pair37/pose37"):
        sequence(tmp_path / name)
    data = opened(tmp_path, pairs=[28, 32, 37])
    assert data.groups == ["pair28/dance28", "pair32/pose32", "pair32/sidehug32", "pair37/pose37"]
    assert data.keys[1] == "hi4d/pair32/pose32/4/000001"
    assert data.notes == ()
    assert_sound(data, 4)
    (tmp_path / "hi4d_list.txt").write_text("pair32/sidehug32\npair32_1/pose32/images/4/000001.jpg\n")
    assert opened(tmp_path, list="hi4d_list.txt").groups == ["pair32/pose32", "pair32/sidehug32"]


@pytest.mark.parametrize(
    "place",
    [
        "pair28/pair28/dance28",
        "pair28/dance28",
        "Hi4D/data/pair28/dance28",
        "dance28",
        "unpacked/dance28",
        "Pair_28_1/pair28/dance28",
    ],
)
def test_sequences_are_found_however_the_archive_was_unpacked(tmp_path: Path, place: str) -> None:
    sequence(tmp_path / place)
    data = opened(tmp_path, pairs=[28])
    assert data.groups == ["pair28/dance28"]
    assert dataset_root(CARD, tmp_path) == tmp_path
    assert_sound(data)


@pytest.mark.parametrize("place", ["pair28/dance28", "Pair_28_1/pair28/dance", "elsewhere/dance28"])
def test_the_folder_of_one_action_may_be_the_root(tmp_path: Path, place: str) -> None:
    root = sequence(tmp_path / place)
    data = opened(root, pairs=[28])
    assert data.groups == [f"pair28/{root.name}"]
    assert_sound(data)


def test_why_no_frame_is_there_is_said(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "pair28/dance28")
    (folder / "images/4/000001.jpg").rename(folder / "images/4/000007.jpg")
    with pytest.raises(DataMissing, match=r"camera 4 of frames 7 to 7, scans of frames 1 to 1"):
        opened(tmp_path)
    (folder / "frames/mesh-f00001.obj").unlink()
    (folder / "frames/mesh-f00001.obj").symlink_to(tmp_path / "nowhere.obj")
    with pytest.raises(DataMissing, match=r"scans of no frame"):
        opened(tmp_path)


def test_scan_and_camera_in_another_unit_are_refused_though_silhouettes_agree(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "pair28/dance28")
    text = (folder / "frames/mesh-f00001.obj").read_text()
    scaled = re.sub(r"(?m)^v .*$", lambda m: "v " + " ".join(str(1000 * float(v)) for v in m[0].split()[1:]), text)
    (folder / "frames/mesh-f00001.obj").write_text(scaled)
    (fault,) = prepare_data(opened(tmp_path)).faults
    assert fault.code == "scan.units"
    assert "3000 m away" in fault.detail


def test_options_of_a_command_line_need_no_quotes(tmp_path: Path) -> None:
    sequence(tmp_path / "pair28/dance28")
    assert_sound(opened(tmp_path, person=0, cameras=4))
    assert read_options(Hi4D.Options, {"cameras": "4, 16"}, "hi4d").cameras == (4, 16)
    assert read_options(Hi4D.Options, {"cameras": [4, 16], "person": "1"}, "hi4d").cameras == (4, 16)


def test_a_person_cannot_be_told_apart_without_the_labels_of_the_faces(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "pair28/dance28")
    (folder / "seg/mesh_seg_mask/mesh-f00001.npz").unlink()
    (fault,) = prepare_data(opened(tmp_path, person="0")).faults
    assert fault.code == "scan.persons"
    assert "mesh_seg_mask has no file of this frame" in fault.detail


def test_a_sequence_in_two_places_is_refused(tmp_path: Path) -> None:
    sequence(tmp_path / "pair32_1/pose32"), sequence(tmp_path / "pair32_2/pose32")
    with pytest.raises(DatasetRejected, match="pair32/pose32 lies in"):
        find_sequences(tmp_path)


def test_pairs_that_are_missing_are_named(tmp_path: Path) -> None:
    sequence(tmp_path / "pair28/dance28"), sequence(tmp_path / "pair30/hug30")
    assert (
        "pairs 32, 37 are missing; scored is 28 alone, 1 of the 3 pairs"
        in opened(tmp_path, pairs=[28, 32, 37]).notes[0]
    )
    sequence(tmp_path / "pair37/hug37")
    (note,) = opened(tmp_path, pairs=[28, 32, 37]).notes
    assert note.startswith("pair 32 is missing")
    assert opened(tmp_path).notes == ()  # all that are here were asked for


def test_no_title_promises_pairs_that_a_folder_may_lack() -> None:
    assert not [title for p in CARD.protocols.values() if "three pairs" in (title := p.title)]


def test_linked_pairs_are_followed_and_circles_end(tmp_path: Path) -> None:
    sequence(tmp_path / "store/pair28/dance28")
    root = tmp_path / "root"
    root.mkdir()
    (root / "pair28").symlink_to(tmp_path / "store/pair28")
    assert dataset_root(CARD, root) == root
    assert_sound(opened(root))
    (tmp_path / "store/pair28/pair28").symlink_to(tmp_path / "store/pair28")
    with pytest.raises(DatasetRejected, match="lies in"):
        find_sequences(root)


def test_a_linked_folder_above_the_pairs_is_entered(tmp_path: Path) -> None:
    sequence(tmp_path / "store/pair28/dance28")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/Hi4D").symlink_to(tmp_path / "store")
    assert dataset_root(CARD, tmp_path / "root") == tmp_path / "root"
    assert len(opened(tmp_path / "root")) == 1


def test_leftovers_of_operating_systems_and_tools_are_ignored(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "pair28/dance28")
    for name in (
        "frames/._mesh-f00001.obj",
        "images/4/._000001.jpg",
        "images/4/Thumbs.db",
        "images/4/dance28_cam4.mp4",
    ):
        (folder / name).write_bytes(b"\0\5\x16\7")
    for name in ("seg/img_seg_mask/4/all/._000001.png", "seg/mesh_seg_mask/.DS_Store"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX/pair28/dance28/frames").mkdir(parents=True)
    assert_sound(opened(tmp_path))


def test_a_folder_whose_name_no_table_can_show_is_refused(tmp_path: Path) -> None:
    os.rename(sequence(tmp_path / "pair28/x"), os.fsencode(tmp_path) + b"/pair28/dan\xe728")
    with pytest.raises(DatasetRejected, match="not printable") as caught:
        opened(tmp_path)
    str(caught.value).encode()


# Masks ----------------------------------------------------------------------------------------------------------------


def recoloured(folder: Path, how: str) -> None:
    """Rewrite the mask of both persons in another encoding, and take those of each person away."""
    masks = folder / "seg/img_seg_mask/4"
    persons = [np.asarray(Image.open(masks / f"{k}/000001.png")) > 0 for k in LEFT_X]
    for k in LEFT_X:
        (masks / f"{k}/000001.png").unlink()
    colour = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colour[persons[0]], colour[persons[1]] = (0, 200, 0), (0, 0, 1)
    path = masks / "all/000001.png"
    if how == "rgb":
        save(path, colour)
    elif how == "rgba":
        save(path, np.concatenate([colour, np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], 2))
    elif how == "palette":
        Image.fromarray(colour).convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    elif how == "alpha":
        save(path, np.concatenate([colour * 0, ((persons[0] | persons[1]) * 255)[..., None].astype(np.uint8)], 2))
    elif how == "labels":
        save(path, (persons[0] + 2 * persons[1]).astype(np.uint8))
    elif how == "labels of 16 bits":
        save(path, (persons[0] + 2 * persons[1]).astype(np.uint16))


@pytest.mark.parametrize("how", ["rgb", "rgba", "palette", "alpha", "labels", "labels of 16 bits"])
def test_both_persons_count_in_every_encoding_of_their_mask(tmp_path: Path, how: str) -> None:
    recoloured(sequence(tmp_path / "pair28/dance28"), how)
    assert_sound(opened(tmp_path))


def test_masks_of_each_person_do_when_that_of_both_is_missing(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "pair28/dance28")
    (folder / "seg/img_seg_mask/4/all/000001.png").unlink()
    data = opened(tmp_path)
    assert_sound(data)
    assert "000001.png" in data.identity(0)


# Cameras --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cameras",
    [
        {"extrinsics": np.eye(4)[None]},
        {"dist_coeffs": np.zeros((1, 1, 5))},  # as OpenCV gives them, one row a camera
        {"info": np.array({"made": "elsewhere"}, object)},
        {"notes": np.array(None, object), "names": np.array(["4"]), "shape": np.array([HEIGHT, WIDTH])},
    ],
)
def test_repacked_calibrations_are_read_and_objects_stay_shut(tmp_path: Path, cameras: dict[str, Any]) -> None:
    sequence(tmp_path / "pair28/dance28", **cameras)
    assert_sound(opened(tmp_path))


@pytest.mark.parametrize(
    ("cameras", "words"),
    [
        ({"extrinsics": np.ones((4, 4))[None] * np.eye(4)[[0, 1, 2, 0]]}, "0 0 0 1"),
        ({"extrinsics": np.eye(3)[None]}, r"\(1, 3, 4\)"),
        ({"ids": np.array([None], object)}, "object array"),
    ],
)
def test_a_calibration_that_cannot_be_right_is_refused(tmp_path: Path, cameras: dict[str, Any], words: str) -> None:
    folder = sequence(tmp_path / "pair28/dance28", **cameras)
    with pytest.raises(DatasetRejected, match=words):
        read_cameras(folder / "cameras/rgb_cameras.npz")


def test_a_pipe_in_the_place_of_a_calibration_is_not_waited_for(tmp_path: Path) -> None:
    folder = sequence(tmp_path / "pair28/dance28")
    (folder / "cameras/rgb_cameras.npz").unlink()
    os.mkfifo(folder / "cameras/rgb_cameras.npz")
    with pytest.raises(DataMissing, match="not a file"):
        opened(tmp_path)


def test_the_camera_for_work_from_one_view_is_the_one_that_meta_names(tmp_path: Path) -> None:
    first, second = sequence(tmp_path / "pair28/dance28"), sequence(tmp_path / "pair28/hug28")
    two = {"ids": np.array([4, 16]), "intrinsics": np.stack([K, K]), "extrinsics": np.stack([np.eye(4)[:3]] * 2)}
    np.savez(second / "cameras/rgb_cameras.npz", **two, dist_coeffs=np.zeros((2, 5)))
    (second / "images/4").rename(second / "images/16")
    (second / "seg/img_seg_mask/4").rename(second / "seg/img_seg_mask/16")
    np.savez(second / "meta.npz", start=1, end=1, mono_cam=16, genders=np.array(["m", None], object))
    data = opened(tmp_path, cameras="mono_cam")
    assert data.keys == ["hi4d/pair28/dance28/4/000001", "hi4d/pair28/hug28/16/000001"]
    assert_sound(data, 2)
    np.savez(first / "meta.npz", start=1, end=1)
    with pytest.raises(DatasetRejected, match="mono_cam"):
        opened(tmp_path, cameras="mono_cam")


# Distortion -----------------------------------------------------------------------------------------------------------

LENS = np.array([[-0.9, 0.3, 0.0, 0.0, 0.0]])


def distorted(folder: Path) -> None:
    """Bend picture and masks as the lens would: pixel p of the released picture shows what a pinhole sees at q(p)."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    points = np.stack([u.ravel(), v.ravel()], 1)[:, None]
    straight = cv2.undistortPoints(points, K, LENS[0], P=K).reshape(HEIGHT, WIDTH, 2)
    for path in sorted(folder.rglob("00000?.png")) + sorted(folder.rglob("00000?.jpg")):
        pixels = np.asarray(Image.open(path))
        save(path, cv2.remap(pixels, straight[..., 0], straight[..., 1], cv2.INTER_NEAREST))


@pytest.mark.parametrize("is_released_distorted", [True, False])
def test_the_better_of_both_hypotheses_about_distortion_is_taken_and_said(
    tmp_path: Path, is_released_distorted: bool
) -> None:
    folder = sequence(tmp_path / "pair28/dance28", dist_coeffs=LENS)
    if is_released_distorted:
        distorted(folder)
    data = opened(tmp_path)
    report = prepare_data(data)
    assert report.n_failed == 0, report.faults
    assert data.sequence_iou("pair28/dance28") > 0.95
    (note,) = [note for note in data.notes if "lens distortion" in note]
    assert note == report.notes[0]
    assert ("taken undistorted" if is_released_distorted else "taken as they are") in note
    stored = data.samples.entry(0)
    assert stored is not None
    about = stored.entry.view
    assert about["undistorted"] is is_released_distorted
    assert about["silhouette_iou"] > about["silhouette_iou_otherwise"]
