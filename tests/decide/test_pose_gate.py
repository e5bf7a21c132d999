"""The committed baseline against the shipped models: as they are, in other batches, and with a broken decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import sapiens_bench
from sapiens_bench.decide.compare import compare
from sapiens_bench.decide.gate import gate
from sapiens_bench.decide.gate_report import junit_text, message
from sapiens_bench.decide.sides import Side, read_side
from sapiens_bench.decide.spec import GateSpec, JointRule
from sapiens_bench.models.movenet import MoveNet

NAME = "movenet-thunder"


@pytest.fixture(scope="module")
def baseline(repository: Path) -> Side:
    return read_side(repository / "results/golden/pose_tiny_baseline.parquet")


def run(out: Path, models: str = NAME, **options: Any) -> Side:
    sapiens_bench.evaluate(
        task="pose",
        models=models,
        datasets="synthetic-humans",
        split="tiny",
        device="cpu",
        out=out,
        n_boot=1,
        **options,
    )
    return read_side(out)


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return run(tmp_path_factory.mktemp("lightning") / "run", "movenet-lightning")


def test_the_committed_baseline_is_small_and_holds_the_four_shipped_models(baseline: Side, repository: Path) -> None:
    assert (repository / "results/golden/pose_tiny_baseline.parquet").stat().st_size < 200_000
    assert [m.model for m in baseline.members] == [
        "blazepose-lite", "blazepose-full", "movenet-lightning", "movenet-thunder",
    ]  # fmt: skip
    assert {m.rows.num_rows for m in baseline.members} == {12}


def test_a_rerun_in_other_batches_is_green_and_a_shift_of_one_pixel_in_the_decoder_is_red(
    baseline: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = GateSpec(models=(NAME,))
    rerun = run(tmp_path / "rerun", batch_size=3)
    assert gate(baseline, rerun, spec).verdict == "pass"
    assert len(gate(baseline, rerun, spec).joints) == 17
    assert gate(rerun, rerun, spec).verdict == "pass"

    finish = MoveNet.finish

    def shifted(self: MoveNet, outputs: dict[str, Any], geometry: Any) -> Any:
        moved = {name: values + np.float32([1 / self.size, 1 / self.size, 0]) for name, values in outputs.items()}
        return finish(self, moved, geometry)

    monkeypatch.setattr(MoveNet, "finish", shifted)
    broken = run(tmp_path / "broken")
    outcome = gate(baseline, broken, spec)
    (row,) = outcome.rows
    assert outcome.verdict == "fail"
    assert row.difference.found.difference < -0.02
    assert row.difference.found.upper < 0
    assert {j.joint for j in outcome.moved} >= {"nose", "left_wrist", "right_ankle"}
    (d,) = compare([rerun, broken]).differences
    assert d.found.difference == pytest.approx(row.difference.found.difference, abs=0.01)


@pytest.mark.parametrize(("joint", "shift"), [("", (1, 0)), ("left_wrist", (0, 1)), ("right_hip", (-1, 0))])
def test_a_pixel_of_the_picture_is_seen_and_the_joint_is_named(
    lightning: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joint: str, shift: tuple[int, int]
) -> None:
    names = lightning.members[0].fields["space"]["names"]
    finish = MoveNet.finish

    def shifted(self: MoveNet, outputs: dict[str, Any], geometry: Any) -> Any:
        found = finish(self, outputs, geometry)
        keypoints = found.keypoints_NK2_px.copy()
        keypoints[:, names.index(joint) if joint else slice(None)] += np.float32(shift)
        return replace(found, keypoints_NK2_px=keypoints)

    monkeypatch.setattr(MoveNet, "finish", shifted)
    outcome = gate(lightning, run(tmp_path / "broken", "movenet-lightning"), GateSpec())
    assert outcome.verdict == "fail"
    changed = [j for j in outcome.joints if j.kind]  # moved, or moved nearer to the truth
    assert {j.joint for j in changed} == ({joint} if joint else set(names))
    assert len(outcome.moved) >= len(changed) - 2
    for found in changed:
        assert (found.dx_px, found.dy_px) == pytest.approx(shift, abs=1e-3)
    if joint:
        words = f"{joint.replace('_', ' ')} moved by ({shift[0]:+.1f}, {shift[1]:+.1f}) px"
        assert words in message(outcome)
        (case,) = [c for c in ElementTree.fromstring(junit_text(outcome)).iter("testcase") if c.get("name") == "joints"]
        assert words in next(failure.attrib["message"] for failure in case.iter("failure"))
    unwatched = gate(lightning, lightning, GateSpec(joints=JointRule(check=False)))
    assert unwatched.joints == ()
