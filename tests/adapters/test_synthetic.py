"""The synthetic-humans adapter: rendering on first use, files, targets, manifest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.synthetic import files, humans
from sapiens_bench.adapters.synthetic.humans import ALIASES, KEYPOINTS, SPLITS, SyntheticHumans, point_names
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import CardError, SampleFault, UnknownName, UsageError
from sapiens_bench.render.about import WORDS
from sapiens_bench.render.scene import EDITION, render
from sapiens_bench.store.files import temporary_name
from sapiens_bench.tasks.depth.types import DepthTarget
from sapiens_bench.tasks.normal.types import NormalTarget
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.tasks.seg.types import SegTarget
from sapiens_bench.types import Adapter, Materialised

SIZE = (128, 96)
CATALOG = Catalog.load()
CARD = CATALOG.dataset("synthetic-humans")


def make(
    root: Path, task: str = "pose", split: str = "tiny", space: str = "", boxes: str = "", size=SIZE, **options: str
) -> SyntheticHumans:
    protocol = CARD.protocols[CARD.default_protocol(task) or ""]
    space = space or protocol.space or ""
    context = DataContext(
        card=CARD,
        protocol=protocol,
        space=CATALOG.space(space) if space else None,
        to_space=CATALOG.sources_of(space or None),
        root=root,
        split=split,
        boxes=boxes,
        seed=0,
        options=read_options(SyntheticHumans.Options, {**protocol.options, **options}, "synthetic-humans"),
    )
    return SyntheticHumans(context, size=size)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    make(folder).materialise(range(4), 1, lambda done, total: None)
    return folder


def test_it_is_an_adapter_and_is_materialised(root: Path):
    data = make(root)
    assert isinstance(data, Adapter)
    assert isinstance(data, Materialised)
    assert len(data) == 12 == len(set(data.keys)) == len(set(data.groups))
    assert [len(make(root, split=split)) for split in SPLITS] == [120, 12, 2000, 1000, 480]


def test_a_factor_at_a_level_is_a_set_of_its_own_with_the_same_keys_and_truth(root: Path):
    drawn, dark = make(root), make(root, factor="skin_tone=7")
    assert (dark.keys, dark.groups) == (drawn.keys, drawn.groups)
    assert dark.manifest_sha256 != drawn.manifest_sha256
    assert dark.identity(0) != drawn.identity(0)
    a, b = drawn.load_truth(2), dark.load_truth(2)
    for name in ("labels_HW", "instance_HW", "depth_HW_m", "normals_HW3", "keypoints_NK2_px", "boxes_xyxy_px_N4"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.rgb_HW3 != b.rgb_HW3).any()
    with pytest.raises(UsageError, match="no manifest"):
        dark.verify_manifest([0])
    with pytest.raises(UnknownName, match="skin_tone"):
        make(root, factor="skin_tine=7")


def test_pictures_of_an_earlier_edition_are_rendered_again_and_published_ones_are_kept(tmp_path: Path):
    drawn, turned = make(tmp_path), make(tmp_path, factor="camera_pitch=30")
    for data in (drawn, turned):
        data.materialise([3], 1, lambda done, total: None)
    folders = {path.name: path for path in next(tmp_path.glob("v1*")).iterdir()}
    assert set(folders) == {"tiny", f"tiny.{EDITION}@camera_pitch=30"}
    folders[f"tiny.{EDITION}@camera_pitch=30"].rename(folders["tiny"].with_name("tiny@camera_pitch=30"))
    seen: list[tuple[int, int]] = []
    turned.materialise([3], 1, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 1)
    assert f"edition {EDITION}" in turned.identity(0)
    assert "edition" not in drawn.identity(0)


@pytest.mark.parametrize(("task", "moves"), [("albedo", True), ("matting", True), ("depth", False)])
def test_alpha_and_albedo_have_a_version_of_their_own(
    root: Path, monkeypatch: pytest.MonkeyPatch, task: str, moves: bool
):
    before = make(root, task)
    monkeypatch.setattr(humans, "SURFACE_VERSION", 2)
    monkeypatch.setattr(files, "SURFACE_VERSION", 2)
    after = make(root, task)
    assert (before.manifest_sha256 != after.manifest_sha256) is moves
    assert files.Store(root, "tiny", 128, 96).extra(3).name == "000003.surface2.npz"


def test_clips_are_frames_in_a_row_of_one_group_each(root: Path):
    clips = make(root, split="clips")
    assert clips.groups[0] == clips.groups[23] != clips.groups[24]
    assert len(set(clips.groups)) == 20
    a, b = clips[0], clips[1]
    moved = np.abs(a.target.keypoints_NK2_px - b.target.keypoints_NK2_px).max()
    assert 0 < moved < 12  # a twelfth of the way between two poses, at 96 x 128
    names = ("skin_tone", "hair", "clothing", "background", "light_level")
    assert [a.about[n] for n in names] == [b.about[n] for n in names]
    assert (a.input.image_HW3 != b.input.image_HW3).mean() > 0.3  # the sensor's noise is new
    with pytest.raises(UsageError, match="rendered as drawn"):
        make(root, split="clips", factor="skin_tone=7")


def test_files_give_back_what_was_rendered(root: Path):
    for index in range(3):
        truth, picture = make(root).load_truth(index), render("tiny", index, height=SIZE[0], width=SIZE[1])
        np.testing.assert_array_equal(truth.rgb_HW3, picture.rgb_HW3)
        np.testing.assert_array_equal(truth.labels_HW, picture.labels_HW)
        np.testing.assert_array_equal(truth.depth_HW_m, picture.depth_HW_m)
        np.testing.assert_allclose(truth.normals_HW3, picture.normal_HW3, atol=4e-5)
        np.testing.assert_array_equal(truth.camera.t, picture.camera.t)


def test_workers_in_other_processes_write_the_same_images(root: Path, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    other = make(tmp_path)
    other.materialise(range(4), 2, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
    for index in range(4):
        a, b = make(root).load_truth(index), other.load_truth(index)
        np.testing.assert_array_equal(a.rgb_HW3, b.rgb_HW3)
        np.testing.assert_array_equal(a.depth_HW_m, b.depth_HW_m)
        np.testing.assert_array_equal(a.normals_HW3, b.normals_HW3)
    assert not list(tmp_path.rglob(".tmp-*"))


def test_only_what_is_missing_is_rendered_again(tmp_path: Path):
    data = make(tmp_path)
    data.materialise(range(2), 1, lambda done, total: None)
    first, second = (sorted(tmp_path.rglob(f"{index:06d}.png"))[0] for index in (0, 1))
    before = first.stat().st_mtime_ns
    second.unlink()
    seen: list[tuple[int, int]] = []
    data.materialise(range(2), 1, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert first.stat().st_mtime_ns == before
    assert second.is_file()


def test_an_interrupt_keeps_finished_images_and_leaves_no_rubbish(tmp_path: Path):
    def stop(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path).materialise(range(3), 1, stop)
    assert len(list(tmp_path.rglob("*.png"))) == 1
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_sample_that_is_missing_is_rendered_when_asked_for(tmp_path: Path):
    assert make(tmp_path)[5].key == "synthetic-humans/tiny/000005"


@pytest.mark.parametrize(
    ("task", "left_out"), [("pose", {"labels", "depth", "normal"}), ("seg", {"instance", "depth"})]
)
def test_a_task_decodes_what_it_scores_and_nothing_else(
    root: Path, task: str, left_out: set[str], monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []

    class Watched(np.lib.npyio.NpzFile):
        def __getitem__(self, key):
            opened.append(key)
            return super().__getitem__(key)

    monkeypatch.setattr(files.np.lib.npyio, "NpzFile", Watched)
    monkeypatch.setattr(files.np, "load", lambda file, allow_pickle: Watched(file, allow_pickle=allow_pickle))
    make(root, task=task)[0]
    assert opened
    assert left_out.isdisjoint(opened)


def test_a_part_alone_is_the_part_of_the_whole(root: Path):
    whole = make(root).load_truth(1)
    depth, normal, seg = (make(root, task=task)[1].target for task in ("depth", "normal", "seg"))
    np.testing.assert_array_equal(depth.depth_HW, whole.depth_HW_m)
    np.testing.assert_array_equal(depth.mask_HW, whole.mask_HW)
    np.testing.assert_array_equal(normal.normals_HW3, whole.normals_HW3)
    np.testing.assert_array_equal(seg.labels_HW, whole.labels_HW)


def test_person_or_not_comes_from_the_map_card(root: Path):
    target = make(root, task="seg", space="person2")[0].target
    whole = make(root, task="seg").load_truth(0)
    np.testing.assert_array_equal(target.labels_HW, whole.labels_HW > 0)


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path):
    data = make(tmp_path)
    data.materialise([0], 1, lambda done, total: None)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = next(tmp_path.rglob("000000.png")).parent
    dead = folder / temporary_name().replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    mine = folder / temporary_name()
    for path in (dead, mine):
        path.write_bytes(b"half an image")
    data.materialise([1], 1, lambda done, total: None)
    assert not dead.exists()
    assert mine.exists()  # its process is alive


def test_identity_names_what_an_image_is_drawn_from(root: Path, tmp_path: Path):
    data = make(tmp_path)
    before = data.identity(3)
    data.materialise([3], 1, lambda done, total: None)
    assert data.identity(3) == before == make(root).identity(3) != data.identity(4)


@pytest.mark.parametrize("suffix", [".npz", ".png"])
def test_a_damaged_file_is_a_sample_fault_that_names_it(tmp_path: Path, suffix: str):
    data = make(tmp_path)
    data.materialise([0], 1, lambda done, total: None)
    path = next(tmp_path.rglob(f"000000{suffix}"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SampleFault, match="000000"):
        data[0]


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    from sapiens_bench.errors import StorageFull

    (tmp_path / "blocked").write_text("a file where a folder should be")
    with pytest.raises(StorageFull, match="SAPIENS_BENCH_CACHE"):
        make(tmp_path / "blocked").materialise([0], 1, lambda done, total: None)


def test_pose_targets_in_17_points(root: Path):
    for index in range(4):
        sample = make(root)[index]
        target = sample.target
        assert isinstance(target, PoseTarget)
        n = len(target.ids_N)
        assert target.keypoints_NK2_px.shape == (n, 17, 2)
        assert sample.input.boxes_xyxy_px.shape == (n, 4)
        truth = make(root).load_truth(index)
        np.testing.assert_array_equal(target.area_N, [(truth.instance_HW == i).sum() for i in target.ids_N])
        for box, points, flags in zip(target.boxes_xyxy_px_N4, target.keypoints_NK2_px, target.visible_NK):
            seen = points[flags == 2]
            assert (seen >= box[:2] - 0.5).all()
            assert (seen <= box[2:] + 0.5).all()


def test_whole_bodies_of_both_sets_are_labelled_and_share_the_points_they_share(root: Path):
    whole, sapiens = CATALOG.space("coco-wholebody133"), CATALOG.space("goliath308")
    a, b = (make(root, space=space.id)[1].target for space in (whole, sapiens))  # an upper body, facing the camera
    assert {*KEYPOINTS, *ALIASES}.isdisjoint(set(point_names()) - {*KEYPOINTS})
    assert all(ALIASES.get(name, name) in point_names() for name in (*whole.names, *sapiens.names))
    for name in set(whole.names) & set(sapiens.names):
        i, j = whole.names.index(name), sapiens.names.index(name)
        np.testing.assert_array_equal(a.keypoints_NK2_px[:, i], b.keypoints_NK2_px[:, j])
    face = np.array(whole.groups["face"])
    assert (a.visible_NK[0, face] == 2).sum() > 20
    assert (b.visible_NK[0, sapiens.groups["face"]] == 2).sum() > 60
    first = make(root)[1].target
    np.testing.assert_array_equal(a.keypoints_NK2_px[:, :17], first.keypoints_NK2_px)


def test_points_that_two_sets_share_are_scored_with_the_truth_of_the_one_named(root: Path):
    """wb83 in 308's truth: joints are the same points of both sets, face points are those of the 308."""
    whole, sapiens, shared = (CATALOG.space(name) for name in ("coco-wholebody133", "goliath308", "wb83"))
    of_308, of_133 = (
        make(root, space="wb83", annotated_in=name)[1].target.keypoints_NK2_px[0] for name in (sapiens.id, whole.id)
    )
    all_308, all_133 = (make(root, space=space.id)[1].target.keypoints_NK2_px[0] for space in (sapiens, whole))
    np.testing.assert_array_equal(of_308, all_308[CATALOG.space_map(sapiens.id, shared.id).index])
    np.testing.assert_array_equal(of_133, all_133[CATALOG.space_map(whole.id, shared.id).index])
    face = np.isin(np.arange(83), shared.groups["face"])
    np.testing.assert_array_equal(of_308[~face], of_133[~face])
    off = np.linalg.norm(of_308[face] - of_133[face], axis=1)
    assert 0 < off.max() < 6  # one face by two sets' rules, 96 x 128
    protocol = CARD.protocols["goliath308-wb83"]
    assert (protocol.space, protocol.options["annotated_in"]) == ("wb83", "goliath308")


