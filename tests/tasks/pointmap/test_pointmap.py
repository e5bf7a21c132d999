"""Point maps: the truth of rendered people, distances by hand, and what the codec and the noise keep."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.cards.catalog import Catalog
from sapiens_bench.engine.data_specs import open_named
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import SampleFault
from sapiens_bench.metrics import TaskMetric
from sapiens_bench.tasks.pointmap.codec import PointmapCodec
from sapiens_bench.tasks.pointmap.metrics import PointmapMetric
from sapiens_bench.tasks.pointmap.stored import StoredPoints, read_points
from sapiens_bench.tasks.pointmap.task import PointmapNoise, add_noise, check
from sapiens_bench.tasks.pointmap.types import PointmapPrediction, PointmapTarget, of_scene
from sapiens_bench.types import ModelInput, Scene

rng = np.random.default_rng(2)


PICTURE = ModelInput("", np.zeros((6, 6, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def target(n: int = 6) -> PointmapTarget:
    points = rng.uniform(-1, 1, (n, n, 3)).astype(np.float32)
    points[..., 2] += 3
    mask = np.ones((n, n), bool)
    mask[0] = False
    return PointmapTarget(points, mask)


def scores(metric: PointmapMetric, *pairs: tuple[PointmapTarget, PointmapPrediction]) -> dict[str, float]:
    rows = [metric.measure(*pair) for pair in pairs]
    return metric.aggregate(pa.table({f"pointmap/{k}": [row[k] for row in rows] for k in rows[0]}))(None)


def test_a_point_lies_behind_its_pixel_centre() -> None:
    depth = np.full((3, 5), 2.0, np.float32)
    K = np.array([[10.0, 0, 2], [0, 20.0, 1], [0, 0, 1]])
    flat = np.zeros((3, 5, 3))
    mask = np.ones((3, 5), bool)
    points = of_scene(
        Scene(flat.astype(np.uint8), depth, flat.astype(np.float32), flat[..., 0].astype(np.uint8), mask, K)
    )
    np.testing.assert_allclose(points.points_HW3[1, 2], [0, 0, 2])
    np.testing.assert_allclose(points.points_HW3[2, 4], [0.4, 0.1, 2], rtol=1e-6)


def test_rendered_points_face_where_the_rendered_normals_do() -> None:
    """Two truths of the renderer that know nothing of each other: differences of points, and normals of the mesh."""
    catalog = Catalog.load()
    card = catalog.dataset("synthetic-humans")
    points, normals = (
        open_named(card, task, Request(task=task, split="tiny").data(), catalog).open.adapter[0].target
        for task in ("pointmap", "normal")
    )
    p = points.points_HW3.astype(np.float64)
    across, down = p[1:-1, 2:] - p[1:-1, :-2], p[2:, 1:-1] - p[:-2, 1:-1]
    facing = -np.cross(across, down) * np.array([1, -1, -1])  # camera axes to x right, y up, z towards the viewer
    inside = np.logical_and.reduce(
        [points.mask_HW[i : i - 2 or None, j : j - 2 or None] for i in range(3) for j in range(3)]
    )
    smooth = inside & (np.abs(across).max(-1) < 0.03) & (np.abs(down).max(-1) < 0.03)
    facing = facing[smooth] / np.linalg.norm(facing[smooth], axis=1, keepdims=True)
    cosine = (facing * normals.normals_HW3[1:-1, 1:-1][smooth]).sum(1)
    assert smooth.sum() > 1000
    assert np.degrees(np.arccos(np.median(cosine))) < 5


def test_distances_by_hand() -> None:
    truth = PointmapTarget(np.zeros((1, 3, 3), np.float32), np.array([[True, True, False]]))
    off = np.array([[[3.0, 0, 4.0], [0, 1.0, 0], [99, 99, 99]]], np.float32)
    found = scores(PointmapMetric("none"), (truth, PointmapPrediction(off)))
    assert found["l2"] == pytest.approx((5 + 1) / 2)
    assert found["rmse"] == pytest.approx(math.sqrt((25 + 1) / 2))
    assert [found[f"mae_{axis}"] for axis in "xyz"] == pytest.approx([1.5, 0.5, 2.0])
    assert found["coverage"] == 1


def test_one_factor_is_fitted_and_no_shift() -> None:
    truth = target()
    scaled = PointmapPrediction(truth.points_HW3 * np.float32(0.2))
    assert scores(PointmapMetric("scale"), (truth, scaled))["l2"] < 1e-6
    assert scores(PointmapMetric("none"), (truth, scaled))["l2"] > 1
    moved = PointmapPrediction(truth.points_HW3 + np.float32([0, 0, 1]))
    assert scores(PointmapMetric("scale"), (truth, moved))["l2"] > 0.05


def test_points_behind_the_camera_are_not_turned_to_the_front() -> None:
    truth = target()
    behind = -truth.points_HW3
    at = tuple(np.argwhere(truth.mask_HW)[0])
    behind[at] = (0, 0, 1e-3)  # so that the map is not refused as a whole
    checked, fault = check(PointmapPrediction(behind), PICTURE, truth)
    assert fault is None
    nothing = PointmapPrediction(np.zeros_like(behind))
    assert scores(PointmapMetric("scale"), (truth, checked))["l2"] == pytest.approx(
        scores(PointmapMetric("none"), (truth, nothing))["l2"], rel=1e-3
    )


def test_a_number_beyond_float32_is_no_point() -> None:
    truth = target()
    answer = truth.points_HW3.astype(np.float64)
    answer[tuple(np.argwhere(truth.mask_HW)[0])] = 1e200
    checked, fault = check(PointmapPrediction(answer), PICTURE, truth)
    assert fault is not None
    assert fault.code == "pred.nonfinite"
    found = scores(PointmapMetric("scale"), (truth, checked))
    assert found["l2"] < 1e-6
    assert found["coverage"] == 1 - 1 / truth.mask_HW.sum()


@pytest.mark.parametrize("scale", [0.1, 0.7, 2.0])
def test_the_factor_is_the_least_squares_one(scale: float) -> None:
    truth = target()
    answer = PointmapPrediction((truth.points_HW3 * scale + rng.normal(0, 0.1, (6, 6, 3))).astype(np.float32))
    p, g = (a.astype(np.float64)[truth.mask_HW].ravel() for a in (answer.points_HW3, truth.points_HW3))
    best = np.linalg.lstsq(p[:, None], g, rcond=None)[0][0]
    assert scores(PointmapMetric("scale"), (truth, answer))["rmse"] == pytest.approx(
        math.sqrt(((best * p - g) ** 2).sum() / truth.mask_HW.sum())
    )


def test_pixels_are_pooled_over_images_and_missing_points_lower_the_coverage() -> None:
    truth, exact = target(), target(3)
    answer = truth.points_HW3 + np.float32([0, 0, 1])
    answer[1, 0] = np.nan
    found = scores(
        PointmapMetric("none"), (truth, PointmapPrediction(answer)), (exact, PointmapPrediction(exact.points_HW3))
    )
    assert found["l2"] == pytest.approx(29 / 35)
    assert found["coverage"] == pytest.approx(35 / 36)


def test_a_kept_map_is_read_back_within_half_a_step() -> None:
    truth = target()
    codec = PointmapCodec()
    back = codec.decode(codec.encode(PointmapPrediction(truth.points_HW3), truth, ()), "x.png", ())
    np.testing.assert_allclose(back.points_HW3[truth.mask_HW], truth.points_HW3[truth.mask_HW], atol=2e-5)
    assert np.isnan(back.points_HW3[~truth.mask_HW]).all()


def test_noise_moves_points_along_their_rays() -> None:
    truth = target()
    noisy = add_noise(PointmapPrediction(truth.points_HW3), truth, np.random.default_rng(1), PointmapNoise())
    cross = np.cross(noisy.points_HW3[truth.mask_HW], truth.points_HW3[truth.mask_HW])
    np.testing.assert_allclose(cross, 0, atol=1e-5)
    assert 0 < scores(PointmapMetric("none"), (truth, noisy))["l2"] < 0.5


@pytest.mark.parametrize(
    ("points", "code"),
    [
        (np.zeros((6, 6, 2), np.float32), "pred.shape"),
        (np.zeros((6, 6, 3), np.int32), "pred.shape"),
        (np.full((6, 6, 3), -1, np.float32), "pred.range"),
        (np.full((6, 6, 3), np.nan, np.float32), "pred.nonfinite"),
    ],
)
def test_what_would_score_wrongly_is_a_fault(points: np.ndarray, code: str) -> None:  # type: ignore[type-arg]
    task = TaskMetric.named("pointmap").task
    x = ModelInput("k", np.zeros((0, 0, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    fault = task.check(PointmapPrediction(points), x, target())[1]
    assert fault is not None
    assert fault.code == code


def test_a_run_scores_noise_below_the_oracle(tmp_path: Path) -> None:
    import sapiens_bench

    out = tmp_path / "run"
    record = sapiens_bench.evaluate(
        task="pointmap", models=["oracle-pointmap", "noisy-oracle-pointmap"], split="tiny", limit=3, n_boot=0, out=out
    )
    found = {cell.model: cell.scores["pointmap/l2"].value for cell in record.cells}
    assert found["oracle-pointmap"] < 1e-6 < found["noisy-oracle-pointmap"] < 0.5
    assert json.loads((out / "run.json").read_text())["task"] == "pointmap"


def test_the_canonical_frame_measures_as_a_camera_of_focal_length_768() -> None:
    """A picture of 2048 x 1536 at focal length 768 is one of 1024 x 768 at 384: lengths count twice."""
    mask = np.zeros((2048, 1536), bool)
    mask[5, 7] = True
    points = np.zeros((2048, 1536, 3), np.float32)
    points[5, 7] = (0.1, 0.2, 2)
    truth = PointmapTarget(points, mask, focal_px=768.0)
    off = points.copy()
    off[5, 7] = (0.1, 0.2, 2.5)
    assert truth.canonical_factor == 2
    assert scores(PointmapMetric("none"), (truth, PointmapPrediction(off)))["mae_z"] == pytest.approx(0.5)
    found = scores(PointmapMetric("none", "canonical"), (truth, PointmapPrediction(off)))
    assert found["mae_z"] == found["l2"] == found["rmse"] == pytest.approx(1.0)
    wide = PointmapTarget(np.zeros((100, 3072, 3), np.float32), np.ones((100, 3072), bool), focal_px=768.0)
    assert wide.canonical_factor == 4  # the narrower fit counts


def test_without_a_focal_length_there_is_no_canonical_frame() -> None:
    truth = target()
    _, fault = check(PointmapPrediction(truth.points_HW3), PICTURE, truth, "canonical")
    assert fault is not None
    assert (fault.code, fault.side) == ("label.focal", "input")
    assert check(PointmapPrediction(truth.points_HW3), PICTURE, truth)[1] is None


def test_the_focal_length_of_a_scene_is_that_of_its_camera() -> None:
    K = np.array([[10.0, 0, 2], [0, 20.0, 1], [0, 0, 1]])
    flat, mask = np.zeros((3, 5, 3)), np.ones((3, 5), bool)
    depth = np.full((3, 5), 2.0, np.float32)
    scene = Scene(flat.astype(np.uint8), depth, flat.astype(np.float32), flat[..., 0].astype(np.uint8), mask, K)
    assert of_scene(scene).focal_px == 10


@pytest.mark.parametrize("kind", ["npy", "exr"])
def test_stored_points_of_another_size_are_refused_unless_resizing_is_asked_for(tmp_path: Path, kind: str) -> None:
    path, points = tmp_path / f"a.{kind}", np.ones((4, 6, 3), np.float32)
    if kind == "npy":
        np.save(path, points)
    else:
        planes = {name: np.ascontiguousarray(points[..., i]) for i, name in enumerate("XYZ")}
        pytest.importorskip("OpenEXR").File({}, planes).write(str(path))
    assert read_points(path, (4, 6), StoredPoints()).points_HW3.shape == (4, 6, 3)
    with pytest.raises(SampleFault, match=r"shape \(4, 6.*needed is \(8, 12") as caught:
        read_points(path, (8, 12), StoredPoints())
    assert caught.value.code == "label.shape"
    assert read_points(path, (8, 12), StoredPoints(resize="bilinear")).points_HW3.shape == (8, 12, 3)
