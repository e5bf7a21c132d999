"""Frames in a row: known motion, known noise, known drift are found; what has no frames is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from sapiens_bench.cli import app
from sapiens_bench.engine.request import Request
from sapiens_bench.errors import UsageError
from sapiens_bench.render.clips import FRAMES, FRAMES_A_MOVE, between
from sapiens_bench.render.draws import stream
from sapiens_bench.render.pose_library import draw_pose
from sapiens_bench.report.formats import render
from sapiens_bench.study import folder, video
from sapiens_bench.study.motion import depth_drift, label_flicker, normal_flicker, pose_motion
from sapiens_bench.study.video_document import document
from sapiens_bench.tasks.depth.types import DepthPrediction, DepthTarget
from sapiens_bench.tasks.pose.types import PosePrediction, PoseTarget


def path(n_frames: int = FRAMES, n_points: int = 17) -> np.ndarray:
    """Points on curves of their own, [T, K, 2] pixels."""
    rng, t = np.random.default_rng(1), np.arange(n_frames)[:, None, None] / n_frames
    start, wide, pace = rng.uniform(0, 300, (n_points, 2)), rng.uniform(5, 60, (n_points, 2)), rng.uniform(0.5, 2)
    return start + wide * np.sin(2 * np.pi * pace * t + rng.uniform(0, 6, (n_points, 2)))


ALL = np.ones((FRAMES, 17), bool)


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_injected_jitter_is_recovered_within_five_percent_whatever_bias_lies_under_it(sigma: float) -> None:
    rng, truth = np.random.default_rng(0), path()
    bias = np.array([7.0, -3.0]) + 0.2 * np.arange(FRAMES)[:, None, None]  # a steady offset that grows evenly
    found = [pose_motion(truth + bias + rng.normal(0, sigma, truth.shape), truth, ALL).jitter for _ in range(40)]
    assert np.mean(found) == pytest.approx(sigma, rel=0.05)
    assert pose_motion(truth + bias, truth, ALL).jitter == pytest.approx(0, abs=1e-9)


def test_errors_of_velocity_and_acceleration_are_those_worked_by_hand() -> None:
    truth = path()
    t = np.arange(FRAMES)[:, None, None]
    steady = pose_motion(truth + np.array([3.0, 4.0]), truth, ALL)
    assert steady[:3] == pytest.approx((5, 0, 0), abs=1e-9)
    growing = pose_motion(truth + t * np.array([0.6, 0.8]), truth, ALL)
    assert growing[1:3] == pytest.approx((1, 0), abs=1e-9)
    speeding = pose_motion(truth + t**2 * np.array([0.3, 0.4]), truth, ALL)
    assert speeding.acceleration == pytest.approx(1)
    held = np.repeat(truth[:1], FRAMES, 0)  # a model that never moves: its velocity error is the true speed
    assert pose_motion(held, truth, ALL).velocity == pytest.approx(
        np.sqrt((np.diff(truth, axis=0) ** 2).sum(-1)).mean()
    )


def test_points_without_label_count_nothing_and_a_swapped_limb_is_not_noise() -> None:
    truth = path()
    wrong, labelled = truth.copy(), ALL.copy()
    wrong[5, 3] += 500
    labelled[5, 3] = False
    assert pose_motion(wrong, truth, labelled)[:3] == pytest.approx((0, 0, 0))
    wrong[::2, 4] += 200
    assert pose_motion(wrong, truth, labelled).jitter == pytest.approx(0, abs=1e-9)
    assert np.isnan(pose_motion(truth, truth, ~ALL)).all()


def test_flicker_counts_changes_where_the_truth_stands_still() -> None:
    truth = [np.array([[1, 1, 2, 0, 255]]), np.array([[1, 1, 3, 0, 255]])]
    assert label_flicker([np.array([[1, 5, 2, 0, 1]]), np.array([[1, 1, 3, 4, 2]])], truth) == (1, 2)
    up, tilted = np.array([[[0.0, 0, 1]] * 2]), np.array([[[0.0, np.sin(0.1), np.cos(0.1)], [0, 0, 1]]])
    mask = np.ones((1, 2), bool)
    assert normal_flicker([up, tilted], [up, up], [mask, mask]) == (pytest.approx(np.rad2deg(0.1)), 2)
    assert normal_flicker([up, up], [up, tilted], [mask, mask])[1] == 1


def test_drift_of_scale_and_shift_is_what_was_put_in() -> None:
    scales = np.array([1.0, 1.1, 0.9, 1.05, 0.95])
    steady = depth_drift(scales, 3.0 - scales * 2.0, 2.0)  # the fit always puts the mean of 2 at 3
    assert steady.scale == pytest.approx(scales.std(ddof=1))
    assert steady.shift == pytest.approx(0)
    assert np.isnan(depth_drift(np.array([1.0]), np.array([0.0]), 1.0)).all()
    rng = np.random.default_rng(0)
    depth = rng.uniform(2, 3, (8, 8)).astype(np.float32)
    target = DepthTarget(depth, np.ones((8, 8), bool))
    for kind, of_truth in (("affine_invariant_depth", depth), ("affine_invariant_inverse_depth", 1 / depth)):
        given = [DepthPrediction((of_truth * s).astype(np.float32), kind) for s in (1.0, 1.25, 0.8, 1.0)]
        found = video._over_time("depth", [target] * 4, given)
        fitted = np.array([1.0, 0.8, 1.25, 1.0])
        assert found["scale_drift"] == pytest.approx(100 * fitted.std(ddof=1) / fitted.mean(), rel=1e-3)


def test_the_nearest_instance_is_followed_and_missing_frames_leave_their_differences() -> None:
    truth = path(6)
    n = len(truth)
    targets = [
        PoseTarget(p[None], np.full((1, 17), 2.0), np.ones(1), np.zeros(1, bool), np.zeros((1, 4)), np.array([4]))
        for p in truth
    ]  # fmt: skip
    far = [np.stack([p + 400, p + 1]) for p in truth]
    given = [PosePrediction(p, np.ones((2, 17)), np.ones(2), np.zeros((2, 4))) for p in far]
    found = video._over_time("pose", targets, given)
    assert found["position"] == pytest.approx(np.sqrt(2))
    assert found["velocity"] == pytest.approx(0, abs=1e-9)
    assert video._over_time("pose", targets, [None, *given[1:]])["position"] == pytest.approx(np.sqrt(2))
    assert np.isnan(video._over_time("pose", targets, [None] * n)["position"])
    assert np.isnan(video._over_time("depth", [None] * n, [None] * n)["scale_drift"])


def test_sequences_are_what_one_camera_saw_without_a_gap() -> None:
    keys = [f"hi4d/p/a/{camera}/{frame:06d}" for camera in (4, 16) for frame in (1, 2, 3, 4, 9, 10)]
    found = video.sequences(keys, ["p/a"] * 12)
    assert [(s.name, s.indices) for s in found] == [
        ("hi4d/p/a/4/000001", (0, 1, 2, 3)),
        ("hi4d/p/a/16/000001", (6, 7, 8, 9)),
    ]
    clips = video.sequences(
        [f"s/clips/{i:06d}" for i in range(2 * FRAMES)], [f"c{i // FRAMES}" for i in range(2 * FRAMES)]
    )
    assert [s.indices[::FRAMES_A_MOVE] for s in clips] == [(0, 12), (24, 36)]
    with pytest.raises(UsageError, match="no frames in a row"):
        video.sequences(["set/a", "set/b"], ["a", "b"])


def test_poses_between_two_of_the_library_are_met_at_the_ends() -> None:
    a, b = (draw_pose(stream("test", name), name) for name in ("walk", "wave"))
    assert between(a, b, 0.0).arms == a.arms
    assert between(a, b, 1.0).legs["L"].knee_deg == pytest.approx(b.legs["L"].knee_deg)
    half = between(a, b, 0.5)
    assert half.arms["L"].elbow_deg == pytest.approx((a.arms["L"].elbow_deg + b.arms["L"].elbow_deg) / 2)


def test_the_table_tells_every_measure_with_its_interval() -> None:
    values = {"position": (3.0, 2.0, 4.0), "velocity": (1.0, float("nan"), float("nan")),
              "acceleration": (float("nan"),) * 3, "jitter": (0.5, 0.4, 0.6)}  # fmt: skip
    motion = video.Motion("pose", "synthetic-humans", "gt-box", "m", "M", 48, 2, 2, values)
    text = render(document([motion], n_draws=10, seed=0, facts={"folder": "f"}), "text")
    assert "3.00 [2.00, 4.00]" in text
    assert "acceleration could not be measured (too few frames in a row were answered)" in text
    assert "2 independent groups, fewer than 100: intervals are Student's t" in text
    alone = replace(motion, n_groups=1)
    text = render(document([alone], n_draws=10, seed=0, facts={"folder": "f"}), "text")
    assert "A single independent group cannot be resampled: it has no interval." in text
    assert "Student's t" not in text
    assert video._interval([1.0, 3.0], ["a", "a"], 10, 0)[0] == 2.0
    low, high = video._interval([1.0, 3.0, 2.0], ["a", "b", "c"], 200, 0)[1:]
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 2, 2.0, stats.sem([1.0, 3.0, 2.0])))


def test_a_constant_depth_has_no_scale_to_drift_and_is_not_said_to_lack_frames() -> None:
    rng = np.random.default_rng(0)
    mask = np.ones((6, 5), bool)
    truths = [SimpleNamespace(mask_HW=mask, depth_HW=rng.uniform(1, 3, (6, 5))) for _ in range(4)]
    constant = [SimpleNamespace(depth_HW=np.full((6, 5), 2.0), kind="metric_depth")] * 4
    values = video._over_time("depth", truths, constant)
    assert np.isnan(values["scale_drift"])
    assert values["shift_drift"] > 0
    told = {key: (value, value, value) for key, value in values.items()}
    (said,) = video.lacking([video.Motion("depth", "d", "depth", "m", "M", 4, 1, 1, told)])
    assert said.startswith("M on d: scale_drift could not be measured (the scale that fits its frames is 0, as of a ")
    none = dict.fromkeys(told, (float("nan"),) * 3)
    (said,) = video.lacking([video.Motion("depth", "d", "depth", "m", "M", 4, 1, 1, none)])
    assert "scale_drift, shift_drift could not be measured (frames are missing)" in said


@pytest.mark.parametrize(
    ("fields", "clips", "said"),
    [({"task": "toy"}, 4, "nothing is measured over time"), ({}, 1, "2 to 20"), ({"split": "tiny"}, 4, "--split tiny")],
)
def test_a_video_study_that_makes_no_sense_is_refused(fields: dict[str, str], clips: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        video.design(Request(**{"task": "pose", **fields}), clips)


def test_a_video_study_keeps_what_it_needs() -> None:
    study = video.design(Request(task="depth"), 3)
    assert (study.base.split, study.base.limit, study.base.save_maps) == ("clips", 3 * FRAMES, True)
    hi4d = video.design(Request(task="depth", datasets=("hi4d",)), 3)
    assert (hi4d.base.split, hi4d.base.limit) == ("", None)
    assert study.kind == "video"


def test_pictures_that_are_no_sequence_are_refused_before_a_model_runs(sphere: ModuleType, tmp_path: Path) -> None:
    root, out = sphere.write_folder(tmp_path / "data", {"a": sphere.perspective()}), tmp_path / "video"
    asked = ["study", "video", "--task", "normal", "--models", "oracle-normal", "--dataset", "folder"]
    refused = CliRunner().invoke(app, [*asked, "--data-root", str(root), "--out", str(out)])
    assert (refused.exit_code, out.exists()) == (2, False), refused.output
    assert "folder: no frames in a row" in " ".join(refused.output.split())


@pytest.mark.soak
def test_report_tells_a_study_over_time_as_its_command_did(tmp_path: Path) -> None:
    out = str(tmp_path / "video")
    asked = ["study", "video", "--task", "pose", "--models", "noisy-oracle", "--clips", "2"]
    told = CliRunner().invoke(app, [*asked, "--out", out, "--format", "json"])
    assert told.exit_code == 0, told.output
    again = CliRunner().invoke(app, ["report", out, "--format", "json"])
    assert again.exit_code == 0, again.output
    first, second = (json.loads(found.stdout)["motions"][0] for found in (told, again))
    keys = ("model", "n_frames", "n_sequences")
    assert [second[key] for key in keys] == [first[key] for key in keys] == ["noisy-oracle", 2 * FRAMES, 2]
    assert second["values"] == first["values"]


def test_compare_says_what_a_study_over_time_is_and_report_where_its_run_is_missing(tmp_path: Path) -> None:
    folder.begin(video.design(Request(task="pose"), 2), tmp_path / "video")
    refused = CliRunner().invoke(app, ["compare", str(tmp_path / "video")])
    assert (refused.exit_code, "study over time" in " ".join(refused.output.split())) == (2, True), refused.output
    report = CliRunner().invoke(app, ["report", str(tmp_path / "video")])
    assert (report.exit_code, "run.json does not exist" in " ".join(report.output.split())) == (2, True), report.output
