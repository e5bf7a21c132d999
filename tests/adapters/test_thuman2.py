"""THuman2.0 and 2.1 layouts, cameras, faults and resuming. Real scans may not be passed on, so stand-ins are read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.adapters.scans import samples as scan_samples
from sapiens_bench.adapters.scans.find import Found
from sapiens_bench.adapters.scans.find import find_scans as find
from sapiens_bench.adapters.scans.thuman2 import THUMAN, THuman2
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import DatasetCard, EvalProtocol
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, SampleFault, StorageFull, UsageError
from sapiens_bench.render.manifest import compare, read_manifest
from sapiens_bench.render.mesh import read_mesh

SMALL = {"size": [64, 48]}


@pytest.fixture(scope="module")
def card() -> DatasetCard:
    return Catalog.load().dataset("thuman2")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def standin(shared: Path) -> Path:
    return shared / "data/thuman_layout_standin"


@pytest.fixture
def root(standin: Path, tmp_path: Path) -> Path:
    """A copy of the small scan 0001 that a test may damage."""
    shutil.copytree(standin / "0001", tmp_path / "scans/0001")
    return tmp_path / "scans"


def adapter(card: DatasetCard, root: Path, task: str = "depth", split: str = "", **options: Any) -> THuman2:
    protocol = EvalProtocol(task=task, title="test", options={**SMALL, **options})
    read = read_options(THuman2.Options, protocol.options, f"data set {card.id}")
    context = DataContext(
        card=card, protocol=protocol, space=None, to_space={}, root=root, split=split, boxes="", seed=0, options=read
    )
    return THuman2(context)


def find_scans(root: Path) -> Found:
    return find(root, THUMAN)


def add_scan(root: Path, name: str, obj: str, texture: bool = True) -> None:
    """A scan with given mesh text."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / f"{name}.obj").write_text(obj)
    if texture:
        for file in ("material0.mtl", "material0.jpeg"):
            shutil.copy(root / "0001" / file, folder / file)


def cube(order: str = "out", corner: str = "{}/1") -> str:
    """A cube of polygons (quads) with faces that point out or in."""
    corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    quads = [(1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4)]
    lines = ["mtllib material0.mtl", *(f"v {x} {y} {z}" for x, y, z in corners), "vt 0.5 0.5", "usemtl material0"]
    for quad in quads:
        turned = quad if order == "out" else quad[::-1]
        lines.append("f " + " ".join(corner.format(i) for i in turned))
    return "\n".join(lines) + "\n"


# Layouts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parent", ["", "data", "THuman2.0_Release", "2.1/model", "THuman2.1_Release/THuman2.1_Release/model"]
)
def test_scans_are_found_up_to_three_folders_deep(root: Path, tmp_path: Path, parent: str) -> None:
    target = tmp_path / "layout" / parent
    shutil.copytree(root / "0001", target / "0001")
    found = find_scans(tmp_path / "layout")
    (scan,) = found.scans
    assert scan.mesh == target / "0001/0001.obj"
    assert [f.name for f in scan.sources] == ["0001.obj", "material0.jpeg", "material0.mtl"]
    assert found.notes(THUMAN, 1, 1) == ()


def test_scans_may_be_split_over_folders_and_named_in_another_case(root: Path, tmp_path: Path) -> None:
    top = tmp_path / "split"
    for part, name in (("a", "0003"), ("b", "0526"), ("b", "0002")):
        shutil.copytree(root / "0001", top / part / name)
        (top / part / name / "0001.obj").rename(top / part / name / f"{name}.OBJ")
    assert [scan.name for scan in find_scans(top).scans] == ["0002", "0003", "0526"]


def test_a_folder_with_body_model_fits_alone_is_no_scan_but_named(card: DatasetCard, root: Path) -> None:
    (root / "0525").mkdir()
    (root / "0525/smplx_param.pkl").write_bytes(b"\x80\x04.")
    found = adapter(card, root)
    assert found.keys == ["thuman2/0001/full"]
    assert found.groups == ["0001"]
    assert "0525" in found.notes[0]


def test_a_scan_in_two_places_is_refused(root: Path) -> None:
    shutil.copytree(root / "0001", root / "copy/0001")
    with pytest.raises(DatasetRejected, match="0001 lies in"):
        find_scans(root)


