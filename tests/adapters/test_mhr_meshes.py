"""Meshes of MHR's topology with a regressor of its shape; a grid wrapped round a cylinder stands for the body."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sapiens_bench.adapters.context import DataContext
from sapiens_bench.adapters.prepare import prepare_data
from sapiens_bench.adapters.scans.mhr import MhrMeshes
from sapiens_bench.adapters.scans.mhr_regressor import N_JOINTS, N_POINTS, N_VERTICES
from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.cards.options import read_options
from sapiens_bench.errors import DataMissing, DatasetRejected, SampleFault, UsageError

CATALOG = Catalog.load()
CARD = CATALOG.dataset("mhr-meshes")
ROWS, COLUMNS = 136, 128  # and the vertices that are left over lie in the upper end
EVERY_ROW, EVERY_COLUMN = 9, 8  # of so many vertices each, one is the corner of a triangle
HEIGHT_CM, RADIUS_CM = 170.0, 20.0
ON_SURFACE = 300  # points of the stand-in that are one vertex each; the last are joints
NAMES = CATALOG.space("goliath308").names


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAPIENS_BENCH_CACHE", str(tmp_path / "cache"))


def body() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices [18439, 3] in centimetres and triangles: an upright cylinder that does not stand on the origin."""
    row, column = (a.ravel() for a in np.mgrid[:ROWS, :COLUMNS])
    angle, up = 2 * np.pi * column / COLUMNS, HEIGHT_CM * row / (ROWS - 1)
    side = np.stack([RADIUS_CM * np.sin(angle), up, RADIUS_CM * np.cos(angle)], 1)
    n_left = N_VERTICES - len(side)
    a = 2 * np.pi * np.arange(n_left) / n_left
    lid = np.stack([np.sin(a), np.full(n_left, HEIGHT_CM), np.cos(a)], 1)
    grid = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)[::EVERY_ROW, ::EVERY_COLUMN]
    here, beside = grid, np.roll(grid, -1, 1)
    corners = [(here[:-1], beside[:-1], beside[1:]), (here[:-1], beside[1:], here[1:])]
    faces = np.concatenate([np.stack([c.ravel() for c in corner], 1) for corner in corners])
    return np.concatenate([side, lid]) + np.array([3.0, 12.0, -5.0]), faces


def joints() -> NDArray[np.float64]:
    """On the axis of the cylinder, from below to above."""
    up = 12 + HEIGHT_CM * np.arange(N_JOINTS) / N_JOINTS
    return np.stack([np.full(N_JOINTS, 3.0), up, np.full(N_JOINTS, -5.0)], 1)


def weights() -> NDArray[np.float32]:
    """Point k is one vertex, of rows from below to above, going round; the last eight are joints."""
    out = np.zeros((N_POINTS, N_VERTICES + N_JOINTS), np.float32)
    for k in range(ON_SURFACE):
        out[k, ((k * 17) % (ROWS - 20) + 10) * COLUMNS + k * 31 % COLUMNS] = 1
    for k in range(ON_SURFACE, N_POINTS):
        out[k, N_VERTICES + 10 * (k - ON_SURFACE)] = 1
    return out


def write(root: Path, mesh: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None, **change: Any) -> Path:
    points, faces = mesh or body()
    (root / "anna").mkdir(parents=True, exist_ok=True)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += [f"f {a} {b} {c}" for a, b, c in faces + 1]
    (root / "anna/anna.obj").write_text("\n".join(lines) + "\n")
    np.save(root / "anna/joints.npy", change.get("joints", joints()).astype(np.float32))
    np.savez(root / "keypoint_mapping.npz", keypoint_mapping=change.get("weights", weights()))
    return root


def opened(root: Path, protocol: str = "goliath308", boxes: str = "", **options: Any) -> MhrMeshes:
    chosen = CARD.protocols[protocol]
    given = {**chosen.options, "size": [192, 144], "yaws_deg": [0], "pitch_deg": [0, 0], **options}
    return MhrMeshes(
        DataContext(
            card=CARD, protocol=chosen, space=CATALOG.space(chosen.space or ""),
            to_space=CATALOG.sources_of(chosen.space), root=root, split="", boxes=boxes, seed=0,
            options=read_options(MhrMeshes.Options, given, "test"),
        )
    )  # fmt: skip


