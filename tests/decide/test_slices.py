"""Slices of a data set: what pictures are told apart by, and the differences on each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.decide import slices as rule
from sapiens_bench.decide.compare import compare, document
from sapiens_bench.decide.sides import Member, Side, read_side
from sapiens_bench.decide.slices import slices
from sapiens_bench.errors import UsageError
from sapiens_bench.tasks.pose.attributes import attributes
from sapiens_bench.tasks.pose.types import PoseTarget
from sapiens_bench.tasks.seg.task import attributes as seg_attributes
from sapiens_bench.tasks.seg.types import SegTarget


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve pictures are all there are; how many a slice needs is a test of its own."""
    monkeypatch.setattr(rule, "FEWEST", 2)


@pytest.fixture(scope="module")
def pose(repository: Path) -> Side:
    return read_side(repository / "results/golden/pose_tiny_baseline.parquet")


def with_attribute(member: Member, name: str, values: list[float]) -> Member:
    kept = [c for c in member.rows.column_names if not c.startswith("attr/")]
    return replace(member, rows=member.rows.select(kept).append_column(f"attr/{name}", pa.array(values)))


def test_pictures_are_cut_in_thirds_or_by_value_and_excluded_ones_are_in_none(pose: Side) -> None:
    member = with_attribute(pose.members[0], "person_px", [float(i) for i in range(12)])
    keys = member.rows["key"].to_pylist()
    found = slices(member, {keys[0]})
    assert [(s.title, len(s.keys)) for s in found] == [
        ("person px 1 to 4", 4), ("person px 5 to 7", 3), ("person px 8 to 11", 4),
    ]  # fmt: skip
    assert keys[0] not in set().union(*(s.keys for s in found))
    two = with_attribute(pose.members[0], "people", [1.0, 2.0] * 6)
    assert [(s.title, len(s.keys)) for s in slices(two, set())] == [("people 1", 6), ("people 2", 6)]
    assert slices(with_attribute(pose.members[0], "people", [1.0] * 12), set()) == []
    undefined = with_attribute(pose.members[0], "people", [float("nan")] * 6 + [1.0] * 3 + [2.0] * 3)
    assert [len(s.keys) for s in slices(undefined, set())] == [3, 3]


def test_words_are_slices_of_their_own(pose: Side) -> None:
    member = pose.members[0]
    kept = [c for c in member.rows.column_names if not c.startswith("attr/")]
    words = pa.array(["room", "street", None, "room", "room", "studio"] * 2)
    worded = replace(member, rows=member.rows.select(kept).append_column("attr/background", words))
    assert [(s.title, len(s.keys)) for s in slices(worded, set())] == [
        ("background room", 6), ("background street", 2), ("background studio", 2),
    ]  # fmt: skip
    same = replace(member, rows=member.rows.select(kept).append_column("attr/view", pa.array(["full"] * 12)))
    assert slices(same, set()) == []


def test_rows_that_state_nothing_are_refused(pose: Side) -> None:
    bare = with_attribute(pose.members[0], "x", [0.0] * 12)
    bare = replace(bare, rows=bare.rows.drop("attr/x"))
    with pytest.raises(UsageError, match="state nothing about the pictures"):
        slices(bare, set())


def test_each_slice_is_compared_as_if_it_were_the_whole_set(pose: Side) -> None:
    members = tuple(with_attribute(m, "people", [1.0, 2.0] * 6) for m in pose.members[2:])
    side = Side(pose.path, "done", members)
    found = compare([side], by="slice", n_draws=200)
    assert [(d.part, d.n) for d in found.differences] == [("", 12), ("people 1", 6), ("people 2", 6)]
    ones = Side(pose.path, "done", tuple(replace(m, rows=m.rows.take(np.arange(0, 12, 2))) for m in members))
    alone = compare([ones], n_draws=200).differences[0]
    assert found.differences[1].found == alone.found
    assert "people 2 (n 6)" in document(found).sheets[0].rows[2][1]


def test_attributes_follow_from_the_annotations() -> None:
    boxes = np.array([[0, 0, 10, 20], [5, 0, 15, 20], [50, 50, 60, 60.0]])
    visible = np.array([[2, 1, 0], [2, 2, 2], [0, 0, 0.0]])
    target = PoseTarget(
        np.zeros((3, 3, 2)), visible, np.array([100.0, 400.0, 9.0]), np.zeros(3, bool), boxes, np.arange(3)
    )
    found = attributes(target)
    assert found == {"people": 2, "person_px": 15, "occluded_share": 0.2, "crowding": pytest.approx(1 / 3)}
    empty = PoseTarget(
        np.zeros((0, 3, 2)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, bool), np.zeros((0, 4)), np.arange(0)
    )
    assert attributes(empty)["people"] == 0
    assert np.isnan(attributes(empty)["person_px"])


def test_slices_of_few_independent_groups_are_left_out(pose: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "FEWEST", 10)
    member = with_attribute(pose.members[0], "people", [1.0] * 10 + [2.0] * 2)
    assert [s.title for s in slices(member, set())] == ["people 1"]
    at = member.rows.column_names.index("group")
    together = replace(member, rows=member.rows.set_column(at, "group", [["a", "b"] * 6]))
    assert slices(together, set()) == []


def test_an_attribute_that_lost_a_slice_for_want_of_groups_is_named(
    pose: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule, "FEWEST", 10)
    members = tuple(with_attribute(m, "skin_tone", [1.0, 7.0] * 6) for m in pose.members[2:])
    said = "--by slice: slices of fewer than 10 independent groups are left out, by: skin tone."
    assert said in document(compare([Side(pose.path, "done", members)], by="slice", n_draws=20)).notes
    monkeypatch.setattr(rule, "FEWEST", 2)
    notes = document(compare([Side(pose.path, "done", members)], by="slice", n_draws=20)).notes
    assert not any("left out, by" in note for note in notes)


def test_attributes_of_a_label_map_by_hand() -> None:
    """Eight pixels: two ignored, three background, two of class 4, one of class 9."""
    labels = np.array([[255, 255, 0, 0], [0, 4, 4, 9]], np.uint8)
    found = seg_attributes(SegTarget(labels))
    assert found == {"person_share": 0.5, "classes": 2.0, "ignored_share": 0.25}
    nothing = seg_attributes(SegTarget(np.full((2, 2), 255, np.uint8)))
    assert np.isnan(nothing["person_share"])
    assert nothing["ignored_share"] == 1.0