def test_every_whole_body_set_has_all_points_of_the_shared_one():
    for source in ("goliath308", "coco-wholebody133", "holistic543"):
        assert CATALOG.space_map(source, "wb83").complete, source
    assert not CATALOG.space_map("goliath308", "coco-wholebody133").complete


def test_a_sample_states_what_the_picture_shows_and_a_factor_of_appearance_states_its_level(root: Path):
    drawn, dark = make(root), make(root, factor="skin_tone=7")
    about = drawn[2].about
    assert {"skin_tone", "age", "height", "camera_pitch", "truncation", "pixel_height", "visible_share"} <= set(about)
    assert dark[2].about == {**about, "skin_tone": 7.0}
    assert all(isinstance(about[name], str) == (name in WORDS) for name in about)
    assert not dark._store.npz(2).parent.samefile(dark._store.folder)


@pytest.mark.parametrize(("task", "kind"), [("seg", SegTarget), ("depth", DepthTarget), ("normal", NormalTarget)])
def test_dense_targets(root: Path, task: str, kind: type):
    sample = make(root, task=task)[0]
    assert isinstance(sample.target, kind)
    np.testing.assert_array_equal(sample.input.boxes_xyxy_px, [[-0.5, -0.5, 95.5, 127.5]])
    assert sample.input.intrinsics is not None
    if not isinstance(sample.target, SegTarget):
        assert sample.target.mask_HW.any()


