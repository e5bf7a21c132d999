"""The plain folder: every spelling and declaration gives the same truth, and a declaration that lies is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.dense.export import export_folder
from sapiens_bench.adapters.dense.folder import DenseFolder
from sapiens_bench.adapters.surface import normals_from_depth, ray_factor, sign_angles
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.cards.schema import EvalProtocol
from sapiens_bench.errors import CardError, DataMissing, DatasetRejected, LabelSpaceMismatch, SampleFault, UsageError
from sapiens_bench.pixels.png import encode_png
from sapiens_bench.tasks import task_for
from sapiens_bench.tasks.depth.task import perfect as perfect_depth
from sapiens_bench.tasks.normal.evidence import SIGNS

CATALOG = Catalog.load()
CARD = CATALOG.dataset("folder")


@pytest.fixture
def root(sphere: ModuleType, tmp_path: Path) -> Path:
    balls = {"b": sphere.perspective(), "a": sphere.perspective(x=-0.3, y=0.1), "c": sphere.perspective(radius=0.4)}
    return sphere.write_folder(tmp_path / "data", balls)


def opened(root: Path, protocol: str, **options: Any) -> DenseFolder:
    return DenseFolder(context(root, CARD.protocols[protocol], **options))


def context(root: Path, p: EvalProtocol, **options: Any) -> DataContext:
    return DataContext(
        card=CARD,
        protocol=p,
        space=CATALOG.space(p.space) if p.space else None,
        to_space=CATALOG.sources_of(p.space),
        root=root,
        split="",
        boxes="",
        seed=0,
        options=read_options(DenseFolder.Options, {**p.options, **options}, "test"),
    )


def test_samples_are_sorted_and_equal_what_was_written(root: Path, sphere: ModuleType) -> None:
    ball = sphere.perspective()
    depth, normal, seg = (opened(root, task) for task in ("depth", "normal", "seg"))
    assert depth.keys == ["folder/a", "folder/b", "folder/c"]
    sample = depth[1]
    assert np.array_equal(sample.input.image_HW3, ball.image_HW3)
    assert sample.input.boxes_xyxy_px.tolist() == [[0, 0, 160, 120]]
    assert np.array_equal(sample.target.mask_HW, ball.mask_HW)
    assert np.array_equal(sample.target.depth_HW, ball.depth_HW, equal_nan=True)
    assert np.allclose(sample.input.intrinsics, ball.K)
    target = normal[1].target
    assert np.allclose(target.normals_HW3[ball.mask_HW], ball.normals_HW3[ball.mask_HW], atol=1e-6)
    assert np.array_equal(seg[1].target.labels_HW, ball.labels_HW)


@pytest.mark.parametrize("task", ["seg", "depth", "normal"])
def test_export_and_import_is_a_round_trip(root: Path, tmp_path: Path, task: str) -> None:
    first = opened(root, task)
    out = tmp_path / "out"
    assert export_folder(first, out, space="body28") == []
    second = opened(out, task)
    assert [k.removeprefix("folder/") for k in second.keys] == ["folder_a", "folder_b", "folder_c"]
    for i in range(len(first)):
        a, b = first[i], second[i]
        assert np.array_equal(a.input.image_HW3, b.input.image_HW3)
        for name in (f for f in ("labels_HW", "depth_HW", "normals_HW3", "mask_HW") if hasattr(a.target, f)):
            x, y = getattr(a.target, name), getattr(b.target, name)
            # Normals are brought to unit length again, which may move the last bit.
            assert (
                np.allclose(x, y, atol=1e-7, equal_nan=True)
                if name == "normals_HW3"
                else np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
            )


def test_tasks_exported_one_after_the_other_share_a_folder(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for task in ("depth", "normal", "seg"):
        export_folder(opened(root, task), out, space="body28")
    declared = json.loads((out / "frame.json").read_text())
    assert declared["depth"]["unit"] == "m"
    assert declared["normals"]["frame"] == "viewer"
    assert declared["labels"] == {"space": "body28"}
    assert all(len(opened(out, task)) == 3 for task in ("depth", "normal", "seg"))


def test_relative_folders_work_on_both_ways(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for task in ("depth", "normal"):
        export_folder(opened(Path("data"), task), Path("out"))
    assert opened(Path("out"), "depth")[2].target.mask_HW.any()
    assert opened(Path("out"), "normal")[2].target.mask_HW.any()


def test_export_of_labels_needs_the_name_of_their_set(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name of their set"):
        export_folder(opened(root, "seg"), tmp_path / "out")


def test_second_generation_spelling_reads_the_same(root: Path, sphere: ModuleType, tmp_path: Path) -> None:
    ball = sphere.perspective()
    other = tmp_path / "v2"
    sphere.put(other / "rgb/s.png", ball.image_HW3)
    sphere.put(other / "mask/s.png", np.repeat(ball.mask_HW[..., None].astype(np.uint8) * 7, 3, 2))
    sphere.put(other / "normal/s.npz", ball.normals_HW3 * 3)  # any length
    sphere.put(other / "depth/s.npz", ball.depth_HW)
    sphere.declare(other)
    for task, field in (("normal", "normals_HW3"), ("depth", "depth_HW")):
        got, expected = getattr(opened(other, task)[0].target, field), getattr(opened(root, task)[1].target, field)
        assert np.allclose(got, expected, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("frame", "sign"), [("opencv", (1, -1, -1)), ([-1, 1, 1], (-1, 1, 1))])
@pytest.mark.parametrize("order", ["xyz", "zyx"])
def test_every_declared_frame_of_normals_is_brought_to_ours(
    root: Path, sphere: ModuleType, frame: Any, sign: tuple[int, int, int], order: str
) -> None:
    ball = sphere.perspective()
    stored = ball.normals_HW3 * np.array(sign, np.float32)
    sphere.put(root / "normals/b.npy", stored if order == "xyz" else stored[..., ::-1])
    for stem in ("a", "c"):
        (root / f"images/{stem}.png").unlink()
    sphere.declare(root, normals={"frame": frame, "order": order})
    target = opened(root, "normal")[0].target
    assert np.allclose(target.normals_HW3[ball.mask_HW], ball.normals_HW3[ball.mask_HW], atol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
def test_normals_of_a_picture_are_read_at_its_depth(root: Path, sphere: ModuleType, bits: int) -> None:
    ball = sphere.perspective()
    top = 2**bits - 1
    counts = np.rint((np.nan_to_num(ball.normals_HW3) + 1) / 2 * top).astype(f"uint{bits}")
    counts[~ball.mask_HW] = 0
    (root / "normals/b.npy").unlink()
    (root / "normals/b.png").write_bytes(encode_png(counts))
    target = opened(root, "normal")[1].target
    error = np.abs(target.normals_HW3 - np.nan_to_num(ball.normals_HW3)).max()
    assert error < 1.5 / top
    assert np.array_equal(target.mask_HW, ball.mask_HW)


@pytest.mark.parametrize(("unit", "factor"), [("m", 1), ("cm", 100), ("mm", 1000)])
def test_depth_in_any_declared_unit_comes_in_metres(root: Path, sphere: ModuleType, unit: str, factor: float) -> None:
    for stem in "abc":
        path = root / f"depths/{stem}.npy"
        np.save(path, np.load(path) * factor)
    sphere.declare(root, depth={"unit": unit})
    assert np.allclose(opened(root, "depth")[1].target.depth_HW, sphere.perspective().depth_HW, equal_nan=True)


def test_sixteen_bit_depth_counts_from_zero_is_nothing(root: Path, sphere: ModuleType) -> None:
    ball = sphere.perspective()
    for stem in "abc":
        depth = np.load(root / f"depths/{stem}.npy")
        (root / f"depths/{stem}.npy").unlink()
        counts = np.rint(np.nan_to_num(depth) * 10000).astype(np.uint16)  # 0.1 mm
        (root / f"depths/{stem}.png").write_bytes(encode_png(counts))
    sphere.declare(root, depth={"unit": "mm", "count": 0.1})
    target = opened(root, "depth")[1].target
    assert np.array_equal(target.mask_HW, ball.mask_HW)
    assert np.nanmax(np.abs(target.depth_HW - ball.depth_HW)) < 1e-4


def test_ray_lengths_become_z(root: Path, sphere: ModuleType) -> None:
    ball = sphere.perspective()
    for stem in "abc":
        path = root / f"depths/{stem}.npy"
        np.save(path, (np.load(path) * ray_factor((120, 160), ball.K)).astype(np.float32))
    sphere.declare(root, depth={"unit": "m", "along": "ray"})
    assert np.allclose(opened(root, "depth")[1].target.depth_HW, ball.depth_HW, atol=1e-6, equal_nan=True)


def test_a_camera_of_another_size_is_said_where_rays_are_measured(root: Path, sphere: ModuleType) -> None:
    sphere.declare(root, depth={"unit": "m", "along": "ray"})
    for path in (root / "normals").iterdir():
        path.unlink()  # with normals the contradiction is found
    for path in (root / "camera_intrinsics").iterdir():
        np.savetxt(path, np.diag([2, 2, 1]) @ np.loadtxt(path))
    assert any("cameras that look far past the middle" in note for note in opened(root, "depth").notes)


def test_ray_lengths_declared_as_z_are_detected_and_refused(root: Path, sphere: ModuleType) -> None:
    for stem in "abc":
        path = root / f"depths/{stem}.npy"
        np.save(path, (np.load(path) * ray_factor((120, 160), sphere.perspective().K)).astype(np.float32))
    with pytest.raises(
        DatasetRejected, match=r"declared along 'z' but agrees .* read as the length of the viewing ray"
    ):
        opened(root, "depth")


def test_z_declared_as_ray_length_is_detected_and_refused(root: Path, sphere: ModuleType) -> None:
    sphere.declare(root, depth={"unit": "m", "along": "ray"})
    with pytest.raises(DatasetRejected, match=r"declared along 'ray' but agrees .* read as z-depth"):
        opened(root, "depth")


@pytest.mark.parametrize(("factor", "looks"), [(100, "centimetres"), (1000, "millimetres")])
def test_depth_in_another_unit_than_declared_is_refused(root: Path, factor: float, looks: str) -> None:
    for stem in "abc":
        path = root / f"depths/{stem}.npy"
        np.save(path, np.load(path) * factor)
    with pytest.raises(DatasetRejected, match=f"declared unit 'm': looks like {looks}"):
        opened(root, "depth")


def test_one_picture_in_another_unit_costs_its_own_row(root: Path, sphere: ModuleType) -> None:
    balls = {stem: sphere.perspective() for stem in "abcdefg"}
    sphere.write_folder(root, balls)
    np.save(root / "depths/b.npy", balls["b"].depth_HW * 100)  # not among first, middle and last
    adapter = opened(root, "depth")
    with pytest.raises(SampleFault, match="centimetres") as caught:
        adapter[1]
    assert (caught.value.code, caught.value.side) == ("label.depth_unit", "input")
    assert adapter[0].target.mask_HW.any()


@pytest.mark.parametrize("sign", [s for s in SIGNS if s != (1, 1, 1)])
def test_normals_that_contradict_the_depth_are_refused_with_the_right_signs(
    root: Path, sphere: ModuleType, sign: tuple[int, int, int]
) -> None:
    for stem in "abc":
        path = root / f"normals/{stem}.npy"
        np.save(path, np.load(path) * np.array(sign, np.float32))
    with pytest.raises(DatasetRejected, match=r"multiplied by \(" + ", ".join(map(str, sign))):
        opened(root, "normal")
    sphere.declare(root, normals={"frame": list(sign)})
    assert opened(root, "normal")[0].target.mask_HW.any()


def test_normals_from_depth_are_those_of_the_ball(sphere: ModuleType) -> None:
    ball = sphere.perspective(height=480, width=640, focal=440)
    angles = sign_angles(ball.normals_HW3, normals_from_depth(ball.depth_HW, ball.K), ball.mask_HW)
    assert angles[1, 1, 1] < 0.05
    assert min(a for s, a in angles.items() if s != (1, 1, 1)) > 20


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"normals": {"frame": "blender"}}, "normals.frame"),
        ({"normals": {"frame": [1, 1, 2]}}, "normals.frame"),
        ({"normals": {"frame": "viewer", "order": "yxz"}}, "normals.order"),
        ({"depth": {"unit": "feet"}}, "depth.unit"),
        ({"depth": {"unit": "m", "axis": "z"}}, "depth.axis"),
        ({"schema": "frame/2"}, "schema"),
        ({"colour": {}}, "colour"),
    ],
)
def test_unknown_declarations_are_refused_by_name(
    root: Path, sphere: ModuleType, part: dict[str, Any], message: str
) -> None:
    sphere.declare(root, **part)
    with pytest.raises(DatasetRejected, match=message):
        opened(root, "normal")


def test_a_folder_that_declares_nothing_is_not_read(root: Path, sphere: ModuleType) -> None:
    sphere.declare(root, normals=None)
    with pytest.raises(DataMissing, match="declares nothing about normals"):
        opened(root, "normal")
    (root / "frame.json").unlink()
    with pytest.raises(DataMissing, match=r"frame\.json"):
        opened(root, "depth")


def test_labels_of_another_set_come_through_a_map_or_not_at_all(root: Path, sphere: ModuleType) -> None:
    sphere.declare(root, labels={"space": "lip20"})
    labels = opened(root, "seg")[0].target.labels_HW
    assert set(np.unique(labels)) == {0, 255}  # 3 is Glove there, which the official map ignores
    sphere.declare(root, labels={"space": "face19"})
    with pytest.raises(LabelSpaceMismatch, match="face19"):
        opened(root, "seg")


def test_relative_depth_is_scored_after_scale_and_shift_only(root: Path, sphere: ModuleType) -> None:
    for stem in "abc":
        path = root / f"depths/{stem}.npy"
        np.save(path, np.load(path) / 1000)
    sphere.declare(root, depth={"unit": "relative"})
    assert opened(root, "depth")[0].target.mask_HW.any()
    protocol = CARD.protocols["depth"].model_copy(update={"scoring": {"alignment": "median"}})
    with pytest.raises(CardError, match="only be scored after scale and shift"):
        DenseFolder(context(root, protocol))


def test_what_does_not_fit_is_that_samples_fault(root: Path, sphere: ModuleType) -> None:
    balls = {stem: sphere.perspective() for stem in "abcdefghi"}
    sphere.write_folder(root, balls)
    np.save(root / "depths/b.npy", np.ones((120, 161), np.float32))
    np.save(root / "depths/c.npy", np.array([[{}]], object))
    (root / "depths/d.npy").write_bytes(b"")
    sphere.put(root / "masks/f.png", np.ones((5, 5), np.uint8))
    (root / "camera_intrinsics/g.txt").write_text("1 2 3")
    sphere.put(root / "masks/h.png", np.zeros((120, 160), np.uint8))
    adapter = opened(root, "depth")
    codes = {}
    for index, key in enumerate(adapter.keys):
        try:
            adapter[index]
        except SampleFault as fault:
            codes[key[-1]] = f"{fault.side} {fault.code}"
    assert codes == {
        "b": "input label.shape", "c": "input label.array", "d": "input label.array",
        "f": "input label.shape", "g": "input label.camera",
    }  # fmt: skip
    empty = adapter[7]
    task = task_for(CARD.protocols["depth"], None)
    fault = task.check(perfect_depth(empty.target), empty.input, empty.target)[1]
    assert fault is not None
    assert (fault.code, fault.side) == ("label.empty", "input")


def test_the_manifest_follows_the_truth_and_the_declaration(root: Path, sphere: ModuleType) -> None:
    first = opened(root, "depth").manifest_sha256
    assert opened(root, "depth").manifest_sha256 == first
    depth = np.load(root / "depths/a.npy")
    np.save(root / "depths/a.npy", depth + np.float32(1e-3))
    second = opened(root, "depth").manifest_sha256
    assert second != first
    sphere.declare(root, depth={"unit": "relative"})
    assert opened(root, "depth").manifest_sha256 not in (first, second)