def test_an_empty_root_says_how_to_get_the_data(card: DatasetCard, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="e-mail"):
        adapter(card, tmp_path)


def test_ids_select_scans_and_another_number_than_expected_is_a_note(card: DatasetCard, standin: Path) -> None:
    both = adapter(card, standin, expect=526)
    assert len(both) == 2
    assert "expects 526" in both.notes[0]
    assert adapter(card, standin, ids=[1, 525], expect=1).notes == ()
    with pytest.raises(DataMissing, match=r"from 600 to 2445; it has 2, 0000 to 0001"):
        adapter(card, standin, ids=[600, 2445])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"framing": ["face"]}, "framings"),
        ({"framings": ["head"]}, "face"),
        ({"size": [1024]}, "size.*missing"),
        ({"size": [1024, 8]}, "size.*16"),
        ({"focal_mm": [85, 35]}, "focal_mm.*smaller"),
        ({"focal_mm": [0, 35]}, "focal_mm.*greater than 0"),
        ({"pitch_deg": [-90, 0]}, "pitch_deg"),
        ({"views": 0}, "views"),
        ({"height_m": "1.7"}, "height_m.*number"),
        ({"seed": True}, "seed.*integer"),
        ({"ids": [0.5, 3]}, "ids.*integer"),
        ({"up": "x"}, "up.*'y'"),
        ({"projection": "fisheye"}, "projection.*orthographic"),
    ],
)
def test_a_wrong_option_names_card_and_key(
    card: DatasetCard, standin: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(CardError, match=words) as caught:
        adapter(card, standin, **options)
    assert "thuman2" in str(caught.value)


def test_a_split_and_a_task_without_labels_are_refused(card: DatasetCard, standin: Path) -> None:
    with pytest.raises(UsageError, match="no splits"):
        adapter(card, standin, split="val")
    with pytest.raises(CardError, match="depth, normal"):
        adapter(card, standin, "seg")


# Rendering -----------------------------------------------------------------------------------------------------------


def test_a_sample_has_picture_truth_and_intrinsics_of_one_camera(card: DatasetCard, root: Path) -> None:
    depth, normal = (adapter(card, root, task)[0] for task in ("depth", "normal"))
    assert depth.key == "thuman2/0001/full"
    assert depth.input.image_HW3.shape == (64, 48, 3)
    np.testing.assert_array_equal(depth.input.boxes_xyxy_px, [[0, 0, 48, 64]])
    np.testing.assert_array_equal(depth.input.image_HW3, normal.input.image_HW3)
    mask = depth.target.mask_HW
    np.testing.assert_array_equal(mask, normal.target.mask_HW)
    assert 0.03 < mask.mean() < 0.5
    assert np.isnan(depth.target.depth_HW[~mask]).all()
    K = depth.input.intrinsics
    assert K is not None
    rows = np.flatnonzero(mask.any(1))
    height_m = np.ptp(rows) / K[1, 1] * np.median(depth.target.depth_HW[mask])
    assert 1.5 < height_m < 1.85  # scaled to 1.7 m, seen at up to 10 degrees of pitch
    lengths = np.linalg.norm(normal.target.normals_HW3[mask], axis=1)
    assert np.abs(lengths - 1).max() < 1e-6
    assert normal.target.normals_HW3[mask][:, 2].mean() > 0.3
    inside = depth.input.image_HW3[mask].astype(int)
    assert np.abs(inside - 127).max() > 40
    assert (depth.input.image_HW3[0, 0] == 127).all()


def test_a_scan_of_another_scale_and_origin_renders_the_same(card: DatasetCard, root: Path, tmp_path: Path) -> None:
    """0001 is 100 times too large and shifted, as later scans are."""
    mesh = read_mesh(root / "0001/0001.obj")
    small = (mesh.vertices_V3 - [12.0, -35.0, 7.0]) / 100
    lines = iter(small.tolist())
    text = [
        "v " + " ".join(repr(c) for c in next(lines)) if line.startswith("v ") else line
        for line in (root / "0001/0001.obj").read_text().splitlines()
    ]
    shutil.copytree(root / "0001", tmp_path / "metric/0001")
    (tmp_path / "metric/0001/0001.obj").write_text("\n".join(text) + "\n")
    framings = ["full", "upper", "face"]
    large, metric = (adapter(card, folder, framings=framings) for folder in (root, tmp_path / "metric"))
    for i in range(3):
        a, b = large[i], metric[i]
        np.testing.assert_array_equal(a.target.mask_HW, b.target.mask_HW)
        np.testing.assert_allclose(a.target.depth_HW, b.target.depth_HW, rtol=1e-6)
        assert np.abs(a.input.image_HW3.astype(int) - b.input.image_HW3).max() <= 1
    assert large.manifest_sha256 != metric.manifest_sha256


def test_one_and_two_workers_write_the_same_manifest_byte_for_byte(
    card: DatasetCard, standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = []
    seen: list[tuple[int, int]] = []
    for workers in (1, 2):
        monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / f"cache{workers}"))
        seen.clear()
        report = prepare_data(
            adapter(card, standin, framings=["upper", "face"]), workers, lambda done, total: seen.append((done, total))
        )
        assert (report.n_made, report.n_present, report.n_failed) == (4, 0, 0)
        assert (seen[0], seen[-1]) == ((0, 4), (4, 4))
        assert report.manifest_path is not None
        manifests.append(report.manifest_path)
    assert manifests[0].read_bytes() == manifests[1].read_bytes()
    assert compare(*(read_manifest(path) for path in manifests)).verdict == "equal"
    entry = read_manifest(manifests[0])[0]
    assert {"obj_sha256", "texture_sha256", "normalisation", "seed", "protocol"} <= set(entry.source)
    assert {"framing", "rule", "light", "background", "flipped_share"} <= set(entry.view)
    assert set(entry.arrays) == {"rgb", "depth", "normal", "mask"}
    assert str(standin) not in manifests[0].read_text()