def test_jittered_boxes_stay_near_and_are_repeatable(root: Path):
    plain, moved, again = (
        make(root, boxes=boxes)[1].input.boxes_xyxy_px for boxes in ("", "jitter:0.1", "jitter:0.1,0")
    )
    size = (plain[:, 2:] - plain[:, :2]).max()
    assert 0 < np.abs(moved - plain).max() <= 0.05 * size + 1e-3
    np.testing.assert_array_equal(moved, again)


def test_requests_that_make_no_sense_are_refused_by_name(root: Path):
    with pytest.raises(UnknownName, match="tiny"):
        make(root, split="tinny")
    with pytest.raises(UsageError, match="jitter"):
        make(root, boxes="detector.json")
    with pytest.raises(CardError, match="keypoint"):
        make(root, space="body28")
    with pytest.raises(UsageError, match="manifest"):
        make(root).verify_manifest()


def test_the_manifest_hash_covers_split_boxes_and_points(root: Path):
    hashes = {
        make(root, split=split, space=space, boxes=boxes).manifest_sha256
        for split in ("tiny", "default")
        for space in ("coco17", "coco-wholebody133")
        for boxes in ("", "jitter:0.1", "jitter:0.1,7")
    }
    assert len(hashes) == 12


def test_this_machine_renders_what_the_committed_manifest_says(tmp_path: Path):
    workers = min(2, os.cpu_count() or 1)
    data = make(tmp_path, task="seg", size=(512, 384))
    data.materialise(range(2), workers, lambda done, total: None)
    found = data.verify_manifest(range(2))
    assert found.verdict in ("equal", "close"), found.differences
    assert found.n_equal + len(found.differences) == 2


def test_a_changed_image_fails_the_manifest(tmp_path: Path):
    data, other = make(tmp_path, task="seg", size=(512, 384)), make(tmp_path, task="seg", size=(512, 384))
    data.materialise(range(2), 1, lambda done, total: None)
    one, two = (next(tmp_path.rglob(f"{index:06d}.npz")) for index in (0, 1))
    one.write_bytes(two.read_bytes())
    assert other.verify_manifest([0]).verdict == "different"
