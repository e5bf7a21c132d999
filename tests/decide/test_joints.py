"""Joints are watched by arithmetic on rows: what moved, what is farther off, and what chance may do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.decide.gate import Outcome, gate
from sapiens_bench.decide.gate_report import data, document
from sapiens_bench.decide.sides import Member, Side, read_side
from sapiens_bench.decide.spec import GateSpec, JointRule

NAMES = ("dx", "dy", "distance", "dx_px", "dy_px")


@pytest.fixture(scope="module")
def base(repository: Path) -> Side:
    """One shipped model on twelve pictures."""
    side = read_side(repository / "results/golden/pose_tiny_baseline.parquet")
    return side.chosen(["movenet-thunder"])


def changed(side: Side, joint: int, weights: str | None = None, **added: Any) -> Side:
    """The side with so much added to each point of a joint, by row; and other weights."""
    (member,) = side.members
    points = np.array(member.rows["oks/joint_points"].to_pylist())[:, joint]
    rows = member.rows
    for name, values in added.items():
        at = rows.column_names.index(f"oks/joint_{name}")
        table = np.array(rows[f"oks/joint_{name}"].to_pylist(), np.float32)
        table[:, joint] += values * points
        rows = rows.set_column(at, f"oks/joint_{name}", pa.array(table.tolist(), pa.list_(pa.float32())))
    fields = dict(member.fields) | ({} if weights is None else {"weights_sha256": weights})
    return Side(side.path, side.status, (replace(member, rows=rows, fields=fields),))


def kinds(outcome: Outcome) -> dict[str, str]:
    return {j.joint: j.kind for j in outcome.joints if j.kind}


def test_a_shift_below_what_matters_is_none_and_one_above_is_named(base: Side) -> None:
    assert kinds(gate(base, changed(base, 9, dx=0.0009), GateSpec())) == {}
    outcome = gate(base, changed(base, 9, dx=0.0011), GateSpec())
    assert kinds(outcome) == {"left_wrist": "moved"}
    assert outcome.verdict == "fail"
    coarse = GateSpec(joints=JointRule(min_shift=0.2))
    assert kinds(gate(base, changed(base, 9, dx=0.0011), coarse)) == {}


def test_other_weights_may_move_a_joint_but_not_away_from_the_truth(base: Side) -> None:
    assert kinds(gate(base, changed(base, 9, "other", dx=0.01), GateSpec())) == {}
    assert kinds(gate(base, changed(base, 9, "other", distance=0.01), GateSpec())) == {"left_wrist": "farther"}
    assert kinds(gate(base, changed(base, 9, "other", distance=-0.01), GateSpec())) == {}
    mean = np.mean(np.array(base.members[0].rows["oks/joint_distance"].to_pylist())[:, 9])
    trifle = changed(base, 9, "other", distance=0.004 * mean)  # certain, but half a per cent matters
    assert kinds(gate(base, trifle, GateSpec())) == {}


def test_a_shift_that_certainly_helps_passes_and_is_shown(base: Side) -> None:
    outcome = gate(base, changed(base, 9, dx=0.01, distance=-0.005), GateSpec())
    assert kinds(outcome) == {"left_wrist": "nearer"}
    assert outcome.verdict == "pass"
    assert document(outcome).sheets[1].rows[0][0] == "pass"


def test_what_scatters_is_chance(base: Side) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 12)
    assert kinds(gate(base, changed(base, 9, dx=noise, dy=noise, distance=noise), GateSpec())) == {}


def test_pictures_on_which_other_people_were_found_are_left_out(base: Side) -> None:
    (member,) = base.members
    at = member.rows.column_names.index("oks/joint_points")
    points = np.array(member.rows["oks/joint_points"].to_pylist(), np.int32)
    points[0] = 0
    rows = member.rows.set_column(at, "oks/joint_points", pa.array(points.tolist(), pa.list_(pa.int32())))
    fewer = Side(base.path, base.status, (replace(member, rows=rows),))
    shifted = changed(fewer, 0, dx=np.where(np.arange(12) == 0, 9.0, 0.0))
    assert kinds(gate(base, shifted, GateSpec())) == {}


def test_a_single_group_is_judged_by_the_shift_itself(base: Side) -> None:
    def alone(side: Side) -> Side:
        (member,) = side.members
        at = member.rows.column_names.index("group")
        rows = member.rows.set_column(at, "group", [["g"] * 12])
        return Side(side.path, side.status, (replace(member, rows=rows),))

    assert kinds(gate(alone(base), alone(changed(base, 9, dx=0.01)), GateSpec())) == {"left_wrist": "moved"}
    assert kinds(gate(alone(base), alone(base), GateSpec())) == {}


def test_rows_of_an_earlier_version_are_judged_by_scores_alone_and_that_is_said(base: Side) -> None:
    def older(member: Member) -> Member:
        kept = [name for name in member.rows.column_names if not name.startswith("oks/joint_")]
        return replace(member, rows=member.rows.select(kept))

    old = Side(base.path, base.status, tuple(map(older, base.members)))
    outcome = gate(old, base, GateSpec())
    assert outcome.joints == ()
    assert outcome.remarks == ("MoveNet Thunder: joints are not checked, an earlier version made the rows of BASE.",)


def test_the_numbers_are_in_gate_json(base: Side) -> None:
    entries = data(gate(base, changed(base, 9, dx=0.01, dx_px=3.0), GateSpec()))["joints"]
    assert len(entries) == 17
    (failed,) = [entry for entry in entries if entry["verdict"] == "fail"]
    assert (failed["joint"], failed["kind"]) == ("left_wrist", "moved")
    assert failed["shift"] == pytest.approx(0.01, rel=1e-3)
    assert failed["dx_px"] == pytest.approx(3, rel=1e-3)