def test_preparing_goes_on_where_it_stopped_and_other_protocols_share_the_renders(
    card: DatasetCard, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_data(adapter(card, root, framings=["face"]))
    assert first.n_made == 1
    wide = adapter(card, root, "normal", framings=["face", "full"])
    second = prepare_data(wide)
    assert (second.n_made, second.n_present) == (1, 1)
    folder = next(wide.samples.folder.glob("samples/0001/full-*"))
    (folder / "entry.json").unlink()  # as if killed before the commit
    third = prepare_data(wide)
    assert (third.n_made, third.n_present) == (1, 1)
    assert third.manifest_path == second.manifest_path
    monkeypatch.setattr(scan_samples, "run_job", lambda job: pytest.fail("rendered again"))
    assert len(wide[1].input.image_HW3) == 64


def test_adding_a_scan_moves_no_camera_of_another(card: DatasetCard, root: Path, standin: Path) -> None:
    alone = prepare_data(adapter(card, root)).manifest_path
    shutil.copytree(standin / "0001", root / "0000")
    (root / "0000/0001.obj").rename(root / "0000/0000.obj")
    both = prepare_data(adapter(card, root)).manifest_path
    assert alone is not None
    assert both is not None
    assert alone != both
    found = compare(read_manifest(alone), read_manifest(both))
    assert [(d.key, d.verdict) for d in found.differences] == [("thuman2/0000/full", "missing")]
    assert found.n_equal == 1


def test_a_changed_scan_is_rendered_anew(card: DatasetCard, root: Path) -> None:
    before = adapter(card, root)
    prepare_data(before)
    path = root / "0001/0001.obj"
    path.write_text(path.read_text().replace("\nv ", "\nv  ", 1))
    after = adapter(card, root)
    assert after.manifest_sha256 != before.manifest_sha256
    assert prepare_data(after).n_made == 1


def test_pictures_can_stand_behind_the_scan(card: DatasetCard, root: Path) -> None:
    from PIL import Image

    (root / "rooms").mkdir()
    Image.new("RGB", (20, 40), (200, 10, 10)).save(root / "rooms/a.png")
    made = adapter(card, root, backgrounds="rooms")
    assert (made[0].input.image_HW3[0, 0] == (200, 10, 10)).all()
    stored = made.samples.entry(0)
    assert stored is not None
    assert stored.entry.view["background"]["name"] == "a.png"
    with pytest.raises(DataMissing, match="Background"):
        adapter(card, root, backgrounds="nowhere")


def test_too_little_space_is_told_before_anything_is_rendered(
    card: DatasetCard, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_samples, "free_bytes", lambda path: 1000)
    monkeypatch.setattr(scan_samples, "run_all", lambda *args: pytest.fail("rendered"))
    with pytest.raises(StorageFull, match="SAPIENS_BENCH_CACHE"):
        prepare_data(adapter(card, root))


def test_nothing_is_written_into_the_data_set(card: DatasetCard, root: Path) -> None:
    before = sorted(path.name for path in root.rglob("*"))
    prepare_data(adapter(card, root))
    assert sorted(path.name for path in root.rglob("*")) == before


# Faults --------------------------------------------------------------------------------------------------------------


def test_broken_scans_are_row_errors_that_name_them_while_others_go_on(card: DatasetCard, root: Path) -> None:
    good = cube()
    add_scan(root, "0010", good.replace("v 0 0 1\n", "v 0 nan 1\n"))
    add_scan(root, "0011", "\n".join(line for line in good.splitlines() if not line.startswith("f")))
    add_scan(root, "0012", good, texture=False)
    add_scan(root, "0013", cube(corner="{}"))  # no UVs
    add_scan(root, "0014", good.replace("f 1/1", "f 99/1", 1))
    add_scan(root, "0015", "v 0 0 0\nv 1 0 0\nv 2 0 0\nvt 0 0\nf 1/1 2/1 3/1\n")  # no height
    (root / "0016").mkdir()
    shutil.copy(root / "0001/material0.jpeg", root / "0016")  # no mesh at all
    adapted = adapter(card, root)
    report = prepare_data(adapted, workers=2)
    codes = {fault.key.split("/")[1]: fault.code for fault in report.faults}
    assert codes == {
        "0010": "mesh.nonfinite",
        "0011": "mesh.no_faces",
        "0012": "scan.texture",
        "0013": "scan.texture",
        "0014": "mesh.index",
        "0015": "mesh.flat",
        "0016": "mesh.missing",
    }
    assert all(f"scan {fault.key.split('/')[1]}" in fault.detail for fault in report.faults)
    assert (report.n_made, report.n_failed) == (1, 7)
    assert adapted[0].target.mask_HW.any()
    for index, key in enumerate(adapted.keys[1:], 1):
        with pytest.raises(SampleFault) as caught:
            adapted[index]
        assert caught.value.code == codes[key.split("/")[1]]
        assert caught.value.side == "input"


def test_a_missing_texture_that_comes_later_is_found_by_the_next_preparation(card: DatasetCard, root: Path) -> None:
    add_scan(root, "0012", cube(), texture=False)
    assert prepare_data(adapter(card, root)).n_failed == 1
    for file in ("material0.mtl", "material0.jpeg"):
        shutil.copy(root / "0001" / file, root / "0012" / file)
    report = prepare_data(adapter(card, root))
    assert (report.n_made, report.n_failed) == (1, 0)


def test_polygons_and_negative_indices_are_sound_and_equal(card: DatasetCard, root: Path) -> None:
    add_scan(root, "0020", cube())
    negative = cube()
    for i in range(1, 9):
        negative = negative.replace(f" {i}/1", f" {i - 9}/1")
    first = adapter(card, root, ids=[20, 20])
    expected = first[0]
    (root / "0020/0020.obj").write_text(negative)
    second = adapter(card, root, ids=[20, 20])
    got = second[0]
    np.testing.assert_array_equal(got.target.mask_HW, expected.target.mask_HW)
    np.testing.assert_array_equal(got.target.depth_HW, expected.target.depth_HW)
    np.testing.assert_array_equal(got.input.image_HW3, expected.input.image_HW3)


def test_inverted_faces_are_reported_and_their_normals_turned_round(card: DatasetCard, root: Path) -> None:
    add_scan(root, "0020", cube())
    right = adapter(card, root, "normal", ids=[20, 20])
    expected = right[0].target.normals_HW3
    assert prepare_data(right).notes == ()
    (root / "0020/0020.obj").write_text(cube("in"))
    wrong = adapter(card, root, "normal", ids=[20, 20])
    report = prepare_data(wrong)
    assert "scan 0020 has inverted faces (99." in report.notes[0]
    got, mask = wrong[0].target.normals_HW3, wrong[0].target.mask_HW
    near = np.abs(got[mask] - expected[mask]).max(1) < 1e-4
    assert near.mean() > 0.97  # smooth normals of a cube point away at its rim: kept there, by the rule
