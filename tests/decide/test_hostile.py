"""Attempts to make ``compare``, ``gate`` and the marks of tables say something false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sapiens_bench.decide.compare import compare
from sapiens_bench.decide.gate import gate
from sapiens_bench.decide.sides import Member, Side, read_side
from sapiens_bench.decide.spec import GateSpec
from sapiens_bench.engine.scores import Draws
from sapiens_bench.errors import StoreError, UsageError
from sapiens_bench.publish.pairwise import Contest
from sapiens_bench.stats.multiple import draws_for
from sapiens_bench.stats.power import smallest_seen
from sapiens_bench.testing import toy

ToyRun = Callable[..., Path]


def with_column(member: Member, name: str, values: list[Any]) -> Member:
    rows = member.rows
    at = rows.column_names.index(name)
    return replace(member, rows=rows.set_column(at, name, pa.array(values, rows.schema.field(name).type)))


def only(side: Side, member: Member) -> Side:
    return replace(side, members=(member,))


def large(member: Member, n_groups: int, seed: int, shift: float) -> Member:
    """As many groups of one picture each as percentiles are used for, with errors that scatter."""
    errors = np.random.default_rng(seed).uniform(0.2, 0.4, n_groups) + shift
    first = member.rows.slice(0, 1)
    rows = pa.concat_tables([first] * n_groups)
    columns = {
        "index": list(range(n_groups)),
        "key": [f"k{i}" for i in range(n_groups)],
        "group": [f"g{i}" for i in range(n_groups)],
        "grey/sum": errors.tolist(),
    }
    made = replace(member, rows=rows.slice(0, 0), n_planned=n_groups)
    for name, values in columns.items():
        at = rows.column_names.index(name)
        rows = rows.set_column(at, name, pa.array(values, rows.schema.field(name).type))
    return replace(made, rows=rows)


@pytest.fixture
def side(toy_run: ToyRun) -> Side:
    return read_side(toy_run("a", bias=0.1))


@pytest.mark.parametrize("n_groups", [5, 150])
def test_asking_for_hardly_any_draws_does_not_hold_a_gate_open(side: Side, n_groups: int) -> None:
    (member,) = side.members
    base = only(side, large(member, n_groups, 0, 0.0))
    worse = only(side, large(member, n_groups, 0, 0.3))
    found = gate(base, worse, GateSpec(draws=1))
    assert found.verdict == "fail"
    assert found.n_draws >= 20
    assert gate(base, base, GateSpec(draws=1)).verdict == "pass"


@pytest.mark.parametrize("n_groups", [5, 150])
def test_asking_for_hardly_any_draws_does_not_hide_a_difference(side: Side, n_groups: int) -> None:
    (member,) = side.members
    base, worse = (only(side, large(member, n_groups, 0, shift)) for shift in (0.0, 0.3))
    found = compare([base, worse], n_draws=1)
    assert found.p_adjusted[0] <= 0.05
    assert found.n_draws == draws_for(1, 1)


def test_pictures_that_only_cand_cannot_read_leave_the_gate_undecided(side: Side) -> None:
    """The easy half is left: without this, the gate would be open over it."""
    (member,) = side.members
    n = member.rows.num_rows
    half = [i < n // 2 for i in range(n)]
    broken = with_column(member, "error_side", ["input" if is_broken else "" for is_broken in half])
    found = gate(side, only(side, broken), GateSpec())
    assert found.verdict == "incomplete"
    assert f"CAND could not read what BASE scored: {n // 2} images" in found.incomplete
    assert gate(only(side, broken), only(side, broken), GateSpec()).verdict == "pass"


def test_images_that_count_for_nobody_are_said_under_a_comparison(tmp_path: Path) -> None:
    for name, bias in (("x", 0.1), ("y", 0.2)):
        toy.go(tmp_path / name, {"n": 10, "input_faults": (3,)}, options={"bias": bias})
    found = compare([read_side(tmp_path / "x"), read_side(tmp_path / "y")])
    assert any("1 of 10 images leave every score" in remark for remark in found.remarks)


def test_rows_that_are_there_twice_are_refused(side: Side) -> None:
    (member,) = side.members
    with pytest.raises(StoreError, match="hold sample 'toy/00000' more than once"):
        replace(member, rows=pa.concat_tables([member.rows, member.rows.slice(0, 1)]))


def test_a_value_that_is_no_number_leaves_no_claim(side: Side) -> None:
    (member,) = side.members
    sums = member.rows["grey/sum"].to_pylist()
    spoilt = with_column(member, "grey/sum", [float("nan"), *sums[1:]])
    (d,) = compare([side, only(side, spoilt)]).differences
    assert not np.isfinite(d.found.difference)
    assert not np.isfinite(d.found.p_value)
    assert gate(side, only(side, spoilt), GateSpec()).verdict == "fail"


def test_ties_everywhere_are_no_lead_and_say_nothing_about_what_the_set_sees(side: Side) -> None:
    (d,) = compare([side, side]).differences
    assert d.found.p_value == 1
    assert np.isnan(smallest_seen(d.found))


def test_a_single_group_gives_no_p_and_no_mark(side: Side) -> None:
    (member,) = side.members
    one = with_column(member, "group", ["g"] * member.rows.num_rows)
    worse = with_column(one, "grey/sum", [value + 0.3 for value in one.rows["grey/sum"].to_pylist()])
    found = compare([only(side, one), only(side, worse)])
    assert np.isnan(found.p_adjusted[0])
    assert np.isnan(found.differences[0].found.low)


def test_marks_are_not_formed_over_rows_of_other_groups_or_order(side: Side) -> None:
    (member,) = side.members
    regrouped = with_column(member, "group", [f"h{i}" for i in range(member.rows.num_rows)])
    turned = replace(member, rows=member.rows.take(list(range(member.rows.num_rows))[::-1]))
    for other in (regrouped, turned):
        with pytest.raises(UsageError, match="another order or in other groups"):
            Contest([member, other], set(), Draws(20, 0))


def test_groups_of_unequal_size_are_drawn_whole(side: Side) -> None:
    """One subject with most of the pictures is one piece of evidence: all of the lead is his, so nothing is certain."""
    (member,) = side.members
    groups = ["crowd"] * 6 + [f"g{i}" for i in range(4)]
    base = with_column(member, "group", groups)
    sums = base.rows["grey/sum"].to_pylist()
    better = with_column(base, "grey/sum", [v - 0.09 if g == "crowd" else v for v, g in zip(sums, groups)])
    found = compare([only(side, base), only(side, better)])
    assert found.differences[0].found.n_groups == 5
    assert found.p_adjusted[0] > 0.05


def test_a_family_that_is_too_large_for_its_draws_says_so(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sapiens_bench.decide.compare.MOST_DRAWS", 10)
    found = compare([side, side], n_draws=2)
    assert any("cannot tell a single one" in remark for remark in found.remarks)