def test_prepare_renders_bodies_whose_labels_are_the_regressors_points(tmp_path: Path) -> None:
    data = opened(write(tmp_path))
    report = prepare_data(data)
    assert (report.n_made, report.n_failed) == (1, 0)
    assert prepare_data(opened(tmp_path)).n_present == 1
    sample, stored = data[0], data.samples.entry(0)
    assert stored is not None
    surface = (body()[0] - [3, 12, -5]) / 100  # 1.70 m high and on the origin: the protocol's frame
    order = np.argmax(weights()[:ON_SURFACE, :N_VERTICES], 1)
    expected = stored.entry.camera.project(surface[order]).uv_V2_px
    target = sample.target
    assert (target.visible_NK[0] > 0).all()
    np.testing.assert_allclose(target.keypoints_NK2_px[0, :ON_SURFACE], expected, atol=1e-4)
    axis = target.keypoints_NK2_px[0, ON_SURFACE:]
    assert np.ptp(axis[:, 0]) < 1e-6  # joints stand above each other in a picture without tilt
    assert axis[:, 0].mean() == pytest.approx(target.boxes_xyxy_px_N4[0, [0, 2]].mean(), abs=1)
    assert (np.diff(axis[:, 1]) < 0).all()
    np.testing.assert_allclose(sample.input.boxes_xyxy_px, target.boxes_xyxy_px_N4)


def test_points_of_the_far_side_are_labelled_and_hidden(tmp_path: Path) -> None:
    target = opened(write(tmp_path))[0].target
    angle = 2 * np.pi * (np.arange(ON_SURFACE) * 31 % COLUMNS) / COLUMNS
    flags = target.visible_NK[0, :ON_SURFACE]
    assert (flags[np.cos(angle) > 0.8] == 2).all()  # towards the camera
    on_face = np.arange(ON_SURFACE) >= 70  # thickness of the part: 1.2 cm
    assert (flags[(np.cos(angle) < -0.5) & on_face] == 1).all()


def test_other_sets_are_reached_by_their_map_and_points_without_weights_are_unlabelled(tmp_path: Path) -> None:
    given = weights()
    given[NAMES.index("left_knee")] = 0
    root = write(tmp_path, weights=given)
    whole, coco = opened(root), opened(root, "coco17")
    assert "1 of the 308 points have no weight" in " ".join(whole.notes)
    names = CATALOG.space("coco17").names
    at = [NAMES.index(name) for name in names]
    np.testing.assert_array_equal(coco[0].target.visible_NK[0], whole[0].target.visible_NK[0, at])
    np.testing.assert_array_equal(coco[0].target.keypoints_NK2_px[0], whole[0].target.keypoints_NK2_px[0, at])
    assert coco[0].target.visible_NK[0, names.index("left_knee")] == 0
    assert coco.manifest_sha256 != whole.manifest_sha256


def test_skeleton_states_are_read_and_changed_joints_are_another_data_set(tmp_path: Path) -> None:
    plain = opened(write(tmp_path))
    before, points = plain.manifest_sha256, plain[0].target.keypoints_NK2_px
    state = np.concatenate([joints(), np.ones((N_JOINTS, 5))], 1)
    same = opened(write(tmp_path, joints=state))
    np.testing.assert_array_equal(same[0].target.keypoints_NK2_px, points)
    assert same.manifest_sha256 != before


def test_weights_that_do_not_sum_to_one_are_noted(tmp_path: Path) -> None:
    given = weights()
    given[3] *= 0.5
    assert any("weights of 1 points do not sum to 1" in note for note in opened(write(tmp_path, weights=given)).notes)


def renumbered() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same body with its vertices in another order."""
    vertices, faces = body()
    order = np.random.default_rng(0).permutation(N_VERTICES)
    return vertices[order], np.argsort(order)[faces]


def one_more() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    vertices, faces = body()
    return np.concatenate([vertices, vertices[:1]]), faces


def averaged() -> NDArray[np.float32]:
    """As regressors are: a point is the mean of a few neighbours."""
    out = weights()
    for k in range(ON_SURFACE):
        at = int(np.argmax(out[k]))
        out[k, at : at + 4] = 0.25
    return out


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"joints": joints() / 100}, "scan.joints", "one unit and one frame"),
        ({"joints": joints()[:100]}, "scan.joints", r"needed are finite positions \(127, 3\)"),
        ({"mesh": renumbered(), "weights": averaged()}, "scan.topology", "not in the model's order"),
        ({"mesh": one_more()}, "scan.topology", "has 18440 vertices"),
    ],
)
def test_bodies_that_cannot_be_meant_are_error_rows(
    tmp_path: Path, change: dict[str, Any], code: str, said: str
) -> None:
    data = opened(write(tmp_path, **change))
    with pytest.raises(SampleFault, match=said) as caught:
        data[0]
    assert caught.value.code == code


def test_a_regressor_that_is_missing_or_of_another_shape_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, weights=weights()[:70])
    with pytest.raises(DatasetRejected, match=r"\(308, 18566\)"):
        opened(root)
    with pytest.raises(DataMissing, match="keypoint_mapping of SAM 3D Body"):
        opened(root, regressor="elsewhere.npz")
    with pytest.raises(UsageError, match="ground-truth boxes"):
        opened(write(tmp_path), boxes="jitter:0.1")
